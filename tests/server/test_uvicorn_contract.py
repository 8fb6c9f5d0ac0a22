"""What is used of uvicorn's private classes, name by name: a new uvicorn fails here first."""

import asyncio
import inspect
import tomllib
from collections.abc import Callable
from typing import Any

import pytest
import uvicorn
from uvicorn.config import Config
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import Server, ServerState
from websockets.exceptions import InvalidStatus
from websockets.server import ServerProtocol
from websockets.sync.client import connect

from tests.samples.project import ROOT
from tests.samples.server_process import running_server

REQUEST = b"POST /v1/health?a=b HTTP/1.1\r\nHost: here\r\nContent-Length: 4\r\n\r\n"
HANDSHAKE = (
    b"GET /live HTTP/1.1\r\nHost: here\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
Application = Callable[[Any, Any, Any], Any]


class Wire(asyncio.Transport):
    """A transport that keeps what is written to it."""

    def __init__(self, protocol: Any) -> None:
        super().__init__()
        self.protocol = protocol
        self.written = b""
        self.closed = self.aborted = False

    def write(self, data: Any) -> None:
        self.written += bytes(data)

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.aborted = True

    def is_closing(self) -> bool:
        return self.closed or self.aborted

    def get_protocol(self) -> Any:
        return self.protocol

    def set_protocol(self, protocol: Any) -> None:
        self.protocol = protocol

    def can_write_eof(self) -> bool:
        return False

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


async def idle(_scope: Any, _receive: Any, _send: Any) -> None:
    await asyncio.Event().wait()


def config(app: Application, **options: Any) -> Config:
    made = Config(app, lifespan="off", interface="asgi3", log_config=None, proxy_headers=False, **options)
    made.load()
    return made


def connected(kind: Any, app: Application, **options: Any) -> tuple[Any, Wire]:
    protocol = kind(config(app, **options), ServerState(), {})
    wire = Wire(protocol)
    protocol.connection_made(wire)
    return protocol, wire


def test_the_bound_of_the_version_is_the_same_for_users_and_for_tests() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    bounds = [[one for one in extras[name] if one.startswith("uvicorn")] for name in ("server", "dev")]
    assert bounds[0] == bounds[1]
    assert ",<" in bounds[0][0]


@pytest.mark.parametrize(
    ("kind", "name", "parameters"),
    [
        (HttpToolsProtocol, "__init__", ["config", "server_state", "app_state", "_loop"]),
        (HttpToolsProtocol, "connection_made", ["transport"]),
        (HttpToolsProtocol, "connection_lost", ["exc"]),
        (HttpToolsProtocol, "data_received", ["data"]),
        (HttpToolsProtocol, "pause_writing", []),
        (HttpToolsProtocol, "resume_writing", []),
        (HttpToolsProtocol, "on_message_begin", []),
        (HttpToolsProtocol, "on_url", ["url"]),
        (HttpToolsProtocol, "on_header", ["name", "value"]),
        (HttpToolsProtocol, "on_headers_complete", []),
        (HttpToolsProtocol, "on_message_complete", []),
        (HttpToolsProtocol, "on_body", ["body"]),
        (HttpToolsProtocol, "on_response_complete", []),
        (FlowControl, "__init__", ["transport"]),
        (FlowControl, "resume_reading", []),
        (HttpToolsProtocol, "send_400_response", ["msg"]),
        (WebSocketsSansIOProtocol, "__init__", ["config", "server_state", "app_state", "_loop"]),
        (WebSocketsSansIOProtocol, "run_asgi", []),
        (WebSocketsSansIOProtocol, "send", ["message"]),
        (ServerProtocol, "recv_frame", ["frame"]),
        (Config, "configure_logging", []),
        (Server, "__init__", ["config"]),
        (Server, "startup", ["sockets"]),
        (Server, "shutdown", ["sockets"]),
        (Server, "main_loop", []),
        (Server, "on_tick", ["counter"]),
        (Server, "capture_signals", []),
    ],
)
def test_what_is_overridden_is_there_and_takes_what_it_took(
    kind: type, name: str, parameters: list[str]
) -> None:
    assert [*inspect.signature(getattr(kind, name)).parameters] == ["self", *parameters]


def test_http_calls_what_is_overridden_in_the_order_of_a_request() -> None:
    called: list[tuple[str, Any]] = []

    class Noting(HttpToolsProtocol):
        def on_message_begin(self) -> None:
            super().on_message_begin()
            called.append(("begin", self.scope["state"]))

        def on_url(self, url: bytes) -> None:
            called.append(("url", url))
            super().on_url(url)

        def on_header(self, name: bytes, value: bytes) -> None:
            called.append((name.decode(), value))
            super().on_header(name, value)

        def on_headers_complete(self) -> None:
            super().on_headers_complete()
            called.append(("headers", self.cycle is not None))

        def on_message_complete(self) -> None:
            called.append(("whole", self.cycle.more_body))
            super().on_message_complete()

    async def run() -> None:
        protocol, _ = connected(Noting, idle)
        protocol.data_received(REQUEST)
        protocol.data_received(b"body")
        assert protocol.cycle.scope is protocol.scope

    asyncio.run(run())
    assert called == [
        ("begin", {}),
        ("url", b"/v1/health?a=b"),
        ("Host", b"here"),
        ("Content-Length", b"4"),
        ("headers", True),
        ("whole", True),
    ]


def test_each_request_has_a_state_of_its_own() -> None:
    async def run() -> None:
        protocol, _ = connected(HttpToolsProtocol, idle)
        protocol.data_received(REQUEST + b"body")
        first = protocol.scope["state"]
        protocol.data_received(REQUEST)
        assert protocol.scope["state"] is not first

    asyncio.run(run())


def test_http_has_the_attributes_that_are_read() -> None:
    async def run() -> None:
        protocol, wire = connected(HttpToolsProtocol, idle)
        assert protocol.transport is wire
        assert protocol.loop is asyncio.get_running_loop()
        assert protocol.connections == {protocol}
        assert not protocol.cycle
        assert not protocol.pipeline
        assert isinstance(protocol.access_log, bool)
        protocol.data_received(REQUEST + b"body")
        cycle = protocol.cycle
        facts = (cycle.response_started, cycle.response_complete, cycle.disconnected)
        assert facts == (False, False, False)
        assert isinstance(cycle.message_event, asyncio.Event)
        protocol.data_received(REQUEST)
        assert len(protocol.pipeline) == 1
        protocol.connection_lost(None)
        assert not protocol.connections

    asyncio.run(run())


def test_an_answer_is_noted_as_begun_and_as_complete() -> None:
    async def run() -> None:
        async def answer(_scope: Any, _receive: Any, send: Any) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            seen.append((protocol.cycle.response_started, protocol.cycle.response_complete))
            await send({"type": "http.response.body", "body": b"a"})
            seen.append((protocol.cycle.response_started, protocol.cycle.response_complete))
            done.set()

        protocol, wire = connected(HttpToolsProtocol, answer)
        protocol.data_received(REQUEST + b"body")
        await done.wait()
        assert wire.written.startswith(b"HTTP/1.1 200")

    done = asyncio.Event()
    seen: list[tuple[bool, bool]] = []
    asyncio.run(run())
    assert seen == [(True, False), (True, True)]


def test_a_reader_of_a_body_is_woken_by_a_request_that_is_called_disconnected() -> None:
    async def read(_scope: Any, receive: Any, _send: Any) -> None:
        received.append(await receive())
        done.set()

    async def run() -> None:
        protocol, _ = connected(HttpToolsProtocol, read)
        protocol.data_received(REQUEST)
        await asyncio.sleep(0)
        protocol.cycle.disconnected = True
        protocol.cycle.message_event.set()
        await done.wait()

    done = asyncio.Event()
    received: list[dict[str, Any]] = []
    asyncio.run(run())
    assert received == [{"type": "http.disconnect"}]


def test_what_is_no_http_goes_to_the_400_that_is_overridden() -> None:
    class Noting(HttpToolsProtocol):
        def send_400_response(self, msg: str) -> None:
            said.append(msg)

    async def run() -> None:
        protocol, _ = connected(Noting, idle)
        protocol.data_received(b"\0\0\r\n\r\n")

    said: list[str] = []
    asyncio.run(run())
    assert len(said) == 1


def test_an_upgrade_hands_the_transport_to_the_web_socket_with_its_handshake_read() -> None:
    async def run() -> None:
        protocol, wire = connected(HttpToolsProtocol, idle, ws=WebSocketsSansIOProtocol)
        protocol.data_received(HANDSHAKE)
        successor = wire.get_protocol()
        assert isinstance(successor, WebSocketsSansIOProtocol)
        assert (successor.handshake_initiated, successor.conn.handshake_exc) == (True, None)
        assert successor.scope["state"] == {}

    asyncio.run(run())


def test_a_web_socket_has_the_attributes_that_are_read() -> None:
    async def run() -> None:
        protocol, wire = connected(WebSocketsSansIOProtocol, idle)
        assert type(protocol.conn) is ServerProtocol
        assert protocol.conn.logger is not None
        assert protocol.config.ws_max_size > 0
        assert protocol.transport is wire
        assert protocol.loop is asyncio.get_running_loop()
        assert protocol.close_timeout > 0
        assert (protocol.handshake_initiated, protocol.handshake_complete) == (False, False)
        assert (protocol.disconnected, protocol.close_sent) == (False, False)
        assert protocol.writable.is_set()
        protocol.pause_writing()
        assert not protocol.writable.is_set()
        protocol.connection_lost(None)
        assert protocol.disconnected
        assert protocol.writable.is_set()

    asyncio.run(run())


def test_a_web_socket_runs_the_application_by_what_is_overridden_and_takes_a_client_that_left() -> None:
    class Noting(WebSocketsSansIOProtocol):
        async def run_asgi(self) -> None:
            await super().run_asgi()
            ended.set()

    async def leave(_scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        raise ClientDisconnected

    async def run() -> None:
        protocol, wire = connected(Noting, leave)
        protocol.data_received(HANDSHAKE)
        await ended.wait()
        assert protocol.handshake_complete
        assert wire.written.startswith(b"HTTP/1.1 101")
        assert wire.closed

    ended = asyncio.Event()
    asyncio.run(run())


def test_a_web_socket_counts_frames_where_the_parser_hands_them_on() -> None:
    class Noting(ServerProtocol):
        def recv_frame(self, frame: Any) -> None:
            opcodes.append(int(frame.opcode))
            super().recv_frame(frame)

    async def run() -> None:
        protocol, _ = connected(WebSocketsSansIOProtocol, idle)
        protocol.conn = Noting(max_size=100, logger=protocol.conn.logger)
        protocol.data_received(HANDSHAKE)
        protocol.conn.send_response(protocol.response)
        masked = b"\x89\x80\0\0\0\0" + b"\x81\x81\0\0\0\0a"
        protocol.data_received(masked)

    opcodes: list[int] = []
    asyncio.run(run())
    assert opcodes == [9, 1]


def test_a_server_asks_each_tick_whether_to_stop_within_its_capture_of_signals() -> None:
    told: list[str] = []

    class Noting(uvicorn.Server):
        async def startup(self, sockets: Any = None) -> None:
            told.append("startup")
            await super().startup(sockets)
            told.append(self.servers[0].sockets[0].getsockname()[0])

        async def main_loop(self) -> None:
            told.append("main loop")
            await super().main_loop()

        async def on_tick(self, counter: int) -> bool:
            told.append("tick")
            return await super().on_tick(counter) or counter == 1

        async def shutdown(self, sockets: Any = None) -> None:
            told.append("shutdown")
            await super().shutdown(sockets)

    made = Noting(config(idle, host="127.0.0.1", port=0))
    assert made.config.is_ssl is False
    asyncio.run(made.serve())
    assert told == ["startup", "127.0.0.1", "main loop", "tick", "tick", "shutdown"]


def test_a_handshake_refused_with_an_answer_is_no_error_in_the_log() -> None:
    with running_server() as server:
        with pytest.raises(InvalidStatus), connect(f"{server.websocket_url}/v1/sessions/nope/live"):
            pass
        server.stop()
        assert [line["event"] for line in server.log] == ["started", "stopping", "stopped"]
