"""The lock that keeps garbage collection away while something is stored.

Writers share the lock, a collector takes it exclusively. If writers come one after the other, the lock
is never free, and the collector would wait forever. So there is a second lock, the turnstile. Each writer
passes it on its way in, and the collector holds it while it waits: later writers wait behind the collector.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from muse.disk import layout
from muse.disk.storage import Storage


@contextmanager
def uncollected(root: str, storage: Storage) -> Iterator[None]:
    """Keep garbage from being collected while the block runs.

    Do not nest it: the inner block would wait for a collector that waits for the outer one.
    """
    with storage.locked(layout.garbage_turnstile_file(root)):
        pass
    with storage.locked(layout.garbage_lock_file(root), exclusive=False):
        yield


@contextmanager
def collecting(root: str, storage: Storage) -> Iterator[None]:
    """Wait for all `uncollected` blocks to end, and let no new one begin while this block runs."""
    with storage.locked(layout.garbage_turnstile_file(root)), storage.locked(layout.garbage_lock_file(root)):
        yield
