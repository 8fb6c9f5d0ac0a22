"""OpLog: one session's append-only log of ops, its clock, its cuts and its checkpoint.

What is promised: an entry whose append returned is in the file, for every process to read, until
the file is taken away; it is there once, however often it is appended; its Lamport stamp exceeds
those of all entries its writer could have read. See `docs/log_format.md` for the bytes.
"""

import os
import threading
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Literal, NoReturn, Self

from muse.core import layout
from muse.core.checkpoint import (
    NOTHING,
    Coverage,
    Cut,
    OpLogCheckpoint,
    coverage_of,
    decode_checkpoint,
    encode_checkpoint,
    make_checkpoint,
)
from muse.core.clock import LamportClock
from muse.core.delta import collapse
from muse.core.entry import (
    DEFAULT_LIMITS,
    Limits,
    OpEntry,
    check_entry,
    check_parents,
    check_text,
    matches,
    total_order,
)
from muse.core.follow import Follower
from muse.core.log_file import LogFile
from muse.core.op_ids import OpIdSource
from muse.core.record import (
    Block,
    Damage,
    Position,
    decode_block,
    decode_positions,
    decode_stamps,
    encode_line,
)
from muse.core.storage import LOCAL, Storage
from muse.core.timestamp import now_text
from muse.domain import DomainOp, StructuredDelta
from muse.errors import ConflictError, CorruptionError, InvalidEntryError, NotFoundError, UsageError

__all__ = [
    "Cut",
    "Damage",
    "Durability",
    "Follower",
    "Limits",
    "OpEntry",
    "OpLog",
    "OpLogCheckpoint",
    "list_sessions",
    "make_op_entry",
]

Durability = Literal["os", "disk"]
Order = Literal["log", "total"]

_OP_IDS = OpIdSource()
_OPEN_LOGS: "weakref.WeakSet[OpLog]" = weakref.WeakSet()


def _after_fork_in_child() -> None:
    _OP_IDS.forget()
    for log in list(_OPEN_LOGS):
        log._reopen_after_fork()  # noqa: SLF001


if hasattr(os, "register_at_fork"):
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
        "op_id": _OP_IDS.next(),
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
    """Return the ids of all sessions with a log in the repository, sorted; empty if there are none."""
    directory = layout.op_log_directory(os.fspath(repo_root))
    found = (name for name, is_directory in storage.list_directory(directory) if is_directory)
    return sorted(
        name for name in found if not name.startswith(".") and storage.exists(_ops_in(directory, name))
    )


def _ops_in(directory: str, session_id: str) -> str:
    return os.path.join(directory, session_id, "ops.jsonl")


