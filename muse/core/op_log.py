"""OpLog: one session's append-only log of ops, its clock, its cuts and its checkpoint.

What is promised: an entry whose append returned is in the file, for every process to read, until
the file is taken away; it is there once, however often it is appended; its Lamport stamp exceeds
those of all entries its writer could have read. See `docs/log_format.md` for the bytes.
"""

import contextlib
import os
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate, pairwise
from operator import itemgetter
from typing import Any, Literal, NoReturn

from muse.causality import causal_order
from muse.core.admission import Admission
from muse.core.blocks import encode_lines
from muse.core.clock import LamportClock
from muse.core.coverage import Coverage, Cut, OpLogCheckpoint
from muse.core.damage import Damage
from muse.core.delta import collapse
from muse.core.entry import (
    DEFAULT_LIMITS,
    MAX_LAMPORT,
    Limits,
    OpEntry,
    check_entry,
    check_parents,
    check_text,
    matches,
    total_order,
)
from muse.core.file.checkpoint_store import CheckpointFile
from muse.core.file.group_commit import GroupCommit
from muse.core.file.live_or_archived import SessionFile, session_exists
from muse.core.file.log_file import LogFile
from muse.core.file.log_reader import LogReader, collector_paused
from muse.core.file.objects import ObjectStore
from muse.core.file.op_places import OpPlaces
from muse.core.file.repair import Repair, repair_log
from muse.core.file.tail import Follower
from muse.core.intake import Incoming, Refusal, from_entries, from_log
from muse.core.line import encode_line
from muse.core.merge import Check, Merge, MergeResult
from muse.core.op_ids import OP_IDS
from muse.core.orphans import HeldFile
from muse.core.pending import LacksOpsError, PendingOps
from muse.core.timestamp import now_text
from muse.disk import layout
from muse.disk.resource import Resource
from muse.disk.storage import LOCAL, Storage
from muse.disk.system_calls import storage_error
from muse.domain import DomainOp, StructuredDelta
from muse.errors import (
    CorruptionError,
    DurabilityError,
    StorageError,
    UsageError,
)

__all__ = [
    "Cut",
    "Damage",
    "Durability",
    "Follower",
    "Limits",
    "MergeResult",
    "OpEntry",
    "OpLog",
    "OpLogCheckpoint",
    "Refusal",
    "Repair",
    "list_sessions",
    "make_op_entry",
]

Durability = Literal["os", "disk"]
Order = Literal["log", "total", "causal"]
Op = DomainOp | Mapping[str, Any]

_MUCH = 1 << 20
_INHERITED: list[LogReader] = []
_OPEN_LOGS: "weakref.WeakSet[OpLog]" = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for log in list(_OPEN_LOGS):
        log._reopen_after_fork()  # noqa: SLF001


os.register_at_fork(after_in_child=_after_fork_in_child)


def make_op_entry(
    actor_id: str,
    domain: str,
    domain_op: DomainOp | Mapping[str, Any],
    lamport_ts: int,
    *,
    parent_op_ids: Sequence[str] | None = None,
    intent_id: str = "",
    reservation_id: str = "",
) -> OpEntry:
    """Make an entry with a fresh op id, stamped with the present time.

    Nothing is checked or written here; `OpLog.append` checks.
    """
    return {
        "op_id": OP_IDS.next(),
        "actor_id": actor_id,
        "lamport_ts": lamport_ts,
        "parent_op_ids": list(parent_op_ids or ()),
        "domain": domain,
        "domain_op": domain_op,  # type: ignore[typeddict-item]
        "created_at": now_text(),
        "intent_id": intent_id,
        "reservation_id": reservation_id,
    }


def list_sessions(repo_root: str | os.PathLike[str], *, storage: Storage = LOCAL) -> list[str]:
    """Return the ids of all sessions in the repository, archived ones too, sorted."""
    root = os.fspath(repo_root)
    return sorted(
        name
        for name, is_directory in storage.list_directory(layout.op_log_directory(root))
        if is_directory and layout.is_session_id(name) and session_exists(root, name, storage=storage)
    )


