"""OpLog: one session's append-only log of ops, its clock, its cuts and its checkpoint.

What is promised: an entry whose append returned is in the file, for every process to read, until
the file is taken away; it is there once, however often it is appended; its Lamport stamp exceeds
those of all entries its writer could have read. See `docs/log_format.md` for the bytes.
"""

import contextlib
import os
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from operator import itemgetter

from muse.core.appends import Durability, check_durability
from muse.core.checkpoints import Checkpoints
from muse.core.compiled import NATIVE
from muse.core.coverage import Cut, OpLogCheckpoint
from muse.core.damage import Damage
from muse.core.entry import (
    DEFAULT_LIMITS,
    MAX_LAMPORT,
    Limits,
    OpEntry,
    check_parents,
)
from muse.core.file.cursors import Cursors
from muse.core.file.log_file import LogFile
from muse.core.file.repair import Repair, repair_log
from muse.core.file.tail import Follower
from muse.core.heads import Heads
from muse.core.intake import Refusal
from muse.core.line import encode_any_line, encode_line
from muse.core.log_parts import LogParts
from muse.core.merge import Check, Holders, MergeResult
from muse.core.new_entries import Op, make_op_entry
from muse.core.op_ids import OP_IDS
from muse.core.orphans import Orphans
from muse.core.reading import Order, wanted
from muse.core.session_directory import SessionDirectory, list_sessions
from muse.core.timestamp import now_text
from muse.disk import layout
from muse.disk.resource import Resource
from muse.disk.storage import LOCAL, Storage
from muse.disk.system_calls import storage_error
from muse.domain import StructuredDelta
from muse.errors import UsageError

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


_encode = encode_any_line if NATIVE is None else encode_line
_OPEN_LOGS: "weakref.WeakSet[OpLog]" = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for log in list(_OPEN_LOGS):
        log._reopen_after_fork()  # noqa: SLF001


os.register_at_fork(after_in_child=_after_fork_in_child)


