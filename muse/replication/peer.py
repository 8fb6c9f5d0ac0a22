"""A peer: another replica of this repository, as whoever synchronises with it sees it.

Each call of a `Peer` is one message there and one back, of bounded size but for the content of one
file, so that it can be spoken over any wire. `LocalPeer` is a repository on a path of this machine.
"""

import contextlib
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, Protocol, Self

import orjson

from muse.apply.domains import check_domain_op
from muse.apply.merge_heads import is_same_work
from muse.core import content_id
from muse.core.blocks import decode_block
from muse.core.entry import OpEntry, total_order
from muse.core.file.live_or_archived import SessionFile
from muse.core.file.log_reader import LogReader
from muse.core.line import entry_json, frame
from muse.core.op_log import MergeResult, OpLog, list_sessions
from muse.disk import layout
from muse.disk.storage import LOCAL, Storage
from muse.errors import ConflictError, CorruptionError, MuseError
from muse.history.commit_record import CommitRecord, Snapshot, parse_commit, parse_snapshot
from muse.history.covered_ops import SessionOps, op_ids_of, open_session
from muse.history.garbage_lock import uncollected
from muse.history.repository import Repository
from muse.history.seal import Seal, read_seal, root_of
from muse.replication.items import read_items
from muse.replication.reconcile import ItemSet, ProtocolError, respond
from muse.session.live import LiveSession
from muse.session.working_files import update_to_branch
from muse.upkeep.garbage import digests_in

BATCH_OPS = 8192
"""How many ops one message may ask for."""

BATCH_BYTES = 1 << 22
"""A message with entries ends once it has as many bytes: it is longer by less than one entry."""

IDS_AT_MOST = 4096
"""How many ids one message may ask about."""

_LONGEST_BATCH = BATCH_BYTES + (1 << 24)  # a log may hold lines longer than a writer's limit

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


class Peer(Protocol):
    """What a replica answers. Whatever it takes in, it checks first: a peer is not trusted."""

    def identity(self) -> Identity: ...

    def sessions(self) -> list[str]: ...

    def reconcile(self, session_id: str, message: bytes) -> bytes:
        """Answer a message of an initiator: see `muse.replication.reconcile`."""
        ...

    def entries(self, session_id: str, op_ids: Sequence[str]) -> Batch:
        """Return the entries of the first of at most `BATCH_OPS` ops: at least one, in bounded bytes."""
        ...

    def offer(self, session_id: str, lines: bytes, *, check: bool = True) -> MergeResult:
        """Merge entries into a session, which is made if it is not there; durable on return.

        With `check`, what its domain could never apply is refused.
        """
        ...

    def branches(self) -> dict[str, str | None]: ...

    def lacks(self, kind: Kind, ids: Sequence[str]) -> list[str]:
        """Return those of at most `IDS_AT_MOST` ids that are not stored."""
        ...

    def get(self, kind: Kind, digest: str) -> Content: ...

    def put(self, kind: Kind, digest: str, data: bytes) -> None:
        """Store what hashes to `digest`, else `CorruptionError`; what it refers to must be stored.

        `ConflictError` for a commit if the log does not hold the very ops that it seals.
        """
        ...

    def receiving(self) -> AbstractContextManager[None]:
        """Keep what is put meanwhile from being collected as garbage, until a branch or a log names it."""
        ...

    def advance(self, branch: str, expected: str | None, new: str) -> list[str]:
        """Move a branch from `expected` to `new`, which has its work; return the files left as they were.

        `ConflictError`, and nothing is changed, if it is not there or `new` does not descend from it, nor
        stands for the same work. The ops that it covers are no longer pending.
        The working tree follows if the branch is HEAD's; files that were changed by hand stay. From
        `new` to `new` brings back the files that are missing, as after a crash.
        """
        ...


