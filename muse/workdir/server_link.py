"""A link keeps the session of a replica here and that of a server together while a directory is watched.

What was recorded here goes there, and what others did comes here, commits too. While the server is away, work
goes on here; once it is back, both get what they lack. The logs are compared by what they hold, so nothing is
remembered of the last time.
"""

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Literal

from muse.client import Client, Follower, RemotePeer
from muse.disk.resource import Resource
from muse.disk.storage import Storage
from muse.errors import MuseError
from muse.replication.local_peer import LocalPeer
from muse.replication.sync import SessionSync, check_same_repository, sync_session
from muse.replication.transfer import clone, pull

LinkWord = Literal["away", "back", "refused"]

_FIRST_PAUSE_SECONDS = 0.25
_LONGEST_PAUSE_SECONDS = 5.0
_HEARING_SECONDS = 1.0
_QUIET_SECONDS = 30.0
"""After so long without a word it is looked for commits, of which nothing is told."""

_END_SECONDS = 10.0


class ServerLink(Resource):
    """Brings one session of the replica at `root` and of a server together, from `start` until `close`.

    `wake` is called from a thread when ops or commits came in, or there is something to `hear`.
    """

    def __init__(
        self,
        root: str,
        storage: Storage,
        peer: Callable[[], RemotePeer],
        client: Callable[[], Client],
    ) -> None:
        self._root = root
        self._storage = storage
        self._peer = peer
        self._client = client
        self._wake: Callable[[], None] = self.nudge
        self._said: queue.SimpleQueue[tuple[LinkWord, str]] = queue.SimpleQueue()
        self._is_due = threading.Event()
        self._is_over = threading.Event()
        self._threads: list[threading.Thread] = []
        self._fault: str | None = None
        self._refused: set[str] = set()

    def clone_if_missing(self, *, is_there: bool) -> None:
        """Make the replica, unless it is there."""
        if not is_there:
            with self._peer() as peer:
                clone(peer, self._root, self._storage)

    def exchange_first(self, session_id: str) -> None:
        """Bring a session together before anything is recorded, if the server is there.

        Where an older copy of the replica was put back, what the server has is not recorded again.
        """
        try:
            self._exchange(session_id)
        except MuseError as error:
            self._note(str(error))

    def start(self, session_id: str, actor_id: str, wake: Callable[[], None]) -> None:
        """Begin to bring a session together, and to hear of it."""
        self._wake = wake
        self._is_due.set()
        self._threads = [
            threading.Thread(target=self._exchange_always, args=(session_id,), daemon=True),
            threading.Thread(target=self._hear_always, args=(session_id, actor_id), daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def nudge(self) -> None:
        """Say that something was recorded here."""
        self._is_due.set()

    def heard(self) -> Iterator[tuple[LinkWord, str]]:
        """Yield what was not heard yet: that the server is away, and why, or back, or what is refused."""
        while not self._said.empty():
            yield self._said.get()

    def _say(self, word: LinkWord, what: str) -> None:
        self._said.put((word, what))
        self._wake()

    def close(self) -> None:
        """Bring the session together once more, if the server is there, and end."""
        self._is_over.set()
        self._is_due.set()
        for thread in self._threads:
            thread.join(_END_SECONDS)
        self._threads = []

    # -- exchanging -----------------------------------------------------------------------------

    def _exchange_always(self, session_id: str) -> None:
        pause = _FIRST_PAUSE_SECONDS
        while True:
            self._is_due.wait(_QUIET_SECONDS)
            self._is_due.clear()
            is_last = self._is_over.is_set()
            try:
                self._exchange(session_id)
            except MuseError as error:
                self._note(str(error))
                self._is_due.set()
                if self._is_over.wait(pause) and is_last:
                    return
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
            else:
                self._note(None)
                pause = _FIRST_PAUSE_SECONDS
            if is_last:
                return

    def _exchange(self, session_id: str) -> None:
        """Bring commits here, and ops both ways."""
        with LocalPeer(self._root, self._storage) as own, self._peer() as peer:
            check_same_repository(own, peer)
            branch = own.identity().branch
            before = own.repository.dag.head(branch)
            theirs = peer.branches().get(branch)
            if theirs is not None and theirs != before:
                pull(own, peer, branch)
        with LocalPeer(self._root, self._storage) as own, self._peer() as peer:
            outcome = sync_session(own, peer, session_id)
            is_news = bool(outcome.received) or own.repository.dag.head(branch) != before
        self._tell(outcome)
        if is_news:
            self._wake()

    def _note(self, fault: str | None) -> None:
        """Say what is wrong with the server, or that it is over, once."""
        if fault != self._fault:
            self._fault = fault
            self._say(
                "back" if fault is None else "away", fault or "the server has all, and so has this side"
            )

    def _tell(self, outcome: SessionSync) -> None:
        reasons = [f"op {refusal.op_id}: {refusal.reason}" for refusal in outcome.reasons]
        for text in (*outcome.faults, *reasons):
            if text not in self._refused:
                self._refused.add(text)
                self._say("refused", text)

    # -- hearing --------------------------------------------------------------------------------

    def _hear_always(self, session_id: str, actor_id: str) -> None:
        """Make an exchange due whenever the server gets something."""
        pause = _FIRST_PAUSE_SECONDS
        while not self._is_over.is_set():
            with suppress(MuseError), self._client() as client:
                session = client.session(session_id, actor_id)
                cursor = session.end()
                self._is_due.set()  # for what came before this cursor
                pause = _FIRST_PAUSE_SECONDS
                with session.follow(cursor) as follower:
                    self._hear(follower)
            self._is_over.wait(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    def _hear(self, follower: Follower) -> None:
        while not self._is_over.is_set():
            if follower.batch_within(_HEARING_SECONDS):
                self._is_due.set()
