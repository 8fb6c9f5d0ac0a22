"""The application: it checks who may come in, calls the endpoint, and answers errors."""

import asyncio
import math
import re
from collections.abc import Callable, MutableMapping
from contextlib import ExitStack
from typing import Any

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Match, Route, Router, WebSocketRoute
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket

from muse.server.api.calls import (
    ANSWERED,
    Call,
    Endpoint,
    Handler,
    JsonResponse,
    Service,
)
from muse.server.api.live import SUBPROTOCOL, serve_socket
from muse.server.api.openapi import make_document
from muse.server.api.routes import ENDPOINTS
from muse.server.edge.access import ANYBODY, NOBODY_COMES_IN, Principal
from muse.server.faults import RequestError

_FLOOD_SECONDS = 1.0
_LINGER_SECONDS = 1.0
_LINGER_BYTES = 64 << 20
_HOST = re.compile(r"(?P<name>\[[0-9a-f:.]+\]|[^\[\]:]+)(:(?P<port>[0-9]{1,5}))?")
_ORIGIN_SCHEMES = {"http": "http", "https": "https", "ws": "http", "wss": "https"}
_TOKEN_PROTOCOL = f"{SUBPROTOCOL}.token."


class App:
    """The ASGI application of one service."""

    def __init__(self, service: Service, version: str) -> None:
        self._service = service
        self._hosts = service.settings.hosts
        self._origins = frozenset(service.settings.allowed_origins)
        document = orjson.dumps(make_document(version))
        described = Endpoint("GET", "/v1/openapi.json", None, _always(document), "This document.")
        routes = [
            WebSocketRoute("/v1/sessions/{session_id}/live", self._live),
            *(
                Route(each.path, self._endpoint(each), methods=[each.method])
                for each in (*ENDPOINTS, described)
            ),
        ]
        self._router = Router(routes, redirect_slashes=False, default=_not_found)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in {"http", "websocket"}:
            raise RuntimeError(f"{scope['type']} is not served here")
        scope["app"] = self  # so that Starlette raises what it refuses
        try:
            self._check_addressing(scope)
            await self._router(scope, receive, send)
        except asyncio.CancelledError:
            if not self._service.is_stopping:
                raise
            # The time to stop is over. What was begun already is cut short, which its connection does.
            if ANSWERED not in scope:
                await self._refuse(scope, receive, send, _stopping(self._service))
        except HTTPException as error:
            await self._refuse(scope, receive, send, _of_starlette(error))
        except Exception as error:
            if ANSWERED in scope:  # begun already: all that is left is to cut it short
                self._service.told(error)
                raise
            await self._refuse(scope, receive, send, error)
        if scope["type"] == "http":
            self._service.metrics.count_request(scope["method"], scope[ANSWERED])

    # -- who is let in --------------------------------------------------------------------------

    def _check_addressing(self, scope: Scope) -> None:
        """Refuse a Host that is not ours (DNS rebinding) and the Origin of another site's pages."""
        hosts = [value for name, value in scope["headers"] if name == b"host"]
        host = hosts[0].decode("latin-1").strip(" \t").lower() if len(hosts) == 1 else ""
        found = _HOST.fullmatch(host)
        is_own = found is not None and found["name"].strip("[]") in self._hosts
        if found is None or not is_own or int(found["port"] or 0) >= 1 << 16:
            raise RequestError(400, "this server does not go by that Host: see allowed_hosts", reason="host")
        origins = [value.decode("latin-1") for name, value in scope["headers"] if name == b"origin"]
        for origin in origins:
            self._check_origin(origin, f"{_ORIGIN_SCHEMES[scope['scheme']]}://{host}")
        if not origins and (b"sec-fetch-site", b"cross-site") in scope["headers"]:
            raise RequestError(403, "pages of other sites may not use this server", reason="origin")

    def _check_origin(self, origin: str, own: str) -> None:
        if origin.lower() != own and origin not in self._origins:
            raise RequestError(403, "pages of this Origin may not use this server", reason="origin")

    def _admitted(self, connection: HTTPConnection) -> Principal:
        """Return the sender of a request, whose connection is kept while it is answered."""
        principal = self._principal(connection)
        state = connection.scope["state"]
        state["is_admitted"] = True
        state["guest"].admit()
        return principal

    def _principal(self, connection: HTTPConnection) -> Principal:
        """Return the sender of a request; raise the refusal of one without a valid token."""
        tokens = self._service.tokens
        text = _token(connection)
        if text is not None:
            return tokens.principal(text)
        if tokens.is_empty() and self._service.settings.is_loopback:
            return ANYBODY
        if tokens.are_gone():
            raise RequestError(401, NOBODY_COMES_IN, reason="no_token")
        raise RequestError(401, "send a token: 'Authorization: Bearer TOKEN'", reason="no_token")

    # -- what answers ---------------------------------------------------------------------------

    def _endpoint(self, endpoint: Endpoint) -> ASGIApp:
        return _Answering(endpoint, self._service, self._admitted)

    async def _live(self, socket: WebSocket) -> None:
        if self._service.is_stopping:
            raise _stopping(self._service)
        principal = self._admitted(socket)
        with self._service.requests.one(principal.token_id):
            await charge_request(self._service, principal)
        principal.check_scope("read")
        await serve_socket(self._service, socket, principal)

    # -- errors ---------------------------------------------------------------------------------

    def _methods_at(self, scope: Scope) -> list[str]:
        """Return the methods that a path has."""
        routes = [route for route in self._router.routes if isinstance(route, Route)]
        matching = [route.methods or set() for route in routes if route.matches(scope)[0] != Match.NONE]
        return sorted(set().union(*matching))

    async def _refuse(self, scope: Scope, receive: Receive, send: Send, error: Exception) -> None:
        told = self._service.told(error)
        scope[ANSWERED] = told.status
        if not scope["state"].get("is_admitted") and not scope["state"]["guest"].pays_for_refusal():
            scope["state"]["abort"]()
            return
        response = JsonResponse(told.as_record(), status_code=told.status)
        if told.status == 405:
            response.headers["allow"] = ", ".join(self._methods_at(scope))
        if told.status == 401:
            response.headers["www-authenticate"] = "Bearer"
        if told.retry_after is not None:
            response.headers["retry-after"] = str(math.ceil(told.retry_after))
        if scope["type"] == "websocket":
            await response(scope, receive, _as_handshake(send))
        elif told.status in {408, 413}:
            await _linger(response, receive, send)
        else:
            await response(scope, receive, send)


