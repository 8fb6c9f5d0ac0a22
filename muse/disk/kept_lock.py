"""A lock that one user takes again and again: its file stays open in between, which costs less."""

import contextlib
import os
import threading
from collections.abc import Iterator

from muse.disk.lock_files import forget_lock, remember_lock
from muse.disk.storage import Storage
from muse.disk.system_calls import translated


class KeptLock:
    """The lock on the file `path`, made if missing; as `Storage.locked`, and with it, but for threads too.

    Threads that share this object take turns, as the system takes them for one. The file may be removed or
    replaced while nobody has the lock, so each time it is compared with what is at the path.
    """

    def __init__(self, path: str, storage: Storage) -> None:
        self._path = path
        self._storage = storage
        self._turn = threading.Lock()
        self._descriptor = -1
        self._identity = (0, 0)
        self._owner = os.getpid()
        self._is_kept = True

    @contextlib.contextmanager
    def held(self, *, wait: bool = True) -> Iterator[bool]:
        """Hold the lock while the block runs; yield False if another has it and `wait` is off."""
        if not self._turn.acquire(blocking=wait):
            yield False
            return
        try:
            taken = self._take(wait=wait)
            try:
                yield taken
            finally:
                self._give_back(taken=taken)
        finally:
            self._turn.release()
            if not self._is_kept:  # `close` came meanwhile, and found the turn taken
                self.close()

    def _take(self, *, wait: bool) -> bool:
        while True:
            if self._descriptor < 0 or os.getpid() != self._owner:  # a forked child has closed its copy
                self._open()
            try:
                with translated(self._path, "lock"):
                    if not self._storage.lock(self._descriptor, wait=wait):
                        return False
                if self._is_at_path():
                    return True
            except BaseException:
                self._close()
                raise
            self._close()  # what was locked is no longer the file that others lock

    def _open(self) -> None:
        with translated(self._path, "open lock file"):
            descriptor = self._storage.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW)
        remember_lock(descriptor)
        self._descriptor = descriptor
        self._owner = os.getpid()
        try:
            with translated(self._path, "look at"):
                status = self._storage.status(descriptor)
        except BaseException:
            self._close()
            raise
        self._identity = status.st_dev, status.st_ino

    def _is_at_path(self) -> bool:
        try:
            there = self._storage.path_status(self._path)
        except OSError:
            return False
        return (there.st_dev, there.st_ino) == self._identity

    def _give_back(self, *, taken: bool) -> None:
        if os.getpid() != self._owner:  # a child that was forked meanwhile has closed its copy
            return
        if taken:
            self._storage.unlock(self._descriptor)

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0 and os.getpid() == self._owner:
            forget_lock(descriptor)
            with contextlib.suppress(OSError):  # it is let go of in any case
                self._storage.close(descriptor)

    def close(self) -> None:
        """Let go of the file, at the latest when who has the lock gives it back."""
        self._is_kept = False
        if self._turn.acquire(blocking=False):
            try:
                self._close()
            finally:
                self._turn.release()
