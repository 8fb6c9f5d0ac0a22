"""The ops of all actors in the order of the log: no gap and no repeat, even if connections break."""

import asyncio
from collections import deque
from contextlib import AsyncExitStack, suppress
from typing import Any, Self

import orjson

from muse.client.address import Address
from muse.client.backoff import Backoff
from muse.client.failures import OtherLogCursorError, ServerError
from muse.client.socket import Check, Socket, opened
from muse.core.entry import OpEntry

START = "0"

_LASTING_SECONDS = 5.0
"""A connection that lasted so long was a good one, though no op came."""


class AsyncFollower:
    """An async iterator over the entries of a session after the cursor `since`; "0" is the start.

    `cursor` is where to resume: after the last batch that was handed out whole. It remains valid when the
    server is restarted. Where the server has another log than the cursor is of, as after a backup was put
    back, the follower begins at the start of that log, and passes over what it handed out before; with
    `starts_over` off it raises `OtherLogCursorError`. Raises `ServerError` if there was no connection for
    `patience_seconds` (None: never); asked again, it goes on where it was. `present` maps the actors that are
    here to the places that they gave to `move`; it changes only while a batch is waited for. An async context
    manager.
    """

    def __init__(
        self,
        address: Address,
        session_id: str,
        actor_id: str,
        since: str,
        patience_seconds: float | None,
        *,
        check: Check | None = None,
        starts_over: bool = True,
    ) -> None:
        self.cursor = since
        self._starts_over = starts_over
        self._handed_out: set[bytes] = set()
        self.present: dict[str, Any] = {}
        self._where: Any = None
        self._address = address
        self._session_id = session_id
        self._actor_id = actor_id
        self._check = check
        self._backoff = Backoff(patience_seconds)
        self._connected_at = 0.0
        self._stack = AsyncExitStack()
        self._socket: Socket | None = None
        self._connecting: asyncio.Task[Socket] | None = None
        self._failure: ServerError | None = None
        self._waiting: deque[OpEntry] = deque()

    async def batch(self) -> list[OpEntry]:
        """Wait for the next entries, at least one; the cursor is then behind them."""
        if self._waiting:
            entries = list(self._waiting)
            self._waiting.clear()
            return entries
        while True:
            try:
                socket = self._socket or await self._connected()
            except OtherLogCursorError:
                if not self._starts_over:
                    raise
                self.cursor = START
                continue
            try:
                entries = await self._receive(socket)
            except ServerError as error:
                if asyncio.get_running_loop().time() - self._connected_at > _LASTING_SECONDS:
                    self._backoff.succeeded()
                await self._hang_up()
                self._failure = error
                continue
            if entries:
                return entries

    async def batch_within(self, seconds: float) -> list[OpEntry]:
        """Do what `batch` does, but return an empty list if nothing came within `seconds`."""
        try:
            async with asyncio.timeout(seconds):
                return await self.batch()
        except TimeoutError:
            return []

    async def _connected(self) -> Socket:
        """Connect. A caller that gives up leaves the attempt under way, for the next call."""
        if self._connecting is None:
            failure, self._failure = self._failure, None
            self._connecting = asyncio.create_task(self._connect(failure))
        await asyncio.wait([self._connecting])
        connecting, self._connecting = self._connecting, None
        self._socket = connecting.result()
        self._connected_at = asyncio.get_running_loop().time()
        if self._where is not None:
            await self.move(self._where)
        return self._socket

    async def _connect(self, failure: ServerError | None) -> Socket:
        params = {"since": self.cursor, **({"actor": self._actor_id} if self._actor_id else {})}
        while True:
            if failure is not None:
                await self._backoff.wait(failure)
            try:
                connecting = opened(self._address, self._session_id, params, self._check)
                return await self._stack.enter_async_context(connecting)
            except ServerError as error:
                failure = error

    async def _receive(self, socket: Socket) -> list[OpEntry]:
        message = await socket.receive()
        match message.get("type"):
            case "ops":
                self._backoff.succeeded()
                entries = _entries_in(message)
                self.cursor = str(message["cursor"])
                return self._new_of(entries) if self._starts_over else entries
            case "overflow":
                await self._hang_up()
            case "presence":
                self._note_presence(message)
        return []

    def _new_of(self, entries: list[OpEntry]) -> list[OpEntry]:
        keys = [_key(entry["op_id"]) for entry in entries]
        new = [entry for entry, key in zip(entries, keys, strict=True) if key not in self._handed_out]
        self._handed_out.update(keys)
        return new

    async def move(self, where: Any) -> None:
        """Tell the others where this actor is: any JSON value. It is told again after a new connection."""
        self._where = where
        if self._socket is not None:
            with suppress(ServerError):  # the next batch connects again, and tells it then
                await self._tell(self._socket)

    async def _tell(self, socket: Socket) -> None:
        await socket.send(orjson.dumps({"type": "presence", "where": self._where}))

    def _note_presence(self, message: dict[str, Any]) -> None:
        here = message.get("here")
        if isinstance(here, list):
            self.present = {}
            for one in here:
                self._note_place(one)
        elif message.get("state") == "gone":
            self.present.pop(str(message.get("actor")), None)
        else:
            self._note_place(message)

    def _note_place(self, one: Any) -> None:
        """Note where an actor is: it may have several connections, and one of them tells."""
        if isinstance(one, dict):
            actor, where = str(one.get("actor")), one.get("where")
            self.present[actor] = self.present.get(actor) if where is None else where

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> OpEntry:
        if not self._waiting:
            self._waiting.extend(await self.batch())
        return self._waiting.popleft()

    async def _hang_up(self) -> None:
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.gather(self._connecting, return_exceptions=True)
        self._socket = self._connecting = None
        await self._stack.aclose()

    async def close(self) -> None:
        """Hang up. The cursor remains valid."""
        await self._hang_up()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def _key(op_id: str) -> bytes:
    """Return an op id in as few bytes as it takes: those of a long session are many."""
    try:
        return bytes.fromhex(op_id.replace("-", ""))
    except ValueError:
        return op_id.encode()


def _entries_in(message: dict[str, Any]) -> list[OpEntry]:
    entries = message.get("entries")
    if not (isinstance(entries, list) and {dict}.issuperset(map(type, entries)) and "cursor" in message):
        raise ServerError("the message holds no ops: is this a Muse server?")
    return entries


def byte_of(cursor: str) -> int:
    """Return how far in its log a cursor is; 0 for one of an unknown form."""
    number, _, _ = cursor.partition("-")
    return int(number) if number.isascii() and number.isdigit() else 0