class _Answering:
    """The application of one endpoint. A class, so that Starlette wraps nothing around it."""

    def __init__(
        self, endpoint: Endpoint, service: Service, principal_of: Callable[[HTTPConnection], Principal]
    ) -> None:
        self._endpoint = endpoint
        self._service = service
        self._principal_of = principal_of

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive, send)
        with ExitStack() as held:
            response = await self._answer(request, held)
            if scope["method"] == "HEAD" and isinstance(response, StreamingResponse):
                response = Response(headers=response.headers)  # or it would be followed without end
            scope[ANSWERED] = response.status_code
            await response(scope, receive, send)

    async def _answer(self, request: Request, held: ExitStack) -> Response:
        endpoint, service = self._endpoint, self._service
        if service.is_stopping and endpoint.path != "/v1/health":
            raise _stopping(service)
        principal = ANYBODY
        if endpoint.scope is None:
            _check_price(request)
        else:
            principal = self._principal_of(request)
            held.enter_context(service.requests.one(principal.token_id))
            await charge_request(service, principal)
            principal.check_scope(endpoint.scope)
            if endpoint.is_of_all:
                principal.check_everywhere()
        call = Call(service, request, principal, dict(request.scope["headers"]), held)
        if not service.tracing.is_on:
            return await endpoint.handler(call)
        with service.tracing.span(f"{endpoint.method} {endpoint.path}"):
            return await endpoint.handler(call)


async def charge_request(service: Service, principal: Principal) -> None:
    """Let the holder of a token pay for a request; raise the refusal of one that cannot.

    It is raised after a moment: a client that floods waits in its own sockets.
    """
    if not principal.token_id:
        return
    try:
        service.quotas.charge_request(principal.token_id)
    except RequestError as error:
        await asyncio.sleep(min(error.retry_after or 0.0, _FLOOD_SECONDS))
        raise


def _check_price(request: Request) -> None:
    """Let the address of a stranger pay for a public answer; raise the refusal of one that cannot."""
    if not request.scope["state"]["guest"].pays_for_refusal():
        raise RequestError(429, "too many requests without a token", retry_after=1, reason="strangers")


def _as_handshake(send: Send) -> Send:
    """Answer a WebSocket's handshake as a request is answered."""

    async def sent(message: MutableMapping[str, Any]) -> None:
        kind = message["type"]
        await send({**message, "type": kind if kind.startswith("websocket.") else f"websocket.{kind}"})

    return sent


async def _linger(response: Response, receive: Receive, send: Send) -> None:
    """Answer before the body is read, and close. Read a little more of it, or the answer may be lost."""
    response.headers["connection"] = "close"
    await send(
        {"type": "http.response.start", "status": response.status_code, "headers": response.raw_headers}
    )
    await send({"type": "http.response.body", "body": response.body, "more_body": True})
    left = _LINGER_BYTES
    try:
        async with asyncio.timeout(_LINGER_SECONDS):
            while (
                left > 0
                and (message := await receive())["type"] == "http.request"
                and message.get("more_body")
            ):
                left -= len(message.get("body", b""))
    except TimeoutError:
        pass
    await send({"type": "http.response.body", "body": b"", "more_body": False})


def _token(connection: HTTPConnection) -> str | None:
    """Return the bearer token. A browser's WebSocket, which has no headers, names it as a protocol."""
    header = next((value for name, value in connection.scope["headers"] if name == b"authorization"), None)
    if header is not None:
        scheme, _, text = str(header, "latin-1").partition(" ")
        if scheme.lower() != "bearer" or not text.strip():
            raise RequestError(401, "Authorization must be 'Bearer TOKEN'", reason="no_token")
        return text.strip()
    if connection.scope["type"] == "websocket":
        for protocol in connection.scope["subprotocols"]:
            if protocol.startswith(_TOKEN_PROTOCOL):
                return str(protocol.removeprefix(_TOKEN_PROTOCOL))
    return None


def _always(document: bytes) -> Handler:
    async def answer(call: Call) -> Response:
        call.query()
        return Response(document, media_type="application/json")

    return answer


def _stopping(service: Service) -> RequestError:
    seconds = service.settings.retry_after_seconds
    return RequestError(503, "the server is stopping: come again", retry_after=seconds, reason="stopping")


def _of_starlette(error: HTTPException) -> RequestError:
    what = {404: "there is nothing at this path", 405: "this path has no such method"}
    return RequestError(error.status_code, what.get(error.status_code, error.detail))


async def _not_found(scope: Scope, receive: Receive, send: Send) -> None:
    del scope, receive, send
    raise HTTPException(404)
