"""uvicorn's HTTP protocol, with limits on what comes before a request and on how long an answer waits.

uvicorn waits for whole headers without a limit of time or memory. Here a connection is closed if its request
is not whole in time, if it sends too much, or if it does not read its answer.
"""

import asyncio
from collections.abc import Callable, Sized
from http import HTTPStatus
from typing import Any

import orjson
from uvicorn.config import Config
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from muse.server.edge.door import Guest
from muse.server.faults import RequestError
from muse.server.settings import Settings

PIPELINED_AT_MOST = 32
"""How many requests of a connection may wait for the answer to an earlier one."""

PIECES_AT_MOST = 1_000
"""In how many pieces a body may come that are smaller, on the whole, than `PIECE_BYTES`."""

PIECE_BYTES = 64

_LINGER_SECONDS = 1.0
_LINGER_BYTES = 4 << 20


class _RefusedError(Exception):
    """Leaves the parser from within its callbacks."""


class _Flow(FlowControl):
    """Reads on only where no request waits for the answer to an earlier one: what is read takes memory."""

    def __init__(self, transport: asyncio.Transport, waiting: Sized) -> None:
        super().__init__(transport)
        self._waiting = waiting

    def resume_reading(self) -> None:
        if not self._waiting:
            super().resume_reading()


class BoundedHttp(HttpToolsProtocol):
    """One connection, that of `guest`. `count_refused` is told the reason of each refusal."""

    def __init__(
        self,
        settings: Settings,
        count_refused: Callable[[str], None],
        guest: Guest,
        config: Config,
        server_state: ServerState,
    ) -> None:
        super().__init__(config, server_state, {})
        self.access_log = False  # a query may say more than a log should
        self._settings = settings
        self._count_refused = count_refused
        self._guest = guest
        self._deadline: asyncio.TimerHandle | None = None
        self._patience: asyncio.TimerHandle | None = None
        self._header_size = 0  # of what came while headers were read: the start of a body may be in it
        self._parsed_size = 0
        self._pieces = self._pieces_size = 0  # of the body
        self._in_headers = True
        self._refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for headers, but no longer than allowed; refuse a connection that is one too many."""
        super().connection_made(transport)
        self.flow = _Flow(transport, self.pipeline)
        if self._guest.is_surplus:
            self._refuse(RequestError(503, "too many connections", retry_after=1, reason="connections"))
        else:
            self._await_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        """Give back what the connection was counted for."""
        self._guest.leave()
        self._stop_waiting()
        self._end_patience()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Wait for a client that does not read, but no longer than allowed."""
        super().pause_writing()
        self._patience = self.loop.call_later(self._settings.send_seconds, self._drop)

    def resume_writing(self) -> None:
        """Go on to write: the client reads again."""
        super().resume_writing()
        self._end_patience()

    def data_received(self, data: bytes) -> None:
        """Parse what came, within the bounds; after a refusal, pass over it for a while."""
        if self._refused:
            self._header_size += len(data)
            if self._header_size > _LINGER_BYTES:
                self.transport.close()
            return
        if self._in_headers:
            self._header_size += len(data)
        super().data_received(data)
        successor: Any = self.transport.get_protocol()
        if successor is not self:
            self._end_patience()
            successor.guest = self._guest
            self._check_handshake(successor)
            return
        if self._in_headers or self.cycle is None or self.cycle.response_complete:
            self._await_headers()  # an empty line, too, has ended the wait of keep-alive
        if self._in_headers and self._header_size > self._settings.header_bytes:
            self._refuse_large()

    # -- callbacks of the parser ------------------------------------------------------------

    def on_message_begin(self) -> None:
        """Begin to count the headers and the body of a request."""
        self._in_headers = True
        self._header_size = self._parsed_size = self._pieces = self._pieces_size = 0
        super().on_message_begin()
        self.scope["state"] |= {"abort": self.transport.abort, "guest": self._guest}

    def on_url(self, url: bytes) -> None:
        """Take in a part of the URL, which counts as a header."""
        self._grow(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take in a header, unless there are more bytes of them than allowed."""
        self._grow(len(name) + len(value))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Begin the answer, unless too many requests wait on this connection."""
        self._in_headers = False
        self._stop_waiting()
        super().on_headers_complete()
        if len(self.pipeline) > PIPELINED_AT_MOST:
            self._refuse_pipeline()
            raise _RefusedError

    def on_body(self, body: bytes) -> None:
        """Take in a piece of the body, unless they are many and small."""
        self._pieces += 1
        self._pieces_size += len(body)
        if self._pieces > max(PIECES_AT_MOST, self._pieces_size // PIECE_BYTES):
            self._refuse(RequestError(400, "the body comes in too many small pieces", reason="malformed"))
            raise _RefusedError
        super().on_body(body)

    def on_response_complete(self) -> None:
        """Begin the next request that waits; read on once it was the last."""
        super().on_response_complete()
        if not self.pipeline:
            self._guest.rest()
        if not self.transport.is_closing():
            self.flow.resume_reading()

    def on_message_complete(self) -> None:
        """Note that the whole request is here."""
        self.scope["state"]["is_whole"] = True  # nobody has to wait for the body
        super().on_message_complete()

    def _grow(self, size: int) -> None:
        self._parsed_size += size
        if self._parsed_size > self._settings.header_bytes:
            self._refuse_large()
            raise _RefusedError

    def send_400_response(self, msg: str) -> None:
        """Refuse a request that the parser cannot read, as any other is refused."""
        self._refuse(RequestError(400, msg, reason="malformed"))

    def _check_handshake(self, websocket: Any) -> None:
        """Refuse a handshake that the WebSocket's parser does not take: uvicorn would wait for more."""
        if websocket.conn.handshake_exc is not None and not websocket.handshake_initiated:
            self._refuse(RequestError(400, "the handshake of the WebSocket is malformed", reason="malformed"))

    # -- bounds -----------------------------------------------------------------------------

    def _await_headers(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(self._settings.header_seconds, self._give_up)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _end_patience(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _drop(self) -> None:
        self._count_refused("not_reading")
        self.transport.abort()

    def _give_up(self) -> None:
        seconds = self._settings.header_seconds
        self._refuse(RequestError(408, f"no whole request came within {seconds:g} s", reason="headers"))

    def _refuse_pipeline(self) -> None:
        """Close: nobody knows which answers the client still waits for."""
        self._refused = True
        self._count_refused("pipelined")
        self.pipeline.clear()
        self.transport.close()

    def _refuse_large(self) -> None:
        limit = self._settings.header_bytes
        self._refuse(RequestError(431, f"the headers are longer than {limit} bytes", reason="headers"))

    def _refuse(self, error: RequestError) -> None:
        if self._refused or self.transport.is_closing():
            return
        self._refused = True
        self._count_refused(error.reason)
        if self._may_answer():
            body = orjson.dumps(error.as_record())
            status = HTTPStatus(error.status)
            head = f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-type: application/json\r\n"
            head += f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
            self.transport.write(head.encode() + body)
        # Closed at once, with data unread, the answer could be lost on its way.
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.loop.call_later(_LINGER_SECONDS, self.transport.close)

    def _may_answer(self) -> bool:
        """Return whether no other answer is on its way or about to be."""
        cycle = self.cycle
        if cycle is None or cycle.response_complete:
            return True
        if self._in_headers or self.pipeline or cycle.response_started:
            return False
        cycle.disconnected = True  # what is malformed is the body of that very request
        cycle.message_event.set()
        return True
