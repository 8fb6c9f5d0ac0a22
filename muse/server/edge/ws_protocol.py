"""uvicorn's WebSocket protocol: sends one frame to many, and drops clients that do not read or flood it."""

import time
from codecs import IncrementalDecoder, getincrementaldecoder
from collections.abc import Hashable
from typing import Any

from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.exceptions import ProtocolError
from websockets.frames import CloseCode, Frame, Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol

from muse.server.edge.door import Guest
from muse.server.edge.limits import Budget
from muse.server.faults import RequestError

FRAGMENTS_AT_MOST = 1_000
"""In how many frames one message may come."""

CONTROLS_AT_MOST = 1_000
"""How many pings, and frames like them, may come in a second."""

_UTF8 = getincrementaldecoder("utf-8")


class BoundedFrames(ServerProtocol):
    """Takes frames until there are too many, as each costs time, however small, or a text is not UTF-8."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._fragments = self._controls = 0
        self._second = 0
        self._text: IncrementalDecoder | None = None

    def recv_frame(self, frame: Frame) -> None:
        """Take in a frame, unless there are too many in a message or a second, or its text cannot be read."""
        if frame.opcode is Opcode.CONT:
            self._fragments += 1
            if self._fragments >= FRAGMENTS_AT_MOST:
                self._end(f"a message came in more than {FRAGMENTS_AT_MOST} frames")
            self._check_text(frame)
        elif frame.opcode is Opcode.TEXT or frame.opcode is Opcode.BINARY:
            self._fragments = 0
            self._text = _UTF8() if frame.opcode is Opcode.TEXT else None
            self._check_text(frame)
        else:
            self._count_control()
        super().recv_frame(frame)

    def _check_text(self, frame: Frame) -> None:
        """End where a text is no UTF-8 (RFC 6455, 8.1); a character may lie in two frames."""
        if self._text is None:
            return
        try:
            self._text.decode(frame.data, frame.fin)
        except UnicodeDecodeError:
            self._end("a text message is not UTF-8", CloseCode.INVALID_DATA)

    def _count_control(self) -> None:
        second = int(time.monotonic())
        if second != self._second:
            self._second, self._controls = second, 0
        self._controls += 1
        if self._controls > CONTROLS_AT_MOST:
            self._end(f"more than {CONTROLS_AT_MOST} pings came in a second")

    def _end(self, reason: str, code: CloseCode = CloseCode.POLICY_VIOLATION) -> None:
        self.fail(code, reason)
        raise ProtocolError(reason)  # leaves the parser


class AbortableWebSocket(WebSocketsSansIOProtocol):
    """A WebSocket whose application finds more calls in the state of its scope.

    `abort` ends the connection at once, while closing waits for the client. `send_frame` sends a frame that
    was serialized before; `send_at_once` does so if it need not wait, and returns whether it did.
    `bound_frames` has what came of unfinished messages count in a budget. After the application has ended,
    the client has some seconds to read what is left.
    """

    guest: Guest
    """The connection, which is given by the protocol that it spoke before."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._budget: tuple[Budget, Hashable] | None = None
        self._unfinished = 0
        self.conn = BoundedFrames(max_size=self.config.ws_max_size, logger=self.conn.logger)

    async def run_asgi(self) -> None:
        """Run the application; then leave the client some seconds to read what is left."""
        self.scope["state"] |= {
            "abort": self.transport.abort,
            "bound_frames": self._bound_frames,
            "guest": self.guest,
            "send_frame": self._send_frame,
            "send_at_once": self._send_at_once,
        }
        try:
            await super().run_asgi()
        finally:
            self.loop.call_later(self.close_timeout, self.transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        """Give back what the connection was counted for."""
        self.guest.leave()
        super().connection_lost(exc)
        self._count_unfinished(0)

    def data_received(self, data: bytes) -> None:
        """Take in what came, and count what is of an unfinished message."""
        super().data_received(data)
        self._count_unfinished(self._unfinished_bytes())

    def _bound_frames(self, budget: Budget, holder: Hashable) -> None:
        self._budget = budget, holder
        self._count_unfinished(self._unfinished_bytes())

    def _unfinished_bytes(self) -> int:
        return len(self.conn.reader.buffer) + sum(map(len, self.frames))

    def _count_unfinished(self, size: int) -> None:
        """Have the budget hold so much for the connection, or end that where it may not have it."""
        if self._budget is None or size == self._unfinished:
            return
        budget, holder = self._budget
        budget.give_back(holder, self._unfinished)
        self._unfinished = 0
        try:
            budget.take(holder, size)
            self._unfinished = size
        except RequestError as error:
            if self.conn.state is State.OPEN:
                self.conn.fail(CloseCode.TRY_AGAIN_LATER, str(error))
                self.handle_parser_exception()
            else:
                self.transport.abort()

    async def send(self, message: Any) -> None:
        """Send a message. A handshake that was answered is complete, or uvicorn logs an error."""
        await super().send(message)
        if message["type"] == "websocket.http.response.body" and not message.get("more_body"):
            self.handshake_complete = True

    async def _send_frame(self, frame: bytes) -> None:
        await self.writable.wait()
        if not self._send_at_once(frame):
            raise ClientDisconnected

    def _send_at_once(self, frame: bytes) -> bool:
        if self.disconnected or self.close_sent or not self.writable.is_set():
            return False
        self.transport.write(frame)
        return True
