"""How commits and ops are named and described for people."""

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC

from muse.cli.shared.output import Output, count_of
from muse.core.timestamp import moment_of
from muse.history.commit_record import CommitRecord, covered_count
from muse.history.seal import read_seal, without_trailers

SHORT_ID = 12
SHORT_OP_ID = 8
_WIDE, _NARROW = 80, 60


def subject(record: CommitRecord) -> str:
    """Return the first line of a commit's message."""
    return (record["message"].strip().splitlines() or [""])[0]


def author_of(record: CommitRecord) -> str:
    """Return the author of a commit; some tools name nobody."""
    return record["author"] or "unknown"


def in_utc(text: str) -> str:
    """Return an ISO 8601 time in UTC, to the second; what other tools wrote and nobody can read, as it is."""
    with suppress(ValueError, OverflowError):
        text = moment_of(text).astimezone(UTC).isoformat()
    return text[:19].replace("T", " ")


def is_narrow(output: Output) -> bool:
    """Return whether this is a terminal with room for little more than an id and a few words."""
    return output.is_terminal and output.width < _NARROW


def moment_for(output: Output, text: str) -> str:
    """Return a time in UTC, as short as a narrow terminal needs it."""
    found = in_utc(text)
    if is_narrow(output):
        return found[2:10]
    return found[:16] if output.is_terminal and output.width < _WIDE else found


def commit_lines(record: CommitRecord, *, full: bool) -> Iterator[str]:
    """Yield the lines that describe a commit; its trailers are one line, or with `full` as they are."""
    yield f"Commit    {record['commit_id']}"
    for parent_id in (record["parent_commit_id"], record["parent2_commit_id"]):
        if parent_id:
            yield f"Parent    {parent_id}"
    yield f"Snapshot  {record['snapshot_id']}"
    yield f"Branch    {record['branch']}"
    yield f"Author    {author_of(record)}"
    yield f"When      {record['committed_at']}"
    if not full and (seal := read_seal(record["message"])):
        yield f"Sealed    {count_of(covered_count(record), 'op')} of session {seal.session_id}"
    if record["signature"]:
        yield f"Signed    with key {record['signer_key_id']}"
    yield ""
    message = record["message"] if full else without_trailers(record["message"])
    for text in message.splitlines():
        yield f"    {text}".rstrip()
