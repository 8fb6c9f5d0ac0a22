"""The ops of one session as they come into its log: read once, and handed to all followers."""

import asyncio
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import orjson

from muse.core.entry import OpEntry
from muse.core.file.tail import Follower
from muse.core.op_log import OpLog
from muse.errors import MuseError
from muse.server.client_queue import ClientQueue, FedOp, Message
from muse.server.settings import Settings

BATCH_OPS = 1_000
"""How many ops one message to a follower holds."""

_UNDELIVERED_AT_MOST = 8


@dataclass(frozen=True)
class LogSlice:
    """Some entries in the order of the log, each with the place behind it. All are after byte `start`."""

    start: int
    ops: list[FedOp] = field(default_factory=list)

    @property
    def end(self) -> int:
        """The byte of the log at which it ends."""
        return self.ops[-1].end if self.ops else self.start

    def after(self, cursor: int) -> "LogSlice":
        """Return those that are behind `cursor`."""
        return LogSlice(max(self.start, cursor), [op for op in self.ops if op.end > cursor])

    @cached_property
    def message(self) -> Message:
        """Return the message to followers, which is made once for all of them; there must be ops."""
        entries = b",".join([op.data for op in self.ops])
        data = b'{"type":"ops","entries":[%b],"cursor":"%b"}' % (entries, self.ops[-1].cursor)
        return Message(data, self.end, self.ops)


def read_slice(follower: Follower, start: int, *, upto: int | None = None) -> LogSlice:
    """Return the next entries that are in the log already; an empty slice if it has no more."""
    batch = LogSlice(start)
    size = 0
    while len(batch.ops) < BATCH_OPS and size < 1 << 20 and (upto is None or batch.end < upto):
        entry = follower.next_within(0)
        if entry is None:
            break
        batch.ops.append(_fed(follower, entry))
        size += len(batch.ops[-1].data)
    return batch


def _fed(follower: Follower, entry: OpEntry) -> FedOp:
    """Return the entry that was read last. Its JSON is a copy, as what orjson returns keeps kilobytes."""
    data = bytes(memoryview(orjson.dumps(entry)))
    return FedOp(follower.cursor, follower.cursor_text.encode(), data)


class Feed:
    """Follows one log in a thread of its own while there are followers. Its other calls are for the loop."""

    def __init__(
        self,
        log: OpLog,
        settings: Settings,
        loop: asyncio.AbstractEventLoop,
        on_overflow: Callable[[], None],
    ) -> None:
        self._log = log
        self._settings = settings
        self._loop = loop
        self._on_overflow = on_overflow
        self._queues: set[ClientQueue] = set()
        self._catching_up: set[ClientQueue] = set()
        self._follower: Follower | None = None
        self._room = threading.Semaphore(_UNDELIVERED_AT_MOST)
        self._thread: threading.Thread | None = None
        self.cursor = 0
        self.failure: MuseError | None = None
        self._is_over = False

    @property
    def followers(self) -> int:
        """How many clients follow."""
        return len(self._queues)

    def lag_bytes(self) -> int:
        """Return how many bytes the slowest follower is behind what was read."""
        followers = self._queues | self._catching_up
        return max([0, *(self.cursor - queue.cursor for queue in followers)])

    def open(self) -> None:
        """Begin to follow at the end of the log. Blocks; for a thread."""
        start = self._log.cut().offset
        follower = self._log.follow(since=start)
        self.cursor = start
        self._follower = follower
        self._thread = threading.Thread(target=self._follow, args=(follower, start), daemon=True)
        try:
            self._thread.start()
        except RuntimeError:  # the machine gives no more threads
            follower.close()
            raise

    def join(self, queue: ClientQueue) -> bool:
        """Send everything after the queue's cursor from now on; False if the feed is past that cursor."""
        if self._is_over:
            queue.close(self.failure)
            return True
        if queue.cursor < self.cursor:
            self._catching_up.add(queue)
            return False
        self._catching_up.discard(queue)
        self._queues.add(queue)
        return True

    def leave(self, queue: ClientQueue) -> None:
        """Forget a client that follows no more."""
        self._queues.discard(queue)
        self._catching_up.discard(queue)

    def tell(self, update: Message) -> None:
        """Send all followers a message that holds no ops."""
        for queue in self._queues:
            queue.update(update)

    def _deliver(self, batch: LogSlice) -> None:
        self._room.release()
        self.cursor = batch.end
        for queue in list(self._queues):
            rest = batch if queue.cursor <= batch.start else batch.after(queue.cursor)
            if rest.ops and not queue.update(rest.message):
                self._queues.discard(queue)
                self._on_overflow()

    def _fail(self, error: MuseError) -> None:
        self.failure = error
        self.drop(error)

    def drop(self, failure: MuseError | None = None) -> None:
        """Close the queues of all followers: they connect again, to the session as it is then."""
        self._is_over = True
        for queue in self._queues | self._catching_up:
            queue.close(failure)
        self._queues.clear()

    def _follow(self, follower: Follower, start: int) -> None:
        try:
            while (entry := follower.next_within(None)) is not None:
                first = _fed(follower, entry)
                more = read_slice(follower, follower.cursor)
                batch = LogSlice(start, [first, *more.ops])
                self._room.acquire()
                start = batch.end
                self._call(self._deliver, batch)
                time.sleep(self._settings.gather_seconds)
        except MuseError as error:
            self._call(self._fail, error)

    def _call(self, call: Callable[..., None], *arguments: object) -> None:
        try:
            self._loop.call_soon_threadsafe(call, *arguments)
        except RuntimeError:  # the loop is closed: the server stops
            if self._follower is not None:
                self._follower.stop()

    def close(self) -> None:
        """Stop following. Blocks until the thread has ended; for a thread."""
        if self._follower is None or self._thread is None:
            return
        self._follower.stop()
        while self._thread.is_alive():
            self._room.release()
            self._thread.join(0.05)
        self._follower.close()
        self._follower = None


def as_json(entry: OpEntry, cursor: str) -> bytes:
    """Return an entry as a line, with the cursor behind it."""
    return orjson.dumps({**entry, "cursor": cursor})
