"""This storage fails at a chosen call: once, or from then on, as for a process that died."""

import errno
import os
from collections.abc import Callable, Iterator
from typing import Any, Literal

from muse.disk.path_watch import PathWatch
from muse.disk.storage import LOCAL, Storage
from muse.errors import MuseError

Fault = Literal["ENOSPC", "EIO", "EACCES", "short", "sync", "crash"]
"""What goes wrong. "ENOSPC", "EIO", "EACCES": one call fails with that error and does nothing. "short": as
"ENOSPC", but a write takes half of its bytes and says so, as on a disk that fills up. "sync": one sync fails
with EIO. "crash": the call and all later ones fail, and a write has taken half of its bytes, as when a
process is killed in it."""

_CODES = {"ENOSPC": errno.ENOSPC, "short": errno.ENOSPC, "EACCES": errno.EACCES}
_MOST_CALLS = 10_000


class _CountedCalls:
    """Counts calls, and says which one fails."""

    def __init__(self, fails_at: int, fault: Fault) -> None:
        self.calls: list[str] = []
        self._fails_at = fails_at
        self._fault = fault

    @property
    def failed(self) -> bool:
        """Whether the chosen call was made, and failed."""
        return len(self.calls) >= self._fails_at

    def fail_at(self, number: int) -> None:
        """Choose another call, counted from the first that was ever made."""
        self._fails_at = number

    def _fails(self, call: str) -> bool:
        if self._fault == "sync" and call != "sync_data":
            return False
        self.calls.append(call)
        number = len(self.calls)
        return number == self._fails_at or (self._fault == "crash" and number > self._fails_at)

    def _count(self, call: str) -> None:
        if self._fails(call):
            raise self._error()

    def _error(self) -> OSError:
        code = _CODES.get(self._fault, errno.EIO)
        return OSError(code, os.strerror(code))


class FailingStorage(_CountedCalls, Storage):
    """Hands every call to `inner`, but fails the one with number `fails_at`, counted from 1.

    All system calls count, except `close`, `unlock`, `watch`, `is_running` and `is_open_to_write`, which
    always go through; with
    the fault "sync", only syncs count. `calls` names the counted calls so far.
    """

    def __init__(self, fails_at: int, fault: Fault = "ENOSPC", *, inner: Storage = LOCAL) -> None:
        super().__init__(fails_at, fault)
        self._inner = inner

    def open(self, path: str, flags: int, mode: int = 0o666) -> int:
        self._count("open")
        return self._inner.open(path, flags, mode)

    def close(self, descriptor: int) -> None:
        self._inner.close(descriptor)

    def write(self, descriptor: int, data: Any, /) -> int:
        """Write as the disk does; at the fault, nothing or a part."""
        if not self._fails("write"):
            return self._inner.write(descriptor, data)
        if self._fault == "short" or (self._fault == "crash" and len(self.calls) == self._fails_at):
            written = self._inner.write(descriptor, bytes(data)[: max(1, len(data) // 2)])
            if self._fault == "short":
                return written
        raise self._error()

    def pread(self, descriptor: int, length: int, offset: int, /) -> bytes:
        """Read from a place; the call is counted."""
        self._count("pread")
        return self._inner.pread(descriptor, length, offset)

    def pwrite(self, descriptor: int, data: Any, offset: int, /) -> int:
        """Write at a place; the call is counted."""
        self._count("pwrite")
        return self._inner.pwrite(descriptor, data, offset)

    def seek(self, descriptor: int, position: int, how: int, /) -> int:
        """Seek as the disk does; the call is counted."""
        self._count("seek")
        return self._inner.seek(descriptor, position, how)

    def status(self, descriptor: int) -> os.stat_result:
        self._count("status")
        return self._inner.status(descriptor)

    def path_status(self, path: str) -> os.stat_result:
        self._count("path_status")
        return self._inner.path_status(path)

    def is_running(self, process: int) -> bool:
        return self._inner.is_running(process)

    def sync_data(self, descriptor: int) -> None:
        self._count("sync_data")
        self._inner.sync_data(descriptor)

    def truncate(self, descriptor: int, length: int) -> None:
        self._count("truncate")
        self._inner.truncate(descriptor, length)

    def change_mode(self, descriptor: int, mode: int) -> None:
        self._count("change_mode")
        self._inner.change_mode(descriptor, mode)

    def replace(self, source: str, target: str) -> None:
        self._count("replace")
        self._inner.replace(source, target)

    def link(self, path: str, other: str) -> None:
        self._count("link")
        self._inner.link(path, other)

    def exchange(self, one: str, other: str) -> bool:
        self._count("exchange")
        return self._inner.exchange(one, other)

    def unlink(self, path: str) -> None:
        self._count("unlink")
        self._inner.unlink(path)

    def touch(self, path: str) -> None:
        self._count("touch")
        self._inner.touch(path)

    def make_directory(self, path: str) -> None:
        self._count("make_directory")
        self._inner.make_directory(path)

    def remove_directory(self, path: str) -> None:
        self._count("remove_directory")
        self._inner.remove_directory(path)

    def names(self, path: str) -> Iterator[tuple[str, bool]]:
        self._count("names")
        return self._inner.names(path)

    def watch(self, path: str) -> PathWatch:
        return self._inner.watch(path)

    def is_open_to_write(self, path: str) -> bool | None:
        return self._inner.is_open_to_write(path)

    def lock(self, descriptor: int, *, exclusive: bool = True, wait: bool = True) -> bool:
        self._count("lock")
        return self._inner.lock(descriptor, exclusive=exclusive, wait=wait)

    def unlock(self, descriptor: int) -> None:
        self._inner.unlock(descriptor)


def failing_at_every_call(
    action: Callable[[Storage], object],
    fault: Fault,
    *,
    inner: Callable[[], Storage] = lambda: LOCAL,
) -> Iterator[bool]:
    """Run `action` with the first call failing, then the second, and so on; yield whether it raised.

    `inner` is asked for the storage beneath before each run. Ends after the run in which no call failed.
    """
    for fails_at in range(1, _MOST_CALLS):
        storage = FailingStorage(fails_at, fault, inner=inner())
        try:
            action(storage)
        except MuseError:
            yield True
        else:
            yield False
            if not storage.failed:
                return
    raise AssertionError(f"the action still fails after {_MOST_CALLS} calls: does it ever end?")