class LocalPeer:
    """The repository at `root` as a peer, for one synchronisation: what it compares is read once."""

    def __init__(self, root: str, storage: Storage = LOCAL) -> None:
        self.repository = Repository.open(root, storage)
        self._root = root
        self.storage = storage
        self._items: dict[str, ItemSet] = {}
        self._open: dict[str, tuple[SessionFile, LogReader]] = {}
        self._logs: dict[str, SessionOps] = {}
        self._starts: dict[str, int] = {}  # where in a log the ops of the last commit put start

    def identity(self) -> Identity:
        repository = self.repository
        branch = repository.dag.current_branch()
        return Identity(repository.repo_id, repository.domain, repository.created_at, branch)

    # -- ops ------------------------------------------------------------------------------------

    def sessions(self) -> list[str]:
        return list_sessions(self._root, storage=self.storage)

    def items(self, session_id: str) -> ItemSet:
        """Return what the session's log held when it was first asked for."""
        if session_id not in self._items:
            self._items[session_id] = read_items(self._session(session_id)[0])
        return self._items[session_id]

    def reconcile(self, session_id: str, message: bytes) -> bytes:
        return respond(self.items(session_id), message)

    def entries(self, session_id: str, op_ids: Sequence[str]) -> Batch:
        file, reader = self._session(session_id)
        wanted = list(op_ids[:BATCH_OPS])
        starts = reader.find_many(wanted, file.end())
        lines: list[bytes] = []
        done = size = 0
        while done < len(wanted) and size < BATCH_BYTES:
            if (start := starts.get(wanted[done])) is not None:
                lines.append(frame(entry_json(reader.entry_at(start))))
                size += len(lines[-1])
            done += 1
        data = b"".join(lines)
        return Batch(done, data, self._stored_objects(data))

    def offer(self, session_id: str, lines: bytes, *, check: bool = True) -> MergeResult:
        entries = entries_in(lines)
        with OpLog(self._root, session_id, storage=self.storage) as log:
            return log.merge(entries, check=check_domain_op if check else None, durability="disk")

    def _session(self, session_id: str) -> tuple[SessionFile, LogReader]:
        if session_id not in self._open:
            file = SessionFile(self._root, session_id, self.storage)
            reader = LogReader(file, layout.op_index_file(self._root, session_id), self.storage)
            self._open[session_id] = file, reader
        return self._open[session_id]

    # -- history --------------------------------------------------------------------------------

    def branches(self) -> dict[str, str | None]:
        return self.repository.dag.branches()

    def lacks(self, kind: Kind, ids: Sequence[str]) -> list[str]:
        dag, objects = self.repository.dag, self.repository.objects
        has = {"object": objects.has, "snapshot": dag.has_snapshot, "commit": dag.has_commit}[kind]
        return [digest for digest in ids if not has(digest)]

    def get(self, kind: Kind, digest: str) -> Content:
        if kind == "object":
            return Content(self.repository.objects.get(digest))
        if kind == "snapshot":
            snapshot = self.repository.dag.read_snapshot(digest)
            return Content(orjson.dumps(snapshot), tuple(sorted(set(snapshot["manifest"].values()))))
        data = orjson.dumps(self.repository.dag.read_commit(digest))
        return Content(data, self._stored_objects(data))

    def put(self, kind: Kind, digest: str, data: bytes) -> None:
        if kind == "object":
            _check_hash("object", digest, content_id.object_id(data))
            self.repository.objects.put(data)
        elif kind == "snapshot":
            snapshot = snapshot_in(data, digest)
            self.repository.dag.write_snapshot(snapshot["manifest"], snapshot["created_at"])
        else:
            record = commit_in(data, digest)
            self._check_ops(record)
            self.repository.dag.write_commit(record)

    def _check_ops(self, record: CommitRecord) -> None:
        """Raise `ConflictError` unless the log here holds the very ops that a commit seals."""
        seal = read_seal(record["message"])
        if seal is None:
            return
        name, op_ids = seal.session_id, op_ids_of(self.repository.objects, seal)
        if name not in self._logs:
            self._logs[name] = open_session(self._root, name, self.storage)
        covered = self._logs[name].covered(op_ids, start=self._starts.get(name, 0))
        if root_of(covered.entries) != seal.root and not self._let_in_held(seal, op_ids, covered.entries):
            lacking = len(op_ids) - len(covered.entries)
            what = f"lacks {lacking} ops" if lacking else "holds another body of an op"
            raise ConflictError(
                f"the log of session {name!r} in {self._root} {what} that commit {record['commit_id']} "
                "covers: the commit is not taken over and the branch stays; mend what keeps the ops out; "
                "where an op has another body on each side, one side has to begin again with 'muse clone'"
            )
        if covered.runs:
            self._starts[name] = covered.runs[0][0]

    def _let_in_held(self, seal: Seal, op_ids: Sequence[str], covered: Sequence[OpEntry]) -> bool:
        """Append those of a commit's ops that are held, if it has all then: history waits for no parents."""
        lacking = set(op_ids) - {entry["op_id"] for entry in covered}
        if not lacking or not self.storage.exists(layout.orphans_file(self._root, seal.session_id)):
            return False
        with OpLog(self._root, seal.session_id, storage=self.storage) as log:
            held = [entry for entry in log.orphans.entries() if entry["op_id"] in lacking]
            if root_of(sorted([*covered, *held], key=total_order)) != seal.root:
                return False
            log.append_many(held, durability="disk")
        return True

    @contextlib.contextmanager
    def receiving(self) -> Iterator[None]:
        with uncollected(self._root, self.storage):
            yield

    def advance(self, branch: str, expected: str | None, new: str) -> list[str]:
        repository = self.repository
        if expected is not None and not (
            repository.dag.descends(new, expected) or is_same_work(repository, new, expected)
        ):
            raise ConflictError(
                f"branch {branch!r} in {self._root} is at {expected}, which commit {new} does not descend "
                "from: run 'muse pull' first"
            )
        before = repository.read_tree(expected if expected != new else None)
        repository.dag.swap_head(branch, expected, new)
        kept = update_to_branch(repository, branch, before).kept
        self.settle()
        return kept

    def settle(self) -> None:
        """See to it that what the branches hold is not pending; what is in the way a commit will say."""
        for session_id in self.sessions():
            with (
                contextlib.suppress(MuseError),
                LiveSession(self._root, session_id, storage=self.storage) as session,
            ):
                session.heal()

    def _stored_objects(self, data: bytes) -> tuple[str, ...]:
        """Return what looks like the id of an object and is: a replay of the ops needs it."""
        return tuple(filter(self.repository.objects.has, sorted(set(digests_in(data)))))

    # -- lifetime -------------------------------------------------------------------------------

    def close(self) -> None:
        for file, reader in self._open.values():
            reader.close()
            file.close()
        self._open.clear()
        for ops in self._logs.values():
            ops.close()
        self._logs.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def entries_in(lines: bytes) -> list[OpEntry]:
    """Return the entries of lines that were sent; `ProtocolError` for anything else among them."""
    if len(lines) > _LONGEST_BATCH:
        raise ProtocolError(f"a batch of {len(lines)} bytes was sent, where {_LONGEST_BATCH} are allowed")
    block = decode_block(lines, 0) if lines else None
    if block is None:
        return []
    if block.damages or not lines.endswith(b"\n"):
        raise ProtocolError("entries were damaged on their way: nothing of them was taken over; try again")
    return block.entries


