"""Measures the op log against its physical limit, a naive log and the stores one would otherwise take."""
