"""What is lost or damaged here comes again from another replica, under the same id.

What comes is hashed before it takes the place of anything, and damaged bytes are kept: see `muse.disk.aside`.
"""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from muse.core.file.live_or_archived import is_archived
from muse.core.op_log import OpLog
from muse.disk import layout
from muse.errors import ConflictError, CorruptionError, NotFoundError, StorageError
from muse.history.commit_record import CommitRecord, parents, state_snapshots
from muse.history.seal import read_seal
from muse.history.walk import reachable
from muse.replication.history_copy import copy_history, copy_objects, copy_snapshot
from muse.replication.local_peer import LocalPeer
from muse.replication.peer import Kind, Peer
from muse.replication.reconcile import ProtocolError


@dataclass(frozen=True, slots=True)
class Mended:
    """Something that was lost or damaged, and is whole now. `aside`: where its damaged bytes are, if any."""

    kind: str
    name: str
    aside: str = ""


class Mender:
    """Mends the replica `own` from `peer`; `failed` says what could not be mended, and why.

    It takes in what it copies, as a `Receiver`: what is here and damaged counts as lacking. The caller keeps
    garbage from being collected meanwhile.
    """

    def __init__(self, own: LocalPeer, peer: Peer) -> None:
        self.own = own
        self.mended: list[Mended] = []
        self.failed: dict[tuple[Kind, str], str] = {}
        self._peer = peer
        self._brought: set[tuple[Kind, str]] = set()
        self._whole: set[tuple[Kind, str]] = set()
        self._faulty: set[tuple[Kind, str]] = set()

    def mend(self, kind: Kind, digest: str) -> bool:
        """Bring something again, with all that it needs, once; return whether it came by this call.

        What is here under its id is taken for faulty.
        """
        if (kind, digest) in self.failed or (kind, digest) in self._brought:
            return False
        self._faulty.add((kind, digest))
        try:
            self._copy(kind, digest)
        except (NotFoundError, CorruptionError, ConflictError, ProtocolError) as error:
            self.failed[kind, digest] = str(error)
        return (kind, digest) in self._brought

    def _copy(self, kind: Kind, digest: str) -> None:
        if self._peer.lacks(kind, [digest]):
            raise NotFoundError(f"the other side does not have {kind} {digest} either")
        if kind == "object":
            copy_objects(self._peer, self, [digest])
        elif kind == "snapshot":
            copy_snapshot(self._peer, self, digest)
        else:
            copy_history(self._peer, self, digest)

    def lacks(self, kind: Kind, ids: Sequence[str]) -> list[str]:
        """Return those that are not here, or not whole: each is read, once."""
        return [digest for digest in ids if not self._is_whole(kind, digest)]

    def put(self, kind: Kind, digest: str, data: bytes) -> None:
        """Store what is lacking; `CorruptionError` where just this is here already, and found faulty."""
        if self.own.has_just(kind, digest, data):
            raise CorruptionError(f"{kind} {digest} is on the other side as it is here")
        aside = self.own.put_in_place(kind, digest, data)
        self.mended.append(Mended(kind, digest, aside))
        self._faulty.discard((kind, digest))
        self._brought.add((kind, digest))
        self._whole.add((kind, digest))

    def _is_whole(self, kind: Kind, digest: str) -> bool:
        if (kind, digest) in self._faulty:
            return False
        if (kind, digest) not in self._whole:
            try:
                self.own.get(kind, digest)
            except (NotFoundError, CorruptionError, StorageError):
                return False
            self._whole.add((kind, digest))
        return True


def mend_history(mender: Mender, tips: Iterable[str]) -> None:
    """Mend what is lost or damaged of commits and their histories.

    Every commit is read, and looked whether its snapshots and its list of ops are there; those of `tips`
    are read, with every object of their files. `muse.replication.repair` reads all.
    """
    dag, objects = mender.own.repository.dag, mender.own.repository.objects
    starts = set(tips)
    parents_of: dict[str, list[str]] = {}
    for commit_id in reachable(starts, parents_of.__getitem__):
        record = _record(mender, commit_id)
        parents_of[commit_id] = parents(record) if record else []
        if record is None:
            continue
        for snapshot_id in (record["snapshot_id"], *state_snapshots(record).values()):
            if commit_id in starts:
                _mend_tree(mender, snapshot_id)
            elif not dag.has_snapshot(snapshot_id):
                mender.mend("snapshot", snapshot_id)
        seal = read_seal(record["message"])
        if seal is not None and not objects.has(seal.op_list):
            mender.mend("object", seal.op_list)


def _record(mender: Mender, commit_id: str) -> CommitRecord | None:
    """Read a commit, mended if need be; None if it cannot be."""
    with suppress(NotFoundError, CorruptionError, StorageError):
        record = mender.own.repository.dag.read_commit(commit_id)
        mender.own.keys.check_received(record, f"commit {commit_id}")
        return record
    mender.mend("commit", commit_id)
    with suppress(NotFoundError, CorruptionError, StorageError):
        return mender.own.repository.dag.read_commit(commit_id)
    return None


def _mend_tree(mender: Mender, snapshot_id: str) -> None:
    """Read a snapshot and all its objects, and mend those that need it."""
    for digest in mender.lacks("snapshot", [snapshot_id]):
        mender.mend("snapshot", digest)
    with suppress(NotFoundError, CorruptionError, StorageError):
        manifest = mender.own.repository.dag.read_snapshot(snapshot_id)["manifest"]
        for digest in mender.lacks("object", sorted(set(manifest.values()))):
            mender.mend("object", digest)


def distrust_checkpoint(own: LocalPeer, session_id: str) -> bool:
    """Remove the checkpoint of a log that is not the one it was made for; return whether that was so.

    Ops may come in again then, and the commits give the checkpoint again.
    """
    root, storage = own.repository.root, own.storage
    if is_archived(root, session_id, storage=storage) or not storage.exists(
        layout.checkpoint_file(root, session_id)
    ):
        return False
    with OpLog(root, session_id, storage=storage) as log:
        try:
            log.read_checkpoint()
            log.cut()
        except CorruptionError:
            log.checkpoints.distrust()
            return True
    return False


def clear_damage(own: LocalPeer, session_id: str) -> list[Mended]:
    """Move the damage of a live log to its side file, but for what may hide an op that the log lacks."""
    root, storage = own.repository.root, own.storage
    if is_archived(root, session_id, storage=storage) or not storage.exists(
        layout.ops_file(root, session_id)
    ):
        return []
    with OpLog(root, session_id, storage=storage) as log:
        done = log.repair(only_replaced=True)
    return [Mended("session", session_id, done.side_file)] if done.side_file else []
