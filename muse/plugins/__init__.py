"""Domains: what Muse knows about particular kinds of file. Each is found through an entry point."""
