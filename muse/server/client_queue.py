"""What is on its way to one client: answers to it, and what others do. Bounded; a slow client is told."""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from websockets.frames import Frame, Opcode

from muse.errors import MuseError
from muse.server.settings import Settings


@dataclass(frozen=True)
class Message:
    """Something to tell one client or many; `data` is the message as JSON.

    `cursor`: where a client is once it has it; None if that is where it was. `ops`: those in it, each
    with the byte after it. `event`: it as a Server-Sent Event, if it is neither ops nor presence.
    """

    data: bytes
    cursor: int | None = None
    ops: Sequence[tuple[int, bytes]] = ()
    event: bytes = b""

    @cached_property
    def frame(self) -> bytes:
        """The WebSocket frame, made once for all."""
        return Frame(Opcode.TEXT, self.data).serialize(mask=False)

    @cached_property
    def events(self) -> bytes:
        """The Server-Sent Events, made once for all: one an op, each with its cursor as id."""
        if self.ops:
            return b"".join([b"id: %d\nevent: op\ndata: %b\n\n" % op for op in self.ops])
        return self.event or b"event: presence\ndata: %b\n\n" % self.data


class ClientQueue:
    """One client's queue. Answers are never dropped: their number is bounded by who asks.

    When updates are more than the queue holds they are dropped and `overflowed` is set: the client goes
    on from `cursor`, which is that of the last update it was handed.
    """

    def __init__(self, settings: Settings, cursor: int) -> None:
        self._messages_at_most = settings.queue_messages
        self._bytes_at_most = settings.queue_bytes
        self._answers: deque[Message] = deque()
        self._updates: deque[Message] = deque()
        self._size = self._answers_size = 0
        self._wake = asyncio.Event()
        self.cursor = cursor
        self.overflowed = False
        self.closed = False
        self._failure: MuseError | None = None

    @property
    def has_answers(self) -> bool:
        return bool(self._answers)

    @property
    def is_crowded(self) -> bool:
        """Whether so many answers wait that no more should be caused: the client does not read."""
        return len(self._answers) >= self._messages_at_most or self._answers_size >= self._bytes_at_most

    def answer(self, data: bytes, event: bytes = b"") -> None:
        """Queue what only this client is told."""
        self._answers.append(Message(data, event=event))
        self._answers_size += len(data)
        self._wake.set()

    def update(self, update: Message) -> bool:
        """Queue an update; False if there was no room, and all that waited was dropped."""
        if self.overflowed or self.closed:
            return False
        is_full = len(self._updates) >= self._messages_at_most or (
            self._updates and self._size + len(update.data) > self._bytes_at_most
        )
        if is_full and update.cursor is None:
            return True  # who is here is not worth a new start
        if is_full:
            self.overflowed = True
            self._updates.clear()
            self._size = 0
            self._wake.set()
            return False
        self._updates.append(update)
        self._size += len(update.data)
        self._wake.set()
        return True

    def close(self, failure: MuseError | None = None) -> None:
        """Let `get` return None once all answers and updates are out; or raise what the feed failed with."""
        self._failure = self._failure or failure
        self.closed = True
        self._wake.set()

    def get_nowait(self) -> Message | None:
        """Return what is to be sent next, answers first; None if there is nothing now."""
        if self._answers:
            answer = self._answers.popleft()
            self._answers_size -= len(answer.data)
            return answer
        if self._updates:
            update = self._updates.popleft()
            self._size -= len(update.data)
            if update.cursor is not None:
                self.cursor = update.cursor
            return update
        return None

    async def get(self) -> Message | None:
        """Wait for what is to be sent next; None once the client is behind, or all of a closed box is out."""
        while (update := self.get_nowait()) is None:
            if self._failure is not None:
                raise self._failure
            if self.overflowed or self.closed:
                return None
            self._wake.clear()
            await self._wake.wait()
        return update
