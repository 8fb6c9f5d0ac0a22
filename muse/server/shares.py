"""Threads that many share: what one holder wants done waits for its own work, not for that of others."""

import threading
from collections import deque
from collections.abc import Callable, Hashable
from concurrent.futures import Executor, Future
from functools import partial
from typing import Any, TypeVar

_T = TypeVar("_T")
_Work = tuple["Future[Any]", Callable[[], Any]]


class Shares:
    """Gives each holder at most `at_most` of some threads at once. For any threads."""

    def __init__(self, threads: Executor, at_most: int) -> None:
        self._threads = threads
        self._at_most = at_most
        self._lock = threading.Lock()
        self._waiting: dict[Hashable, deque[_Work]] = {}
        self._running: dict[Hashable, int] = {}

    def of(self, holder: Hashable) -> Executor:
        """Return the threads as one holder may use them."""
        return _Share(self, holder)

    def submit(self, holder: Hashable, work: Callable[[], Any]) -> "Future[Any]":
        """Have work done after what the holder wanted before."""
        future: Future[Any] = Future()
        with self._lock:
            if self._running.get(holder, 0) >= self._at_most:
                self._waiting.setdefault(holder, deque()).append((future, work))
                return future
            self._threads.submit(self._do, holder, [(future, work)])
            self._running[holder] = self._running.get(holder, 0) + 1
        return future

    def _do(self, holder: Hashable, first: list[_Work]) -> None:
        """Do work, and then have the next done: what others want comes before it.

        `first` is emptied: an error keeps the frames above it, and must not find itself in them, or it would
        keep itself, and all that was worked on, until a collection.
        """
        following: _Work | None = first.pop()
        while following is not None:
            _run(*following)
            following = self._next(holder)
            if following is not None and self._is_handed_on(holder, following):
                return

    def _next(self, holder: Hashable) -> _Work | None:
        with self._lock:
            waiting = self._waiting.get(holder)
            if waiting:
                return waiting.popleft()
            self._waiting.pop(holder, None)
            self._running[holder] -= 1
            if not self._running[holder]:
                del self._running[holder]
        return None

    def _is_handed_on(self, holder: Hashable, work: _Work) -> bool:
        try:
            self._threads.submit(self._do, holder, [work])
        except RuntimeError:  # the threads take nothing on any more: this one does the rest
            return False
        return True


class _Share(Executor):
    def __init__(self, shares: Shares, holder: Hashable) -> None:
        self._shares = shares
        self._holder = holder

    def submit(self, fn: Callable[..., _T], /, *args: Any, **kwargs: Any) -> "Future[_T]":
        return self._shares.submit(self._holder, partial(fn, *args, **kwargs))


def _run(future: "Future[Any]", work: Callable[[], Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = work()
    except BaseException as error:  # noqa: BLE001 - it is raised where the work is waited for
        future.set_exception(error)
        del future, work  # see `Shares._do`
    else:
        future.set_result(result)
