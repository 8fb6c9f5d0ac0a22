"""Each actor pays for what it sends, in refusals too; what it sends takes bounded memory."""

import asyncio
import gzip
import json
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosedError
from websockets.sync.client import ClientConnection, connect

from muse.core.line import encode_line
from muse.core.new_entries import make_op_entry
from muse.history.repository import Repository
from muse.replication.wire import pack
from muse.server import app as app_module
from muse.server.app import charge_request
from muse.server.edge.access import ANYBODY, Principal
from muse.server.edge.limits import Budget, Quotas
from muse.server.faults import RequestError
from muse.server.settings import Settings
from tests.samples.server_process import ServerProcess, answer_on, draft, raw_connection, running_server
from tests.samples.waiting import wait_until

ALMOST_NEVER = 0.001


@contextmanager
def live(server: ServerProcess, token: str) -> Iterator[ClientConnection]:
    address = f"{server.websocket_url}/v1/sessions/jam/live?follow=false"
    with connect(address, additional_headers={"authorization": f"Bearer {token}"}) as socket:
        assert json.loads(socket.recv(timeout=30))["type"] == "presence"
        yield socket


def make_session(server: ServerProcess) -> None:
    with server.client(server.token("owner", "admin")) as client:
        assert client.post("/v1/sessions", json={"session_id": "jam"}).status_code == 201


@pytest.mark.parametrize(
    ("scope", "message"),
    [
        ("read", "{}"),
        ("read", '{"type":"append","ops":[]}'),
        ("append", '{"type":"append","ops":[],"id":1,"id":1}'),
        ("append", "no JSON"),
        ("append", json.dumps({"type": "append", "ops": [draft("somebody else")]})),
    ],
)
def test_who_sends_what_is_refused_is_read_from_no_more_until_it_has_paid(scope: str, message: str) -> None:
    with running_server(ops_per_second=ALMOST_NEVER, ops_burst=3) as server:
        make_session(server)
        with live(server, server.token("eve", scope)) as socket:
            for _ in range(20):
                socket.send(message)
            for _ in range(4):
                assert json.loads(socket.recv(timeout=30))["type"] == "error"
            with pytest.raises(TimeoutError):
                socket.recv(timeout=0.5)


def test_an_append_without_ops_costs_one() -> None:
    with running_server(ops_per_second=ALMOST_NEVER, ops_burst=3) as server:
        make_session(server)
        with server.client(server.token("eve")) as eve:
            codes = [eve.post("/v1/sessions/jam/ops", json=[]).status_code for _ in range(5)]
    assert codes == [200, 200, 200, 429, 429]


@pytest.mark.parametrize("path", ["/v1/coordination/forecast", "/v1/sessions/jam/ops"])
def test_a_body_that_is_refused_is_paid_for(path: str) -> None:
    with running_server(bytes_per_second=ALMOST_NEVER, bytes_burst=1_000) as server:
        make_session(server)
        bad = '{"a":0,"a":' + "1" * 2_000 + "}"
        kind = {"content-type": "application/json"}
        with server.client(server.token("eve")) as eve:
            codes = [eve.post(path, content=bad, headers=kind).status_code for _ in range(3)]
    assert codes == [422, 429, 429]


def test_a_token_sends_so_many_requests_a_second() -> None:
    with running_server(requests_per_second=ALMOST_NEVER) as server:
        with server.client(server.token("eve", "read")) as eve:
            assert [eve.get("/v1/sessions").status_code for _ in range(3)] == [200, 429, 429]
        with server.client(server.token("ada", "read")) as ada:
            assert ada.get("/v1/sessions").status_code == 200


