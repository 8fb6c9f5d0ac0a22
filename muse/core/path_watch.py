"""Notice that a file was renamed, replaced or deleted, at a fraction of the cost of looking.

On Linux through inotify(7): one instance a process, asked with FIONREAD whether it has anything to
say. Elsewhere, or where the instance or watch cannot be had, the answer is always "look".
"""

import array
import contextlib
import ctypes
import os
import struct
import sys
import threading
from collections.abc import Callable, Sequence
from functools import partial

_IN_ATTRIB, _IN_DELETE_SELF, _IN_MOVE_SELF, _IN_IGNORED = 0x4, 0x400, 0x800, 0x8000
_IN_Q_OVERFLOW = 0x4000
_FIONREAD = 0x541B
_EVENT = struct.Struct("iIII")


class PathWatch:
    """Asks whether a path may have changed its file since the watch began.

    `ask()` fills `answer[0]`; zero means certainly not, anything else means `may_have_moved` knows
    more. Two steps, both in C, because this is asked at every append.
    """

    def __init__(
        self, ask: Callable[[], object], answer: Sequence[int], may_have_moved: Callable[[], bool]
    ) -> None:
        self.ask = ask
        self.answer = answer
        self.may_have_moved = may_have_moved


def _nothing() -> None:
    return None


def _yes() -> bool:
    return True


ALWAYS_LOOK = PathWatch(_nothing, (1,), _yes)
"""Where nothing can be watched, every append looks."""


class _Inotify:
    """The one inotify instance of this process."""

    def __init__(self) -> None:
        import fcntl  # noqa: PLC0415 - not on Windows, where this class is never made

        self._libc = ctypes.CDLL(None, use_errno=True)
        self.descriptor: int = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self.descriptor < 0:
            raise OSError(ctypes.get_errno(), "inotify_init1")
        self._lock = threading.Lock()
        self._changed: dict[int, list[bool]] = {}
        self._ioctl = fcntl.ioctl

    def watch(self, path: str) -> PathWatch:
        mask = _IN_ATTRIB | _IN_DELETE_SELF | _IN_MOVE_SELF
        with self._lock:
            number = self._libc.inotify_add_watch(self.descriptor, os.fsencode(path), mask)
            if number < 0:
                return ALWAYS_LOOK
            flag = self._changed.setdefault(number, [])
        pending = array.array("i", [0])

        def may_have_moved() -> bool:
            self._drain()
            return bool(flag)

        return PathWatch(partial(self._ioctl, self.descriptor, _FIONREAD, pending), pending, may_have_moved)

    def _drain(self) -> None:
        with self._lock, contextlib.suppress(BlockingIOError):
            while data := os.read(self.descriptor, 1 << 16):
                self._note(data)

    def _note(self, data: bytes) -> None:
        position = 0
        while position < len(data):
            number, mask, _, length = _EVENT.unpack_from(data, position)
            position += _EVENT.size + length
            if mask & _IN_Q_OVERFLOW:
                for flag in self._changed.values():
                    flag.append(True)
            elif number in self._changed:
                self._changed[number].append(True)


class _Watches:
    """Makes the instance when first needed, and anew in a forked child (events are handed out once)."""

    def __init__(self) -> None:
        self._instance: _Inotify | None = None
        self._refused = not sys.platform.startswith("linux")

    def watch(self, path: str) -> PathWatch:
        if self._instance is None and not self._refused:
            try:
                self._instance = _Inotify()
            except (OSError, AttributeError):
                self._refused = True
        return self._instance.watch(path) if self._instance else ALWAYS_LOOK

    def forget(self) -> None:
        if self._instance is not None:
            with contextlib.suppress(OSError):
                os.close(self._instance.descriptor)
        self._instance = None


_WATCHES = _Watches()
watch_path = _WATCHES.watch
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_WATCHES.forget)