class OpLog:
    """One session's log. A handle may be used by several threads, and survives a fork.

    Nothing is written before the first append. `durability` "os": an append survives the death of
    every process; "disk": it survives power loss, at the price of a sync. A context manager.
    """

    def __init__(
        self,
        repo_root: str | os.PathLike[str],
        session_id: str,
        *,
        durability: Durability = "os",
        limits: Limits = DEFAULT_LIMITS,
        storage: Storage = LOCAL,
    ) -> None:
        if durability not in {"os", "disk"}:
            raise UsageError(f"durability {durability!r} is unknown: use 'os' or 'disk'")
        self._root = os.fspath(repo_root)
        self._session_id = layout.check_session_id(session_id)
        self._path = layout.ops_file(self._root, session_id)
        self._checkpoint_path = layout.checkpoint_file(self._root, session_id)
        self._durability = durability
        self._limits = limits
        self._storage = storage
        self._closed = False
        self._checked_names: set[tuple[str, str, str, str]] = set()
        self._collapsed: dict[str, int] = {}
        self._start_afresh()
        _OPEN_LOGS.add(self)

    def _start_afresh(self) -> None:
        self._lock = threading.RLock()
        self._file = LogFile(self._path, self._storage)
        self._clock = LamportClock(jump=self._limits.lamport_jump)
        self._opened = False
        self._seen_end = 0  # everything before this byte is in clock, count and ids
        self._expected_end = 0  # where the file ends if nobody but this handle wrote since
        self._own: list[OpEntry] = []  # written by this handle between those two
        self._op_count = 0
        self._highest = 0
        self._ids: dict[str, int] | None = None  # op id -> byte offset; built when first needed

    def _reopen_after_fork(self) -> None:
        """Use descriptors, a lock and a lookout of one's own: the parent's belong to the parent."""
        self._file.close()
        self._start_afresh()

    def session_id(self) -> str:
        return self._session_id

    # -- clock ----------------------------------------------------------------------------------

    def next_lamport_ts(self) -> int:
        """Tick: a stamp above everything this handle made or could have read in the log."""
        with self._lock:
            self._take_in()
            return self._clock.tick()

    def _take_in(self) -> int:
        """Bring clock, count and ids up to what is in the file, whoever wrote it; return its end."""
        if not self._opened:
            self._open()
        end = self._file.end()
        if end == self._expected_end:
            if self._own:
                self._take_in_own()
            self._seen_end = end
            return end
        if end < self._seen_end:
            raise CorruptionError(
                f"{self._path} became shorter ({end} bytes, {self._seen_end} were read): it was cut or "
                "replaced while it was open; open the session anew once the file is whole",
                path=self._path,
                offset=end,
            )
        self._own.clear()
        for offset, data in self._file.blocks(self._seen_end, end):
            self._take_in_block(data, offset)
            self._seen_end = self._expected_end = offset + len(data)
        return end

    def _open(self) -> None:
        self._check_open()
        coverage = self._coverage()
        if self._file.end() < coverage.cut.offset:
            self._raise_shorter_than(coverage.cut.offset)
        self._highest = coverage.cut.lamport_ts
        self._clock.value = coverage.lamport_ts
        self._seen_end = self._expected_end = coverage.cut.offset
        self._op_count = coverage.cut.op_count
        self._opened = True

    def _raise_shorter_than(self, offset: int) -> NoReturn:
        end = self._file.end()
        raise CorruptionError(
            f"{self._path} has {end} bytes, but history covers {offset}: the log was cut or restored from "
            "an older copy; put the whole log back, or go on in a new session",
            path=self._path,
            offset=end,
        )

    def _check_open(self) -> None:
        if self._closed:
            raise UsageError(f"the log of session {self._session_id!r} is closed: open it again")

    def _take_in_own(self) -> None:
        self._op_count += len(self._own)
        self._highest = max(self._highest, *(entry["lamport_ts"] for entry in self._own))
        if self._ids is not None:
            offset = self._seen_end
            for entry in self._own:
                self._ids.setdefault(entry["op_id"], offset)
                offset += len(encode_line(entry, self._limits))
        self._own.clear()

    def _take_in_block(self, data: bytes, offset: int) -> None:
        stamps = None if self._ids is not None else decode_stamps(data)
        if stamps is None:
            block = decode_block(data, offset)
            stamps = [entry["lamport_ts"] for entry in block.entries]
            if self._ids is not None:
                for start, entry in zip(block.starts, block.entries, strict=True):
                    self._ids.setdefault(entry["op_id"], start)
        self._op_count += len(stamps)
        highest = max(stamps, default=0)
        if self._clock.observe(highest):
            self._highest = max(self._highest, highest)
        else:
            self._highest = max([self._highest, *filter(self._clock.observe, stamps)])

    # -- appending ------------------------------------------------------------------------------

    def record(
        self,
        actor_id: str,
        domain: str,
        domain_op: DomainOp | Mapping[str, Any],
        *,
        parent_op_ids: Sequence[str] = (),
        intent_id: str = "",
        reservation_id: str = "",
    ) -> OpEntry:
        """Tick the clock, make the entry and append it: the everyday call. Returns the entry.

        On return the entry is in the log for every process to read. Raises `InvalidEntryError`,
        nothing written, for an op that JSON would change or that is beyond the limits, and
        `StorageError`, nothing acknowledged, when the write fails.
        """
        names = (actor_id, domain, intent_id, reservation_id)
        if names not in self._checked_names:
            self._check_names(names)
        if parent_op_ids:
            check_parents(parent_op_ids, self._limits)
        with self._lock:
            end = self._take_in()
            entry: OpEntry = {
                "op_id": _OP_IDS.next(),
                "actor_id": actor_id,
                "lamport_ts": self._clock.tick(),
                "parent_op_ids": list(parent_op_ids),
                "domain": domain,
                "domain_op": domain_op,  # type: ignore[typeddict-item]
                "created_at": now_text(),
                "intent_id": intent_id,
                "reservation_id": reservation_id,
            }
            self._write([entry], encode_line(entry, self._limits), end)
        return entry

    def _check_names(self, names: tuple[str, str, str, str]) -> None:
        fields = ("actor_id", "domain", "intent_id", "reservation_id")
        for field, value in zip(fields, names, strict=True):
            check_text(field, value, self._limits)
        if len(self._checked_names) < 4096:
            self._checked_names.add(names)

    def append(self, entry: OpEntry) -> bool:
        """Append a ready entry, from a client, a replica or a test. Idempotent by op id.

        True if it was stored, False if the log held it already. Raises `InvalidEntryError` for an
        entry that may not enter (nothing written), `ConflictError` if the log holds the same op id
        with another body.
        """
        return self.append_many([entry]) == 1

    def append_many(self, entries: Iterable[OpEntry]) -> int:
        """Append ready entries with one write; return how many were new.

        All are checked before anything is written, so either all are in the log afterwards or,
        after an error, none of them by this call. See `append`.
        """
        batch = list(entries)
        for entry in batch:
            check_entry(entry, self._limits)
        lines = [encode_line(entry, self._limits) for entry in batch]
        if not batch:
            return 0
        self._check_open()
        self._prepare_directory()
        with self._storage.locked(layout.session_lock_file(self._root, self._session_id)), self._lock:
            end = self._take_in()
            self._build_ids()
            fresh = self._fresh(batch, lines)
            for entry, _ in fresh:
                self._check_believable(entry)
            if fresh:
                self._write([entry for entry, _ in fresh], b"".join(line for _, line in fresh), end)
                self._clock.observe(max(entry["lamport_ts"] for entry, _ in fresh))
        return len(fresh)

    def _check_believable(self, entry: OpEntry) -> None:
        if not self._clock.believes(entry["lamport_ts"]):
            raise InvalidEntryError(
                f"lamport_ts {entry['lamport_ts']} is more than {self._limits.lamport_jump} ahead of this "
                f"log's clock ({self._clock.value}): it is not adopted",
                field="lamport_ts",
            )

    def _fresh(self, batch: list[OpEntry], lines: list[bytes]) -> list[tuple[OpEntry, bytes]]:
        """Return what is not in the log yet; `ConflictError` for a known id with another body."""
        fresh: dict[str, tuple[OpEntry, bytes]] = {}
        for entry, line in zip(batch, lines, strict=True):
            op_id = entry["op_id"]
            known = self._entry_of(op_id) or fresh.get(op_id, (None,))[0]
            if known is None:
                self._check_after_parents(entry, fresh)
                fresh[op_id] = entry, line
            elif known != entry:
                raise ConflictError(
                    f"op {op_id} is in the log of session {self._session_id!r} with another body: "
                    "an op id belongs to one op for good; give the new op an id of its own",
                    op_id=op_id,
                )
        return list(fresh.values())

    def _check_after_parents(self, entry: OpEntry, fresh: Mapping[str, tuple[OpEntry, bytes]]) -> None:
        for parent_id in entry["parent_op_ids"]:
            parent = self._entry_of(parent_id) or fresh.get(parent_id, (None,))[0]
            if parent is not None and parent["lamport_ts"] >= entry["lamport_ts"]:
                raise InvalidEntryError(
                    f"lamport_ts {entry['lamport_ts']} does not exceed that of its parent {parent_id} "
                    f"({parent['lamport_ts']}): take the stamp from the clock after reading the parent",
                    field="lamport_ts",
                )

    def _build_ids(self) -> None:
        if self._ids is not None:
            return
        ids: dict[str, int] = {}
        for offset, data in self._file.blocks(0, self._seen_end):
            block = decode_block(data, offset)
            for start, entry in zip(block.starts, block.entries, strict=True):
                ids.setdefault(entry["op_id"], start)
        self._ids = ids

    def _entry_of(self, op_id: str) -> OpEntry | None:
        offset = (self._ids or {}).get(op_id)
        if offset is None:
            return None
        length = self._limits.entry_bytes
        line, newline, _ = self._file.read(offset, length).partition(b"\n")
        block = decode_block(line + newline, offset)
        return next((entry for entry in block.entries if entry["op_id"] == op_id), None)

    def _prepare_directory(self) -> None:
        directory = layout.session_directory(self._root, self._session_id)
        if self._storage.exists(directory):
            return
        self._refuse_twin()
        self._storage.make_directories(directory)

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

    def _write(self, entries: list[OpEntry], data: bytes, end: int) -> None:
        """Append `data`, the lines of `entries`, to the file, which ended at byte `end`."""
        if not self._file.is_open_for_append:
            self._prepare_directory()
            self._file.open_for_append()
        if end != self._seen_end:
            self._file.start_clean()
        written = self._file.append(data)
        if end == self._seen_end and written == len(data):
            self._own = entries
            self._expected_end = end + written
        if self._durability == "disk":
            self._file.sync()

    def sync(self) -> None:
        """Bring everything appended so far to the disk. Raises `StorageError`, see `LogFile.sync`."""
        with self._lock:
            self._check_open()
            if self._file.end():
                self._file.sync()

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
        """Iterate over entries, in bounded memory when `order` is "log", the order of the file.

        `since` and `until` are cuts or byte offsets where lines start; `address` matches all
        addresses that start with it. "total" sorts by the total order, which takes memory for all.
        Raises `CorruptionError` at damage that may hide an op, unless `salvage` is asked for.
        """
        if order not in {"log", "total"}:
            raise UsageError(f"order {order!r} is unknown: use 'log' or 'total'")
        start, stop = _offset(since), self._file.end() if until is None else _offset(until)
        located = self._scan(start, stop, salvage=salvage)
        matching = (entry for _, entry in located if matches(entry, actor, domain, address))
        return iter(sorted(matching, key=total_order)) if order == "total" else matching

    def read_all(self, *, salvage: bool = False) -> list[OpEntry]:
        """Return every entry once, in the total order, the same on every replica.

        Raises `CorruptionError` at damage that may hide an op and `ConflictError` at an op id with
        two bodies; with `salvage` the good entries, and the first body, are returned instead.
        """
        found: dict[str, OpEntry] = {}
        for offset, entry in self._scan(0, self._file.end(), salvage=salvage):
            known = found.setdefault(entry["op_id"], entry)
            if known is not entry and known != entry and not salvage:
                self._raise_two_bodies(entry, offset)
        return sorted(found.values(), key=total_order)

    def _raise_two_bodies(self, entry: OpEntry, offset: int) -> NoReturn:
        raise ConflictError(
            f"{self._path} holds op {entry['op_id']} twice with different bodies (again at byte {offset}): "
            "one of them was not written by this op's author; read with salvage=True to see the first",
            op_id=entry["op_id"],
        )

    def _scan(self, start: int, stop: int, *, salvage: bool) -> Iterator[tuple[int, OpEntry]]:
        for offset, data in self._file.blocks(start, stop):
            block = decode_block(data, offset)
            if block.damages and not salvage:
                self._raise_corrupt(block)
            yield from zip(block.starts, block.entries, strict=True)

    def _raise_corrupt(self, block: Block) -> None:
        for damage in block.damages:
            if damage.kind == "corrupt":
                op = f" (op {damage.op_id})" if damage.op_id else ""
                raise CorruptionError(
                    f"{self._path} is damaged at byte {damage.offset}, {damage.length} bytes{op}: "
                    f"{damage.reason}; 'muse session check' lists all damage, salvage=True reads the rest",
                    path=self._path,
                    offset=damage.offset,
                )

    def damages(self) -> Iterator[Damage]:
        """Iterate over all bytes of the log that are no entry, torn or corrupt, in bounded memory."""
        for offset, data in self._file.blocks(0, self._file.end()):
            yield from decode_block(data, offset).damages

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
        log_file = LogFile(self._path, self._storage)
        return Follower(log_file, start, lambda entry: matches(entry, actor, domain, address))

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
        return sorted(self._pending(until or self.cut(), salvage=salvage), key=total_order)

    def to_structured_delta(
        self, domain: str, *, until: Cut | None = None, salvage: bool = False
    ) -> StructuredDelta:
        """Collapse the pending ops of `domain` up to `until` (None: now) into a delta.

        The next `checkpoint` of this handle covers what was collapsed, and nothing else.
        """
        cut = until or self.cut()
        delta = collapse(self._pending(cut, salvage=salvage), domain)
        with self._lock:
            self._collapsed[domain] = cut.offset
        return delta

    def _pending(self, cut: Cut, *, salvage: bool) -> Iterator[OpEntry]:
        coverage = self._coverage()
        seen: dict[str, OpEntry] = {}
        for offset, entry in self._scan(coverage.cut.offset, cut.offset, salvage=salvage):
            if not coverage.is_pending(entry["domain"], offset) or self._stood_before(
                entry, offset, coverage
            ):
                continue
            known = seen.setdefault(entry["op_id"], entry)
            if known is entry:
                yield entry
            elif known != entry and not salvage:
                self._raise_two_bodies(entry, offset)

    def _stood_before(self, entry: OpEntry, offset: int, coverage: Coverage) -> bool:
        """Whether the line repeats a covered one. Only a stamp within its actor's frontier can."""
        if entry["lamport_ts"] > coverage.frontier.get(entry["actor_id"], 0):
            return False
        with self._lock:
            self._take_in()
            self._build_ids()
            first = (self._ids or {}).get(entry["op_id"], offset)
        return first < offset and not coverage.is_pending(entry["domain"], first)

    def checkpoint(
        self, snapshot_id: str, *, commit_id: str = "", until: Cut | None = None
    ) -> OpLogCheckpoint:
        """Mark as covered what this handle collapsed since its last checkpoint; if nothing, all so far.

        With `until`, everything before that cut is covered instead. What arrived in between, and
        ops of domains that were not collapsed, stay pending. The log is synced first and the file
        replaced atomically, so a crash leaves the old checkpoint or the new one.
        """
        self._check_open()
        self._prepare_directory()
        with self._storage.locked(layout.session_lock_file(self._root, self._session_id)), self._lock:
            self.sync()
            coverage = self._coverage()
            upto = until.offset if until else dict(self._collapsed) or self.cut().offset
            reach = upto if isinstance(upto, int) else max(upto.values())
            covered = coverage.advance(self._positions(coverage.cut.offset, reach), upto)
            checkpoint = make_checkpoint(self._session_id, snapshot_id, covered, now_text(), commit_id)
            self._storage.write_atomically(self._checkpoint_path, encode_checkpoint(checkpoint))
            self._collapsed.clear()
        return checkpoint

    def rebuild_checkpoint(self, snapshot_id: str, commit_id: str, cut_offset: int) -> OpLogCheckpoint:
        """Make the checkpoint anew from what a commit says: everything before `cut_offset` is covered.

        Whatever the checkpoint file holds is replaced. `CorruptionError` if the log is shorter.
        """
        self._prepare_directory()
        with self._storage.locked(layout.session_lock_file(self._root, self._session_id)), self._lock:
            if self._file.end() < cut_offset:
                self._raise_shorter_than(cut_offset)
            self.sync()
            covered = NOTHING.advance(self._positions(0, cut_offset), cut_offset)
            checkpoint = make_checkpoint(self._session_id, snapshot_id, covered, now_text(), commit_id)
            self._storage.write_atomically(self._checkpoint_path, encode_checkpoint(checkpoint))
        return checkpoint

    def covered_until(self) -> int:
        """Return the byte offset before which the checkpoint covers everything; 0 without one."""
        return self._coverage().cut.offset

    def discard_checkpoint(self) -> None:
        """Remove a checkpoint that cannot be trusted, where history knows of no commit of this session."""
        self._storage.remove(self._checkpoint_path)

    def frontier_after(self, entries: Iterable[OpEntry]) -> dict[str, int]:
        """Return the frontier once `entries` are covered too: each actor's highest Lamport."""
        frontier = dict(self._coverage().frontier)
        for entry in entries:
            actor = entry["actor_id"]
            frontier[actor] = max(frontier.get(actor, 0), entry["lamport_ts"])
        return frontier

    def _positions(self, start: int, stop: int) -> Iterator[Position]:
        for offset, data in self._file.blocks(start, stop):
            yield from decode_positions(data, offset)

    def read_checkpoint(self) -> OpLogCheckpoint | None:
        """Return the checkpoint, or None if there is none. `CorruptionError` if it cannot be trusted."""
        try:
            data = self._storage.read_bytes(self._checkpoint_path)
        except NotFoundError:
            return None
        return decode_checkpoint(data, self._session_id, self._checkpoint_path)

    def _coverage(self) -> Coverage:
        checkpoint = self.read_checkpoint()
        if checkpoint is None:
            return NOTHING
        return coverage_of(checkpoint) or self._coverage_by_count(checkpoint)

    def _coverage_by_count(self, checkpoint: OpLogCheckpoint) -> Coverage:
        """Read a checkpoint without a cut, as other tools write it: the first `op_count` entries."""
        left = checkpoint["op_count"]
        positions: list[Position] = []
        for position in self._positions(0, self._file.end()):
            if left == 0:
                return NOTHING.advance(positions, position.offset)
            positions.append(position)
            left -= 1
        if left:
            raise CorruptionError(
                f"{self._path} has {len(positions)} entries, but its checkpoint covers "
                f"{checkpoint['op_count']}: put the whole log back, or go on in a new session",
                path=self._path,
            )
        return NOTHING.advance(positions, self._file.end())

    # -- lifetime -------------------------------------------------------------------------------

    def close(self) -> None:
        """Release the file. Nothing is lost: appends are in it already. Closing twice is fine."""
        with self._lock:
            self._file.close()
            self._closed = True
            self._opened = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _offset(place: int | Cut) -> int:
    return place.offset if isinstance(place, Cut) else place
