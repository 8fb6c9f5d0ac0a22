"""The lock that keeps garbage collection away while something is stored.

Writers share the lock, a collector takes it exclusively. If writers come one after the other, the lock
is never free, and the collector would wait forever. So there is a second lock, the turnstile. Each writer
passes it on its way in, and the collector holds it while it waits: later writers wait behind the collector.
So it waits for a while only: a writer that was stopped, or that has much to do, must not hold up the rest.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from muse.disk import layout
from muse.disk.storage import Storage
from muse.errors import MuseError

WAIT_SECONDS = 60.0
"""For how long a collector waits, and all that would be stored with it."""

_LOOK_SECONDS = 0.02


class CommitsUnderWayError(MuseError):
    """What was to be done waits for commits that do not end; nothing was changed."""


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
def collecting(root: str, storage: Storage, *, wait_seconds: float = WAIT_SECONDS) -> Iterator[None]:
    """Wait for all `uncollected` blocks to end, and let no new one begin while this block runs.

    Raises `CommitsUnderWayError` if some do not end in `wait_seconds`: then new ones may begin again.
    """
    with storage.locked(layout.garbage_turnstile_file(root)):
        give_up_at = time.monotonic() + wait_seconds
        while True:
            with storage.locked(layout.garbage_lock_file(root), wait=False) as is_taken:
                if is_taken:
                    yield
                    return
            if time.monotonic() > give_up_at:
                break
            time.sleep(_LOOK_SECONDS)
    raise CommitsUnderWayError(
        f"a commit or a sync has been under way here for more than {wait_seconds:g} s, and garbage is "
        "collected between them only: try again when it is done, or end the process that does not go on"
    )
