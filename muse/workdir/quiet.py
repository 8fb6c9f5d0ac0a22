"""Tells when a file that is being written may be recorded, and when a fault is to be named. Pure."""

import os
from collections.abc import Callable, Collection, Iterable, Sequence

from muse.workdir.scan import FileFault

_MS = 1_000_000
QUIET_NS = 50 * _MS
"""A file that nobody wrote to for so long is as its writer wants it, if nobody has it open to write."""

TICK_NS = 10 * _MS
"""Two writes at times that differ by so much have different times of the file, on any kernel."""

UNSURE_NS = 150 * _MS
"""A file that is empty or gone may be on its way to the next version: that takes programs a little longer."""

OPEN_NS = 1_000 * _MS
"""A file that is still open to write is taken as it is after this time without a write: logs stay open."""

FAULT_NS = 1_000 * _MS
"""A fault that lasts so long, without the file being written to, is none of a file that is half-written."""

_APART_NS = 250 * _MS
"""A save comes so long after the last one; what comes sooner is of a program that goes on writing."""

_FEW = 16
"""More files at once are the work of a program that goes on: they are recorded together, once it is quiet."""

_KEPT_NS = 10_000 * _MS


class Quiet:
    """Knows when files were last written to. `due_ns` is when a file that was asked for may be settled.

    A save needs no waiting where the system tells that it is done: `is_closed` says of a file, and of the
    status with which it was read, that nobody has it open to write, nor wrote since. Times are those of the
    clock that files are stamped with. Where it was set back, nothing waits.
    """

    def __init__(
        self, is_open: Callable[[str], bool], is_closed: Callable[[str, os.stat_result], bool]
    ) -> None:
        self._is_open = is_open
        self._is_closed = is_closed
        self._touched: dict[str, int] = {}
        self._saved: set[str] = set()
        self._began_ns = 0
        self.due_ns: int | None = None

    def touch(self, paths: Collection[str], now_ns: int) -> None:
        """Note that files were written to, or may have been."""
        if self._touched and min(self._touched.values()) < now_ns - _KEPT_NS:
            self._touched = {path: at for path, at in self._touched.items() if at >= now_ns - _KEPT_NS}
            self._saved &= self._touched.keys()
        going_on = {path for path in paths if 0 <= now_ns - self._touched.get(path, 0) < _APART_NS}
        self._saved = (self._saved | set(paths if len(paths) <= _FEW else ())) - going_on
        self._touched.update(dict.fromkeys(paths, now_ns))

    def begin(self, now_ns: int) -> None:
        """Note that a look begins: the files that are asked for are read from now on."""
        self._began_ns, self.due_ns = now_ns, None

    def is_settled(self, path: str, found: os.stat_result | None, now_ns: int) -> bool:
        """Return whether a file is as its writer wants it; if not, `due_ns` says when it may be."""
        last = self._touched.get(path, 0)
        if found is not None and found.st_mtime_ns <= now_ns:
            last = max(last, found.st_mtime_ns)
        needed = QUIET_NS if found is not None and found.st_size else UNSURE_NS
        age = now_ns - last
        if 0 <= age < needed:
            if found is None or not found.st_size or path not in self._saved:
                return self._not_before(last + needed)
            if found.st_mtime_ns > self._began_ns - TICK_NS:  # a write since it was read might not show
                return self._not_before(found.st_mtime_ns + TICK_NS)
            return self._is_closed(path, found) or self._not_before(last + needed)
        if found is not None and 0 <= age < OPEN_NS and self._is_open(path):
            return self._not_before(now_ns + QUIET_NS)
        return True

    def _not_before(self, due_ns: int) -> bool:
        self.due_ns = due_ns if self.due_ns is None else min(self.due_ns, due_ns)
        return False


class Complaints:
    """Decides which faults of files are worth a word, and when: once each, and not while a file is written.

    `due_ns` is when the first of those that were not named yet is to be.
    """

    def __init__(self) -> None:
        self._since: dict[FileFault, int] = {}
        self._named: set[FileFault] = set()

    def touch(self, paths: Iterable[str]) -> None:
        """Note that files were written to: what is wrong with them now is to be named again, later."""
        written = set(paths)
        self._since = {fault: since for fault, since in self._since.items() if fault.path not in written}
        self._named = {fault for fault in self._named if fault.path not in written}

    def to_name(
        self, faults: Sequence[FileFault], now_ns: int, patience_ns: int = FAULT_NS
    ) -> list[FileFault]:
        """Return those of the faults there are now that are to be named now."""
        self._since = {fault: self._since.get(fault, now_ns) for fault in faults}
        self._named &= self._since.keys()
        found = [
            fault
            for fault, since in self._since.items()
            if fault not in self._named and not 0 <= now_ns - since < patience_ns
        ]
        self._named.update(found)
        return found

    @property
    def due_ns(self) -> int | None:
        """The time at which the next fault is to be named, in nanoseconds; None if no fault waits."""
        waiting = [since for fault, since in self._since.items() if fault not in self._named]
        return min(waiting) + FAULT_NS if waiting else None

    @property
    def paths(self) -> list[str]:
        """The files that are at fault, in the order of their names."""
        return sorted({fault.path for fault in self._since})

    def __bool__(self) -> bool:
        """Tell whether there are faults, named or not."""
        return bool(self._since)
