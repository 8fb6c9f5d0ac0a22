"""One sync serves all threads that wait for one: group commit.

The first that asks syncs at once. Those that ask while a sync runs wait for the next, which one of them
runs for all. Raw locks, because waking threads is what costs here.
"""

import _thread
from collections.abc import Callable


class GroupCommit:
    """Shares calls of `sync` among threads. A failed sync fails all threads that waited for it.

    For those that ask later it is called again, and may refuse.
    """

    def __init__(self, sync: Callable[[], None]) -> None:
        self._sync = sync
        self._mutex = _thread.allocate_lock()
        self._written = 0
        self._synced = 0
        self._syncing = False
        self._waiting: list[tuple[int, _thread.LockType]] = []
        self._refused: dict[int, Exception] = {}  # ticket of a waiting thread -> what the sync raised

    def wrote(self) -> int:
        """Say that something was written; return the ticket with which to wait for it."""
        with self._mutex:
            self._written += 1
            return self._written

    def wait(self, ticket: int) -> None:
        """Return once the write with this ticket is on the disk; raise what the sync raised if it is not."""
        while True:
            with self._mutex:
                if ticket in self._refused:
                    raise self._refused.pop(ticket)
                if self._synced >= ticket:
                    return
                turn = self._queue_up(ticket) if self._syncing else None
                if turn is None:
                    self._syncing = True
            if turn is None:
                self._sync_for_all(ticket)
            else:
                self._await(turn)

    def _await(self, turn: _thread.LockType) -> None:
        try:
            turn.acquire()
        except BaseException:  # interrupted: if the turn came, or comes, the next in the queue takes it
            with self._mutex:
                before = len(self._waiting)
                self._waiting = [waiting for waiting in self._waiting if waiting[1] is not turn]
                passed_on = self._waiting[:1] if len(self._waiting) == before and not self._syncing else []
                self._waiting = self._waiting[len(passed_on) :]
            for _, following in passed_on:
                following.release()
            raise

    def _queue_up(self, ticket: int) -> _thread.LockType:
        turn = _thread.allocate_lock()
        turn.acquire()
        self._waiting.append((ticket, turn))
        return turn

    def _sync_for_all(self, own: int) -> None:
        with self._mutex:
            upto = self._written
        failure: BaseException | None = None
        try:
            self._sync()
        except BaseException as error:  # noqa: BLE001 - handed on below, to all that wait
            failure = error
        with self._mutex:
            self._syncing = False
            woken = self._take_those_to_wake(upto if isinstance(failure, Exception | None) else 0)
            if failure is None:
                self._synced = upto
            elif isinstance(failure, Exception):
                self._refused.update(
                    dict.fromkeys([own, *(ticket for ticket, _ in woken if ticket <= upto)], failure)
                )
        for _, turn in woken:
            turn.release()
        if failure is not None and not isinstance(failure, Exception):
            raise failure

    def _take_those_to_wake(self, settled: int) -> list[tuple[int, _thread.LockType]]:
        """Take from the queue all up to ticket `settled`, and one of the others, which will sync next."""
        done = [waiting for waiting in self._waiting if waiting[0] <= settled]
        left = [waiting for waiting in self._waiting if waiting[0] > settled]
        self._waiting = left[1:]
        return done + left[:1]
