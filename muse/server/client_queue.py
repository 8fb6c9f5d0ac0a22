"""What is on its way to one client: answers to it, and what others do. It is limited."""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from websockets.frames import Frame, Opcode

from muse.errors import MuseError
from muse.server.settings import Settings


class FedOp(NamedTuple):
    """An entry as JSON, the byte after it, and the cursor there."""

    end: int
    cursor: bytes
    data: bytes


@dataclass(frozen=True)
class Message:
    """A message to one client or to many; `data` holds it as JSON.

    `cursor`: where a client is after this message; None if it does not move. `ops`: the ops in it.
    `event`: it as a Server-Sent Event, if it is neither ops nor presence.
    """

    data: bytes
    cursor: int | None = None
    ops: Sequence[FedOp] = ()
    event: bytes = b""

    @cached_property
    def frame(self) -> bytes:
        """Return the WebSocket frame, which is made once for all clients."""
        return Frame(Opcode.TEXT, self.data).serialize(mask=False)

    @cached_property
    def events(self) -> bytes:
        """Return the Server-Sent Events, made once for all: one for each op, with its cursor as id."""
        if self.ops:
            return b"".join([b"id: %b\nevent: op\ndata: %b\n\n" % op[1:] for op in self.ops])
        return self.event or b"event: presence\ndata: %b\n\n" % self.data


class ClientQueue:
    """The queue of one client. Answers are never dropped: the client itself causes no more than it reads.

    If there are more updates than it may have, all are dropped and `overflowed` is set. The client
    then goes on from `cursor`, which is that of the last update that was taken from the queue.
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
        """Whether an answer to the client waits to be sent."""
        return bool(self._answers)

    @property
    def is_crowded(self) -> bool:
        """Return whether so many answers wait that the client should cause no more: it does not read."""
        return len(self._answers) >= self._messages_at_most or self._answers_size >= self._bytes_at_most

    def answer(self, data: bytes, event: bytes = b"") -> None:
        """Queue a message for this client alone."""
        self._answers.append(Message(data, event=event))
        self._answers_size += len(data)
        self._wake.set()

    def update(self, update: Message) -> bool:
        """Queue an update; False if there was no room, and all updates that waited were dropped."""
        if self.overflowed or self.closed:
            return False
        is_full = len(self._updates) >= self._messages_at_most or (
            self._updates and self._size + len(update.data) > self._bytes_at_most
        )
        if is_full and update.cursor is None:
            return True  # presence is not worth a new start
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
        """Let `get` return None once the queue is empty, or raise `failure`, the error of the feed."""
        self._failure = self._failure or failure
        self.closed = True
        self._wake.set()

    def get_nowait(self) -> Message | None:
        """Return the message to send next, answers first; None if nothing waits."""
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
        """Wait for the message to send next; None if the client is too slow or the queue closed and empty."""
        while (update := self.get_nowait()) is None:
            if self._failure is not None:
                raise self._failure
            if self.overflowed or self.closed:
                return None
            self._wake.clear()
            await self._wake.wait()
        return update
