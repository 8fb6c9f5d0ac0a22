"""The end of a log: where it is, how lines are written behind it, and when they are on the disk."""

import contextlib
import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Literal, NoReturn

from muse.core import compiled
from muse.core.blocks import encode_lines
from muse.core.clock import LamportClock
from muse.core.coverage import Cut
from muse.core.entry import OpEntry, check_new_name, check_text
from muse.core.file.checkpoint_store import CheckpointFile
from muse.core.file.group_commit import GroupCommit
from muse.core.file.log_file import LogFile
from muse.core.file.log_reader import LogReader
from muse.core.new_entries import Op, make_op_entries
from muse.core.op_ids import OP_IDS
from muse.core.session_directory import SessionDirectory
from muse.core.timestamp import now_text
from muse.disk.kept_lock import KeptLock
from muse.disk.system_calls import storage_error
from muse.errors import CorruptionError, DurabilityError, StorageError, UsageError

Durability = Literal["os", "disk"]

Names = tuple[str, str, str, str]
"""The actor, domain, intent and reservation of an entry."""

_MUCH = 1 << 20
_NAMES_KEPT = 4096


def check_durability(durability: Durability) -> Durability:
    """Return `durability`, or raise `UsageError` for an unknown one."""
    if durability not in {"os", "disk"}:
        raise UsageError(f"durability {durability!r} is unknown: use 'os' or 'disk'")
    return durability


