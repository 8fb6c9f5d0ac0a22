"""The lock that keeps what is being stored from being collected: writers share it, a collector has it alone.

A lock that many share goes to whoever comes next, so one that is to be alone could wait for ever. A
second one, the turnstile, which each passes on its way in and a collector holds while it waits, puts
those who come later behind it.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from muse.disk import layout
from muse.disk.storage import Storage


@contextmanager
def uncollected(root: str, storage: Storage) -> Iterator[None]:
    """Keep garbage from being collected while the block runs.

    Not to be nested: the inner one would wait for a collector that waits for the outer one.
    """
    with storage.locked(layout.garbage_turnstile_file(root)):
        pass
    with storage.locked(layout.garbage_lock_file(root), exclusive=False):
        yield


@contextmanager
def collecting(root: str, storage: Storage) -> Iterator[None]:
    """Wait for those who keep garbage from being collected, and hold off all others while the block runs."""
    with storage.locked(layout.garbage_turnstile_file(root)), storage.locked(layout.garbage_lock_file(root)):
        yield
