"""Entries, commits and snapshots that a peer sent, each checked before it is taken in."""

from typing import Any

import orjson

from muse.core.blocks import decode_block
from muse.core.entry import OpEntry
from muse.errors import CorruptionError
from muse.history.commit_record import CommitRecord, Snapshot, parse_commit, parse_snapshot
from muse.history.tree import file_above_others
from muse.replication.peer import BATCH_BYTES, Kind
from muse.replication.reconcile import ProtocolError

LONGEST_BATCH = BATCH_BYTES + (1 << 24)
"""How many bytes a batch of lines may have: a log may hold lines longer than a writer's limit."""


def entries_in(lines: bytes) -> list[OpEntry]:
    """Return the entries of lines that were sent; `ProtocolError` for anything else among them."""
    if len(lines) > LONGEST_BATCH:
        raise ProtocolError(f"a batch of {len(lines)} bytes was sent, where {LONGEST_BATCH} are allowed")
    block = decode_block(lines, 0) if lines else None
    if block is None:
        return []
    if block.damages or not lines.endswith(b"\n"):
        raise ProtocolError("entries were damaged on their way: nothing of them was taken over; try again")
    return block.entries


def commit_in(data: bytes, commit_id: str) -> CommitRecord:
    """Return the commit that was sent; `CorruptionError` if it is not the one of that id."""
    record = parse_commit(_document(data, f"commit {commit_id}"), f"commit {commit_id}, as it was sent,")
    check_hash("commit", commit_id, record["commit_id"])
    return record


def snapshot_in(data: bytes, snapshot_id: str) -> Snapshot:
    """Return the snapshot that was sent; `CorruptionError` if it is not the one of that id."""
    document = _document(data, f"snapshot {snapshot_id}")
    snapshot = parse_snapshot(document, f"snapshot {snapshot_id}, as it was sent,")
    check_hash("snapshot", snapshot_id, snapshot["snapshot_id"])
    if (path := file_above_others(snapshot["manifest"])) is not None:
        raise CorruptionError(
            f"snapshot {snapshot_id}, as it was sent, has a file {path!r} and files below it, which no "
            "directory can have: it is not stored; mend the other side"
        )
    return snapshot


def _document(data: bytes, what: str) -> dict[str, Any]:
    try:
        document = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise CorruptionError(f"{what}, as it was sent, is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise CorruptionError(f"{what}, as it was sent, is no JSON object")
    return document


def check_hash(kind: Kind, wanted: str, found: str) -> None:
    """Raise `CorruptionError` unless what was sent as `wanted` hashes to it."""
    if found != wanted:
        raise CorruptionError(f"{kind} {wanted} was sent as {found}: it is not stored; mend the other side")
