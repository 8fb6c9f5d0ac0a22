"""`muse coord`, a file a command."""