class OpLog(Resource):
    """One session's log. A handle may be used by several threads, and survives a fork.

    Nothing is written before the first append. `durability` "os": an append survives the death of
    every process; "disk": it survives power loss, at the price of a sync, shared by all threads that
    wait for one. Each appending call may ask for another durability than the log's. A context manager.

    `checkpoints` says what of the log is in history; `orphans` are entries whose parents have not come;
    `cursors` turns places of the log into text that may leave the process, and back; `heads` names the
    ops that no other rests on, for an op that is to rest on all that is here. `record` does not ask it.
    """

    checkpoints: Checkpoints
    orphans: Orphans
    cursors: Cursors
    heads: Heads

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
        root = os.fspath(repo_root)
        self._directory = SessionDirectory(root, layout.check_session_id(session_id), storage, limits)
        self._durability = check_durability(durability)
        self._limits = limits
        self._allow_network = allow_network
        self._collapsed: dict[str, int] = {}
        self._start()
        _OPEN_LOGS.add(self)

    def _start(self) -> None:
        parts = LogParts(
            self._directory, self._durability, self._collapsed, allow_network=self._allow_network
        )
        self._file, self._reader = parts.file, parts.reader
        self._appends, self._reading, self._arrivals = parts.appends, parts.reading, parts.arrivals
        self.orphans, self.checkpoints, self.cursors = parts.orphans, parts.checkpoints, parts.cursors
        self.heads = parts.heads

    def _reopen_after_fork(self) -> None:
        """Use descriptors, locks and a lookout of one's own: the parent's belong to the parent."""
        self._reader.close(wait=False)
        self._file.close()
        is_closed = self._appends.is_closed
        self._start()
        self._appends.is_closed = is_closed

    def session_id(self) -> str:
        """Return the id of the session, as it was given."""
        return self._directory.session_id

    @property
    def durability(self) -> Durability:
        """The durability of an append that does not ask for another."""
        return self._appends.durability

    def next_lamport_ts(self, count: int = 1) -> int:
        """Tick; return a stamp above everything that this handle made or could have read in the log.

        With `count`, return the first of so many, one after the other.
        """
        return self._appends.next_stamp(count)

    # -- appending ------------------------------------------------------------------------------

    def record(  # noqa: PLR0912 - see LONG_ON_PURPOSE in tests/test_architecture.py
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
        log_file, at = self._file, self._appends
        if at.records_itself and durability is None:
            recorded = at.record(actor_id, domain, domain_op, parent_op_ids, intent_id, reservation_id)
            if recorded is not None:
                return recorded
        if (names := (actor_id, domain, intent_id, reservation_id)) not in at.checked_names:
            at.check_names(names)
        if parent_op_ids:
            check_parents(parent_op_ids, self._limits)
        with at.lock:  # what follows is written out: a call less is a twentieth of the whole
            try:
                end = log_file.measure()
            except OSError as error:
                raise storage_error(error, log_file.path, "measure") from error
            if end == at.expected_end:
                at.own_count = 0
                at.seen_end = end
            else:
                end = at.take_in()
            clock = at.clock
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
            line = _encode(entry, self._limits)
            if end != at.seen_end:
                at.write(line, end, 1, stamp)
            else:
                try:
                    written = log_file.put(line)
                except OSError as error:
                    raise storage_error(error, log_file.path, "append to") from error
                watch = log_file.watch
                watch.ask()
                if written != len(line) or watch.answer[0]:
                    log_file.settle(line, written)
                at.highest = stamp
                at.own_count = 1
                at.op_count += 1
                at.expected_end = end + written
            ticket = at.syncs.wrote() if (durability or at.durability) == "disk" else 0
        if ticket:
            at.wait_durable(ticket, [entry])
        return entry

    def record_many(
        self,
        actor_id: str,
        domain: str,
        domain_ops: Iterable[Op],
        *,
        parent_op_ids: Sequence[str] | None = None,
        intent_id: str = "",
        reservation_id: str = "",
        durability: Durability | None = None,
    ) -> list[OpEntry]:
        """Record several ops of one actor with one write; see `record`. Returns their entries in order.

        All are checked before anything is written. Others' ops are never between them. With `parent_op_ids`,
        the causes of the first, each further op follows from the one before it.
        """
        names = (actor_id, domain, intent_id, reservation_id)
        return self._appends.record_many(names, domain_ops, parent_op_ids, durability)

    def create(self) -> bool:
        """Make an empty log where none exists, durably; return whether this call made it."""
        return self._arrivals.create()

    def append(self, entry: OpEntry, *, durability: Durability | None = None) -> bool:
        """Append a ready entry, from a client, a replica or a test. Idempotent by op id, permanently.

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
        return self._arrivals.append(list(entries), durability)

    def append_new(self, entries: list[OpEntry]) -> list[tuple[int, int]]:
        """Append checked entries, each once, of which `find` found none, in a block of `exclusive`.

        Return where the line of each starts and ends. Otherwise as `append_many`, at half the cost.
        """
        return self._arrivals.append_new(entries)

    def merge(
        self,
        other: "OpLog | LogFile | Iterable[OpEntry]",
        *,
        check: Check | None = None,
        holders: Holders | None = None,
        durability: Durability | None = None,
        progress: Callable[[int], None] = lambda _done: None,
    ) -> MergeResult:
        """Take in the entries of another replica of this session: the union by op id.

        Idempotent, commutative and associative: replicas that took in the same entries, in whatever
        order, hold the same ops in the same total order; the clock goes on above them all. A fault of
        one entry keeps out no other entry: the result counts and names it. An entry
        whose parents are not here is an orphan, over restarts, until a merge or an append brings them.
        `check` may refuse an op of its domain; what another session holds, as `holders` says, is refused;
        `progress` is told how many entries were looked at.
        `UsageError` for the log of another session, unless it comes as a mere file, and if this session
        is archived and lacks an entry. `StorageError` leaves what was merged so far: merge again.
        """
        self._appends.check_open()
        file = _file_of(other, self.session_id()) if isinstance(other, OpLog) else other
        result = self._arrivals.merge(file, check, holders, progress)
        if (durability or self.durability) == "disk" and result.added + result.known:
            self.sync()
        return result

    @contextlib.contextmanager
    def exclusive(self, *, wait: bool = True) -> Iterator[bool]:
        """Make what this thread looks up and appends in the block one step.

        Without `wait`, yields False, and nothing is held off, if another is at work or has written much.

        All others who append ready entries are held off, in this process and elsewhere; those who record in
        other processes are not. In the block, `append_many`, `merge`, `find`, `scan`, `cut` and
        `next_lamport_ts` may be called; wait for durability after it.
        """
        self._appends.check_open()
        with self._appends.exclusive(wait=wait) as is_exclusive:
            yield is_exclusive and (wait or not self._appends.is_far_behind())

    def sync(self) -> None:
        """Bring everything appended so far to the disk. `DurabilityError` if that fails: see `record`."""
        self._appends.sync()

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
        return self._reading.entries(since, until, wanted(actor, domain, address), order, salvage=salvage)

    def find(self, op_ids: Iterable[str]) -> dict[str, tuple[int, int, OpEntry]]:
        """Return those of the ops that the log holds: where the line of each starts and ends, its entry."""
        return self._reading.find(op_ids)

    def scan(self, since: int, until: int) -> Iterator[OpEntry]:
        """Iterate over all lines between two bytes: an op may come twice, damage is passed over."""
        return map(itemgetter(1), self._reader.scan(since, until, salvage=True))

    def read_all(self, *, salvage: bool = False) -> list[OpEntry]:
        """Return every op once, in the total order, the same on every replica.

        Raises `CorruptionError` at damage that may hide an op and `ConflictError` at an op id with
        two bodies; with `salvage` the good entries, and the first body, are returned instead.
        """
        return self._reading.all_entries(salvage=salvage)

    def damages(self) -> Iterator[Damage]:
        """Iterate over all bytes of the log that are no entry, torn or corrupt, in bounded memory."""
        return self._reader.damages()

    def repair(
        self, *, only_replaced: bool = False, other_bodies: Mapping[str, OpEntry] | None = None
    ) -> Repair:
        """Move damaged bytes to a side file and blank them; say what was done.

        With `only_replaced`, damage stays that may hide an op which the log does not have. `other_bodies`, by
        op id, are the right bodies of ops: lines that give one another body go too.
        """
        self._appends.check_open()
        with self._appends.file_lock(), self._appends.lock:
            storage = self._directory.storage
            return repair_log(
                self._file, self._reader, storage, only_replaced=only_replaced, other_bodies=other_bodies
            )

    def follow(
        self,
        *,
        since: int | Cut | None = None,
        actor: str | None = None,
        domain: str | None = None,
        address: str | None = None,
    ) -> Follower:
        """Iterate over entries as they arrive, from `since` (None: from now), until it is stopped.

        Every entry that matches comes once, in the order of the file, from any process.
        """
        return self._reading.follow(since, wanted(actor, domain, address))

    # -- cut and checkpoint ---------------------------------------------------------------------

    def cut(self) -> Cut:
        """Return the point up to which the log is complete now: whole lines, from any writer."""
        return self._appends.cut()

    def replay_since_checkpoint(self, *, until: Cut | None = None, salvage: bool = False) -> list[OpEntry]:
        """Return the entries that no checkpoint covers, of all domains, in the total order.

        Reads the tail only. An entry is pending by its position in the file, so one that arrived
        late with a low Lamport is there; an op whose line is in the file twice is there once.
        """
        return self.checkpoints.pending(until or self.cut(), salvage=salvage)

    def to_structured_delta(
        self, domain: str, *, until: Cut | None = None, salvage: bool = False
    ) -> StructuredDelta:
        """Collapse the pending ops of `domain` up to `until` (None: now) into a delta.

        The next `checkpoint` of this handle covers what was collapsed, and nothing else.
        """
        return self.checkpoints.delta(domain, until or self.cut(), salvage=salvage)

    def checkpoint(
        self, snapshot_id: str, *, commit_id: str = "", until: Cut | None = None, tips: Iterable[str] = ()
    ) -> OpLogCheckpoint:
        """Mark as covered what this handle collapsed since its last checkpoint; if nothing, all so far.

        With `until`, everything before that cut is covered instead. What arrived in between, and
        ops of domains that were not collapsed, stay pending. The log is synced first and the file
        replaced atomically, so a crash leaves the old checkpoint or the new one.
        """
        return self.checkpoints.advance(snapshot_id, commit_id, until, tips)

    def read_checkpoint(self) -> OpLogCheckpoint | None:
        """Return the checkpoint, or None if it does not exist. `CorruptionError` if it cannot be trusted."""
        return self.checkpoints.read()

    def close(self) -> None:
        """Release the file. Nothing is lost: appends are in it already. Closing twice is fine."""
        self._appends.close()


def _file_of(log: OpLog, session_id: str) -> LogFile:
    if log.session_id() != session_id:
        raise UsageError(
            f"the ops of session {log.session_id()!r} belong there, not in session {session_id!r}: merge "
            "replicas of one session"
        )
    return log._file  # noqa: SLF001
