"""Connections of strangers: however many, silent or slow, they keep nobody out."""

import asyncio
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest
from websockets.sync.client import connect

from muse.server.edge import door as door_module
from muse.server.edge.door import Door, Guest, _site_of
from muse.server.settings import Settings
from tests.samples.server_process import ServerProcess, draft, raw_connection, running_server
from tests.samples.waiting import wait_until
from tests.server.test_access import make_certificate

LIMITS = {"connections": 40, "connections_per_address": 10}
STARTS = {
    "silent": b"",
    "the start of a request": b"GET /v1/hea",
    "a request without a token": b"GET /v1/sessions HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a body without a token": b"POST /v1/sessions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n[",
    "a public answer, and silence": b"GET /v1/health HTTP/1.1\r\nHost: localhost\r\n\r\n",
}


def descriptors(server: ServerProcess) -> int:
    return len(list(Path(f"/proc/{server.pid}/fd").iterdir()))


@contextmanager
def strangers(server: ServerProcess, count: int, start: bytes) -> Iterator[None]:
    with ExitStack() as held:
        for _ in range(count):
            held.enter_context(raw_connection(server)).sendall(start)
        yield


@pytest.mark.parametrize("start", STARTS.values(), ids=STARTS)
def test_strangers_in_any_number_keep_nobody_out_and_cost_no_descriptors(start: bytes) -> None:
    with running_server(**LIMITS) as server:
        token = server.token("ada")
        with server.client(token) as ada:
            assert ada.post("/v1/sessions", json={"session_id": "jam"}).status_code == 201
            before = descriptors(server)
            with strangers(server, 100, start):
                for _ in range(3):
                    answer = ada.post("/v1/sessions/jam/ops", json=[draft()])
                    assert answer.json()["receipts"][0]["status"] == "stored"
                assert descriptors(server) <= before + LIMITS["connections_per_address"] + 8


def test_a_client_that_is_served_keeps_its_place_while_strangers_come() -> None:
    with running_server(**LIMITS) as server:
        token = server.token("ada")
        with server.client(token) as ada:
            ada.post("/v1/sessions", json={"session_id": "jam"})
        live = f"{server.websocket_url}/v1/sessions/jam/live"
        header = {"authorization": f"Bearer {token}"}
        with (
            connect(live, additional_headers=header) as socket_of_ada,
            httpx.Client(timeout=30, trust_env=False) as listening,
            listening.stream("GET", f"{server.url}/v1/sessions/jam/events", headers=header) as events,
        ):
            lines = events.iter_lines()
            assert next(lines) == "id: 0"
            with strangers(server, 100, b""), server.client(token) as ada:
                assert ada.post("/v1/sessions/jam/ops", json=[draft()]).status_code == 200
                assert "presence" in str(socket_of_ada.recv(timeout=30))
                assert '"ops"' in str(socket_of_ada.recv(timeout=30))
                assert "event: op" in lines


def test_handshakes_of_tls_that_never_end_keep_nobody_out(tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path)
    trusting = ssl.create_default_context(cafile=str(certificate))
    with running_server(certificate=str(certificate), private_key=str(key), **LIMITS) as server:
        token = server.token("ada")
        header = {"authorization": f"Bearer {token}"}
        with httpx.Client(base_url=server.url, verify=trusting, trust_env=False, timeout=30) as ada:
            assert ada.get("/v1/sessions", headers=header).status_code == 200
        before = descriptors(server)
        for start in (b"", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"):
            with strangers(server, 100, start):
                with httpx.Client(base_url=server.url, verify=trusting, trust_env=False, timeout=30) as ada:
                    assert ada.get("/v1/sessions", headers=header).status_code == 200
                assert descriptors(server) <= before + LIMITS["connections_per_address"] + 8
        wait_until(lambda: descriptors(server) <= before + 1)


def test_a_stranger_that_is_refused_all_the_time_is_answered_no_more() -> None:
    with running_server(connects_per_second=2) as server:
        server.token("ada")
        request = b"GET /v1/sessions HTTP/1.1\r\nHost: localhost\r\n\r\n"
        with raw_connection(server) as stranger:
            answers = 0
            while True:
                try:
                    stranger.sendall(request)
                    if not (answer := stranger.recv(1 << 16)):
                        break
                except ConnectionError:
                    break
                answers += answer.count(b"HTTP/1.1 401")
        assert 15 <= answers < 200


def test_who_cannot_pay_takes_the_place_of_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door_module, "time", SimpleNamespace(monotonic=float))  # no purse is filled again
    refused: list[str] = []
    made: list[str] = []

    class Protocol(asyncio.Protocol):
        def __init__(self, guest: Guest) -> None:
            self.guest = guest

        def connection_made(self, _transport: asyncio.BaseTransport) -> None:
            made.append(self.guest.address)

        def connection_lost(self, _error: Exception | None) -> None:
            made.remove(self.guest.address)
            self.guest.leave()

    async def until(is_so: Callable[[], bool]) -> None:
        async with asyncio.timeout(30):
            while not is_so():  # noqa: ASYNC110 - what happens is in another process's hands, the kernel
                await asyncio.sleep(0.001)

    async def run() -> None:
        listener = socket.create_server(("127.0.0.1", 0))
        place = listener.getsockname()
        door = Door(listener, Settings(connections=6, connects_per_second=1), refused.append)
        door.open(Protocol, None)
        with ExitStack() as held:
            for _ in range(10):  # as many as it can pay for
                with socket.create_connection(place):
                    await until(lambda: bool(made))
                await until(lambda: not made)
            for _ in range(6):
                held.enter_context(socket.create_connection(place, source_address=("127.0.0.2", 0)))
            await until(lambda: len(made) == 6)
            held.enter_context(socket.create_connection(place))
            await until(lambda: bool(refused))
            assert refused == ["connections"]
            assert made == ["127.0.0.2"] * 6
        await until(lambda: not made)
        door.close()
        listener.close()

    asyncio.run(run())


def test_the_addresses_that_one_site_has_for_itself_count_as_one() -> None:
    assert _site_of("2001:db8:1:2:3:4:5:6") == _site_of("2001:db8:1:2::9") != _site_of("2001:db8:1:3::9")
    assert _site_of("::ffff:10.0.0.1") != _site_of("::ffff:10.0.0.2")
    assert _site_of("fe80::1%eth0") == _site_of("fe80::2")
    assert _site_of("10.0.0.1") == "10.0.0.1"
