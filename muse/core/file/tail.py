"""A follower gives every entry of a growing log once, in the order of the file, from all its writers."""

import time
from collections.abc import Callable, Iterator
from typing import Self

from muse.core.entry import OpEntry
from muse.core.file.cursors import Cursors
from muse.core.file.log_file import LogFile
from muse.core.file.log_reader import LogReader
from muse.disk.growth_signal import GrowthSignal
from muse.disk.resource import Resource
from muse.errors import CorruptionError


class Follower(Resource):
    """An iterator over entries as they arrive. `cursor` is the byte after the last one: resume there.

    `stop` ends it from any thread. A context manager. Raises `CorruptionError` at damage that may
    hide an op, and when the log becomes shorter than what was read of it; `StorageError` when another
    log is at its path.
    """

    def __init__(
        self,
        log_file: LogFile,
        reader: LogReader,
        cursors: Cursors,
        since: int,
        frontier: dict[str, int],
        *,
        wanted: Callable[[OpEntry], bool],
    ) -> None:
        self._file = log_file
        self._reader = reader
        self._cursors = cursors
        self._wanted = wanted
        self._signal = GrowthSignal(log_file.path)
        self._frontier = frontier
        self._waiting: Iterator[tuple[int, OpEntry]] = iter(())
        self._read_to = since
        self.cursor = since

    @property
    def cursor_text(self) -> str:
        """The cursor as text that may leave the process: it tells another log from this one."""
        return self._cursors.at(self.cursor)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> OpEntry:
        entry = self.next_within(None)
        if entry is None:
            raise StopIteration
        return entry

    def next_within(self, seconds: float | None) -> OpEntry | None:
        """Return the next entry; None when stopped, or when none came within `seconds` (None: no limit)."""
        deadline = None if seconds is None else time.monotonic() + seconds
        while not self._signal.is_stopped:
            for end, entry in self._waiting:
                self.cursor = end
                if self._wanted(entry):
                    return entry
            self._signal.arm()
            if self._read_more():
                self._signal.grown()
                continue
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                return None
            self._signal.wait(left)
        return None

    def _read_more(self) -> bool:
        end = self._file.end()
        if end < self._read_to:
            raise CorruptionError(
                f"{self._file.path} became shorter: {self._read_to} bytes were read, now it has {end}; "
                "put the whole log back, then follow it from its start",
                path=self._file.path,
                offset=end,
            )
        for block, reached in self._reader.blocks(self._read_to, end):
            self._read_to = reached
            ends = [*block.starts, reached][1:] if block.starts else []
            located = zip(block.starts, ends, block.entries, strict=True)
            self._waiting = iter(
                [(end, entry) for start, end, entry in located if self._is_new(entry, start)]
            )
            return True
        return False

    def _is_new(self, entry: OpEntry, start: int) -> bool:
        """Return whether this is the op's first line. A stamp above all of its actor's repeats nothing."""
        actor, stamp = entry["actor_id"], entry["lamport_ts"]
        if stamp > self._frontier.get(actor, 0):
            self._frontier[actor] = stamp
            return True
        return not self._reader.repeats(entry, start)

    def stop(self) -> None:
        """End the iteration soon, from any thread or a signal handler."""
        self._signal.stop()

    def close(self) -> None:
        """Stop, and release the file."""
        self._signal.close()
        self._reader.close()
        self._file.close()
