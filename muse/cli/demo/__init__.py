"""`muse demo`: agents write a piece together, live."""
