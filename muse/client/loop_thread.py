"""An event loop in a thread of its own, for programs without one."""

import asyncio
import os
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

from muse.disk.resource import Resource
from muse.errors import UsageError

_T = TypeVar("_T")


class LoopThread(Resource):
    """Runs coroutines for other threads. A daemon: a program that forgets to close it still ends."""

    def __init__(self) -> None:
        self._process = os.getpid()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="muse-client", daemon=True)
        self._thread.start()

    @property
    def is_here(self) -> bool:
        """Whether the thread runs in this process: not after `close`, nor in a forked child."""
        return not self._loop.is_closed() and self._process == os.getpid()

    def start(self, work: Coroutine[Any, Any, _T]) -> "Future[_T]":
        """Begin `work`. `UsageError` if the thread is not there: after `close`, and in a forked child."""
        if not self.is_here:
            work.close()
            raise UsageError(
                "this client was closed, or was made before the process was forked: make another one here"
            )
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def run(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Return what `work` returns; an interrupt of the caller ends the work too."""
        future = self.start(work)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def close(self) -> None:
        if self.is_here:
            self.run(_finish())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()


async def _finish() -> None:
    """End what is under way and close connections, as `asyncio.run` does."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await asyncio.get_running_loop().shutdown_asyncgens()
    await asyncio.sleep(0)
