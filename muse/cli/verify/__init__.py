"""`muse verify`."""
