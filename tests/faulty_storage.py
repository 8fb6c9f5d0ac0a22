"""A disk that fails at the Nth call: once, or from then on, as it does for a process that dies."""

import errno
import os
from collections.abc import Callable, Iterator
from typing import Any

from muse.core.storage import Storage
from muse.errors import MuseError


class FaultyStorage(Storage):
    def __init__(self, fails_at: int, *, dies: bool) -> None:
        self._calls_left = fails_at
        self._dies = dies

    def _tick(self) -> None:
        self._calls_left -= 1
        if self._calls_left == 0 or (self._dies and self._calls_left < 0):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    @property
    def failed(self) -> bool:
        return self._calls_left <= 0

    def open(self, path: str, flags: int, mode: int = 0o666) -> int:
        self._tick()
        return super().open(path, flags, mode)

    def write(self, descriptor: int, data: Any, /) -> int:
        self._tick()
        # A disk that fills up takes the first bytes still.
        content = bytes(data)
        return os.write(descriptor, content[: max(1, len(content) // 2)])

    def pread(self, descriptor: int, length: int, offset: int, /) -> bytes:
        self._tick()
        return os.pread(descriptor, length, offset)

    def path_status(self, path: str) -> os.stat_result:
        self._tick()
        return super().path_status(path)

    def sync_data(self, descriptor: int) -> None:
        self._tick()
        super().sync_data(descriptor)

    def replace(self, source: str, target: str) -> None:
        self._tick()
        super().replace(source, target)

    def unlink(self, path: str) -> None:
        self._tick()
        super().unlink(path)

    def make_directory(self, path: str) -> None:
        self._tick()
        super().make_directory(path)

    def names(self, path: str) -> Iterator[tuple[str, bool]]:
        self._tick()
        return super().names(path)

    def lock(self, descriptor: int, *, exclusive: bool = True, wait: bool = True) -> bool:
        self._tick()
        return super().lock(descriptor, exclusive=exclusive, wait=wait)


def failing_at_every_call(action: Callable[[Storage], object], *, dies: bool) -> Iterator[bool]:
    """Run `action` with the first call failing, then the second, and so on; yield whether it raised.

    Ends after the run in which no call failed.
    """
    for fails_at in range(1, 1000):
        storage = FaultyStorage(fails_at, dies=dies)
        try:
            action(storage)
        except MuseError:
            yield True
        else:
            yield False
            if not storage.failed:
                return
    raise AssertionError("the action makes more calls than can be")
