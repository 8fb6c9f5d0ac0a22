"""Muse op log: live edits, appended the moment they happen, collapsed into a verifiable history."""

__version__ = "0.1.0"
