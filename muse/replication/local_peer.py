"""A repository on a path of this machine as a peer."""

import contextlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice

import orjson

from muse.apply.domains import stated_states
from muse.apply.merge_heads import is_merge_of_ops, is_same_work
from muse.checks.merges import MergeCheck
from muse.core import content_id
from muse.core.entry import OpEntry, total_order
from muse.core.file.log_reader import LOOK_UP_COST, LogReader
from muse.core.file.session_file import SessionFile
from muse.core.line import entry_json, frame
from muse.core.op_log import MergeResult, OpLog, list_sessions
from muse.disk import layout
from muse.disk.aside import keep_aside
from muse.disk.json_file import is_as_written
from muse.disk.resource import Resource
from muse.disk.storage import LOCAL, Storage
from muse.errors import ConflictError, MuseError, NotFoundError, StorageError, UsageError
from muse.history.commit_record import CommitRecord
from muse.history.covered_ops import SessionLogs, SessionOps, op_ids_of, open_session
from muse.history.garbage_lock import uncollected
from muse.history.repository import Repository
from muse.history.seal import Seal, read_seal, root_of
from muse.history.session_history import SessionHistories, session_histories
from muse.history.signing import TrustedKeys
from muse.replication.log_items import read_items
from muse.replication.log_sums import keep_sum, kept_sum, log_version
from muse.replication.peer import BATCH_BYTES, BATCH_OPS, Batch, Content, Identity, Kind
from muse.replication.received import check_hash, commit_in, entries_in, snapshot_in
from muse.replication.reconcile import ItemSet, respond
from muse.session.live import LiveSession
from muse.session.working_files import update_to_branch
from muse.upkeep.garbage import digests_in

_FEW_OPS = 64
"""So few ops are looked up in the index, wherever they are."""

_BYTES_READ_ON = 4 * BATCH_BYTES

SESSIONS_OPEN = 64
"""How many sessions a peer has open, and in memory, at once: the ones that were asked about last."""


