"""Copies commits with all that they need, and objects: what is there already is not sent.

What a thing refers to comes before it. So a copy that is cut short stores nothing that lacks anything.
"""

from collections.abc import Callable, Iterable, Mapping
from itertools import islice

from muse.apply.domains import stated_states
from muse.errors import ConflictError, MuseError
from muse.history.commit_record import CommitRecord, parents, state_snapshots
from muse.history.seal import read_seal
from muse.history.walk import parents_first
from muse.replication.peer import BATCH_OPS, IDS_AT_MOST, ObjectsReceiver, Peer, Receiver
from muse.replication.received import commit_in

_BYTES_AT_ONCE = 1 << 22
_OBJECTS_AT_ONCE = 256

Cover = Callable[[str, bytes, bytes], list[str]]
"""Does what `Peer.cover` does."""


def copy_history(source: Peer, target: Receiver, tip: str, cover: Cover | None = None) -> int:
    """Copy the commits of `tip`'s history that `target` lacks, with all they need; return how many.

    `CorruptionError` where something does not hash to its id, `ConflictError` where the ops of a commit are
    not there as it seals them: what was copied before it stays, and nothing refers to it. With `cover`, the
    ops of such a commit that the log of `target` did not let in are brought first.
    """
    missing = _missing_commits(source, target, tip)
    for commit_id in missing:
        content = source.get("commit", commit_id)
        copy_objects(source, target, content.object_ids)
        record = commit_in(content.data, commit_id)
        for snapshot_id in _snapshot_ids(record, source):
            copy_snapshot(source, target, snapshot_id)
        try:
            target.put("commit", commit_id, content.data)
        except ConflictError as conflict:
            if cover is None:
                raise
            try:
                is_covered = _bring_covered(source, target, record, content.data, cover)
            except MuseError as error:
                raise ConflictError(f"{conflict}; {error}") from error
            if not is_covered:
                raise
            target.put("commit", commit_id, content.data)
    return len(missing)


def _bring_covered(source: Peer, target: Receiver, record: CommitRecord, data: bytes, cover: Cover) -> bool:
    """Bring the ops that a commit covers and `target` did not let in; return whether all are there then.

    The log that it was made from has them, so all replicas shall: the seal of the commit vouches for them.
    """
    seal = read_seal(record["message"])
    lacking = [] if seal is None else cover(record["commit_id"], data, b"")
    lines: list[bytes] = []
    while seal is not None and lacking:
        batch = source.entries(seal.session_id, lacking[:BATCH_OPS])
        if not 0 < batch.done <= BATCH_OPS:
            return False
        copy_objects(source, target, batch.object_ids)
        lines.append(batch.lines)
        del lacking[: batch.done]
    return any(lines) and not cover(record["commit_id"], data, b"".join(lines))


def _missing_commits(source: Peer, target: Receiver, tip: str) -> list[str]:
    """Return the commits to copy, each after its parents. A replica that has a commit has its history."""

    def missing_parents(commit_id: str) -> list[str]:
        record = commit_in(source.get("commit", commit_id).data, commit_id)
        return target.lacks("commit", parents(record)) if parents(record) else []

    return parents_first(target.lacks("commit", [tip]), missing_parents)


def _snapshot_ids(record: CommitRecord, source: Peer) -> list[str]:
    """Return the snapshots of a commit: that of its files, and those its metadata names.

    What one names that another tool made may be no state, and so not be there.
    """
    stated, named = set(stated_states(record).values()), list(dict.fromkeys(state_snapshots(record).values()))
    absent = set(source.lacks("snapshot", named)) if named else set()
    return [record["snapshot_id"], *(value for value in named if value in stated or value not in absent)]


def copy_snapshot(source: Peer, target: Receiver, snapshot_id: str) -> None:
    """Copy a snapshot that the target lacks, after the objects that it names."""
    if target.lacks("snapshot", [snapshot_id]):
        content = source.get("snapshot", snapshot_id)
        copy_objects(source, target, content.object_ids)
        target.put("snapshot", snapshot_id, content.data)


def copy_objects(source: Peer, target: Receiver, object_ids: Iterable[str]) -> int:
    """Copy the objects that `target` lacks; return how many."""
    waiting, copied = iter(object_ids), 0
    while some := list(islice(waiting, IDS_AT_MOST)):
        together, size = dict[str, bytes](), 0
        for object_id in target.lacks("object", some):
            together[object_id] = source.get("object", object_id).data
            size += len(together[object_id])
            copied += 1
            if size >= _BYTES_AT_ONCE or len(together) >= _OBJECTS_AT_ONCE:
                _put_objects(target, together)
                together, size = {}, 0
        _put_objects(target, together)
    return copied


def _put_objects(target: Receiver, contents: Mapping[str, bytes]) -> None:
    if isinstance(target, ObjectsReceiver):
        target.put_objects(contents)
    else:
        for object_id, data in contents.items():
            target.put("object", object_id, data)
