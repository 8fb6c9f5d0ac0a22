"""A watch notices that a path leads to another file than before, at a fraction of the cost of looking.

The file may be renamed, replaced or deleted, and so may each directory and symbolic link above it. On Linux
the watch uses inotify(7): one instance a process, asked with FIONREAD whether it has events. Elsewhere, or
where no instance or watch can be made, the answer is always "look".
"""

import array
import contextlib
import ctypes
import errno
import fcntl
import os
import struct
import sys
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from functools import partial

_IN_ATTRIB, _IN_DELETE_SELF, _IN_MOVE_SELF, _IN_DONT_FOLLOW = 0x4, 0x400, 0x800, 0x2000000
_OF_A_DIRECTORY = _IN_DELETE_SELF | _IN_MOVE_SELF | _IN_DONT_FOLLOW
_OF_A_NAME = _OF_A_DIRECTORY | _IN_ATTRIB
_WATCHES_KEPT = 256
_LINKS_AT_MOST = 40
"""The kernel follows no more of them in one path."""

_FIONREAD = 0x541B
_EVENT = struct.Struct("iIII")


class PathWatch:
    """Asks whether a path may have changed its file since the watch began.

    `ask()` fills `answer[0]`, which is zero when it certainly has not; if it is not zero,
    `may_have_moved` tells. The first step is in C alone, because this is asked at every append.
    `descriptor` is the inotify descriptor that FIONREAD asks; -1 where the answer is always "look".
    """

    def __init__(
        self,
        ask: Callable[[], object],
        answer: Sequence[int],
        drain: Callable[[], None],
        *,
        descriptor: int = -1,
    ) -> None:
        self.ask = ask
        self.answer = answer
        self.descriptor = descriptor
        self._drain = drain

    @classmethod
    def always(cls) -> "PathWatch":
        """Return a watch that always says "look", for where nothing can be watched."""
        return cls(_nothing, (1,), _nothing)

    def may_have_moved(self) -> bool:
        """Return whether to look at the path. Once it is true it stays so."""
        self._drain()
        return self.ask is _nothing

    def always_look(self) -> None:
        """Answer from now on that the path may lead elsewhere: nothing watches it any more."""
        self.answer = (1,)
        self.descriptor = -1
        self.ask = _nothing


def _nothing() -> None:
    return None


def inotify_instance() -> tuple[ctypes.CDLL, int]:
    """Return the C library and a new inotify descriptor; raise `OSError` where it cannot be made."""
    if not sys.platform.startswith("linux"):
        raise OSError(errno.ENOSYS, "inotify is Linux's")
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor: int = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    if descriptor < 0:
        raise OSError(ctypes.get_errno(), "inotify_init1")
    return libc, descriptor


class _Inotify:
    """The one inotify instance of this process for its open logs."""

    def __init__(self) -> None:
        self._libc, self.descriptor = inotify_instance()
        self._lock = threading.Lock()
        self._watches: dict[int, weakref.WeakSet[PathWatch]] = {}

    def watch(self, path: str) -> PathWatch:
        pending = array.array("i", [0])
        ask = partial(fcntl.ioctl, self.descriptor, _FIONREAD, pending)
        watch = PathWatch(ask, pending, self._drain, descriptor=self.descriptor)
        with self._lock:
            try:
                for number in self._add_along(path):
                    self._watches.setdefault(number, weakref.WeakSet()).add(watch)
            except OSError:
                return PathWatch.always()
            self._forget_the_unused()
        return watch

    def _add_along(self, path: str) -> Iterator[int]:
        """Watch all that the kernel passes on its way to `path`, and what is there; yield their numbers.

        Each place is watched before it is passed, so that a change of the way meanwhile is an event too.
        """
        place, names = ("/" if path.startswith("/") else "."), path.split("/")
        links = 0
        while names:
            name = names.pop(0)
            if name in {"", "."}:
                continue
            step = os.path.join(place, name)
            yield self._add(step, _OF_A_DIRECTORY if names else _OF_A_NAME)
            target = _link_at(step) if names else None
            if target is None:
                place = step
                continue
            yield self._add(step, _OF_A_NAME)
            links += 1
            if links > _LINKS_AT_MOST:
                raise OSError(errno.ELOOP, "too many symbolic links", path)
            place = "/" if target.startswith("/") else place
            names = [*target.split("/"), *names]

    def _add(self, path: str, mask: int) -> int:
        number: int = self._libc.inotify_add_watch(self.descriptor, os.fsencode(path), mask)
        if number < 0:
            raise OSError(ctypes.get_errno(), "inotify_add_watch", path)
        return number

    def _forget_the_unused(self) -> None:
        if len(self._watches) > _WATCHES_KEPT:
            for number in [number for number, watches in self._watches.items() if not watches]:
                self._libc.inotify_rm_watch(self.descriptor, number)
                del self._watches[number]

    def _drain(self) -> None:
        """Read all events, and have each watch that one speaks of say "look" from now on."""
        with self._lock, contextlib.suppress(BlockingIOError):
            while data := os.read(self.descriptor, 1 << 16):
                for number in _numbers(data):
                    for watch in self._watched_by(number):
                        watch.always_look()

    def _watched_by(self, number: int) -> list[PathWatch]:
        if number >= 0:
            return list(self._watches.get(number, ()))
        return [watch for watches in self._watches.values() for watch in watches]  # events were dropped


def _link_at(path: str) -> str | None:
    """Return where the symbolic link at `path` leads, or None if there is no link."""
    try:
        return os.readlink(path)
    except OSError as error:
        if error.errno == errno.EINVAL:
            return None
        raise


def _numbers(data: bytes) -> Iterator[int]:
    position = 0
    while position < len(data):
        number, _, _, length = _EVENT.unpack_from(data, position)
        position += _EVENT.size + length
        yield number


class _Watches:
    """Makes the instance when first needed, and again in a forked child (events are handed out once)."""

    def __init__(self) -> None:
        self._instance: _Inotify | None = None
        self._refused = False

    def watch(self, path: str) -> PathWatch:
        if self._instance is None and not self._refused:
            try:
                self._instance = _Inotify()
            except OSError:
                self._refused = True
        return self._instance.watch(path) if self._instance else PathWatch.always()

    def forget(self) -> None:
        if self._instance is not None:
            with contextlib.suppress(OSError):
                os.close(self._instance.descriptor)
        self._instance = None


_WATCHES = _Watches()
watch_path = _WATCHES.watch
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_WATCHES.forget)
