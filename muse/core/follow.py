"""Follow a log as it grows: every entry once, in the order of the file, whoever writes it."""

import threading
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self

from muse.core.entry import OpEntry
from muse.core.log_file import LogFile
from muse.core.record import decode_block
from muse.errors import CorruptionError

_SHORTEST_WAIT_SECONDS = 0.0005
_LONGEST_WAIT_SECONDS = 0.02


class Follower:
    """An iterator over entries as they arrive. `cursor` is where to resume: the byte after the last.

    `stop` ends it from any thread. A context manager. Raises `CorruptionError` at damage that may
    hide an op, and when the log becomes shorter than what was read of it.
    """

    def __init__(self, log_file: LogFile, since: int, wanted: Callable[[OpEntry], bool]) -> None:
        self._file = log_file
        self._wanted = wanted
        self._stopped = threading.Event()
        self._waiting: Iterator[tuple[int, OpEntry]] = iter(())
        self._read_to = since
        self.cursor = since

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> OpEntry:
        entry = self.next_within(None)
        if entry is None:
            raise StopIteration
        return entry

    def next_within(self, seconds: float | None) -> OpEntry | None:
        """Return the next entry; None when stopped, or when none came within `seconds` (None: no limit)."""
        wait, waited = _SHORTEST_WAIT_SECONDS, 0.0
        while not self._stopped.is_set():
            for end, entry in self._waiting:
                self.cursor = end
                if self._wanted(entry):
                    return entry
            if self._read_more():
                continue
            if seconds is not None and waited >= seconds:
                return None
            self._stopped.wait(wait)
            waited += wait
            wait = min(wait * 2, _LONGEST_WAIT_SECONDS)
        return None

    def _read_more(self) -> bool:
        end = self._file.end()
        if end < self._read_to:
            raise CorruptionError(
                f"{self._file.path} became shorter ({end} bytes, {self._read_to} were read)",
                path=self._file.path,
                offset=end,
            )
        for offset, data in self._file.blocks(self._read_to, end):
            block = decode_block(data, offset)
            for damage in block.damages:
                if damage.kind == "corrupt":
                    raise CorruptionError(
                        f"{self._file.path} is damaged at byte {damage.offset}: {damage.reason}",
                        path=self._file.path,
                        offset=damage.offset,
                    )
            self._read_to = offset + len(data)
            ends = [*block.starts, self._read_to][1:] if block.starts else []
            self._waiting = iter(list(zip(ends, block.entries, strict=True)))
            return True
        return False

    def stop(self) -> None:
        """End the iteration soon, from any thread or a signal handler."""
        self._stopped.set()

    def close(self) -> None:
        """Stop, and release the file."""
        self.stop()
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
