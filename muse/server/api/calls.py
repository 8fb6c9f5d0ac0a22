"""One request as its endpoint sees it, and what an endpoint is: its route, its rights, its description."""

import asyncio
import traceback
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from concurrent.futures import Executor
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol, TypeVar, cast

import msgspec
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.types import Receive, Send
from starlette.types import Scope as AsgiScope
from structlog.typing import FilteringBoundLogger

from muse.core.file.cursors import OtherLogError
from muse.core.op_log import OpLog
from muse.errors import MuseError, UsageError
from muse.history.repository import Repository
from muse.server.edge.access import Principal, Scope, Tokens
from muse.server.edge.limits import Budget, DistinctSlots, Quotas, Slots
from muse.server.faults import RequestError, request_error
from muse.server.metrics import Metrics
from muse.server.named_contents import NamedContents
from muse.server.peers import Peers
from muse.server.sessions import OpenSession, Sessions
from muse.server.settings import Settings
from muse.server.shares import Shares
from muse.server.tracing import Tracing

_T = TypeVar("_T")
_PIECE_BYTES = 1 << 18
_LARGE_ANSWERS = 4
"""So many answers of any size can be on their way at once, at least."""


class Live(Protocol):
    """A client that follows a session."""

    principal: Principal
    sending_since: float | None

    def leave(self, code: int, reason: str, *, message: dict[str, Any] | None = None) -> None:
        """Close the connection with a code and a reason, after a last message if there is one."""
        ...

    def abort(self) -> None:
        """Drop the connection at once, without a word."""
        ...


@dataclass(slots=True)
class Service:
    """What all requests share."""

    repository: Repository
    settings: Settings
    tokens: Tokens
    sessions: Sessions
    quotas: Quotas
    contents: NamedContents
    sockets: Slots
    subscriptions: Slots
    sorts: Slots
    requests: Slots
    used_sessions: DistinctSlots
    bodies: Budget
    peers: Peers
    metrics: Metrics
    tracing: Tracing
    threads: Executor
    shares: Shares
    log: FilteringBoundLogger
    live: "set[Live]" = field(default_factory=set)
    is_stopping: bool = False
    is_over: bool = False

    def end(self) -> None:
        """Let threads give up what only reads: the time to finish it is over."""
        self.is_over = True

    def while_serving(self, things: Iterable[_T]) -> Iterator[_T]:
        """Yield things until the server has no more time to stop: it waits for the threads that read."""
        for thing in things:
            if self.is_over:
                raise RequestError(
                    503, "the server is stopping", retry_after=self.settings.retry_after_seconds
                )
            yield thing

    def told(self, error: BaseException) -> RequestError:
        """Return the error that the client is told, and count it; a fault of the server is logged."""
        told = self.as_told(error)
        self.metrics.count_refused(told.reason)
        if told.status >= 500:
            self.log.error("failed", status=told.status, error=str(error), kind=type(error).__name__)
            if told.status == 500 and not isinstance(error, MuseError):
                self.log.error("fault", traceback="".join(traceback.format_exception(error)))
        return told

    def as_told(self, error: BaseException) -> RequestError:
        """Return the error that the client is told. It names no path of this machine."""
        return request_error(error, self.repository.root)

    def threads_of(self, principal: Principal) -> Executor:
        """Return the threads as a sender may use them: one token gets a part of them only."""
        return self.shares.of(principal.token_id) if principal.token_id else self.threads

    async def in_thread(self, principal: Principal, work: Callable[[], _T]) -> _T:
        """Run what touches files in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self.threads_of(principal), work)


@dataclass(slots=True)
class Call:
    """One request, or the handshake of a WebSocket."""

    service: Service
    connection: HTTPConnection
    principal: Principal
    headers: Mapping[bytes, bytes]
    held: ExitStack
    """What the request holds until its answer is out, or its client is gone."""

    @property
    def request(self) -> Request:
        """The connection, for calls that are plain requests."""
        return cast("Request", self.connection)

    def header(self, name: bytes) -> str | None:
        """Return the value of a header; `name` in lower case."""
        value = self.headers.get(name)
        return None if value is None else value.decode("latin-1")

    async def in_thread(self, work: Callable[[], _T]) -> _T:
        """Run what touches files in a thread."""
        return await self.service.in_thread(self.principal, work)

    async def answer_json(self, work: Callable[[], Any]) -> Response:
        """Return the answer with what `work` returns; its JSON, too, is made in a thread: it may be long."""
        data = await self.in_thread(lambda: msgspec.json.encode(work()))
        return self.answer_bytes(data, "application/json")

    def answer_bytes(
        self, data: bytes, media_type: str, headers: Mapping[str, str] | None = None
    ) -> Response:
        """Return an answer whose bytes count as memory in use until its client has read them."""
        self.hold_bytes(min(len(data), self.service.settings.bodies_bytes // _LARGE_ANSWERS))
        check = partial(self.service.tokens.check_valid, self.principal)
        return LongResponse(data, check, media_type=media_type, headers=headers)

    def hold_bytes(self, size: int) -> None:
        """Have bytes in memory until the answer is out; raise the refusal if they are too many."""
        holder, bodies = self.principal.token_id, self.service.bodies
        bodies.take(holder, size)
        self.held.callback(bodies.give_back, holder, size)

    def session_id(self) -> str:
        """Return the id in the path; the token must be for it."""
        session_id: str = self.connection.path_params["session_id"]
        self.principal.check_session(session_id)
        return session_id

    def session(self) -> OpenSession:
        """Return the session in the path, in use until the answer is out, or raise `NotFoundError`."""
        session_id, token_id = self.session_id(), self.principal.token_id
        if token_id:
            self.held.enter_context(self.service.used_sessions.one(token_id, session_id))
        session = self.service.sessions.get(session_id)
        self.held.enter_context(session.in_use())
        return session

    def actor(self, named: str | None) -> str:
        """Return the actor of the token; on a server without tokens, the actor that was named."""
        if named is not None:
            self.principal.check_actor(named)
        actor = self.principal.actor if named is None else named
        if not actor:
            raise RequestError(422, "actor_id is missing: name the author", field="actor_id")
        return actor

    def query(self, *names: str) -> list[str | None]:
        """Return the values of query parameters; raise the refusal if one is unknown or given twice."""
        if not self.connection.scope["query_string"]:
            return [None] * len(names)
        given = self.connection.query_params.multi_items()
        for name, _ in given:
            if name not in names:
                raise RequestError(422, f"the query parameter {name[:40]!r} is unknown here", field=name[:40])
        values = dict(given)
        if len(values) != len(given):
            raise RequestError(422, "a query parameter is given twice")
        return [values.get(name) for name in names]


def check_cursor(log: OpLog, text: str, name: str = "since") -> int:
    """Return the byte that a cursor names; raise the refusal if it is not of this session's log. Blocks."""
    try:
        return log.cursors.offset(text)
    except OtherLogError as error:
        raise RequestError(410, f"{name}: {error}", field=name, kind="CursorOfAnotherLog") from None
    except UsageError as error:
        raise RequestError(422, f"{name}: {error}", field=name) from None


