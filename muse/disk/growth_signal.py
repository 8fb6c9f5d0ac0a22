"""A follower waits here until its file has grown, or it is told to stop.

On Linux the kernel wakes it (inotify(7), within some tens of microseconds of the write). Elsewhere,
and while the file does not exist yet, it looks again after a time that doubles up to a bound.
"""

import contextlib
import os
import select
import threading

from muse.disk.path_watch import inotify_instance

_IN_MODIFY_OR_ATTRIB = 0x2 | 0x4
"""Written to, or unlinked, as when a session is archived."""

_SHORTEST_WAIT_SECONDS = 0.0005
_LONGEST_WAIT_SECONDS = 0.02


class GrowthSignal:
    """Watches one file for one follower. `stop` may be called from any thread or a signal handler."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._stopped = threading.Event()
        self._wait = _SHORTEST_WAIT_SECONDS
        self._watching = False
        self._inotify = self._wake = -1
        with contextlib.suppress(OSError):
            self._libc, self._inotify = inotify_instance()
            self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
            self._poll = select.poll()
            self._poll.register(self._inotify, select.POLLIN)
            self._poll.register(self._wake, select.POLLIN)

    @property
    def is_stopped(self) -> bool:
        """Whether `stop` or `close` was called."""
        return self._stopped.is_set()

    def arm(self) -> None:
        """Begin to watch, before the file is looked at: what is written from now on ends a `wait`."""
        if self._wake >= 0:  # each time, as another file may be at the path now
            path = os.fsencode(self._path)
            self._watching = self._libc.inotify_add_watch(self._inotify, path, _IN_MODIFY_OR_ATTRIB) >= 0

    def wait(self, seconds: float | None) -> None:
        """Return when the file may have grown, `stop` was called, or `seconds` (None: no limit) are over."""
        if self._watching:
            self._poll.poll(None if seconds is None else max(0.0, seconds) * 1000)
            with contextlib.suppress(BlockingIOError):
                os.read(self._inotify, 1 << 16)
            return
        self._stopped.wait(self._wait if seconds is None else min(self._wait, max(0.0, seconds)))
        self._wait = min(self._wait * 2, _LONGEST_WAIT_SECONDS)

    def grown(self) -> None:
        """Note that the file had grown, so that a watcher without inotify looks again soon."""
        self._wait = _SHORTEST_WAIT_SECONDS

    def stop(self) -> None:
        """End the wait of another thread, and each later one."""
        self._stopped.set()
        if self._wake >= 0:
            os.eventfd_write(self._wake, 1)

    def close(self) -> None:
        """Release what is watched. No thread may wait any more."""
        self._stopped.set()
        for descriptor in (self._inotify, self._wake):
            if descriptor >= 0:
                os.close(descriptor)
        self._inotify = self._wake = -1
        self._watching = False
