"""Ops that wait to be acknowledged, in the order in which they were made."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice

from muse.client.failures import ServerError
from muse.session.receipt import Receipt

BATCH_OPS = 1_000
BATCH_BYTES = 1 << 20
LINGER_SECONDS = 0.01
WAITING_AT_MOST = 100_000


@dataclass(slots=True)
class Waiting:
    """One op as JSON, with what its author had read, the time it came, and the future of its receipt."""

    op_id: str
    body: bytes
    seen: bytes
    since: float
    receipt: asyncio.Future[Receipt]


class Outbox:
    """A queue whose head stays until it is settled, so that what failed is tried again.

    A batch is ready `linger_seconds` after its first op came, or once it is full. `is_kept`: the ops
    are in a local log too, so that they stay here after a failure. `given_up` are those that did not stay.
    """

    def __init__(self, *, linger_seconds: float = LINGER_SECONDS, is_kept: bool = False) -> None:
        self._linger = linger_seconds
        self.is_kept = is_kept
        self.given_up: dict[str, ServerError] = {}
        self._is_away = False
        self._fault: ServerError | None = None
        self._turn = asyncio.Lock()
        self._queued = 0
        self._waiting: deque[Waiting] = deque()
        self._singly = 0  # so many ops at the head are to be sent one by one
        self._some = asyncio.Event()
        self._few = asyncio.Event()
        self._none = asyncio.Event()
        self._changed()

    def __len__(self) -> int:
        return len(self._waiting)

    def _changed(self) -> None:
        for event, holds in (
            (self._some, bool(self._waiting)),
            (self._few, not self.is_full),
            (self._none, not self._waiting or self._fault is not None),
        ):
            (event.set if holds else event.clear)()

    def add(self, op_id: str, body: bytes, seen: bytes = b"null") -> asyncio.Future[Receipt]:
        """Put an op at the end; the future gets its receipt, or the error that prevented it."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Receipt] = loop.create_future()
        future.add_done_callback(_look_at)
        self._waiting.append(Waiting(op_id, body, seen, loop.time(), future))
        if self._is_away:
            _keep(self._waiting[-1])
        if len(self._waiting) in {1, WAITING_AT_MOST}:
            self._changed()
        return future

    def put_first(self, ops: Sequence[tuple[str, bytes]]) -> None:
        """Put ops, each an id and a body, before all that waits; those that wait already are not doubled."""
        loop = asyncio.get_running_loop()
        waiting = {one.op_id for one in self._waiting}
        fresh = [
            Waiting(op_id, body, b"null", loop.time(), loop.create_future())
            for op_id, body in ops
            if op_id not in waiting
        ]
        self._waiting.extendleft(reversed(fresh))
        self._singly = 0
        for one in fresh:
            one.receipt.add_done_callback(_look_at)
            if self._is_away:
                _keep(one)
        self._changed()

    async def space(self) -> None:
        """Wait until there are not too many; the caller that came first goes on first."""
        self._queued += 1
        try:
            async with self._turn:
                await self._few.wait()
        finally:
            self._queued -= 1

    async def empty(self) -> None:
        """Wait until all are settled; raise the error that prevents it, if waiting cannot help."""
        await self._none.wait()
        if self._waiting and self._fault is not None:
            raise self._fault

    async def some(self) -> None:
        """Wait until there is an op."""
        await self._some.wait()

    async def batch(self) -> list[Waiting]:
        """Wait for the next batch; it stays where it is."""
        while True:
            await self._some.wait()
            left = self._waiting[0].since + self._linger - asyncio.get_running_loop().time()
            if left <= 0 or len(self._waiting) >= BATCH_OPS or self._singly:
                break
            await asyncio.sleep(left)
        if self._singly:
            self._singly -= 1
            return [self._waiting[0]]
        size = 0
        batch: list[Waiting] = []
        for one in islice(self._waiting, BATCH_OPS):
            size += len(one.body)
            if batch and (size > BATCH_BYTES or one.seen != batch[0].seen):
                break
            batch.append(one)
        return batch

    def settle(self, batch: Sequence[Waiting], outcome: Callable[[Waiting], None]) -> None:
        """Take a batch off the head, and call `settle` with each op."""
        self._is_away, self._fault = False, None
        for one in batch:
            if self._waiting and self._waiting[0] is one:
                self._waiting.popleft()
            outcome(one)
        self._changed()

    def part(self, batch: Sequence[Waiting]) -> None:
        """Send the ops of this batch one by one from now on: one of them is at fault."""
        self._singly = len(batch)

    def fail(self, error: ServerError) -> None:
        """Fail with `error` all that waits; unless the ops are kept, they are given up."""
        error.op_ids = tuple(one.op_id for one in self._waiting)
        for one in self._waiting:
            if not one.receipt.done():
                one.receipt.set_exception(error)
        self._is_away = False
        if self.is_kept:
            self._fault = error
        else:
            self.given_up |= dict.fromkeys(error.op_ids, error)
            self._waiting.clear()
            self._singly = 0
        self._changed()

    def keep(self) -> None:
        """Tell everyone that waits, now or later, that the local log has the op: the server is away."""
        self._is_away = True
        for one in self._waiting:
            _keep(one)

    async def told(self) -> None:
        """Wait until every op that waits now has a receipt, if only that the local log has it."""
        if self._waiting:
            await asyncio.wait([one.receipt for one in self._waiting])

    @property
    def is_crowded(self) -> bool:
        """Return whether a new caller has to wait for `space`."""
        return self._queued > 0 or self.is_full

    @property
    def is_full(self) -> bool:
        """Whether so many ops wait that no further one is taken."""
        return len(self._waiting) >= WAITING_AT_MOST

    @property
    def waited_since(self) -> float | None:
        """When the oldest op that still waits came, in seconds of the loop's clock; None if no op waits."""
        return self._waiting[0].since if self._waiting else None


def _keep(one: Waiting) -> None:
    if not one.receipt.done():
        one.receipt.set_result(Receipt(one.op_id, "local"))


def _look_at(future: "asyncio.Future[Receipt]") -> None:
    """Mark the exception of a future that nobody awaits as seen."""
    if not future.cancelled():
        future.exception()
