"""Reads what a person wrote in the message of a commit."""

from muse.history.seal import read_seal


def message_text(message: str) -> str:
    """Return the part of a commit message that a person wrote: all but the seal."""
    if read_seal(message) is None:
        return message.rstrip("\n")
    return message.rstrip("\n").rpartition("\n\n")[0].rstrip("\n")
