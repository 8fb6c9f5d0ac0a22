"""`muse branch`: the branches, one file a command."""
