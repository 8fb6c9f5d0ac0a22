"""A resource that blocks, used from the event loop: no wait that is cancelled loses what a thread makes."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Generic, Protocol, TypeVar

from muse.disk.resource import Resource


class Closable(Protocol):
    """Anything that has to be closed."""

    def close(self) -> None:
        """Release what was opened."""
        ...


_R = TypeVar("_R", bound=Closable)
_T = TypeVar("_T")


class InThreads(Resource, Generic[_R]):
    """Makes, uses and closes a resource in threads: one call after the other, the closing last."""

    def __init__(self, threads: Executor, make: Callable[[], _R]) -> None:
        self._threads = threads
        self._make = make
        self._lock = threading.Lock()
        self._resource: _R | None = None
        self._is_closed = False

    async def open(self) -> None:
        """Make the resource, and raise here what that raises."""
        await self.use(lambda _: None)

    async def use(self, work: Callable[[_R], _T]) -> _T:
        """Return what `work` returns for the resource, which is made for the first call."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._use, work)

    def _use(self, work: Callable[[_R], _T]) -> _T:
        with self._lock:
            if self._is_closed:
                raise RuntimeError("the resource is closed already")
            if self._resource is None:
                self._resource = self._make()
            return work(self._resource)

    def close(self) -> None:
        """Close the resource once no thread uses it any more. Does not wait."""
        try:
            self._threads.submit(self._close)
        except RuntimeError:  # the threads have ended, and with them every use
            self._close()

    def _close(self) -> None:
        with self._lock:
            self._is_closed = True
            resource, self._resource = self._resource, None
            if resource is not None:
                resource.close()
