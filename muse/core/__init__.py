"""The log, the history, and the pure rules they share."""
