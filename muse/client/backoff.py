"""Tries again after pauses that grow, for as long as the caller has patience."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from muse.client.failures import ServerError, is_transient, is_untouched

_FIRST_SECONDS = 0.05
_LONGEST_SECONDS = 5.0
_T = TypeVar("_T")


class Backoff:
    """Pauses between attempts, each up to twice as long as the one before. Chance spreads clients."""

    def __init__(self, patience_seconds: float | None = None) -> None:
        self._pause = _FIRST_SECONDS
        self._patience = patience_seconds
        self._since: float | None = None

    def succeeded(self) -> None:
        """Begin again with a short pause at the next failure."""
        self._pause = _FIRST_SECONDS
        self._since = None

    async def wait(self, error: ServerError) -> None:
        """Sleep before the next attempt, at least as long as the server asked.

        Raises `error` if that is longer than the patience, and at once if trying again cannot help.
        """
        if not is_transient(error):
            raise error
        now = asyncio.get_running_loop().time()
        if self._since is None:
            self._since = now
        pause = max(self._pause * random.uniform(0.5, 1), error.retry_after or 0)  # noqa: S311 - no secret
        if self._patience is not None and now + pause - self._since > self._patience:
            raise error
        self._pause = min(2 * self._pause, _LONGEST_SECONDS)
        await asyncio.sleep(pause)


async def repeated(
    attempt: Callable[[], Awaitable[_T]], patience_seconds: float, *, is_idempotent: bool = True
) -> _T:
    """Return what `attempt` returns, tried again after failures that may pass.

    A call that is not idempotent is tried again only if the server certainly did nothing.
    """
    backoff = Backoff(patience_seconds)
    while True:
        try:
            return await attempt()
        except ServerError as error:
            if not is_idempotent and not is_untouched(error):
                raise
            await backoff.wait(error)
