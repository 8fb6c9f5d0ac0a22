"""Locks on files that are there only to be locked: they end with the process, and no child keeps them."""

import contextlib
import os
from collections.abc import Iterator

from muse.disk.system_calls import OpenFiles, translated


class LockFiles(OpenFiles):
    """Locks that are taken by the path of their file."""

    @contextlib.contextmanager
    def locked(self, path: str, *, exclusive: bool = True, wait: bool = True) -> Iterator[bool]:
        """Hold a lock on the file `path` (made if missing) while the block runs; many may share one.

        Yields False, without the lock, when another has it and `wait` is off. The lock dies
        with the process, so a crash never leaves one behind.
        """
        with translated(path, "open lock file"):
            descriptor = self.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW)
        remember_lock(descriptor)
        owner = os.getpid()
        try:
            with translated(path, "lock"):
                taken = self.lock(descriptor, exclusive=exclusive, wait=wait)
            yield taken
        finally:
            if os.getpid() == owner:  # a child that was forked meanwhile has closed its copy
                # Unlocked, not just closed: another thread's fork may have copied the descriptor.
                self.unlock(descriptor)
                forget_lock(descriptor)
                self.close(descriptor)


_OPEN_LOCKS: set[int] = set()


def remember_lock(descriptor: int) -> None:
    """Have a forked child close its copy of the descriptor."""
    _OPEN_LOCKS.add(descriptor)


def forget_lock(descriptor: int) -> None:
    """Undo `remember_lock`, before the descriptor is closed."""
    _OPEN_LOCKS.discard(descriptor)


def _leave_locks_to_parent() -> None:
    """Close a forked child's copies of lock files, or the lock would be held until the child ends."""
    for descriptor in _OPEN_LOCKS:
        with contextlib.suppress(OSError):
            os.close(descriptor)
    _OPEN_LOCKS.clear()


os.register_at_fork(after_in_child=_leave_locks_to_parent)