class OpLog(Resource):
    """One session's log. A handle may be used by several threads, and survives a fork.

    Nothing is written before the first append. `durability` "os": an append survives the death of
    every process; "disk": it survives power loss, at the price of a sync, shared by all threads that
    wait for one. Each appending call may ask for another durability than the log's. A context manager.
    """

    def __init__(
        self,
        repo_root: str | os.PathLike[str],
        session_id: str,
        *,
        durability: Durability = "os",
        limits: Limits = DEFAULT_LIMITS,
        storage: Storage = LOCAL,
        allow_network: bool = False,
    ) -> None:
        self._root = os.fspath(repo_root)
        self._session_id = layout.check_session_id(session_id)
        self._path = layout.ops_file(self._root, session_id)
        self._durability = _check_durability(durability)
        self._limits = limits
        self._storage = storage
        self._allow_network = allow_network
        self._closed = False
        self._checked_names: set[tuple[str, str, str, str]] = set()
        self._collapsed: dict[str, int] = {}
        self._start_afresh()
        _OPEN_LOGS.add(self)

    def _start_afresh(self) -> None:
        self._lock = threading.RLock()
        self._lock_path = layout.session_lock_file(self._root, self._session_id)
        self._alone_thread = 0
        self._file = SessionFile(
            self._root,
            self._session_id,
            self._storage,
            prepare=self._prepare_directory,
            allow_network=self._allow_network,
        )
        self._reader = LogReader(
            self._file, layout.op_index_file(self._root, self._session_id), self._storage
        )
        path = layout.checkpoint_file(self._root, self._session_id)
        self._checkpoint = CheckpointFile(path, self._session_id, self._storage, self._file, self._reader)
        objects = ObjectStore(self._root, self._storage)
        self._clock = LamportClock(jump=self._limits.lamport_jump)
        self._pending = PendingOps(self._reader, self._checkpoint, objects, self._limits)
        self._admission = Admission(self._session_id, self._reader, self._clock, self._limits)
        self._held = HeldFile(layout.orphans_file(self._root, self._session_id), self._storage)
        self._syncs = GroupCommit(self._file.sync)
        self._unsynced: dict[int, list[str]] = {}  # ticket of a durable append -> its op ids
        self._opened = False
        self._seen_end = 0  # everything before this byte is in clock and count
        self._expected_end = -1  # where the file ends if nobody but this handle wrote since
        self._own_count = 0  # entries this handle wrote in between: the count has them already
        self._op_count = 0
        self._highest = 0

    def _reopen_after_fork(self) -> None:
        """Use descriptors, locks and a lookout of one's own: the parent's belong to the parent."""
        _INHERITED.append(self._reader)  # closing its table here could wait for a thread that is not here
        self._file.close()
        self._start_afresh()

    def session_id(self) -> str:
        return self._session_id

    @property
    def durability(self) -> Durability:
        """What an append comes to that does not say otherwise."""
        return self._durability

    # -- clock ----------------------------------------------------------------------------------

    def next_lamport_ts(self, count: int = 1) -> int:
        """Tick: a stamp above everything this handle made or could have read in the log.

        With `count`, the first of so many, one after the other.
        """
        with self._lock:
            self._take_in()
            return self._clock.tick(count)

    def _take_in(self) -> int:
        """Bring clock and count up to what is in the file, whoever wrote it; return where it ends."""
        if not self._opened:
            self._open()
        end = self._file.end()
        if end == self._expected_end:
            self._own_count = 0
            self._seen_end = end
            return end
        if end < self._seen_end:
            self._raise_became_shorter(end)
        self._op_count -= self._own_count
        self._own_count = 0
        for offset, data in self._file.blocks(self._seen_end, end):
            self._take_in_block(data, offset)
            self._seen_end = self._expected_end = offset + len(data)
        return end

    def _take_in_block(self, data: bytes, offset: int) -> None:
        stamps = self._reader.stamps(data, offset)
        self._op_count += len(stamps)
        highest = max(stamps, default=0)
        if self._clock.observe(highest):
            self._highest = max(self._highest, highest)
        else:
            self._highest = max([self._highest, *filter(self._clock.observe, stamps)])

    def _open(self) -> None:
        self._check_open()
        coverage = self._checkpoint.trusted_coverage()
        self._check_reaches(coverage.cut.offset)
        self._checkpoint.check_cut()
        self._file.known_durable(coverage.cut.offset)
        self._highest = coverage.cut.lamport_ts
        self._clock.value = coverage.lamport_ts
        self._seen_end = self._expected_end = coverage.cut.offset
        self._op_count = coverage.cut.op_count
        self._opened = True

    def _check_reaches(self, offset: int) -> None:
        end = self._file.end()
        if end < offset:
            raise CorruptionError(
                f"{self._path} has {end} bytes, but history covers {offset}: the log was cut or restored "
                "from an older copy; put the whole log back, or go on in a new session",
                path=self._path,
                offset=end,
            )

    def _raise_became_shorter(self, end: int) -> NoReturn:
        raise CorruptionError(
            f"{self._path} became shorter ({end} bytes, {self._seen_end} were read): it was cut or "
            "replaced while it was open; open the session anew once the file is whole",
            path=self._path,
            offset=end,
        )

    def _check_open(self) -> None:
        if self._closed:
            raise UsageError(f"the log of session {self._session_id!r} is closed: open it again")

    # -- appending ------------------------------------------------------------------------------

    def record(
        self,
        actor_id: str,
        domain: str,
        domain_op: Op,
        *,
        parent_op_ids: Sequence[str] = (),
        intent_id: str = "",
        reservation_id: str = "",
        durability: Durability | None = None,
    ) -> OpEntry:
        """Tick the clock, make the entry and append it: the everyday call. Returns the entry.

        On return the entry is in the log for every process to read (with durability "disk": on the
        disk). Raises `InvalidEntryError`, nothing written, for an op that JSON would change or that
        is beyond the limits; `StorageError`, nothing acknowledged, when the write fails;
        `DurabilityError` when the sync does.
        """
        names = (actor_id, domain, intent_id, reservation_id)
        if names not in self._checked_names:
            self._check_names(names)
        if parent_op_ids:
            check_parents(parent_op_ids, self._limits)
        log_file = self._file
        with self._lock:
            # The way of most ops is written out here: a call less is a twentieth of the whole.
            try:
                end = log_file.measure()
            except OSError as error:
                raise storage_error(error, self._path, "measure") from error
            if end == self._expected_end:
                self._own_count = 0
                self._seen_end = end
            else:
                end = self._take_in()
            clock = self._clock
            clock.value = stamp = clock.value + 1 if clock.value < MAX_LAMPORT else clock.tick()
            try:
                op_id = OP_IDS.take()
            except IndexError:
                op_id = OP_IDS.next()
            entry: OpEntry = {
                "op_id": op_id,
                "actor_id": actor_id,
                "lamport_ts": stamp,
                "parent_op_ids": [*parent_op_ids],
                "domain": domain,
                "domain_op": domain_op,  # type: ignore[typeddict-item]
                "created_at": now_text(),
                "intent_id": intent_id,
                "reservation_id": reservation_id,
            }
            line = encode_line(entry, self._limits)
            if end != self._seen_end:
                self._write(line, end, 1, stamp)
            else:
                try:
                    written = log_file.put(line)
                except OSError as error:
                    raise storage_error(error, self._path, "append to") from error
                watch = log_file.watch
                watch.ask()
                if written != len(line) or watch.answer[0]:
                    log_file.settle(line, written)
                self._highest = stamp
                self._own_count = 1
                self._op_count += 1
                self._expected_end = end + written
            ticket = self._syncs.wrote() if (durability or self._durability) == "disk" else 0
        if ticket:
            self._wait_durable(ticket, [entry])
        return entry

    def record_many(
        self,
        actor_id: str,
        domain: str,
        domain_ops: Iterable[Op],
        *,
        intent_id: str = "",
        reservation_id: str = "",
        durability: Durability | None = None,
    ) -> list[OpEntry]:
        """Record several ops of one actor with one write; see `record`. Returns their entries in order.

        All are checked before anything is written. Others' ops never come to stand between them.
        """
        self._check_names((actor_id, domain, intent_id, reservation_id))
        with self._lock:
            end = self._take_in()
            tick, next_id, created_at = self._clock.tick, OP_IDS.next, now_text()
            entries: list[OpEntry] = [
                {
                    "op_id": next_id(),
                    "actor_id": actor_id,
                    "lamport_ts": tick(),
                    "parent_op_ids": [],
                    "domain": domain,
                    "domain_op": domain_op,  # type: ignore[typeddict-item]
                    "created_at": created_at,
                    "intent_id": intent_id,
                    "reservation_id": reservation_id,
                }
                for domain_op in domain_ops
            ]
            if entries:
                self._write(encode_lines(entries, self._limits), end, len(entries), self._clock.value)
            durable = durability or self._durability
            ticket = self._syncs.wrote() if durable == "disk" and entries else 0
        if ticket:
            self._wait_durable(ticket, entries)
        return entries

    def _check_names(self, names: tuple[str, str, str, str]) -> None:
        fields = ("actor_id", "domain", "intent_id", "reservation_id")
        for field, value in zip(fields, names, strict=True):
            check_text(field, value, self._limits)
        if len(self._checked_names) < 4096:
            self._checked_names.add(names)

    def create(self) -> bool:
        """Make the log, empty, if there is none; durable on return. Whether this call made it."""
        self._check_open()
        with self._alone():
            is_new = not self._storage.exists(self._path)
            self._file.open_for_append()
            self._file.sync()
        return is_new

    def append(self, entry: OpEntry, *, durability: Durability | None = None) -> bool:
        """Append a ready entry, from a client, a replica or a test. Idempotent by op id, for good.

        True if it was stored, False if the log held it already. Raises `InvalidEntryError` for an
        entry that may not enter (nothing written), `ConflictError` if the log holds the same op id
        with another body.
        """
        return self.append_many([entry], durability=durability) == 1

    def append_many(self, entries: Iterable[OpEntry], *, durability: Durability | None = None) -> int:
        """Append ready entries with one write; return how many were new.

        All are checked before anything is written. After a `StorageError` none is acknowledged, though
        some may be in the log: append the same entries again, and each is there once. See `append`.
        """
        batch = list(entries)
        for entry in batch:
            check_entry(entry, self._limits)
        lines = encode_lines(batch, self._limits).split(b"\n")[:-1]
        if not batch:
            return 0
        self._check_open()
        if not self._file.is_open_for_append and not self._storage.exists(self._path):
            self._admission.fresh(batch, lines, 0)  # refused before a directory is made for them
        with self._alone():
            end = self._take_in()
            fresh = self._admission.fresh(batch, lines, self._seen_end)
            self._write_ready(
                [line for _, line in fresh],
                [entry["op_id"] for entry, _ in fresh],
                [entry["lamport_ts"] for entry, _ in fresh],
                end,
            )
            self._release_what_waits_for(entry["op_id"] for entry in batch)
            durable = durability or self._durability
            ticket = self._syncs.wrote() if durable == "disk" else 0
        if ticket:
            self._wait_durable(ticket, batch)
        return len(fresh)

    def append_new(self, entries: list[OpEntry]) -> list[tuple[int, int]]:
        """In a block of `alone`, append checked entries, each once, of which `find` found none in it.

        Return where the line of each starts and ends. Otherwise as `append_many`, at half the cost.
        """
        lines = encode_lines(entries, self._limits).split(b"\n")[:-1]
        end = self._take_in()
        self._admission.check_stamps(entries, self._seen_end)
        op_ids = [entry["op_id"] for entry in entries]
        if self._write_ready(lines, op_ids, [entry["lamport_ts"] for entry in entries], end):
            places = list(pairwise(accumulate((len(line) + 1 for line in lines), initial=end)))
        else:
            found = self.find(op_ids)
            places = [found[op_id][:2] for op_id in op_ids]
        self._release_what_waits_for(op_ids)
        return places

    def _release_what_waits_for(self, op_ids: Iterable[str]) -> None:
        if self._held.concerns(op_ids):
            self._let_in(Merge(self._reader, self._clock, self._limits), Incoming())

    def merge(
        self,
        other: "OpLog | LogFile | Iterable[OpEntry]",
        *,
        check: Check | None = None,
        durability: Durability | None = None,
        progress: Callable[[int], None] = lambda _done: None,
    ) -> MergeResult:
        """Take in the entries of another replica of this session: the union by op id.

        Idempotent, commutative and associative: replicas that took in the same entries, in whatever
        order, hold the same ops in the same total order; the clock goes on above them all. What stands
        in the way of one entry stands in the way of no other: the result counts and names it. An entry
        whose parents are not here is held, over restarts, until a merge or an append brings them.
        `check` may refuse an op of its domain; `progress` is told how many entries were looked at.
        `UsageError` for the log of another session, unless it comes as a mere file, and if this session
        is archived and lacks an entry. `StorageError` leaves what was merged so far: merge again.
        """
        self._check_open()
        merge = Merge(self._reader, self._clock, self._limits, check)
        done = 0
        with collector_paused(), self._reader.remembering() as places:
            for batch in self._batches_of(other, places):
                if batch.lines or self._held.is_there():
                    with self._alone():
                        self._let_in(merge, batch)
                else:
                    merge.count(batch)
                done += len(batch.lines) + batch.repeated + len(batch.conflicts) + len(batch.refused)
                progress(done)
        if (durability or self._durability) == "disk" and merge.added + merge.known:
            self.sync()
        return merge.result()

    def _batches_of(
        self, other: "OpLog | LogFile | Iterable[OpEntry]", places: OpPlaces
    ) -> Iterator[Incoming]:
        if not isinstance(other, OpLog | LogFile):
            return from_entries(other, self._limits)
        if isinstance(other, OpLog) and other.session_id() != self._session_id:
            raise UsageError(
                f"the ops of session {other.session_id()!r} belong there, not in session "
                f"{self._session_id!r}: merge replicas of one session"
            )
        file = other._file if isinstance(other, OpLog) else other  # noqa: SLF001
        with self._lock:
            self._take_in()
            self._reader.remember(self._seen_end, self._op_count, file.end())
        return from_log(file, self._limits, places)

    def held(self) -> list[OpEntry]:
        """Return the entries that came in a merge and whose parents are not here, in the total order."""
        return sorted((entry for entry, _ in self._held.read().values()), key=total_order)

    def missing_parents(self) -> list[str]:
        """Return the ids that held entries wait for: parents neither in the log nor held; sorted."""
        held = self._held.read()
        named = {parent for entry, _ in held.values() for parent in entry["parent_op_ids"]} - held.keys()
        return sorted(named - self._reader.find_many(list(named), self._file.end()).keys()) if named else []

    def release_held(self) -> int:
        """Append the held entries whose parents have come by another way; return how many."""
        merge = Merge(self._reader, self._clock, self._limits)
        if self._held.is_there():
            with self._alone():
                self._let_in(merge, Incoming())
        return merge.added

    def _let_in(self, merge: Merge, batch: Incoming) -> None:
        """Append what may enter of a batch and of what is held, then keep what must wait.

        What is held leaves its file last, once it is on the disk in the log: it is in both or in one.
        """
        end = self._take_in()
        held = self._held.read()
        ready, waiting = merge.sort_out(batch, held, self._seen_end, self._op_count)
        found = [one for one, _ in ready]
        stamps = [one.lamport_ts for one in found]
        self._write_ready([line for _, line in ready], [one.op_id for one in found], stamps, end)
        if waiting.keys() != held.keys():
            self._file.open_for_append()  # so that there is a session, and no archive
            if not held.keys() <= waiting.keys():
                self.sync()
            self._held.write(line + b"\n" for line in waiting.values())

    @contextlib.contextmanager
    def alone(self, *, wait: bool = True) -> Iterator[bool]:
        """Make what this thread looks up and appends in the block one step.

        Without `wait`, yields False, and nothing is held off, if another is at work or has written much.

        All others who append ready entries are held off, in this process and elsewhere; those who record in
        other processes are not. In the block, `append_many`, `merge`, `find`, `scan`, `cut` and
        `next_lamport_ts` may be called; wait for durability after it.
        """
        self._check_open()
        with self._alone(wait=wait) as is_alone:
            yield is_alone and (wait or self._file.end() - self._seen_end < _MUCH)

    @contextlib.contextmanager
    def _alone(self, *, wait: bool = True) -> Iterator[bool]:
        """Hold off all others who append ready entries, in this process and elsewhere."""
        if self._alone_thread == threading.get_ident():
            yield True
            return
        if not self._file.is_open_for_append:
            self._prepare_directory()
        with self._storage.locked(self._lock_path, wait=wait) as is_ours:
            if not is_ours or not self._lock.acquire(blocking=wait):
                yield False
                return
            self._alone_thread = threading.get_ident()
            try:
                yield True
            finally:
                self._alone_thread = 0
                self._lock.release()

    def _write_ready(self, lines: list[bytes], op_ids: list[str], stamps: list[int], end: int) -> bool:
        """Write lines behind byte `end`. Whether they stand there: nobody else wrote meanwhile."""
        if not lines:
            return True
        highest = max(stamps)
        self._write(b"\n".join([*lines, b""]), end, len(lines), highest)
        self._clock.observe(highest)
        stand_there = self._file.end() == self._expected_end
        if stand_there:
            lengths = (len(line) + 1 for line in lines)
            self._reader.learn(op_ids, stamps, lengths, end, self._expected_end)
        return stand_there

    def _prepare_directory(self) -> None:
        directory = layout.session_directory(self._root, self._session_id)
        self._refuse_lost_log()
        if not self._storage.exists(directory):
            self._refuse_twin()
            self._storage.make_directories(directory)

    def _refuse_lost_log(self) -> None:
        """Refuse to begin a log beside an archive whose tombstone is lost: it holds the session's ops."""
        archive = layout.manifest_file(self._root, self._session_id)
        is_here = session_exists(self._root, self._session_id, storage=self._storage)
        if self._storage.exists(archive) and not is_here:
            raise UsageError(
                f"session {self._session_id!r} has an archive, {archive}, and neither log nor tombstone: "
                f"'muse session restore {self._session_id}' brings its log back, or choose another session id"
            )

    def _refuse_twin(self) -> None:
        """Refuse an id that differs from another's by case alone: some file systems hold only one."""
        sessions = list_sessions(self._root, storage=self._storage)
        folded = self._session_id.casefold()
        twin = next(
            (name for name in sessions if name.casefold() == folded and name != self._session_id), None
        )
        if twin is not None:
            raise UsageError(
                f"session {twin!r} exists and differs from {self._session_id!r} by case alone: rename"
            )
        if len(sessions) >= self._limits.sessions:
            raise UsageError(f"the repository has {len(sessions)} sessions, its limit: archive some")

    def _write(self, data: bytes, end: int, count: int, highest: int) -> None:
        """Append `data`, that is `count` lines, to the file, which ended at byte `end`."""
        torn = end != self._seen_end
        if torn:
            self._file.open_for_append()
            self._file.start_clean()
        written = self._file.append(data)
        highest = max(highest, self._highest)
        # No call stands between these stores, so an interrupt comes before all of them or after all.
        self._highest = highest
        self._own_count = count
        self._op_count += count
        self._expected_end = -1 if torn else end + written

    # -- durability -----------------------------------------------------------------------------

    def _wait_durable(self, ticket: int, entries: list[OpEntry]) -> None:
        unsynced = self._unsynced
        unsynced[ticket] = [entry["op_id"] for entry in entries]
        try:
            self._syncs.wait(ticket)
        except StorageError as error:
            doubtful = [op_id for op_ids in list(unsynced.values()) for op_id in op_ids]
            raise DurabilityError(
                f"{error}; in doubt are {len(doubtful)} ops, {', '.join(doubtful[:3])}...: open the session "
                "anew on a sound disk and append them again, they will be stored once",
                path=self._path,
                errno=error.errno,
                op_ids=doubtful,
            ) from error
        except BaseException:  # an interrupt: nobody waits for these any more
            unsynced.pop(ticket, None)
            raise
        del unsynced[ticket]

    def sync(self) -> None:
        """Bring everything appended so far to the disk. `DurabilityError` if that fails: see `record`."""
        with self._lock:
            self._check_open()
            if not self._file.end():
                return
            self._file.open_for_append()  # failing here casts no doubt on what was written
            ticket = self._syncs.wrote()
        self._wait_durable(ticket, [])

    # -- reading --------------------------------------------------------------------------------

    def entries(
        self,
        *,
        since: int | Cut = 0,
        until: int | Cut | None = None,
        actor: str | None = None,
        domain: str | None = None,
        address: str | None = None,
        order: Order = "log",
        salvage: bool = False,
    ) -> Iterator[OpEntry]:
        """Iterate over the ops, each once, in bounded memory when `order` is "log", that of the file.

        `since` and `until` are cuts or byte offsets where lines start; `address` matches all
        addresses that start with it. "total" sorts by the total order, which takes memory for all.
        "causal" puts parents before children, whatever their stamps say; see `causal_order`.
        Raises `CorruptionError` at damage that may hide an op, unless `salvage` is asked for.
        """
        if order not in {"log", "total", "causal"}:
            raise UsageError(f"order {order!r} is unknown: use 'log', 'total' or 'causal'")
        start, stop = _offset(since), self._file.end() if until is None else _offset(until)
        found = self._reader.distinct(start, stop, self._pending.frontier_at(start), salvage=salvage)
        if order == "causal":
            everything = causal_order(sorted(map(itemgetter(1), found), key=total_order))
            return (entry for entry in everything if matches(entry, actor, domain, address))
        if actor is None and domain is None and address is None:
            matching: Iterator[OpEntry] = map(itemgetter(1), found)
        else:
            matching = (entry for _, entry in found if matches(entry, actor, domain, address))
        return iter(sorted(matching, key=total_order)) if order == "total" else matching

    def find(self, op_ids: Iterable[str]) -> dict[str, tuple[int, int, OpEntry]]:
        """Return those of the ops that the log holds: where the line of each starts and ends, its entry."""
        with self._lock:
            self._take_in()
            starts = self._reader.find_many(list(op_ids), self._seen_end) if self._seen_end else {}
            lines = ((op_id, start, *self._reader.line_at(start)) for op_id, start in starts.items())
            return {op_id: (start, end, entry) for op_id, start, entry, end in lines}

    def scan(self, since: int, until: int) -> Iterator[OpEntry]:
        """Iterate over all lines between two bytes: an op may come twice, damage is passed over."""
        return map(itemgetter(1), self._reader.scan(since, until, salvage=True))

    def read_all(self, *, salvage: bool = False) -> list[OpEntry]:
        """Return every op once, in the total order, the same on every replica.

        Raises `CorruptionError` at damage that may hide an op and `ConflictError` at an op id with
        two bodies; with `salvage` the good entries, and the first body, are returned instead.
        """
        found: dict[str, OpEntry] = {}
        with collector_paused():
            for offset, entry in self._reader.scan(0, self._file.end(), salvage=salvage):
                known = found.setdefault(entry["op_id"], entry)
                if known is not entry and known != entry and not salvage:
                    self._reader.raise_two_bodies(entry, offset)
            return sorted(found.values(), key=total_order)

    def damages(self) -> Iterator[Damage]:
        """Iterate over all bytes of the log that are no entry, torn or corrupt, in bounded memory."""
        return self._reader.damages()

    def repair(self) -> Repair:
        """Move damaged bytes to a side file and blank them; say what was done."""
        self._check_open()
        with self._storage.locked(self._lock_path), self._lock:
            return repair_log(self._file, self._reader, self._storage)

    def follow(
        self,
        *,
        since: int | Cut | None = None,
        actor: str | None = None,
        domain: str | None = None,
        address: str | None = None,
    ) -> Follower:
        """Iterate over entries as they arrive, from `since` (None: from now), until it is stopped.

        Every entry that matches comes once, in the order of the file, whichever process wrote it.
        """
        self._check_open()
        start = self._file.end() if since is None else _offset(since)
        log_file = SessionFile(self._root, self._session_id, self._storage)
        reader = LogReader(log_file, layout.op_index_file(self._root, self._session_id), self._storage)
        return Follower(
            log_file,
            reader,
            start,
            self._pending.frontier_at(start),
            lambda entry: matches(entry, actor, domain, address),
        )

    # -- cut and checkpoint ---------------------------------------------------------------------

    def cut(self) -> Cut:
        """Return the point up to which the log is complete now: whole lines, whoever wrote them."""
        with self._lock:
            self._take_in()
            return Cut(self._seen_end, self._op_count, self._highest)

    def replay_since_checkpoint(self, *, until: Cut | None = None, salvage: bool = False) -> list[OpEntry]:
        """Return the entries that no checkpoint covers, of all domains, in the total order.

        Reads the tail only. An entry is pending by its position in the file, so one that arrived
        late with a low Lamport is there; an op whose line stands in the file twice is there once.
        """
        with collector_paused():
            return sorted(self._pending.entries(until or self.cut(), salvage=salvage), key=total_order)

    def to_structured_delta(
        self, domain: str, *, until: Cut | None = None, salvage: bool = False
    ) -> StructuredDelta:
        """Collapse the pending ops of `domain` up to `until` (None: now) into a delta.

        The next `checkpoint` of this handle covers what was collapsed, and nothing else.
        """
        cut = until or self.cut()
        with collector_paused():
            delta = collapse(self._pending.entries(cut, salvage=salvage), domain)
        with self._lock:
            self._collapsed[domain] = cut.offset
        return delta

    def checkpoint(
        self, snapshot_id: str, *, commit_id: str = "", until: Cut | None = None, tips: Iterable[str] = ()
    ) -> OpLogCheckpoint:
        """Mark as covered what this handle collapsed since its last checkpoint; if nothing, all so far.

        With `until`, everything before that cut is covered instead. What arrived in between, and
        ops of domains that were not collapsed, stay pending. The log is synced first and the file
        replaced atomically, so a crash leaves the old checkpoint or the new one.
        """
        self._check_open()
        self._prepare_directory()
        self.sync()
        with self._storage.locked(self._lock_path), self._lock:
            upto = until.offset if until else dict(self._collapsed) or self.cut().offset
            covered = self._pending.advanced(self._checkpoint.coverage(), upto)
            checkpoint = self._checkpoint.write(snapshot_id, covered, commit_id, tips)
            self._collapsed.clear()
        return checkpoint

    def with_commits(self, op_lists: Iterable[str], *, salvage: bool = False) -> Coverage:
        """Return what is covered once the ops are that commits name by their lists, oldest first.

        A checkpoint that cannot be trusted counts as none. Held entries that a commit covers are released:
        history vouches for them. `CorruptionError` if the log lacks an op, unless `salvage`.
        """
        names = list(op_lists)
        before = self._checkpoint.trusted_coverage()
        try:
            return self._pending.adopted(before, names, self.cut().offset)
        except LacksOpsError as error:
            self._release_covered(error.op_ids)
        return self._pending.adopted(before, names, self.cut().offset, salvage=salvage)

    def _release_covered(self, op_ids: Iterable[str]) -> None:
        with self._alone():
            held = dict(self._held.read())
            ready = [held.pop(op_id) for op_id in op_ids if op_id in held]
            if ready:
                self._write_ready(
                    [line[:-1] for _, line in ready],
                    [entry["op_id"] for entry, _ in ready],
                    [entry["lamport_ts"] for entry, _ in ready],
                    self._take_in(),
                )
                self._file.sync()
                self._held.write(line for _, line in held.values())

    def adopt(self, coverage: Coverage, snapshot_id: str, commit_id: str, tips: Iterable[str] = ()) -> None:
        """Make `coverage`, which `with_commits` gave, the checkpoint's. The log is synced first."""
        self._check_open()
        self._prepare_directory()
        self.sync()
        with self._alone():
            self._checkpoint.write(snapshot_id, coverage, commit_id, tips)

    def distrust_checkpoint(self) -> None:
        """Count the checkpoint as lost, so that it is made anew from the commits and nothing else."""
        self._checkpoint.distrust()

    def discard_checkpoint(self) -> None:
        """Remove a checkpoint that cannot be trusted, where history knows of no commit of this session."""
        self._checkpoint.discard()

    def coverage(self) -> Coverage:
        """Return what the checkpoint covers; nothing if there is none."""
        return self._checkpoint.coverage()

    def trusted_checkpoint(self) -> OpLogCheckpoint | None:
        """Return the checkpoint; None if there is none, or none that can be trusted."""
        try:
            return self._checkpoint.read()
        except CorruptionError:
            return None

    def read_checkpoint(self) -> OpLogCheckpoint | None:
        """Return the checkpoint, or None if there is none. `CorruptionError` if it cannot be trusted."""
        return self._checkpoint.read()

    def frontier_after(self, entries: Iterable[OpEntry]) -> dict[str, int]:
        """Return the frontier once `entries` are covered too: each actor's highest Lamport."""
        return self._pending.frontier_after(entries)

    # -- lifetime -------------------------------------------------------------------------------

    def close(self) -> None:
        """Release the file. Nothing is lost: appends are in it already. Closing twice is fine."""
        with self._lock:
            self._reader.close()
            self._file.close()
            self._closed = True
            self._opened = False
            self._expected_end = -1


def _offset(place: int | Cut) -> int:
    return place.offset if isinstance(place, Cut) else place


def _check_durability(durability: Durability) -> Durability:
    if durability not in {"os", "disk"}:
        raise UsageError(f"durability {durability!r} is unknown: use 'os' or 'disk'")
    return durability