def one_of(name: str, value: str | None, *allowed: str) -> str:
    """Give back a value that is allowed, the first by default."""
    if value is None:
        return allowed[0]
    if value not in allowed:
        raise RequestError(422, f"{name} is {value[:40]!r}: use {', '.join(allowed)}", field=name)
    return value


def count_of(name: str, value: str | None, at_most: int) -> int | None:
    """Return a number from 1 to `at_most`; None if no value was given."""
    if value is None:
        return None
    number = int(value) if value.isascii() and value.isdigit() and len(value) < 19 else 0
    if not 1 <= number <= at_most:
        raise RequestError(422, f"{name} is {value[:40]!r}: use a number from 1 to {at_most}", field=name)
    return number


class LongResponse(Response):
    """Bytes that are handed on piece by piece: while a client does not read, the next piece waits.

    `check` raises once its reader may have no more: the answer is then cut short.
    """

    def __init__(
        self, data: bytes, check: Callable[[], None], *, media_type: str, headers: Mapping[str, str] | None
    ) -> None:
        super().__init__(data, media_type=media_type, headers=headers)
        self._check = check

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        del scope, receive
        head = {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
        await send(head)
        for start in range(0, len(self.body), _PIECE_BYTES):
            self._check()
            piece = bytes(self.body[start : start + _PIECE_BYTES])
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


class JsonResponse(Response):
    """Bytes of JSON."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """Return the content as JSON."""
        return msgspec.json.encode(content)


ANSWERED = "muse.answered"
"""The key of a scope that holds the status that is being sent."""

Handler = Callable[[Call], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A method and path, who may call it, what answers, and what the OpenAPI document says of it.

    `scope` None: everyone may call it, without a token. `is_of_all`: it concerns all sessions. `body` maps
    media types to schemas, `answers` statuses to (media type, schema). `may_be_empty`: it needs no
    body.
    """

    method: str
    path: str
    scope: Scope | None
    handler: Handler
    summary: str
    query: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    headers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    body: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    answers: Mapping[int, tuple[str, Mapping[str, Any]]] = field(default_factory=dict)
    errors: tuple[int, ...] = ()
    is_of_all: bool = False
    may_be_empty: bool = False