def test_messages_that_are_not_whole_take_bounded_memory_together() -> None:
    def frame(head: int, size: int, data: bytes) -> bytes:
        return bytes([head, 0xFF]) + size.to_bytes(8, "big") + bytes(4) + data

    def append(size: int) -> bytes:
        return b'{"type":"append","id":1,"ops":[]}'.rjust(size)

    with running_server(bodies_bytes=200_000) as server:
        make_session(server)
        token = server.token("eve", "append")
        with live(server, token) as first:
            first.socket.sendall(frame(0x01, 60_000, b" " * 60_000))
            first.ping().wait(30)
            with live(server, token) as second:
                second.socket.sendall(frame(0x81, 90_000, b" " * 60_000))
                with pytest.raises(ConnectionClosedError) as caught:
                    second.recv(timeout=30)
                assert caught.value.rcvd is not None
                assert caught.value.rcvd.code == 1013
            with live(server, token) as third:
                first.socket.sendall(frame(0x00, 39_940, b" " * 39_940))
                first.ping().wait(30)
                third.send(append(100).decode())
                assert json.loads(third.recv(timeout=30))["error"]["status"] == 429
                first.socket.sendall(frame(0x80, 50, append(50)))
                assert json.loads(first.recv(timeout=30))["receipts"] == []
                third.socket.sendall(frame(0x81, 60_000, append(60_000)))
                assert json.loads(third.recv(timeout=30))["receipts"] == []


def test_bodies_take_bounded_memory_together() -> None:
    with running_server(bodies_bytes=200_000) as server:
        make_session(server)
        token = server.token("eve", "append", session="*")
        head = (
            "POST /v1/sessions/jam/ops HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            f"Authorization: Bearer {token}\r\nConnection: close\r\n"
        )

        def is_too_much() -> bool:
            with raw_connection(server) as second:
                second.sendall(f"{head}Content-Length: 60000\r\n\r\n".encode() + b" " * 60_000)
                status, document = answer_on(second)
            return status == 429 and "too large together" in document["error"]["message"]

        with raw_connection(server) as slow:
            slow.sendall(f"{head}Expect: 100-continue\r\nContent-Length: 90000\r\n\r\n".encode())
            assert slow.recv(1000).startswith(b"HTTP/1.1 100")
            slow.sendall(b" " * 80_000)
            wait_until(is_too_much)
            slow.sendall(b" " * 9_998 + b"[]")
            assert slow.recv(1000).startswith(b"HTTP/1.1 200")
        with server.client(token) as eve:
            assert eve.post("/v1/sessions/jam/ops", json=[]).status_code == 200
            bomb = gzip.compress(b" " * 10_000_000)
            packed = {"content-type": "application/json", "content-encoding": "gzip"}
            assert eve.post("/v1/sessions/jam/ops", content=bomb, headers=packed).status_code == 429


def test_the_questions_of_replicas_are_short() -> None:
    with running_server() as server, server.client(server.token("eve", "read")) as eve:
        bomb = gzip.compress(b'{"session_id":"jam"}\n' + bytes(5 << 20))
        answer = eve.post("/v1/sync/reconcile", content=bomb, headers={"content-encoding": "gzip"})
        assert answer.status_code == 413


def test_a_delta_of_more_log_than_may_be_sorted_is_refused() -> None:
    with running_server(sorted_bytes=2_000) as server:
        make_session(server)
        with server.client(server.token("eve")) as eve:
            codes = []
            for _ in range(2):
                assert eve.post("/v1/sessions/jam/ops", json=[draft() for _ in range(5)]).status_code == 200
                codes.append(eve.get("/v1/sessions/jam/delta?domain=text").status_code)
    assert codes == [200, 413]


def nested(depth: int) -> str:
    return "[" * depth + "]" * depth


def test_where_an_actor_is_can_always_be_told_to_the_next() -> None:
    with running_server() as server:
        make_session(server)
        token = server.token("eve", "read")
        with live(server, token) as eve:
            for depth in (90, 101, 102, 200, 250, 253, 300, 600):
                eve.send(f'{{"type":"presence","where":{nested(depth)}}}')
                if depth > 101:
                    error: dict[str, Any] = json.loads(eve.recv(timeout=30))["error"]
                    assert (error["status"], error.get("field")) == (422, "where")
                with live(server, token) as newcomer:
                    newcomer.send("{}")
                    assert json.loads(newcomer.recv(timeout=30))["type"] == "error"
            for identity in (nested(90), nested(600), json.dumps("x" * 10_000), "1.5", "{}"):
                eve.send(f'{{"type":"append","ops":[],"id":{identity}}}')
                assert json.loads(eve.recv(timeout=30))["id"] is None