class LocalPeer(Resource):
    """The repository at `root` as a peer, for one synchronisation: what it compares is read once."""

    def __init__(self, root: str, storage: Storage = LOCAL) -> None:
        self.repository = Repository.open(root, storage)
        self._root = root
        self.storage = storage
        self.keys = TrustedKeys(root, storage)
        self.damaged_sessions: set[str] = set()
        self._items: dict[str, ItemSet] = {}
        self._open: dict[str, tuple[SessionFile, LogReader]] = {}
        self._logs: dict[str, SessionOps] = {}
        self._taking: OpLog | None = None  # open from batch to batch, as to open one is to read it
        self._is_receiving = False
        self._unsettled: set[str] | None = None  # the sessions to settle once nothing is received any more
        self._starts: dict[str, int] = {}  # where in a log the ops of the last commit put start

    def identity(self) -> Identity:
        repository = self.repository
        branch = repository.dag.current_branch()
        return Identity(repository.repo_id, repository.domain, repository.created_at, branch)

    # -- ops ------------------------------------------------------------------------------------

    def sessions(self) -> dict[str, str]:
        found = list_sessions(self._root, storage=self.storage)
        return {session_id: kept_sum(self._root, session_id, self.storage) for session_id in found}

    def items(self, session_id: str) -> ItemSet:
        """Return what the session's log held when this was first asked since a commit brought ops."""
        file, _ = self._session(session_id)
        if session_id not in self._items:
            version = log_version(self._root, session_id, self.storage)
            items = read_items(file, lambda _damage: self.damaged_sessions.add(session_id))
            self._items[session_id] = items
            is_same = version == log_version(self._root, session_id, self.storage)
            if version is not None and is_same and session_id not in self.damaged_sessions:
                keep_sum(self._root, session_id, version, items.fingerprint(0, len(items)), self.storage)
        return self._items[session_id]

    def reconcile(self, session_id: str, message: bytes) -> bytes:
        return respond(self.items(session_id), message)

    def entries(self, session_id: str, op_ids: Sequence[str]) -> Batch:
        file, reader = self._session(session_id)
        wanted = list(op_ids[:BATCH_OPS])
        found = self._found_together(session_id, wanted)
        others = [op_id for op_id in wanted if op_id not in found]
        starts = reader.find_many(others, file.end())
        lines: list[bytes] = []
        done = size = 0
        while done < len(wanted) and size < BATCH_BYTES:
            entry, start = found.get(wanted[done]), starts.get(wanted[done])
            if start is not None:
                entry = reader.entry_at(start)
            if entry is not None:
                lines.append(frame(entry_json(entry)))
                size += len(lines[-1])
            done += 1
        data = b"".join(lines)
        return Batch(done, data, self._stored_objects(data))

    def _found_together(self, session_id: str, op_ids: Sequence[str]) -> dict[str, OpEntry]:
        """Return the entries of those ops that are near the first of them in the log, if they are many.

        To read on costs less than to look up each, as long as not too many are passed by.
        """
        if len(op_ids) < _FEW_OPS:
            return {}
        file, reader = self._session(session_id)
        end = file.end()
        start = reader.find(op_ids[0], end)
        if start is None:
            return {}
        missing, found = set(op_ids), dict[str, OpEntry]()
        located = reader.scan(start, min(end, start + _BYTES_READ_ON), salvage=True)
        for _, entry in islice(located, len(op_ids) * LOOK_UP_COST):
            if entry["op_id"] in missing:
                missing.discard(entry["op_id"])
                found[entry["op_id"]] = entry
                if not missing:
                    break
        return found

    def offer(self, session_id: str, lines: bytes) -> MergeResult:
        entries = entries_in(lines)
        try:
            return self._taker(session_id).merge(entries, durability="disk")
        except BaseException:
            self._let_go()
            raise

    def clock(self, session_id: str) -> int:
        """Return the highest stamp in a session's log, which is open for the batch that follows."""
        try:
            return self._taker(session_id).cut().lamport_ts
        except BaseException:
            self._let_go()
            raise

    def _taker(self, session_id: str) -> OpLog:
        if self._taking is None or self._taking.session_id() != session_id:
            self._let_go()
            self._taking = OpLog(self._root, session_id, storage=self.storage)
        return self._taking

    def _let_go(self) -> None:
        """Close the log that batches come into: an archiver may want it."""
        if self._taking is not None:
            self._taking.close()
        self._taking = None

    def _session(self, session_id: str) -> tuple[SessionFile, LogReader]:
        found = self._open.pop(session_id, None)
        if found is None:
            if len(self._open) >= SESSIONS_OPEN:
                self._close_session(next(iter(self._open)))
            file = SessionFile(self._root, session_id, self.storage)
            reader = LogReader(file, layout.op_index_file(self._root, session_id), self.storage)
            found = file, reader
        self._open[session_id] = found
        return found

    def _close_session(self, session_id: str) -> None:
        file, reader = self._open.pop(session_id)
        self._items.pop(session_id, None)
        reader.close()
        file.close()

    def _ops_of(self, session_id: str) -> SessionOps:
        """Return the ops of a session's log, to be looked up by their ids."""
        found = self._logs.pop(session_id, None)
        if found is None:
            if len(self._logs) >= SESSIONS_OPEN:
                self._logs.pop(next(iter(self._logs))).close()
            found = open_session(self._root, session_id, self.storage)
        self._logs[session_id] = found
        return found

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

    def put_objects(self, contents: Mapping[str, bytes]) -> None:
        """Store some objects, and bring their names to the disk together."""
        for digest, data in contents.items():
            check_hash("object", digest, content_id.object_id(data))
        self.repository.objects.put_many(contents.values())

    def put(self, kind: Kind, digest: str, data: bytes) -> None:
        self._checked(kind, digest, data)()

    def put_in_place(self, kind: Kind, digest: str, data: bytes) -> str:
        """Do `put` where something else is stored; return where that is kept now, "" if it was lost."""
        store = self._checked(kind, digest, data)
        aside = keep_aside(self._root, self._place(kind, digest), self.storage)
        store()
        return aside

    def has_just(self, kind: Kind, digest: str, data: bytes) -> bool:
        """Return whether what is stored has the values of `data`, in the layout that a tool writes."""
        try:
            stored = self.storage.read_bytes(self._place(kind, digest))
            if kind == "object":
                return stored == data
            return bool(orjson.loads(stored) == orjson.loads(data)) and is_as_written(stored)
        except (NotFoundError, StorageError, orjson.JSONDecodeError):
            return False

    def _place(self, kind: Kind, digest: str) -> str:
        places = {
            "object": layout.object_file,
            "snapshot": layout.snapshot_file,
            "commit": layout.commit_file,
        }
        return places[kind](self._root, digest)

    def _checked(self, kind: Kind, digest: str, data: bytes) -> Callable[[], object]:
        """Check what was sent; return what stores it."""
        dag = self.repository.dag
        if kind == "object":
            check_hash("object", digest, content_id.object_id(data))
            return partial(self.repository.objects.put, data)
        if kind == "snapshot":
            snapshot = snapshot_in(data, digest)
            return partial(dag.write_snapshot, snapshot["manifest"], snapshot["created_at"])
        record = commit_in(data, digest)
        self.keys.check_received(record, f"commit {digest}, as it was sent,")
        self._check_ops(record)
        return partial(dag.write_commit, record)

    def _check_ops(self, record: CommitRecord) -> None:
        """Raise `ConflictError` unless the log here holds the very ops that a commit seals."""
        seal = read_seal(record["message"])
        if seal is None:
            return
        name, (op_ids, covered) = seal.session_id, self._covered(seal)
        if root_of(covered) != seal.root and not self._let_in_orphans(seal, op_ids, covered):
            lacking = len(op_ids) - len(covered)
            what = f"lacks {lacking} ops" if lacking else "holds another body of an op"
            raise ConflictError(
                f"the log of session {name!r} in {self._root} {what} that commit {record['commit_id']} "
                "covers: the commit is not taken over and the branch stays; mend what keeps the ops out; "
                "where an op has another body on each side, one side has to begin again with 'muse clone'"
            )

    def _covered(self, seal: Seal) -> tuple[list[str], list[OpEntry]]:
        """Return the ids of the ops that a commit covers, and those of them that the log has, in order."""
        name, op_ids = seal.session_id, op_ids_of(self.repository.objects, seal)
        covered = self._ops_of(name).covered(op_ids, start=self._starts.get(name, 0))
        if covered.runs:
            self._starts[name] = covered.runs[0][0]
        return op_ids, covered.entries

    def _let_in_orphans(self, seal: Seal, op_ids: Sequence[str], covered: Sequence[OpEntry]) -> bool:
        """Append the orphans that a commit covers, if all its ops are then in the log."""
        lacking = set(op_ids) - {entry["op_id"] for entry in covered}
        if not lacking or not self.storage.exists(layout.orphans_file(self._root, seal.session_id)):
            return False
        with OpLog(self._root, seal.session_id, storage=self.storage) as log:
            orphans = [entry for entry in log.orphans.entries() if entry["op_id"] in lacking]
            return self._let_in(log, seal, covered, orphans)

    def _let_in(self, log: OpLog, seal: Seal, covered: Sequence[OpEntry], entries: Sequence[OpEntry]) -> bool:
        """Append entries, if with them all ops of a commit are in the log."""
        if root_of(sorted([*covered, *entries], key=total_order)) != seal.root:
            return False
        log.orphans.let_in(entries)
        return True

    def cover(self, digest: str, commit: bytes, lines: bytes) -> list[str]:
        seal = read_seal(commit_in(commit, digest)["message"])
        if seal is None:
            return []
        op_ids, covered = self._covered(seal)
        known = {entry["op_id"] for entry in covered}
        lacking, entries = [op_id for op_id in op_ids if op_id not in known], entries_in(lines)
        if not entries:
            return lacking
        self._let_go()
        self._items.pop(seal.session_id, None)
        try:
            with OpLog(self._root, seal.session_id, storage=self.storage) as log:
                return [] if self._let_in(log, seal, covered, entries) else lacking
        except UsageError:  # the session is archived
            return lacking

    @contextlib.contextmanager
    def receiving(self) -> Iterator[None]:
        is_within, self._is_receiving = self._is_receiving, True
        try:
            with uncollected(self._root, self.storage):
                yield
        finally:
            self._is_receiving = is_within
            if not is_within:
                moved, self._unsettled = self._unsettled, None
                if moved is not None:
                    self.settle(moved)

    def advance(self, branch: str, expected: str | None, new: str) -> list[str]:
        came = self._came(new, expected)
        self._check_content(came)
        self._check_merges(came)
        return self.move(branch, expected, new)

    def check_merges(self, new: str, known: str | None) -> None:
        """Raise `ConflictError` if a merge behind `new`, and not behind `known`, is not what it merges.

        No actor vouches for a merge, so it is made again, as far as the plugins here can.
        """
        self._check_merges(self._came(new, known))

    def _came(self, new: str, known: str | None) -> list[CommitRecord]:
        """Return the commits behind `new`, the newest first, and not behind `known`."""
        dag = self.repository.dag
        came = list(dag.history(new, stop={known}))
        if known is None or not any(record["parent2_commit_id"] for record in came):
            return came
        behind = {record["commit_id"] for record in dag.history(known)}
        return [record for record in came if record["commit_id"] not in behind]

    def _check_merges(self, commits: Iterable[CommitRecord]) -> None:
        merges = MergeCheck(self.repository)
        with SessionLogs(self._root, self.storage) as logs:
            for record in filter(is_merge_of_ops, commits):
                for _, difference in merges.differences(record, merges.make_again(record, logs)):
                    raise ConflictError(
                        f"merge {record['commit_id']} {difference}: it was forged or damaged where it comes "
                        "from, and the branch stays; 'muse verify --replay' there names it"
                    )

    def _check_content(self, commits: Iterable[CommitRecord]) -> None:
        """Raise `ConflictError` if a snapshot of a commit, or an object of one, is not stored here."""
        known: set[str] = set()
        for record in commits:
            named = {record["snapshot_id"], *stated_states(record).values()} - known
            known |= named
            lacks = self.lacks("snapshot", sorted(named))
            for snapshot_id in named if not lacks else ():
                objects = set(self.repository.read_manifest(snapshot_id).values()) - known
                known |= objects
                lacks += self.lacks("object", sorted(objects))
            if lacks:
                raise ConflictError(
                    f"commit {record['commit_id']} names content {lacks[0]}, which is not in {self._root}: "
                    "the branch stays; send it first, or mend the other side with 'muse repair --from'"
                )

    def move(self, branch: str, expected: str | None, new: str) -> list[str]:
        """Do `advance` to a commit whose merges were checked, or made here."""
        repository = self.repository
        if expected is not None and not (
            repository.dag.descends(new, expected) or is_same_work(repository, new, expected)
        ):
            raise ConflictError(
                f"branch {branch!r} in {self._root} is at {expected}, which commit {new} does not descend "
                "from: run 'muse pull' first"
            )
        repository.dag.swap_head(branch, expected, new)
        kept = update_to_branch(repository, branch, expected).kept
        came = repository.dag.history(new, stop={expected})
        seals = (read_seal(record["message"]) for record in came)
        self.settle({seal.session_id for seal in seals if seal is not None})
        return kept

    def settle(self, moved: Collection[str] = ()) -> None:
        """Count what the branches hold as committed; a fault that hinders it is told by the next commit.

        History is read once. Sessions are looked into that have `moved`, or whose checkpoint is behind. While
        something is received, this is put off to the end of that: it takes the lock of a session, and its
        holder may wait for a collector, which waits for all that receive.
        """
        if self._is_receiving:
            self._unsettled = {*(self._unsettled or ()), *moved}
            return
        self._let_go()
        dag = self.repository.dag
        with contextlib.suppress(MuseError):
            histories = session_histories(dag, dag.branches())
            for session_id in self.sessions():
                if session_id in moved or self._is_behind(session_id, histories):
                    self._heal(session_id, histories)

    def _is_behind(self, session_id: str, histories: SessionHistories) -> bool:
        if self.storage.exists(layout.orphans_file(self._root, session_id)):
            return True
        commits = histories.of(session_id).commits
        try:
            with OpLog(self._root, session_id, storage=self.storage) as log:
                checkpoint = log.read_checkpoint()
        except MuseError:
            return True
        return bool(commits) and (not checkpoint or checkpoint.get("commit_id") != commits[-1].commit_id)

    def _heal(self, session_id: str, histories: SessionHistories) -> None:
        with (
            contextlib.suppress(MuseError),
            LiveSession(self._root, session_id, storage=self.storage) as session,
        ):
            session.heal(histories)

    def _stored_objects(self, data: bytes) -> tuple[str, ...]:
        """Return what looks like the id of an object and is: a replay of the ops needs it."""
        return tuple(filter(self.repository.objects.has, sorted(set(digests_in(data)))))

    # -- lifetime -------------------------------------------------------------------------------

    def close(self) -> None:
        self._let_go()
        for session_id in list(self._open):
            self._close_session(session_id)
        for ops in self._logs.values():
            ops.close()
        self._logs.clear()