class Appends(compiled.LogEnd):
    """The writing side of one handle of a log, its lock, and its clock.

    `seen_end`: everything before this byte is in clock and count. `expected_end`: where the file ends if
    nobody but this handle wrote since. `own_count`: entries that this handle wrote in between, which
    `op_count` has already. `highest`: the highest Lamport stamp that was believed. `records_itself`: whether
    `record` is worth a call.
    """

    def __init__(
        self,
        directory: SessionDirectory,
        file: LogFile,
        reader: LogReader,
        checkpoint: CheckpointFile,
        durability: Durability,
    ) -> None:
        self._directory = directory
        self._file = file
        self._reader = reader
        self._checkpoint = checkpoint
        self.durability = durability
        self.clock = LamportClock(jump=directory.limits.lamport_jump)
        self.lock = threading.RLock()
        self._lock_file = KeptLock(directory.lock_path, directory.storage)
        self.syncs = GroupCommit(file.sync)
        self.seen_end = 0
        self.expected_end = -1
        self.own_count = 0
        self.op_count = 0
        self.highest = 0
        self.is_closed = False
        self.checked_names: set[Names] = set()
        self._unsynced: dict[int, list[str]] = {}  # ticket of a durable append -> its op ids
        self._exclusive_thread = 0
        self._opened = False
        self.records_itself = compiled.NATIVE is not None and durability == "os"
        self.prepare_to_record(
            file,
            self.clock,
            self.lock.acquire,
            self.lock.release,
            OP_IDS.take,
            now_text,
            *compiled.numbers_of(directory.limits),
        )

    # -- where the log ends -----------------------------------------------------------------------

    def take_in(self) -> int:
        """Bring clock and count up to what is in the file, from any writer; return where it ends."""
        if not self._opened:
            self._open()
        end = self._file.end()
        if end == self.expected_end:
            self.own_count = 0
            self.seen_end = end
            return end
        if end < self.seen_end:
            self._raise_became_shorter(end)
        self.op_count -= self.own_count
        self.own_count = 0
        for offset, data in self._file.blocks(self.seen_end, end):
            self._take_in_block(data, offset)
            self.seen_end = self.expected_end = offset + len(data)
        return end

    def next_stamp(self, count: int) -> int:
        """Tick the clock above all that is in the file; return the first of `count` stamps in a row."""
        with self.lock:
            self.take_in()
            return self.clock.tick(count)

    def cut(self) -> Cut:
        """Return the point up to which the log is complete now: whole lines, from any writer."""
        with self.lock:
            self.take_in()
            return Cut(self.seen_end, self.op_count, self.highest)

    def _take_in_block(self, data: bytes, offset: int) -> None:
        stamps = self._reader.stamps(data, offset)
        self.op_count += len(stamps)
        highest = max(stamps, default=0)
        if self.clock.observe(highest):
            self.highest = max(self.highest, highest)
        else:
            self.highest = max([self.highest, *filter(self.clock.observe, sorted(stamps))])

    def _open(self) -> None:
        self.check_open()
        checkpoint = self._checkpoint.trusted()
        coverage = self._checkpoint.covered_by(checkpoint)
        self._check_reaches(coverage.cut.offset)
        self._checkpoint.check_cut(checkpoint)
        self._file.known_durable(coverage.cut.offset)
        self.highest = coverage.cut.lamport_ts
        self.clock.value = coverage.lamport_ts
        self.seen_end = self.expected_end = coverage.cut.offset
        self.op_count = coverage.cut.op_count
        self._opened = True

    def _check_reaches(self, offset: int) -> None:
        end = self._file.end()
        if end < offset:
            raise CorruptionError(
                f"{self._file.path} has {end} bytes, but history covers {offset}: the log was cut, or "
                "restored from an older copy; put the whole log back, or go on in a new session",
                path=self._file.path,
                offset=end,
            )

    def _raise_became_shorter(self, end: int) -> NoReturn:
        raise CorruptionError(
            f"{self._file.path} became shorter ({end} bytes, {self.seen_end} were read): it was cut or "
            "replaced while it was open; open the session again once the file is whole",
            path=self._file.path,
            offset=end,
        )

    def check_open(self) -> None:
        """Raise `UsageError` if the log was closed."""
        if self.is_closed:
            raise UsageError(f"the log of session {self._directory.session_id!r} is closed: open it again")

    def close(self) -> None:
        """Release the file. Closing twice is fine."""
        with self.lock:
            self._reader.close()
            self._file.close()
            self._lock_file.close()
            self.is_closed = True
            self._opened = False
            self.expected_end = -1

    # -- writing ----------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Make the session's directory; raise `UsageError` where the log is closed, or none may begin."""
        self.check_open()
        self._directory.prepare()

    def file_lock(self, *, wait: bool = True) -> AbstractContextManager[bool]:
        """Hold the session's lock, which keeps off those who append ready entries elsewhere."""
        return self._lock_file.held(wait=wait)

    @contextlib.contextmanager
    def exclusive(self, *, wait: bool = True) -> Iterator[bool]:
        """Hold off all others who append ready entries, in this process and elsewhere.

        Without `wait`, yields False, and nothing is held off, if another is at work.
        """
        if self._exclusive_thread == threading.get_ident():
            yield True
            return
        if not self._file.is_open_for_append:
            self._directory.prepare()
        with self.file_lock(wait=wait) as is_ours:
            if not is_ours or not self.lock.acquire(blocking=wait):
                yield False
                return
            self._exclusive_thread = threading.get_ident()
            try:
                yield True
            finally:
                self._exclusive_thread = 0
                self.lock.release()

    def is_far_behind(self) -> bool:
        """Tell whether others have written so much that taking it in takes a while."""
        return self._file.end() - self.seen_end >= _MUCH

    def write(self, data: bytes, end: int, count: int, highest: int) -> None:
        """Append `data`, that is `count` lines, to the file, which ended at byte `end`."""
        torn = end != self.seen_end
        if torn:
            self._file.open_for_append()
            self._file.start_clean()
        written = self._file.append(data)
        highest = max(highest, self.highest)
        # No call lies between these stores, so an interrupt comes before all of them or after all.
        self.highest = highest
        self.own_count = count
        self.op_count += count
        self.expected_end = -1 if torn else end + written

    def raise_unwritten(self, number: int) -> NoReturn:
        """Raise `StorageError` for a write that failed with the system's error `number`."""
        raise storage_error(OSError(number, os.strerror(number)), self._file.path, "append to")

    def write_ready(self, lines: list[bytes], op_ids: list[str], stamps: list[int], end: int) -> bool:
        """Write lines behind byte `end`. Return whether they are there: nobody else wrote meanwhile."""
        lengths = [len(line) + 1 for line in lines]
        return self.write_lines(b"\n".join([*lines, b""]), op_ids, stamps, lengths, end)

    def write_lines(
        self, lines: bytes, op_ids: list[str], stamps: list[int], lengths: list[int], end: int
    ) -> bool:
        """Write lines, of these ops, behind byte `end`, as `write_ready` does."""
        if not op_ids:
            return True
        highest = max(stamps)
        self.write(lines, end, len(op_ids), highest)
        if not self.clock.observe(highest):
            for stamp in sorted(stamps):  # each may be near the one before it
                self.clock.observe(stamp)
        are_there = self._file.end() == self.expected_end
        if are_there:
            self._reader.learn(op_ids, stamps, lengths, end, self.expected_end)
        return are_there

    def check_names(self, names: Names) -> None:
        """Raise `InvalidEntryError` unless an entry may have these names; remember those that it may."""
        checks = {
            "actor_id": check_new_name,
            "domain": check_text,
            "intent_id": check_new_name,
            "reservation_id": check_text,
        }
        for (field, check), value in zip(checks.items(), names, strict=True):
            check(field, value, self._directory.limits)
        if len(self.checked_names) < _NAMES_KEPT:
            self.checked_names.add(names)

    def record_many(
        self,
        names: Names,
        ops: Iterable[Op],
        parent_op_ids: Sequence[str] | None,
        durability: Durability | None,
    ) -> list[OpEntry]:
        """Make the entries of ops and append them with one write, as `OpLog.record_many` says."""
        self.check_names(names)
        with self.lock:
            end = self.take_in()
            entries = make_op_entries(names, ops, self.clock.tick, parent_op_ids)
            if not entries:
                return entries
            lines = encode_lines(entries, self._directory.limits)
            self.write(lines, end, len(entries), self.clock.value)
            ticket = self.ticket(durability)
        if ticket:
            self.wait_durable(ticket, entries)
        return entries

    # -- durability -------------------------------------------------------------------------------

    def ticket(self, durability: Durability | None) -> int:
        """Return the ticket with which to wait until what was written is on the disk; 0 if nobody will."""
        return self.syncs.wrote() if (durability or self.durability) == "disk" else 0

    def wait_durable(self, ticket: int, entries: list[OpEntry]) -> None:
        """Return once the write that `ticket` is for is on the disk; `DurabilityError` if its sync fails."""
        unsynced = self._unsynced
        unsynced[ticket] = [entry["op_id"] for entry in entries]
        try:
            self.syncs.wait(ticket)
        except StorageError as error:
            doubtful = [op_id for op_ids in list(unsynced.values()) for op_id in op_ids]
            raise DurabilityError(
                f"{error}; in doubt are {len(doubtful)} ops, {', '.join(doubtful[:3])}...: open the session "
                "again on a sound disk and append them again, they will be stored once",
                path=self._file.path,
                errno=error.errno,
                op_ids=doubtful,
            ) from error
        except BaseException:  # an interrupt: nobody waits for these any more
            unsynced.pop(ticket, None)
            raise
        del unsynced[ticket]

    def sync(self) -> None:
        """Bring everything appended so far to the disk. `DurabilityError` if that fails."""
        with self.lock:
            self.check_open()
            if not self._file.end():
                return
            self._file.open_for_append()  # failing here casts no doubt on what was written
            ticket = self.syncs.wrote()
        self.wait_durable(ticket, [])
