"""`muse session graph`: the ops of a session as a picture."""
