"""The peers that distant replicas speak to while they synchronise."""

import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager

from muse.replication.local_peer import LocalPeer

_PEERS_AT_MOST = 32
_PEERS_OF_ONE = 4
_KEPT_SECONDS = 30.0


class Peers:
    """One peer for each synchronisation that is under way: what it compares is read once."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._lock = threading.Lock()
        self._peers: OrderedDict[tuple[str, str], tuple[float, threading.Lock, LocalPeer]] = OrderedDict()

    @contextmanager
    def use(self, holder: str, replica: str, *, is_new: bool) -> Iterator[LocalPeer]:
        """Hold the peer of one replica while the block runs. `is_new`: what it had read is read again.

        A holder of a token has a few: another takes the place of the one that it used longest ago.
        """
        now, key = time.monotonic(), (holder, replica)
        dropped = []
        with self._lock:
            found = self._peers.pop(key, None)
            if found is not None and (is_new or found[0] < now - _KEPT_SECONDS):
                dropped.append(found)
                found = None
            _, lock, peer = found or (now, threading.Lock(), LocalPeer(self._root))
            self._peers[key] = now, lock, peer
            own = [other for other in self._peers if other[0] == holder]
            if len(own) > _PEERS_OF_ONE:
                dropped.append(self._peers.pop(own[0]))
            elif len(self._peers) > _PEERS_AT_MOST:
                dropped.append(self._peers.popitem(last=False)[1])
        for _, its_lock, unused in dropped:
            with its_lock:
                unused.close()
        with lock:
            yield peer

    def close_idle(self) -> None:
        """Close those whose clients are done or gone: each keeps much of a log in memory."""
        before = time.monotonic() - _KEPT_SECONDS
        with self._lock:
            idle = [key for key, (at, lock, _) in self._peers.items() if at < before and not lock.locked()]
            dropped = [self._peers.pop(key)[2] for key in idle]
        for peer in dropped:
            peer.close()

    def close(self) -> None:
        for _, lock, peer in self._peers.values():
            with lock:
                peer.close()
        self._peers.clear()
