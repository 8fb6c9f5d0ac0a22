"""A peer: another replica of this repository, as it looks to the one that synchronises with it.

Each call of a `Peer` is one message there and one back, of bounded size except for the content of one
file, so that it can be spoken over any wire.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from muse.core.op_log import MergeResult

BATCH_OPS = 8192
"""How many ops one message may ask for."""

OBJECT_BYTES = 1 << 28
"""The largest object that is sent."""

BATCH_BYTES = 1 << 22
"""A message with entries ends once it has as many bytes: it is longer by less than one entry."""

IDS_AT_MOST = 4096
"""How many ids one message may ask about."""

Kind = Literal["object", "snapshot", "commit"]


@dataclass(frozen=True, slots=True)
class Identity:
    """Which repository it is, what a clone of it is made with, and the branch its HEAD names."""

    repo_id: str
    domain: str
    created_at: str
    branch: str


@dataclass(frozen=True, slots=True)
class Batch:
    """Entries, one line each. `done`: how many of the ids that were asked for are dealt with.

    `object_ids` are the objects that the entries name, as far as the replica has them.
    """

    done: int
    lines: bytes
    object_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Content:
    """The bytes of an object, or a snapshot or commit as JSON; and the stored objects that it names."""

    data: bytes
    object_ids: tuple[str, ...] = ()


class Receiver(Protocol):
    """What takes in objects, snapshots and commits."""

    def lacks(self, kind: Kind, ids: Sequence[str]) -> list[str]:
        """Return those of at most `IDS_AT_MOST` ids that are not stored."""
        ...

    def put(self, kind: Kind, digest: str, data: bytes) -> None:
        """Store what hashes to `digest`, else `CorruptionError`; what it refers to must be stored.

        `ConflictError` for a commit if the log does not hold the very ops that it seals.
        """
        ...


@runtime_checkable
class ObjectsReceiver(Protocol):
    """A receiver that takes in many objects for less than one after the other."""

    def put_objects(self, contents: Mapping[str, bytes]) -> None:
        """Store objects by their ids, each as `put` does."""
        ...


class Peer(Receiver, Protocol):
    """What a replica answers. Whatever it takes in, it checks first: a peer is not trusted."""

    def identity(self) -> Identity:
        """Return what this replica is, and of which repository."""
        ...

    def sessions(self) -> dict[str, str]:
        """Return all sessions here: by id, the sum of the items of its log, "" where that is not known.

        Equal sums are of equal logs: the fingerprint of all items, in hex; see `muse.replication.reconcile`.
        """
        ...

    def reconcile(self, session_id: str, message: bytes) -> bytes:
        """Answer a message of an initiator: see `muse.replication.reconcile`."""
        ...

    def entries(self, session_id: str, op_ids: Sequence[str]) -> Batch:
        """Return the entries of the first of at most `BATCH_OPS` ops: at least one, in bounded bytes."""
        ...

    def offer(self, session_id: str, lines: bytes) -> MergeResult:
        """Merge entries into a session, which is made if it is not there; durable on return."""
        ...

    def branches(self) -> dict[str, str | None]:
        """Return branch -> head; None for a branch without a commit."""
        ...

    def get(self, kind: Kind, digest: str) -> Content:
        """Return what hashes to `digest`, and the objects that it names; `NotFoundError` if it is missing."""
        ...

    def cover(self, digest: str, commit: bytes, lines: bytes) -> list[str]:
        """Take in the entries that a commit covers, if with them the log has all of those; durable on return.

        Returns the ids of the covered ops that the log lacks: without `lines`, those to bring. The seal
        vouches for them, so no limit of a merge keeps them out. `CorruptionError` if `commit` does not hash
        to `digest`.
        """
        ...

    def receiving(self) -> AbstractContextManager[None]:
        """Keep what is put meanwhile from being collected as garbage, until a branch or a log names it."""
        ...

    def advance(self, branch: str, expected: str | None, new: str) -> list[str]:
        """Move a branch from `expected` to `new`, which has its work; return the files left as they were.

        `ConflictError`, and nothing is changed, if it is not there or `new` does not descend from it, nor
        holds the same work, or if a merge that came with it is not what it merges. The ops that it covers
        are no longer pending. The working tree follows if the branch is HEAD's; files that were changed by
        hand stay. From `new` to `new` does what a crash left undone.
        """
        ...
