"""How commits and ops are named for people: short ids, and the first line of a message."""

from muse.history.commit_record import CommitRecord

SHORT_ID = 12
SHORT_OP_ID = 8


def subject(record: CommitRecord) -> str:
    """Return the first line of a commit's message."""
    return (record["message"].strip().splitlines() or [""])[0]