def commit_in(data: bytes, commit_id: str) -> CommitRecord:
    """Return the commit that was sent; `CorruptionError` if it is not the one of that id."""
    record = parse_commit(_document(data, f"commit {commit_id}"), f"commit {commit_id}, as it was sent,")
    _check_hash("commit", commit_id, record["commit_id"])
    return record


def snapshot_in(data: bytes, snapshot_id: str) -> Snapshot:
    """Return the snapshot that was sent; `CorruptionError` if it is not the one of that id."""
    document = _document(data, f"snapshot {snapshot_id}")
    snapshot = parse_snapshot(document, f"snapshot {snapshot_id}, as it was sent,")
    _check_hash("snapshot", snapshot_id, snapshot["snapshot_id"])
    return snapshot


def _document(data: bytes, what: str) -> dict[str, Any]:
    try:
        document = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise CorruptionError(f"{what}, as it was sent, is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise CorruptionError(f"{what}, as it was sent, is no JSON object")
    return document


def _check_hash(kind: Kind, wanted: str, found: str) -> None:
    if found != wanted:
        raise CorruptionError(f"{kind} {wanted} was sent as {found}: it is not stored; mend the other side")


# -- counting -------------------------------------------------------------------------------------


@dataclass(slots=True)
class Traffic:
    """What went over the wire: messages there and back, and the bytes of their contents."""

    round_trips: int = 0
    sent_bytes: int = 0
    received_bytes: int = 0


class CountingPeer:
    """Hands each call on to `peer`, and counts."""

    def __init__(self, peer: Peer) -> None:
        self.traffic = Traffic()
        self._peer = peer

    def _ask(self, call: str, *arguments: Any, **named: Any) -> Any:
        """Send one message and return what comes back: the one place where all of them pass."""
        self.traffic.round_trips += 1
        self.traffic.sent_bytes += _size(arguments)
        answer = getattr(self._peer, call)(*arguments, **named)
        self.traffic.received_bytes += _size(answer)
        return answer

    def identity(self) -> Identity:
        found: Identity = self._ask("identity")
        return found

    def sessions(self) -> list[str]:
        found: list[str] = self._ask("sessions")
        return found

    def reconcile(self, session_id: str, message: bytes) -> bytes:
        answer: bytes = self._ask("reconcile", session_id, message)
        return answer

    def entries(self, session_id: str, op_ids: Sequence[str]) -> Batch:
        batch: Batch = self._ask("entries", session_id, op_ids)
        return batch

    def offer(self, session_id: str, lines: bytes, *, check: bool = True) -> MergeResult:
        result: MergeResult = self._ask("offer", session_id, lines, check=check)
        return result

    def branches(self) -> dict[str, str | None]:
        found: dict[str, str | None] = self._ask("branches")
        return found

    def lacks(self, kind: Kind, ids: Sequence[str]) -> list[str]:
        missing: list[str] = self._ask("lacks", kind, ids)
        return missing

    def get(self, kind: Kind, digest: str) -> Content:
        content: Content = self._ask("get", kind, digest)
        return content

    def put(self, kind: Kind, digest: str, data: bytes) -> None:
        self._ask("put", kind, digest, data)

    def receiving(self) -> AbstractContextManager[None]:
        return self._peer.receiving()

    def advance(self, branch: str, expected: str | None, new: str) -> list[str]:
        kept: list[str] = self._ask("advance", branch, expected, new)
        return kept


def _size(value: Any) -> int:
    """Return the bytes of a message's content: texts and bytes as they are, 8 for a number."""
    if isinstance(value, bytes | str):
        return len(value)
    if isinstance(value, dict):
        return _size([*value, *value.values()])
    if isinstance(value, list | tuple):
        return sum(map(_size, value))
    if isinstance(value, Identity | Batch | Content | MergeResult):
        return sum(_size(getattr(value, name)) for name in value.__slots__)
    return 8 if isinstance(value, int) else 0
