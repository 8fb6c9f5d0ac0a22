"""`muse session`, a file a command."""
