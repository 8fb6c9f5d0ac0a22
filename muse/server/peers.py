"""The peers that distant replicas speak to while they synchronise."""

import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from muse.replication.local_peer import LocalPeer

_PEERS_AT_MOST = 32
_PEERS_OF_ONE = 4
_KEPT_SECONDS = 30.0


@dataclass(eq=False, slots=True)
class _Kept:
    """A peer, for one thread at a time, and when it was asked for last."""

    peer: LocalPeer
    used_at: float
    lock: threading.Lock = field(default_factory=threading.Lock)
    is_closed: bool = False

    def close(self) -> None:
        """Close the peer once no thread uses it: one that waits for it takes another."""
        with self.lock:
            self.is_closed = True
            self.peer.close()


class Peers:
    """One peer for each synchronisation that is under way: what it compares is read once."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str, str], _Kept] = OrderedDict()

    @contextmanager
    def use(self, holder: str, replica: str, *, is_new: bool) -> Iterator[LocalPeer]:
        """Hold the peer of one replica while the block runs. `is_new`: what it had read is read again.

        A holder of a token has a few: another takes the place of the one that it used longest ago. Without
        tokens, `holder` is "", and nobody knows which replicas are of one holder.
        """
        while True:
            kept, dropped = self._take(holder, replica, is_new=is_new)
            for unused in dropped:
                unused.close()
            with kept.lock:
                if not kept.is_closed:
                    yield kept.peer
                    return

    def _take(self, holder: str, replica: str, *, is_new: bool) -> tuple[_Kept, list[_Kept]]:
        """Return the peer of a replica, the newest now, and those that go."""
        now, key = time.monotonic(), (holder, replica)
        dropped: list[_Kept] = []
        with self._lock:
            kept = self._kept.pop(key, None)
            if kept is not None and (is_new or kept.used_at < now - _KEPT_SECONDS):
                dropped.append(kept)
                kept = None
            kept = kept or _Kept(LocalPeer(self._root), now)
            kept.used_at = now
            self._kept[key] = kept
            own = [other for other in self._kept if holder and other[0] == holder]
            if len(own) > _PEERS_OF_ONE:
                dropped.append(self._kept.pop(own[0]))
            elif len(self._kept) > _PEERS_AT_MOST:
                dropped.append(self._kept.popitem(last=False)[1])
        return kept, dropped

    def close_idle(self) -> None:
        """Close those whose clients are done or gone: each keeps much of a log in memory."""
        before = time.monotonic() - _KEPT_SECONDS
        with self._lock:
            found = self._kept.items()
            idle = [key for key, kept in found if kept.used_at < before and not kept.lock.locked()]
            dropped = [self._kept.pop(key) for key in idle]
        for unused in dropped:
            unused.close()

    def close(self) -> None:
        """Close them all."""
        with self._lock:
            dropped = [*self._kept.values()]
            self._kept.clear()
        for unused in dropped:
            unused.close()
