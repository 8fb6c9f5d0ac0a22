"""`muse replay`: what exists already is made again, live, edit by edit."""
