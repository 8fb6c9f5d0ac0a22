"""The live session of one client: over a WebSocket, both ways, or as Server-Sent Events, one way."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import ExitStack, aclosing, nullcontext
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Annotated, Any, Literal, TypeGuard

import msgspec
from starlette.responses import Response, StreamingResponse
from starlette.websockets import WebSocket

from muse.core.strict_json import unstorable
from muse.errors import MuseError
from muse.server.api.appends import submit_ops
from muse.server.api.bodies import PARSED_AT_ONCE, parse_json
from muse.server.api.calls import ANSWERED, Call, Service, check_cursor, one_of
from muse.server.api.ops import Append, checked, sent_ops
from muse.server.appending import Written
from muse.server.client_queue import ClientQueue, Message
from muse.server.edge.access import Principal
from muse.server.faults import RequestError
from muse.server.feed import LogSlice, read_slice
from muse.server.in_threads import InThreads
from muse.server.sessions import OpenSession

TRY_AGAIN, RESTARTING, POLICY_VIOLATION, INTERNAL = 1013, 1012, 1008, 1011
"""Close codes of WebSockets (the IANA registry): behind or full, stopping, no longer allowed, a fault."""

SUBPROTOCOL = "muse.v1"

_PRESENCE_BYTES = 4096
_IDENTITY_LENGTH = 256
_LEVELS_AROUND = 100
"""How much of the depth that JSON may have is kept for what is written around a client's value."""

_Identity = int | Annotated[str, msgspec.Meta(max_length=_IDENTITY_LENGTH)] | None
_CONNECTIONS = count(1)


class AppendMessage(Append, forbid_unknown_fields=True):
    """Ops that come over a WebSocket. `id`: what the answer is to say, so that its sender knows it."""

    type: str = "append"
    id: _Identity = None
    ack: Literal["written", "durable"] = "written"


class PresenceMessage(msgspec.Struct, forbid_unknown_fields=True):
    """Where the sender is now."""

    where: Any
    type: str = "presence"
    id: _Identity = None


async def catch_up(
    service: Service, principal: Principal, session: OpenSession, queue: ClientQueue
) -> AsyncGenerator[LogSlice]:
    """Yield what lies between the queue's cursor and the live feed, then join that: no gap, no repeat.

    Ends early once the queue is closed: a client that has to leave does not wait for a long log.
    """
    feed = await session.feed()
    if feed.join(queue):
        return
    follow = partial(session.log.follow, since=queue.cursor)
    with InThreads(service.threads_of(principal), follow) as follower:
        while not (queue.closed or feed.join(queue)):
            target = feed.cursor
            batch = await follower.use(partial(read_slice, start=queue.cursor, upto=target))
            if batch.ops:
                yield batch
            queue.cursor = batch.end if batch.ops else max(queue.cursor, target)


async def start_cursor(call: Call, session: OpenSession, since: str | None) -> int:
    """Return where to follow from: a client's cursor, or the end of the log."""
    if since is None:
        return (await call.in_thread(session.log.cut)).offset
    return await call.in_thread(partial(check_cursor, session.log, since))


async def cursor_at(service: Service, principal: Principal, session: OpenSession, offset: int) -> bytes:
    """Return a byte of the log as a client's cursor."""
    return (await service.in_thread(principal, partial(session.log.cursors.at, offset))).encode()


