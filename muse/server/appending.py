"""Appends of all clients to one session: what waits is written together, and synced together.

While one write runs, what arrives waits, and goes into the next. So the more there is to do, the less
each op costs; and a sync holds up nobody who did not ask for one. The actors take turns: nobody waits
behind all that another has sent.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any

from muse.core.op_log import OpLog
from muse.server.faults import RequestError, request_error
from muse.server.metrics import Metrics
from muse.server.settings import Settings
from muse.session.guarded_log import GuardedLog, Request
from muse.session.receipt import Receipt

_OPS_A_WRITE = 1_000
_OPS_ON_THE_LOOP = 200
_CHARACTERS_ON_THE_LOOP = 1 << 13
"""What an op with a longer text costs, where it is looked at, may grow with the square of that."""

_ROUNDS_AT_MOST = 8
_Receipts = list[Receipt]


def _nothing(_bytes: int) -> None:
    """Take no price."""


@dataclass(frozen=True, slots=True)
class Written:
    """The receipts of one request, and a cursor behind all its ops that are in the log, if any is."""

    receipts: _Receipts
    cursor: str | None = None

    def as_record(self) -> dict[str, Any]:
        """Return what the client is told."""
        return {"receipts": self.receipts, "cursor": self.cursor}


@dataclass(slots=True)
class _Submission:
    request: Request
    is_durable: bool
    size: int
    done: "asyncio.Future[Written]"
    pay: Callable[[int], object]
    submitted_at: float = field(default_factory=time.perf_counter)
    written: Written = field(default_factory=lambda: Written([]))


def _is_short(request: Request) -> bool:
    """Return whether no op of a request has a long text."""
    return not any(
        type(value) is str and len(value) > _CHARACTERS_ON_THE_LOOP
        for op in request.ops
        for value in op["domain_op"].values()
    )


def _end_of(receipts: _Receipts) -> int:
    """Return the byte behind all of some ops that are in the log; 0 if not one is."""
    return max((one.next_position or 0 for one in receipts), default=0)


class AppendQueue:
    """Appends for one session. Its methods are for the loop; what may have to wait is done in `threads`."""

    def __init__(
        self,
        guarded: GuardedLog,
        log: OpLog,
        threads: Executor,
        settings: Settings,
        metrics: Metrics,
    ) -> None:
        self._guarded = guarded
        self._log = log
        self._threads = threads
        self._settings = settings
        self._metrics = metrics
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[str, deque[_Submission]] = {}  # those of each actor; whose turn it is comes first
        self._waiting_count = 0
        self._unsynced: list[_Submission] = []
        self._waiting_bytes = 0
        self._writing = self._syncing = False
        self.has_written = False
        self.has_failed = False

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits, is written or is synced."""
        return not (self._writing or self._syncing or self._waiting or self._unsynced)

    def submit(
        self, request: Request, *, is_durable: bool, size: int, pay: Callable[[int], object] = _nothing
    ) -> "asyncio.Future[Written]":
        """Append, each actor's in the order of the calls; receipts come once it is in the log, or synced.

        `size`: the bytes that were sent. `pay` is told how many more are kept of what was set aside.
        """
        if self._waiting_bytes + size > self._settings.waiting_bytes and self._waiting:
            raise RequestError(
                503, "more waits to be written than the server holds", retry_after=0.5, reason="backlog"
            )
        submission = _Submission(request, is_durable, size, self._loop.create_future(), pay)
        self._waiting.setdefault(request.actor_id, deque()).append(submission)
        self._waiting_count += 1
        self._waiting_bytes += size
        if not self._writing:
            self._writing = True
            self._loop.call_soon(self._gather, 1)
        return submission.done

    def _gather(self, waited_for: int, rounds: int = _ROUNDS_AT_MOST) -> None:
        """Wait while each turn of the loop brings more: who asks at the same time is written together."""
        if rounds and self._waiting_count > waited_for:
            self._loop.call_soon(self._gather, self._waiting_count, rounds - 1)
        else:
            self._write()

    def _write(self) -> None:
        """Hand what waits to a thread, as much as one write takes, of each actor in turn."""
        batch: list[_Submission] = []
        ops = 0
        while self._waiting and ops < _OPS_A_WRITE:
            actor = next(iter(self._waiting))
            own = self._waiting.pop(actor)
            batch.append(own.popleft())
            ops += len(batch[-1].request.ops)
            if own:
                self._waiting[actor] = own
        if not batch:
            self._writing = False
            return
        self._waiting_count -= len(batch)
        self._waiting_bytes -= sum(submission.size for submission in batch)
        requests = [submission.request for submission in batch]
        is_quick = self.has_written and not self._syncing and ops <= _OPS_ON_THE_LOOP
        is_quick = is_quick and all(map(_is_short, requests))
        self.has_written = True
        written = self._written_at_once(requests) if is_quick else None
        if written is None:
            written = self._loop.run_in_executor(self._threads, self._append, requests)
        written.add_done_callback(lambda done: self._wrote(batch, done))

    def _written_at_once(self, requests: Sequence[Request]) -> "asyncio.Future[list[Written]] | None":
        """Append on the loop, if that holds up nobody: a change of threads costs more than a short write."""
        written: asyncio.Future[list[Written]] = self._loop.create_future()
        try:
            receipts = self._guarded.append_at_once(requests)
            if receipts is None:
                return None
            end = max(map(_end_of, receipts))
            if end and not self._log.cursors.is_near(end):
                # Another wrote much, and all of it is in the cursor's crc.
                return self._loop.run_in_executor(self._threads, self._with_cursors, receipts)
            written.set_result(self._with_cursors(receipts))
        except Exception as error:  # noqa: BLE001 - the sender is told
            written.set_exception(error)
        return written

    def _append(self, requests: Sequence[Request]) -> list[Written]:
        return self._with_cursors(self._guarded.append_requests(requests, durability="os"))

    def _with_cursors(self, answers: list[_Receipts]) -> list[Written]:
        ends = map(_end_of, answers)
        return [
            Written(receipts, self._log.cursors.at(end) if end else None)
            for receipts, end in zip(answers, ends, strict=True)
        ]

    def _wrote(self, batch: list[_Submission], done: "asyncio.Future[list[Written]]") -> None:
        error = done.exception()
        if error is not None:
            self._refuse(batch, error)
        else:
            for submission, written in zip(batch, done.result(), strict=True):
                submission.written = written
                self._have_paid(submission)
                if submission.is_durable:
                    self._unsynced.append(submission)
                else:
                    self._acknowledge(submission, "written")
            if self._unsynced and not self._syncing:
                self._start_sync()
        self._write()

    def _have_paid(self, submission: _Submission) -> None:
        """Have the sender pay for what more is kept of new proposals, which rest on all heads at once."""
        kept = submission.request.bytes_set_aside
        if kept > submission.size:
            submission.pay(kept - submission.size)

    # -- durable --------------------------------------------------------------------------------

    def _start_sync(self) -> None:
        self._syncing = True
        batch, self._unsynced = self._unsynced, []
        synced = self._loop.run_in_executor(self._threads, self._timed_sync)
        synced.add_done_callback(lambda done: self._synced(batch, done))

    def _timed_sync(self) -> None:
        with self._metrics.sync_seconds.time():
            self._log.sync()

    def _synced(self, batch: list[_Submission], done: "asyncio.Future[None]") -> None:
        self._syncing = False
        error = done.exception()
        if error is not None:
            self._refuse(batch, error)
        else:
            for submission in batch:
                self._acknowledge(submission, "durable")
        if self._unsynced:
            self._start_sync()

    # -- answers --------------------------------------------------------------------------------

    def _acknowledge(self, submission: _Submission, ack: str) -> None:
        self._metrics.ack_seconds[ack].observe(time.perf_counter() - submission.submitted_at)
        for receipt in submission.written.receipts:
            self._metrics.count_receipt(receipt)
        if not submission.done.done():
            submission.done.set_result(submission.written)

    def _refuse(self, batch: list[_Submission], error: BaseException) -> None:
        if request_error(error).status != 507:  # a full disk takes the next op once there is space
            self.has_failed = True
            batch = [
                *batch,
                *self._give_up_waiting(),
            ]  # or it would come behind what the log takes once it is open again
        for submission in batch:
            if not submission.done.done():
                submission.done.set_exception(error)
                submission.done.exception()  # the sender may have left: then nobody looks

    def _give_up_waiting(self) -> list[_Submission]:
        given_up = [submission for own in self._waiting.values() for submission in own]
        self._waiting.clear()
        self._waiting_count = self._waiting_bytes = 0
        return given_up

    async def drained(self) -> None:
        """Wait until nothing is on its way."""
        while not self.is_idle:  # noqa: ASYNC110 - once in a session's life: no event is worth it
            await asyncio.sleep(0.005)
