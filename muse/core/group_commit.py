"""Group commit: one sync for all who wait for one.

The first who asks syncs at once, alone if nobody else waits; who comes while a sync runs waits for
the next, which one of them runs for all. Raw locks, because waking threads is what costs here.
"""

import _thread
from collections.abc import Callable


class GroupCommit:
    """Shares calls of `sync` among threads. A failed sync fails all who waited for it.

    Who comes later has it called again: whether it then refuses is its own to decide.
    """

    def __init__(self, sync: Callable[[], None]) -> None:
        self._sync = sync
        self._mutex = _thread.allocate_lock()
        self._written = 0
        self._synced = 0
        self._syncing = False
        self._waiting: list[tuple[int, _thread.LockType]] = []
        self._failed = 0
        self._failure: BaseException | None = None

    def wrote(self) -> int:
        """Say that something was written; return the ticket with which to wait for it."""
        with self._mutex:
            self._written += 1
            return self._written

    def wait(self, ticket: int) -> None:
        """Return when what `ticket` stands for is on the disk; raise what the sync raised if it is not."""
        while True:
            with self._mutex:
                if self._synced >= ticket:
                    return
                if self._failure is not None and self._failed >= ticket:
                    raise self._failure
                turn = self._queue_up(ticket) if self._syncing else None
                if turn is None:
                    self._syncing = True
            if turn is None:
                self._sync_for_all()
            else:
                turn.acquire()

    def _queue_up(self, ticket: int) -> _thread.LockType:
        turn = _thread.allocate_lock()
        turn.acquire()
        self._waiting.append((ticket, turn))
        return turn

    def _sync_for_all(self) -> None:
        with self._mutex:
            upto = self._written
        failure: BaseException | None = None
        try:
            self._sync()
        except BaseException as error:  # noqa: BLE001 - handed on below, to all who wait
            failure = error
        with self._mutex:
            self._syncing = False
            if failure is None:
                self._synced = upto
            elif isinstance(failure, Exception):
                self._failed, self._failure = upto, failure
            woken = self._take_who_to_wake()
        for turn in woken:
            turn.release()
        if failure is not None and not isinstance(failure, Exception):
            raise failure

    def _take_who_to_wake(self) -> list[_thread.LockType]:
        """Take from the queue all who are done, and one of the others, who will sync next."""
        settled = max(self._synced, self._failed)
        done = [(ticket, turn) for ticket, turn in self._waiting if ticket <= settled]
        left = [(ticket, turn) for ticket, turn in self._waiting if ticket > settled]
        self._waiting = left[1:]
        return [turn for _, turn in done + left[:1]]