def test_a_debt_is_paid_with_time() -> None:
    now = [0.0]
    quotas = Quotas(
        Settings(ops_per_second=10, ops_burst=5, bytes_per_second=100, bytes_burst=50), lambda: now[0]
    )
    quotas.pay("eve", 250)
    assert quotas.debt_seconds("eve") == 2
    assert quotas.debt_seconds("ada") == 0
    with pytest.raises(RequestError) as caught:
        quotas.check_debt("eve")
    assert (caught.value.status, caught.value.retry_after) == (429, 2.001)
    now[0] = 2
    quotas.check_debt("eve")
    with pytest.raises(ValueError, match="x"), quotas.paying_for_refusal("eve", 100):
        raise ValueError("x")
    assert quotas.debt_seconds("eve") == 1
    with pytest.raises(RequestError), quotas.paying_for_refusal("eve", 100):
        quotas.check_debt("eve")
    assert quotas.debt_seconds("eve") == 1


def test_one_holder_gets_half_of_a_budget() -> None:
    budget = Budget(100)
    budget.take("eve", 50)
    with pytest.raises(RequestError, match="too large together"):
        budget.take("eve", 1)
    budget.take("ada", 30)
    with pytest.raises(RequestError, match="all the memory"):
        budget.take("bob", 21)
    budget.give_back("eve", 50)
    budget.take("bob", 50)


def test_a_request_past_its_rate_waits_before_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """So a flood comes no faster than its own connections take refusals."""
    rested: list[float] = []

    async def rest(seconds: float) -> None:
        rested.append(seconds)

    async def ask(service: Any, principal: Principal) -> bool:
        try:
            await charge_request(service, principal)
        except RequestError as error:
            return error.status != 429
        return True

    monkeypatch.setattr(app_module, "asyncio", SimpleNamespace(sleep=rest))
    now = [0.0]
    service = SimpleNamespace(quotas=Quotas(Settings(requests_per_second=2), lambda: now[0]))
    eve = Principal("eve's token", "eve", "read")
    assert [asyncio.run(ask(service, eve)) for _ in range(5)] == [True] * 4 + [False]
    assert rested == [0.5]
    now[0] = -10.0
    assert asyncio.run(ask(service, eve)) is False
    assert rested == [0.5, 1.0]
    assert asyncio.run(ask(service, ANYBODY)) is True


def test_an_op_that_names_a_stored_content_pays_for_its_bytes() -> None:
    with running_server(bytes_per_second=ALMOST_NEVER, bytes_burst=50_000) as server:
        make_session(server)
        named = Repository.open(str(server.root)).objects.put(b"x" * 20_000)
        made = {
            "op": "insert",
            "address": "a.txt",
            "position": None,
            "content_id": named,
            "file_id": "0" * 32,
        }

        def op(change: dict[str, Any]) -> dict[str, Any]:
            return {"domain": "code", "domain_op": made | change}

        with server.client(server.token("eve")) as eve:

            def append(*ops: dict[str, Any]) -> int:
                return eve.post("/v1/sessions/jam/ops", json=list(ops)).status_code

            assert append(*[op({"address": f"{number}.txt"}) for number in range(4)]) == 413
            absent = "0" * 64
            assert (
                append(*[op({"address": f"{number}.txt", "content_id": absent}) for number in range(9)])
                == 200
            )
            assert append(op({"text": "x" * 20_000})) == 200  # it carries what it names
            assert append(op({"address": "b.txt"})) == 200
            assert append(op({"address": "c.txt"})) == 429


def test_ops_of_a_replica_pay_for_the_contents_that_they_name() -> None:
    with running_server(bytes_per_second=ALMOST_NEVER, bytes_burst=50_000) as server:
        make_session(server)
        named = Repository.open(str(server.root)).objects.put(b"x" * 60_000)
        op = {"op": "insert", "address": "a.txt", "position": None, "content_id": named, "file_id": "0" * 32}
        lines = [encode_line(make_op_entry("eve", "code", op, stamp)) for stamp in (1, 2)]
        with server.client(server.token("eve")) as eve:
            codes = [
                eve.post(
                    "/v1/sync/offer", content=pack({"session_id": "jam"}, line), headers={"muse-replica": "r"}
                ).status_code
                for line in lines
            ]
    assert codes == [200, 429]
