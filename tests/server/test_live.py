"""The live session over WebSockets and events: across restarts, with slow clients and runaway ones."""

import asyncio
import json
import threading
import time
import tracemalloc
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, ConnectionClosedError
from websockets.sync.client import ClientConnection, connect

from muse.core.op_log import OpLog
from muse.server.api import live as live_module
from muse.server.api.bodies import PARSED_AT_ONCE, parse_json
from muse.server.client_queue import ClientQueue
from muse.server.edge.access import Tokens
from muse.server.feed import Feed, read_slice
from muse.server.presence import Presence
from muse.server.settings import Settings
from tests.samples.server_process import ServerProcess, draft, running_server
from tests.samples.waiting import wait_until
from tests.server.test_library_call import served


@pytest.fixture
def server() -> Iterator[ServerProcess]:
    with running_server() as server:
        with server.client() as client:
            client.post("/v1/sessions", json={"session_id": "jam"})
        yield server


class Live:
    """A WebSocket whose messages may be asked for by kind: those of other kinds wait."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self._waiting: list[dict[str, Any]] = []
        self.passed: list[dict[str, Any]] = []  # all that came, in its order

    def send(self, **message: Any) -> None:
        self.socket.send(json.dumps(message))

    def receive(self, kind: str, **wanted: Any) -> dict[str, Any]:
        """Return the next message of a kind that says what is wanted."""
        for index, message in enumerate(self._waiting):
            if message["type"] == kind and wanted.items() <= message.items():
                return self._waiting.pop(index)
        while True:
            found: dict[str, Any] = json.loads(self.socket.recv(timeout=30))
            self.passed.append(found)
            if found["type"] == kind and wanted.items() <= found.items():
                return found
            self._waiting.append(found)

    def ops(self, count: int) -> tuple[list[dict[str, Any]], str]:
        """Return the next ops, at least `count`, and the cursor behind them."""
        entries: list[dict[str, Any]] = []
        cursor = "0"
        while len(entries) < count:
            message = self.receive("ops")
            entries += message["entries"]
            cursor = message["cursor"]
        return entries, cursor


@contextmanager
def live(server: ServerProcess, query: str = "", **options: Any) -> Iterator[Live]:
    url = f"{server.websocket_url}/v1/sessions/jam/live{query}"
    with connect(url, max_size=None, **options) as socket:
        yield Live(socket)


def record(server: ServerProcess, count: int, actor: str = "elsewhere") -> list[str]:
    """Append by another process than the server."""
    with OpLog(server.root, "jam") as log:
        return [
            log.record(actor, "text", {"op": "insert", "address": f"{n}.txt"})["op_id"] for n in range(count)
        ]


def in_log(server: ServerProcess) -> list[str]:
    with OpLog(server.root, "jam") as log:
        return [entry["op_id"] for entry in log.entries()]


def test_an_append_is_acknowledged_and_comes_to_all_who_follow(server: ServerProcess) -> None:
    with live(server) as ada, live(server) as bob:
        for ack in ("written", "durable"):
            ada.send(type="append", id=ack, ops=[draft("ada"), draft("ada")], ack=ack)
            told = ada.receive("receipts")
            assert [receipt["status"] for receipt in told["receipts"]] == ["stored", "stored"]
            assert told["id"] == ack
            for socket in (ada, bob):
                entries, cursor = socket.ops(2)
                assert [entry["op_id"] for entry in entries] == [one["op_id"] for one in told["receipts"]]
                assert cursor == told["cursor"]


def test_all_see_the_ops_of_all_in_the_order_of_the_log(server: ServerProcess) -> None:
    with (
        live(server, "?since=0") as one,
        live(server, "?since=0") as two,
        live(server, "?follow=false") as writer,
    ):
        for number in range(50):
            writer.send(type="append", id=number, ops=[draft("ada")] * 3)
            record(server, 2)
        assert [writer.receive("receipts")["id"] for _ in range(50)] == list(range(50))
        seen = [[entry["op_id"] for entry in socket.ops(250)[0]] for socket in (one, two)]
    assert seen[0] == seen[1] == in_log(server)


def test_who_was_away_resumes_by_cursor_across_a_restart_with_no_gap_and_no_repeat(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path).start()
    with server.client() as client:
        client.post("/v1/sessions", json={"session_id": "jam"})
    record(server, 30)
    with live(server, "?since=0") as socket:
        first, cursor = socket.ops(30)
    server.kill()
    record(server, 40)
    server.start()
    record(server, 2_500)
    with live(server, f"?since={cursor}") as socket:
        record(server, 20)
        second, cursor = socket.ops(2_560)
    server.stop()
    server.start()
    with live(server, f"?since={cursor}") as socket:
        record(server, 5)
        third, _ = socket.ops(5)
    assert [entry["op_id"] for entry in [*first, *second, *third]] == in_log(server)
    server.kill()


def test_server_sent_events_resume_by_the_id_of_the_last_one(server: ServerProcess) -> None:
    record(server, 5)
    with server.client() as client:
        first = _events(client, 5, {"since": "0"}, {})
        record(server, 5)
        second = _events(client, 5, {}, {"last-event-id": first[-1][0]})
    assert [op_id for _, op_id in first + second] == in_log(server)


def _events(
    client: httpx.Client, count: int, params: dict[str, str], headers: dict[str, str]
) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    with client.stream("GET", "/v1/sessions/jam/events", params=params, headers=headers) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        event: dict[str, str] = {}
        for line in answer.iter_lines():
            if line:
                name, _, value = line.partition(": ")
                event[name] = value
            else:
                if event.get("event") == "op":
                    found.append((event["id"], json.loads(event["data"])["op_id"]))
                event = {}
            if len(found) == count:
                return found
    pytest.fail("the stream ended")


def test_a_batch_holds_no_more_than_its_entries(tmp_path: Path) -> None:
    with OpLog(str(tmp_path), "jam") as log:
        log.create()
        for _ in range(500):
            log.record("ada", "text", {"op": "insert", "address": "x"})
        with log.follow(since=0) as follower:
            tracemalloc.start()
            try:
                batch = read_slice(follower, 0)
                kept, _ = tracemalloc.get_traced_memory()
            finally:
                tracemalloc.stop()
    assert len(batch.ops) == 500
    assert kept < 2_000 * len(batch.ops)


def test_who_is_here_and_where_is_told(server: ServerProcess) -> None:
    with live(server, "?actor=ada") as ada:
        assert ada.receive("presence")["here"] == []
        with live(server, "?actor=bob") as bob:
            assert bob.receive("presence")["here"] == [{"actor": "ada", "where": None}]
            ada.receive("presence", actor="bob", state="here")
            bob.send(type="presence", where={"file": "song.txt", "line": 3})
            ada.receive("presence", actor="bob", where={"file": "song.txt", "line": 3})
            with server.client() as client:
                present = client.get("/v1/sessions/jam").json()["present"]
            assert {"actor": "bob", "where": {"file": "song.txt", "line": 3}} in present
        ada.receive("presence", actor="bob", state="gone")


def test_an_actor_that_comes_again_while_it_is_here_is_not_told_again(server: ServerProcess) -> None:
    with live(server, "?actor=bob") as bob:
        bob.receive("presence")
        with live(server, "?actor=ada") as first:
            first.receive("presence")
            for number in range(3):
                with live(server, "?actor=ada") as again:
                    again.receive("presence")
                    again.send(type="presence", where=number)
                    bob.receive("presence", where=number)
        bob.receive("presence", actor="ada", state="gone")
        told = [(one["state"], one["where"]) for one in bob.passed if "state" in one]
    assert told == [("here", None), ("here", 0), ("here", 1), ("here", 2), ("gone", None)]


def test_an_actor_with_several_connections_stands_once_where_it_said_last(
    server: ServerProcess,
) -> None:
    with live(server, "?actor=bob") as bob:
        bob.receive("presence")
        with live(server, "?actor=ada") as first, live(server, "?actor=ada") as second:
            for one, where in ((first, 1), (second, 2), (first, 3)):
                one.send(type="presence", where=where)
                bob.receive("presence", where=where)
            with live(server, "?actor=cid") as cid:
                here = cid.receive("presence")["here"]
                assert here == [{"actor": "bob", "where": None}, {"actor": "ada", "where": 3}]


def test_what_who_arrives_is_told_is_made_once_until_something_changes() -> None:
    presence = Presence()
    assert [presence.arrive(number, "ada") for number in range(3)] == [True, False, False]
    presence.move(1, "there")
    told = presence.message
    assert not presence.arrive(3, "ada")
    assert presence.leave(0) is None
    assert presence.message is told
    assert presence.leave(1) is None
    assert presence.here() == [{"actor": "ada", "where": None}]
    assert [presence.leave(2), presence.leave(3)] == [None, "ada"]
    assert presence.message == b'{"type":"presence","here":[]}'


def test_presence_is_short_and_long_json_is_parsed_off_the_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed: list[tuple[int, bool]] = []

    def noting(data: bytes | str) -> Any:
        parsed.append((len(data), threading.current_thread() in loops))
        return parse_json(data)

    monkeypatch.setattr(live_module, "parse_json", noting)
    before = set(threading.enumerate())
    with served(tmp_path) as url, httpx.Client(base_url=url, trust_env=False) as client:
        loops = [one for one in set(threading.enumerate()) - before if not one.name.startswith("muse")]
        client.post("/v1/sessions", json={"session_id": "jam"})
        with connect(f"{url.replace('http', 'ws', 1)}/v1/sessions/jam/live?actor=ada") as socket:
            ada = Live(socket)
            ada.send(type="append", id=1, ops=[draft("ada")])
            ada.ops(1)  # it follows: it would hear of itself from now on only
            parsed.clear()
            around = len(json.dumps({"type": "presence", "where": ""}))
            for size in (4096, 4097, PARSED_AT_ONCE, PARSED_AT_ONCE + 1):
                where = "x" * (size - around)
                ada.send(type="presence", where=where)
                if size <= 4096:
                    assert ada.receive("presence", state="here", where=where)
                else:
                    assert ada.receive("error")["error"]["status"] == 413
    on_loop, in_thread = True, False
    assert parsed == [
        (4096, on_loop),
        (4097, on_loop),
        (PARSED_AT_ONCE, on_loop),
        (PARSED_AT_ONCE + 1, in_thread),
    ]


def test_a_slow_client_is_told_to_resume_and_nobody_else_waits() -> None:
    with running_server(queue_bytes=4_000_000, send_seconds=60) as server:
        with server.client() as client:
            client.post("/v1/sessions", json={"session_id": "jam"})
        large = {"op": "insert", "address": "x", "content_summary": "x" * 20_000}
        with live(server, "?since=0", max_queue=1) as slow, live(server, "?since=0") as quick:
            assert slow.receive("presence")["type"] == "presence"
            with OpLog(server.root, "jam") as log:
                for _ in range(1_000):  # more than its queue, and the buffers of the kernel, hold
                    log.record("ada", "text", large)
                    if log.cut().op_count % 50 == 0:
                        assert len(quick.ops(50)[0]) == 50
            seen: list[str] = []
            cursor = 0
            while (message := json.loads(slow.socket.recv(timeout=30)))["type"] != "overflow":
                if message["type"] == "ops":
                    seen += [entry["op_id"] for entry in message["entries"]]
                    cursor = message["cursor"]
            assert message["cursor"] == cursor
            assert len(seen) < 1_000
            with pytest.raises(ConnectionClosed) as caught:
                slow.socket.recv(timeout=30)
            assert caught.value.rcvd is not None
            assert caught.value.rcvd.code == 1013
        with live(server, f"?since={cursor}") as again:
            seen += [entry["op_id"] for entry in again.ops(1_000 - len(seen))[0]]
        assert seen == in_log(server)


def test_a_client_that_never_reads_is_dropped() -> None:
    with running_server(queue_bytes=50_000, send_seconds=1) as server:
        with server.client() as client:
            client.post("/v1/sessions", json={"session_id": "jam"})
        with live(server, "?since=0", max_queue=1, close_timeout=0), OpLog(server.root, "jam") as log:
            for _ in range(3_000):
                log.record("ada", "text", {"op": "insert", "address": "x", "content_summary": "x" * 10_000})

            def is_dropped() -> bool:
                with server.client() as client:
                    text = client.get("/metrics").text
                return 'muse_refused_total{reason="not_reading"} 1.0' in text

            wait_until(is_dropped)


def write_large(server: ServerProcess, count: int) -> None:
    with OpLog(server.root, "jam") as log:
        log.create()
        for _ in range(count):
            log.record("ada", "text", {"op": "insert", "address": "x", "content_summary": "x" * 20_000})


def test_who_lost_his_token_reads_no_long_log_to_its_end() -> None:
    with running_server() as server:
        write_large(server, 4_000)
        text, token = Tokens(str(server.root)).create("ada", "read")
        seen = 0
        headers = {"authorization": f"Bearer {text}"}
        with live(server, "?since=0", additional_headers=headers, max_queue=1) as socket:
            socket.receive("ops")
            Tokens(str(server.root)).revoke(token.token_id)
            with pytest.raises(ConnectionClosed) as caught:  # noqa: PT012 - what was on its way comes first
                while True:
                    seen += len(socket.receive("ops")["entries"])
                    time.sleep(0.2)  # the whole log would take far longer than to find the token revoked
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 1008
        assert seen < 3_000


@pytest.mark.parametrize("is_live", [False, True], ids=["in what was there", "in what comes"])
def test_who_follows_a_damaged_log_is_told_and_so_is_the_log_of_the_server(
    server: ServerProcess, *, is_live: bool
) -> None:
    record(server, 10)

    def damage() -> None:
        with (server.root / ".muse" / "op_log" / "jam" / "ops.jsonl").open("ab") as log:
            log.write(b'{"no": "op"}\n')

    if not is_live:
        damage()
    with (
        server.client() as client,
        live(server, "?since=0") as socket,
        client.stream("GET", "/v1/sessions/jam/events?since=0") as events,
    ):
        lines = events.iter_lines()
        if is_live:
            socket.ops(10)
            assert sum(next(lines) == "event: op" for _ in range(4 * 11)) == 10
            damage()
        assert "damaged" in socket.receive("error")["error"]["message"]
        with pytest.raises(ConnectionClosed) as caught:
            socket.receive("nothing more")
        assert caught.value.rcvd is not None
        assert (caught.value.rcvd.code, bool(caught.value.rcvd.reason)) == (1011, True)
        assert "event: error" in list(lines)
    assert sum(line["event"] == "failed" and "byte" in line["error"] for line in server.log) == 2


def test_how_far_a_follower_is_behind_is_shown_while_it_catches_up_too() -> None:
    with running_server() as server, server.client() as client:
        write_large(server, 1_000)
        with live(server, "?since=0", max_queue=1) as socket:

            def lag() -> float:
                lines = client.get("/metrics").text.splitlines()
                return float(next(line.split()[1] for line in lines if line.startswith("muse_follower_lag")))

            wait_until(lambda: lag() > 1_000_000)
            socket.ops(1_000)
            wait_until(lambda: lag() == 0)


def test_who_joins_a_feed_that_is_over_is_let_go(tmp_path: Path) -> None:
    async def joined_around_its_end() -> tuple[ClientQueue, ClientQueue]:
        with OpLog(str(tmp_path), "jam") as log:
            feed = Feed(log, Settings(), asyncio.get_running_loop(), lambda: None)
            feed.cursor = 10
            early, late = ClientQueue(Settings(), 0), ClientQueue(Settings(), 10)
            assert not feed.join(early)
            feed.drop()
            assert feed.join(late)
            return early, late

    assert all(queue.closed for queue in asyncio.run(joined_around_its_end()))


def test_a_runaway_actor_is_refused_with_a_time_to_come_again_and_others_go_on() -> None:
    with running_server(ops_per_second=10, ops_burst=20) as server, server.client() as client:
        client.post("/v1/sessions", json={"session_id": "jam"})
        path = "/v1/sessions/jam/ops"
        statuses = [client.post(path, json=[draft("bot")] * 10) for _ in range(4)]
        assert [answer.status_code for answer in statuses[:2]] == [200, 200]
        refused = statuses[-1]
        assert (refused.status_code, refused.json()["error"]["kind"]) == (429, "TooMany")
        assert 0 < refused.json()["error"]["retry_after"] <= 1.1
        assert int(refused.headers["retry-after"]) >= 1
        assert client.post(path, json=[draft("ada")]).status_code == 200
        assert client.post(path, json=[draft("ada")] * 21).status_code == 413
        with live(server, "?follow=false") as socket:
            socket.send(type="append", id=1, ops=[draft("bot")] * 20)
            told = socket.receive("error")
            assert (told["id"], told["error"]["status"]) == (1, 429)
        assert all(entry["actor_id"] in {"ada", "bot"} for entry in _entries(server))
        assert sum(entry["actor_id"] == "bot" for entry in _entries(server)) <= 30


def _entries(server: ServerProcess) -> list[Any]:
    with OpLog(server.root, "jam") as log:
        return list(log.entries())


def test_a_server_that_stops_finishes_what_was_begun_and_says_when_to_come_back(
    server: ServerProcess,
) -> None:
    with (
        live(server) as socket,
        server.client() as client,
        client.stream("GET", "/v1/sessions/jam/events") as events,
    ):
        lines = events.iter_lines()
        assert next(lines).startswith("id: ")
        op_ids = [str(uuid.uuid4()) for _ in range(200)]
        for number, op_id in enumerate(op_ids):
            socket.send(type="append", id=number, ops=[draft("ada", op_id=op_id)])
        socket.receive("receipts")
        server.terminate()
        acknowledged = 1
        while (message := json.loads(socket.socket.recv(timeout=30)))["type"] != "closing":
            acknowledged += message["type"] == "receipts"
        assert message["retry_after"] == 2
        with pytest.raises(ConnectionClosedError) as caught:
            socket.receive("nothing more")
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 1012
        rest = list(lines)
        assert "event: closing" in rest
        assert "retry: 2000" in rest
    assert server.stop() == 0
    assert [entry["op_id"] for entry in _entries(server)][:acknowledged] == op_ids[:acknowledged]
    assert server.log[-1]["event"] == "stopped"