class LiveConnection:
    """One WebSocket in a session, from its acceptance to its end."""

    def __init__(
        self, service: Service, socket: WebSocket, principal: Principal, session: OpenSession, actor: str
    ) -> None:
        self._service = service
        self._socket = socket
        self._session = session
        self._actor = actor
        self.principal = principal
        self.queue = ClientQueue(service.settings, 0)
        self._pending = 0
        self._room = asyncio.Event()
        self._closing: tuple[int, str] | None = None
        self._number = next(_CONNECTIONS)
        self._loop = asyncio.get_running_loop()
        self.sending_since: float | None = None

    async def run(self, cursor: int, *, follow: bool) -> None:
        """Serve the client until it leaves, is too slow, or is sent away."""
        self.queue.cursor = cursor
        self.queue.answer(self._session.arrive(self._number, self._actor))
        self._service.live.add(self)
        sender = self._loop.create_task(self._send_all(follow=follow))
        reader = self._loop.create_task(self._read_all())
        try:
            await asyncio.wait([sender, reader], return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._service.live.discard(self)
            self._session.leave(self._number)
            self._session.stop_following(self.queue)
            for task in (sender, reader):
                task.cancel()
            await asyncio.gather(sender, reader, return_exceptions=True)

    def leave(self, code: int, reason: str, *, message: dict[str, Any] | None = None) -> None:
        """Send what waits, then a last message, and close."""
        if message is not None:
            self.queue.answer(_encoded(message))
        self._closing = self._closing or (code, reason)
        self.queue.close()

    def abort(self) -> None:
        """Drop the connection at once, what waits with it."""
        self._socket.scope["state"]["abort"]()

    # -- sending --------------------------------------------------------------------------------

    async def _send_all(self, *, follow: bool) -> None:
        try:
            await self._send_updates(follow=follow)
        except MuseError as error:
            told = self._service.told(error)
            await self._send(Message(_encoded({"type": "error", "id": None, **told.as_record()})))
        code, reason = self._closing or (INTERNAL, "the session cannot be followed")
        await self._socket.close(code, reason)

    async def _send_updates(self, *, follow: bool) -> None:
        if follow:
            async with aclosing(
                catch_up(self._service, self.principal, self._session, self.queue)
            ) as batches:
                async for batch in batches:
                    while (answer := self.queue.get_nowait()) is not None:
                        await self._send(answer)
                    await self._send(batch.message)
        while (update := await self.queue.get()) is not None:
            await self._send(update)
        if self.queue.overflowed:
            cursor = await cursor_at(self._service, self.principal, self._session, self.queue.cursor)
            await self._send(Message(b'{"type":"overflow","cursor":"%b"}' % cursor))
            self._closing = (TRY_AGAIN, "too slow: come back with the cursor")

    async def _send(self, update: Message) -> None:
        self.sending_since = self._loop.time()
        await self._socket.scope["state"]["send_frame"](update.frame)
        self.sending_since = None
        self._room.set()

    def _answer(self, document: dict[str, Any]) -> None:
        """Send an answer, at once if nothing is on its way."""
        data = _encoded(document)
        is_idle = self.sending_since is None and not (self.queue.has_answers or self.queue.closed)
        if not is_idle or not self._socket.scope["state"]["send_at_once"](Message(data).frame):
            self.queue.answer(data)

    # -- reading --------------------------------------------------------------------------------

    async def _read_all(self) -> None:
        while (message := await self._socket.receive())["type"] != "websocket.disconnect":
            data = message.get("text")
            with ExitStack() as held:
                await self._handle(message["bytes"] if data is None else data, held)

    async def _handle(self, data: str | bytes, held: ExitStack) -> None:
        identity: int | str | None = None
        try:
            held.enter_context(self._service.bodies.holding(self.principal.token_id, len(data)))
            if len(data) <= PARSED_AT_ONCE:
                document = _document(data)
            else:
                document = await self._service.in_thread(self.principal, partial(_document, data))
            identity = _identity(document)
            self._act(document, len(data))
        except Exception as error:  # noqa: BLE001 - the client is told of every error
            await self._refuse(identity, error, len(data))
        while self._pending >= self._service.settings.pending_appends or self.queue.is_crowded:
            self._room.clear()
            await self._room.wait()

    def _act(self, document: dict[str, Any], size: int) -> None:
        if document.get("type") == "append":
            self._append(checked(document, AppendMessage), size)
        elif document.get("type") == "presence":
            self._move(checked(document, PresenceMessage), size)
        else:
            raise RequestError(422, "type must be 'append' or 'presence'", field="type")

    async def _refuse(self, identity: int | str | None, error: Exception, size: int) -> None:
        told, quotas = self._service.told(error), self._service.quotas
        self._answer({"type": "error", "id": identity, **told.as_record()})
        if told.status != 429:
            quotas.pay(self._actor, size)
        # A client that floods waits in its own socket.
        await asyncio.sleep(max(min(told.retry_after or 0.0, 1.0), quotas.debt_seconds(self._actor)))

    def _move(self, message: PresenceMessage, size: int) -> None:
        if size > _PRESENCE_BYTES:
            raise RequestError(413, f"where is longer than {_PRESENCE_BYTES} bytes", field="where")
        if (found := unstorable(message.where, "where", _LEVELS_AROUND)) is not None:
            raise RequestError(422, f"{found[0][:40]}: {found[1]} is not allowed", field="where")
        self._service.quotas.charge_presence(self._actor)
        self._session.move(self._number, message.where)

    def _append(self, message: AppendMessage, size: int) -> None:
        self.principal.check_scope("append")
        sent = sent_ops(message, self._service.settings.request_ops)
        if self._session.log.cursors.log_is_replaced:
            self.leave(TRY_AGAIN, "another log is at the place of the session's: come back")
            raise RequestError(
                503, "another log is at the place of the session's: connect again", retry_after=1
            )
        done = submit_ops(
            self._service,
            self._service.sessions.get(self._session.session_id),  # opened again where a disk had failed
            self.principal,
            sent,
            is_durable=message.ack == "durable",
            size=size,
            actor=self._actor,
        )
        self._pending += 1
        done.add_done_callback(partial(self._appended, message.id))
        if self._service.tracing.is_on:
            self._service.tracing.follow("append", done, ops=len(sent.ops), ack=message.ack)

    def _appended(self, identity: Any, done: "asyncio.Future[Written]") -> None:
        self._pending -= 1
        self._room.set()
        error = done.exception()
        if error is not None:
            told = self._service.told(error)
            self._answer({"type": "error", "id": identity, **told.as_record()})
        else:
            self._answer({"type": "receipts", "id": identity, **done.result().as_record()})


def _identity(document: dict[str, Any]) -> int | str | None:
    """Return what a message says that its answer is to say, if it is short."""
    identity = document.get("id")
    return identity if isinstance(identity, int) or _is_short(identity) else None


def _is_short(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and len(value) <= _IDENTITY_LENGTH


def _document(data: str | bytes) -> dict[str, Any]:
    document = parse_json(data)
    if not isinstance(document, dict):
        raise RequestError(422, "a message must be a JSON object")
    return document


def _encoded(document: dict[str, Any]) -> bytes:
    return msgspec.json.encode(document)


async def serve_socket(service: Service, socket: WebSocket, principal: Principal) -> None:
    """Serve a WebSocket: `GET /v1/sessions/{session_id}/live`."""
    with ExitStack() as held:
        await _serve_call(Call(service, socket, principal, {}, held), socket)


async def _serve_call(call: Call, socket: WebSocket) -> None:
    service, principal = call.service, call.principal
    socket.scope["state"]["bound_frames"](service.bodies, principal.token_id)
    since, follow, actor = call.query("since", "follow", "actor")
    follows = one_of("follow", follow, "true", "false") == "true"
    session = call.session()
    if actor is not None:
        principal.check_actor(actor)
    with service.sockets.one(principal.token_id):
        cursor = await start_cursor(call, session, since)
        subscription = service.subscriptions.one(principal.token_id) if follows else nullcontext()
        with subscription, service.metrics.following("websocket", counts=follows):
            socket.scope[ANSWERED] = 101
            await socket.accept(
                subprotocol=SUBPROTOCOL if SUBPROTOCOL in socket.scope["subprotocols"] else None,
                headers=[(b"muse-repository", service.repository.repo_id.encode())],
            )
            connection = LiveConnection(service, socket, principal, session, actor or principal.actor or "")
            await connection.run(cursor, follow=follows)


async def events(call: Call) -> Response:
    """Follow as Server-Sent Events, each op with its cursor as id: a browser resumes by itself."""
    (since,) = call.query("since")
    session = call.session()
    last = call.header(b"last-event-id") or since
    cursor = await start_cursor(call, session, last)
    call.held.enter_context(call.service.subscriptions.one(call.principal.token_id))
    call.held.enter_context(call.service.metrics.following("events", counts=True))
    stream = _event_stream(call, session, cursor)
    headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
    return StreamingResponse(stream, media_type="text/event-stream", headers=headers)


async def _event_stream(call: Call, session: OpenSession, cursor: int) -> AsyncIterator[bytes]:
    service, queue = call.service, ClientQueue(call.service.settings, cursor)
    stream = LiveEvents(call.principal, queue, call.request.scope["state"]["abort"])
    service.live.add(stream)
    call.held.callback(service.live.discard, stream)
    call.held.callback(session.stop_following, queue)
    try:
        yield b"id: %b\nevent: open\ndata: {}\n\n" % await cursor_at(service, call.principal, session, cursor)
        async with aclosing(catch_up(service, call.principal, session, queue)) as batches:
            async for batch in batches:
                yield batch.message.events
        while (update := await _next(queue, service.settings.ping_seconds)) is not None:
            stream.sending_since = asyncio.get_running_loop().time()
            yield update.events
            stream.sending_since = None
        if queue.overflowed:
            last = await cursor_at(service, call.principal, session, queue.cursor)
            yield b'event: overflow\ndata: {"cursor":"%b"}\n\n' % last
    except MuseError as error:
        yield b"event: error\ndata: %b\n\n" % _encoded(service.told(error).as_record())


_QUIET = Message(b"", event=b": still here\n\n")


async def _next(queue: ClientQueue, seconds: float) -> Message | None:
    """Return the message to send next; a sign of life if nothing comes for long."""
    try:
        async with asyncio.timeout(seconds):
            return await queue.get()
    except TimeoutError:
        return _QUIET


@dataclass(eq=False, slots=True)
class LiveEvents:
    """One stream of Server-Sent Events."""

    principal: Principal
    queue: ClientQueue
    abort: Callable[[], None]
    sending_since: float | None = None

    def leave(self, code: int, reason: str, *, message: dict[str, Any] | None = None) -> None:
        """Send what waits, then a last event, and close."""
        del code, reason
        if message is not None:
            retry = f"retry: {int(1000 * message['retry_after'])}\n" if "retry_after" in message else ""
            head = f"event: {message['type']}\n{retry}data: "
            self.queue.answer(b"", b"%b%b\n\n" % (head.encode(), _encoded(message)))
        self.queue.close()
