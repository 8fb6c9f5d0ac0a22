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
from collections.abc import Callable

_IN_ATTRIB, _IN_DELETE_SELF, _IN_MOVE_SELF, _IN_IGNORED = 0x4, 0x400, 0x800, 0x8000
_IN_Q_OVERFLOW = 0x4000
_FIONREAD = 0x541B
_EVENT = struct.Struct("iIII")


def _look() -> bool:
    return True


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

    def watch(self, path: str) -> Callable[[], bool]:
        mask = _IN_ATTRIB | _IN_DELETE_SELF | _IN_MOVE_SELF
        with self._lock:
            number = self._libc.inotify_add_watch(self.descriptor, os.fsencode(path), mask)
            if number < 0:
                return _look
            flag = self._changed.setdefault(number, [])
        pending = array.array("i", [0])
        ioctl, descriptor, drain = self._ioctl, self.descriptor, self._drain

        def may_have_moved() -> bool:
            ioctl(descriptor, _FIONREAD, pending)
            if pending[0]:
                drain()
            return bool(flag)

        return may_have_moved

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

    def watch(self, path: str) -> Callable[[], bool]:
        if self._instance is None and not self._refused:
            try:
                self._instance = _Inotify()
            except (OSError, AttributeError):
                self._refused = True
        return self._instance.watch(path) if self._instance else _look

    def forget(self) -> None:
        if self._instance is not None:
            with contextlib.suppress(OSError):
                os.close(self._instance.descriptor)
        self._instance = None


_WATCHES = _Watches()
watch_path = _WATCHES.watch
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_WATCHES.forget)
