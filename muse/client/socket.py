"""One WebSocket to one session: it takes and gives whole messages, and its errors say what happened."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote, urlencode

import orjson
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, WebSocketException

from muse.client.address import Address
from muse.client.failures import ServerError, UnreachableError, failure, failure_in
from muse.core.file.log_reader import collector_paused

_OPEN_SECONDS = 10.0
_MESSAGE_BYTES = 64 << 20
_FAULT_CODES = range(4400, 4600)  # close codes that are 4000 and a status of HTTP

Check = Callable[[str], Awaitable[None]]
"""Raises unless the repository with this id is the one that is meant."""


class Socket:
    """An open connection. After an error it cannot be used, unless the error was about one request."""

    def __init__(self, connection: ClientConnection, what: str) -> None:
        self._connection = connection
        self._what = what

    async def send(self, message: bytes) -> None:
        """Send a message, a JSON text in UTF-8; `ServerError` if the connection is closed."""
        try:
            await self._connection.send(message, text=True)
        except ConnectionClosed as error:
            raise self._closed(error) from error

    async def receive(self) -> dict[str, Any]:
        """Return the next message. The server's errors, and the end of the connection, are raised."""
        try:
            data = await self._connection.recv(decode=False)
        except ConnectionClosed as error:
            raise self._closed(error) from error
        try:
            with collector_paused():
                message = orjson.loads(data)
        except orjson.JSONDecodeError as error:
            raise ServerError(f"{self._what}: a message is not JSON: is this a Muse server?") from error
        if not isinstance(message, dict):
            raise ServerError(f"{self._what}: a message is not a JSON object: is this a Muse server?")
        if message.get("type") == "error":
            raise _failure_told(message, self._what)
        if message.get("type") == "closing":
            raise _gone(self._what, message.get("retry_after"))
        return message

    def _closed(self, error: ConnectionClosed) -> ServerError:
        frame = error.rcvd
        if frame is not None and frame.code in _FAULT_CODES:
            return failure(frame.code - 4000, {"error": {"message": frame.reason}}, self._what)
        reason = f"{frame.code} {frame.reason}".strip() if frame else "cut off"
        return UnreachableError(f"{self._what}: the connection was closed ({reason})")


@asynccontextmanager
async def opened(
    address: Address, session_id: str, params: Mapping[str, str], check: Check | None = None
) -> AsyncIterator[Socket]:
    """Connect to a session that passes the check, and hang up at the end of the block."""
    what = f"session {session_id!r} on {address.url}"
    query = f"?{urlencode(params)}" if params else ""
    uri = f"{address.websocket}/sessions/{quote(session_id)}/live{query}"
    try:
        connection = await connect(
            uri,
            additional_headers=address.headers,
            ssl=address.tls,
            compression=None,
            proxy=None,
            max_size=_MESSAGE_BYTES,
            open_timeout=_OPEN_SECONDS,
            close_timeout=1,
        )
    except InvalidStatus as error:
        raise failure_in(error.response.status_code, bytes(error.response.body or b""), what) from error
    except (OSError, ValueError, InvalidHandshake, WebSocketException) as error:
        failed = UnreachableError(f"{what}: no connection ({error}): is the server up, and reachable?")
        failed.was_sent = False
        raise failed from error
    try:
        if check is not None:
            await check(connection.response.headers.get("muse-repository", "") if connection.response else "")
        yield Socket(connection, what)
    finally:
        try:
            await connection.close()
        finally:
            connection.transport.abort()  # for a caller that gave up waiting: nothing stays open


def _failure_told(message: Mapping[str, Any], what: str) -> ServerError:
    facts = message.get("error")
    status = facts.get("status") if isinstance(facts, dict) else None
    return failure(status if isinstance(status, int) else 500, message, what)


def _gone(what: str, retry_after: object) -> UnreachableError:
    error = UnreachableError(f"{what}: the server is going down")
    error.retry_after = float(retry_after) if isinstance(retry_after, int | float) else None
    return error
