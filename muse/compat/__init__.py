"""What was it called before? Old names of modules, and names that a package hands on when asked."""
