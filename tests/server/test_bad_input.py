"""Bad input over real sockets: each gets its named answer, changes nothing else, and the server goes on."""

import gzip
import json
import select
import socket
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import ConnectionClosedError, InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin

from tests.samples.server_process import (
    ServerProcess,
    answer_on,
    draft,
    raw_connection,
    running_server,
)
from tests.samples.waiting import wait_until

BODY_BYTES = 100_000


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with running_server(
        body_bytes=BODY_BYTES,
        header_bytes=4_000,
        header_seconds=1.5,
        body_seconds=1.5,
        frame_bytes=20_000,
        subscriptions_per_token=20,
        connections_per_token=30,
        request_ops=50,
    ) as server:
        with server.client() as client:
            assert client.post("/v1/sessions", json={"session_id": "jam"}).status_code == 201
        yield server


@pytest.fixture(autouse=True)
def _goes_on(server: ServerProcess) -> Iterator[None]:
    """After each bad input the log is as it was, and takes the next op."""
    log = server.root / ".muse" / "op_log" / "jam" / "ops.jsonl"
    before = log.read_bytes()
    yield
    assert log.read_bytes() == before
    with server.client() as client:
        (receipt,) = client.post("/v1/sessions/jam/ops", json=[draft("ada")]).json()["receipts"]
    assert receipt["status"] == "stored"
    assert server.is_running


def post(server: ServerProcess, body: bytes, **headers: str) -> httpx.Response:
    kind = {"content-type": "application/x-ndjson"}
    with server.client() as client:
        return client.post("/v1/sessions/jam/ops", content=body, headers={**kind, **headers})


def ask(server: ServerProcess, data: bytes) -> tuple[int, dict[str, object]]:
    with raw_connection(server) as connection:
        connection.sendall(data)
        status, document = answer_on(connection)
    return status, document["error"]


def test_a_foreign_origin_is_refused(server: ServerProcess) -> None:
    with server.client() as client:
        other_scheme = server.url.replace("http", "https")
        others = (other_scheme, server.url.replace("http", "ftp"), f"{server.url}/x", server.url[5:])
        for origin in ("https://evil.example", "null", "", "http://127.0.0.1:1", "http://[", *others):
            answer = client.get("/v1/sessions", headers={"origin": origin})
            assert (answer.status_code, answer.json()["error"]["kind"]) == (403, "Forbidden")
        assert client.get("/v1/sessions", headers={"origin": server.url}).status_code == 200


def test_what_a_page_of_another_site_sends_without_an_origin_is_refused(server: ServerProcess) -> None:
    with server.client() as client:
        assert client.get("/v1/sessions", headers={"sec-fetch-site": "cross-site"}).status_code == 403
        assert client.get("/v1/sessions", headers={"sec-fetch-site": "same-origin"}).status_code == 200
        for kind in ("text/plain", "Text/Plain; charset=utf-8", "application/x-www-form-urlencoded"):
            answer = client.post(
                "/v1/sessions", content=b'{"session_id":"csrf"}', headers={"content-type": kind}
            )
            assert answer.status_code == 415


def test_a_web_socket_of_a_foreign_origin_is_refused(server: ServerProcess) -> None:
    with (
        pytest.raises(InvalidStatus) as caught,
        connect(
            f"{server.websocket_url}/v1/sessions/jam/live",
            origin=Origin("https://evil.example"),
        ),
    ):
        pass
    assert caught.value.response.status_code == 403


@pytest.mark.parametrize(
    "host",
    [
        *("evil.example", "evil.example:80", "127.0.0.1.evil.example", "", ":80", "[]"),
        *("]localhost[", "[localhost]", "localhost:99999", "localhost:", "::1", "user@localhost"),
    ],
)
def test_a_foreign_host_is_refused(server: ServerProcess, host: str) -> None:
    status, error = ask(
        server, f"GET /v1/sessions HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()
    )
    assert (status, error["kind"]) == (400, "BadRequest")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "[::1]", "[::1]:65535", "127.0.0.1\t"])
def test_the_names_of_ones_own_machine_are_taken(server: ServerProcess, host: str) -> None:
    with raw_connection(server) as connection:
        request = f"GET /v1/health HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
        connection.sendall(request.encode())
        assert answer_on(connection)[0] == 200


def test_two_hosts_or_none_are_refused(server: ServerProcess) -> None:
    twice = b"Host: 127.0.0.1\r\nHost: evil.example\r\n"
    assert ask(server, b"GET /v1/sessions HTTP/1.1\r\n" + twice + b"Connection: close\r\n\r\n")[0] == 400
    assert ask(server, b"GET /v1/sessions HTTP/1.1\r\nConnection: close\r\n\r\n")[0] == 400


def test_what_is_no_http_is_refused(server: ServerProcess) -> None:
    for data in (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"GET\r\n\r\n", b"\0" * 50 + b"\r\n\r\n"):
        assert ask(server, data)[0] == 400


def test_a_body_that_says_it_is_too_large_is_refused_before_it_is_read(server: ServerProcess) -> None:
    head = b"POST /v1/sessions/jam/ops HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    with raw_connection(server) as connection:
        connection.sendall(head + b"Content-Length: 10000000000\r\n\r\n[")
        status, document = answer_on(connection)
    assert (status, document["error"]["kind"]) == (413, "TooLarge")


def test_a_chunked_body_is_refused_once_it_is_too_large(server: ServerProcess) -> None:
    head = b"POST /v1/sessions/jam/ops HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    with raw_connection(server) as connection:
        connection.sendall(head + b"Transfer-Encoding: chunked\r\n\r\n")
        chunk = b"%x\r\n%b\r\n" % (10_000, b" " * 10_000)
        for _ in range(BODY_BYTES // 10_000 + 1):
            connection.sendall(chunk)
        status, document = answer_on(connection)
    assert (status, document["error"]["kind"]) == (413, "TooLarge")


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_compression_bomb_is_refused(server: ServerProcess, encoding: str) -> None:
    blanks = b" " * (BODY_BYTES * 500)
    packed = gzip.compress(blanks) if encoding == "gzip" else zlib.compress(blanks)
    assert len(packed) < BODY_BYTES
    answer = post(server, packed, **{"content-encoding": encoding})
    assert (answer.status_code, answer.json()["error"]["kind"]) == (413, "TooLarge")


def test_what_is_not_packed_as_it_says_is_refused(server: ServerProcess) -> None:
    good = gzip.compress(json.dumps(draft("ada")).encode())
    for body in (b"hello", good[:-9], good + b"more"):
        assert post(server, body, **{"content-encoding": "gzip"}).status_code == 400
    assert post(server, b"", **{"content-encoding": "br"}).status_code == 415


GOOD = json.dumps(draft("ada"))


@pytest.mark.parametrize(
    ("line", "field"),
    [
        ("{", ""),
        ("[]", ""),
        ('"text"', ""),
        ("NaN", ""),
        ('{"domain": "text", "domain": "text", "domain_op": {}, "actor_id": "ada"}', ""),
        ('{"actor_id": "ada", "domain": "text", "domain_op": {"x": 1e999}}', ""),
        ('{"actor_id": "ada", "domain": "text", "domain_op": {"x": "\\ud800"}}', ""),
        ('{"actor_id": "ada", "domain": "text", "domain_op": 7}', "domain_op"),
        ('{"actor_id": "ada", "domain": 7, "domain_op": {}}', "domain"),
        ('{"actor_id": "ada", "domain_op": {}}', "domain"),
        ('{"actor_id": "ada", "domain": "text", "domain_op": {}, "lamport_ts": 0}', "lamport_ts"),
        ('{"actor_id": "ada", "domain": "text", "domain_op": {}, "lamport_ts": "1"}', "lamport_ts"),
        ('{"actor_id": "ada", "domain": "text", "domain_op": {}, "parent_op_ids": [1]}', "parent_op_ids"),
        ('{"actor_id": "ada", "domain": "text", "domain_op": {}, "surprise": 1}', "surprise"),
    ],
)
def test_a_wrong_line_is_named_with_its_field_and_nothing_is_stored(
    server: ServerProcess, line: str, field: str
) -> None:
    answer = post(server, f"{GOOD}\n\n{line}\n{GOOD}\n".encode())
    error = answer.json()["error"]
    assert (answer.status_code, error["kind"], error["line"], error.get("field", "")) == (
        422,
        "Invalid",
        3,
        field,
    )


def test_a_body_that_is_no_utf8_is_refused(server: ServerProcess) -> None:
    assert post(server, b'{"actor_id": "\xff"}').status_code == 422


def test_unknown_fields_of_other_requests_are_named(server: ServerProcess) -> None:
    with server.client() as client:
        answers = [
            client.post("/v1/sessions", json={"session_id": "x", "surprise": 1}),
            client.post("/v1/sessions/jam/commit", json={"message": "x", "surprise": 1}),
            client.post("/v1/coordination/reservations", json={"addresses": ["a"], "surprise": 1}),
            client.get("/v1/sessions", params={"surprise": 1}),
        ]
    assert [answer.status_code for answer in answers] == [422] * 4
    assert [answer.json()["error"]["field"] for answer in answers] == ["surprise"] * 4


def test_a_session_id_that_leaves_its_place_is_no_session(server: ServerProcess) -> None:
    for name in ("..", "%2e%2e", "..%2f..%2fetc", "nope", "a%00b"):
        status, _ = ask(
            server,
            f"GET /v1/sessions/{name}/ops HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode(),
        )
        assert status == 404
    with server.client() as client:
        assert client.post("/v1/sessions", json={"session_id": "../evil"}).status_code == 422
    with pytest.raises(InvalidStatus) as caught, connect(f"{server.websocket_url}/v1/sessions/nope/live"):
        pass
    assert caught.value.response.status_code == 404


def test_a_cursor_that_is_none_is_refused(server: ServerProcess) -> None:
    with server.client() as client:
        for cursor in ("1", "-1", "99999999", "x", "1e3", "9" * 30):
            assert client.get("/v1/sessions/jam/ops", params={"since": cursor}).status_code == 422
            assert client.get("/v1/sessions/jam/events", params={"since": cursor}).status_code == 422


def test_headers_that_never_end_are_cut_off(server: ServerProcess) -> None:
    with raw_connection(server) as connection:
        connection.sendall(b"GET /v1/health HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ")
        status, document = answer_on(connection)
    assert (status, document["error"]["kind"]) == (408, "Timeout")


def test_headers_that_come_drop_by_drop_are_cut_off(server: ServerProcess) -> None:
    drops = b"GET /v1/health HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: " + b"x" * 1_000
    with raw_connection(server) as connection:
        for drop in drops:
            connection.sendall(bytes([drop]))
            if select.select([connection], [], [], 0.05)[0]:
                break
        status, document = answer_on(connection)
    assert (status, document["error"]["kind"]) == (408, "Timeout")


def test_a_connection_that_says_nothing_is_closed(server: ServerProcess) -> None:
    with raw_connection(server) as connection:
        assert answer_on(connection)[0] == 408


def test_headers_too_long_are_refused(server: ServerProcess) -> None:
    many = b"".join(b"X-%d: %b\r\n" % (number, b"x" * 90) for number in range(100))
    one = b"X-Long: " + b"x" * 200_000 + b"\r\n"
    for headers in (many, one):
        with raw_connection(server) as connection:
            connection.sendall(b"GET /v1/health HTTP/1.1\r\nHost: 127.0.0.1\r\n" + headers)
            assert answer_on(connection)[0] == 431


def test_a_body_that_never_ends_is_cut_off(server: ServerProcess) -> None:
    head = b"POST /v1/sessions/jam/ops HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    with raw_connection(server) as connection:
        connection.sendall(head + b"Content-Length: 100\r\n\r\n[")
        status, document = answer_on(connection)
    assert (status, document["error"]["kind"]) == (408, "Timeout")


def test_a_frame_too_large_closes_its_socket_with_a_reason_and_no_other(server: ServerProcess) -> None:
    url = f"{server.websocket_url}/v1/sessions/jam/live?follow=false"
    with connect(url) as large, connect(url) as other:
        assert json.loads(large.recv())["type"] == json.loads(other.recv())["type"] == "presence"
        large.send("x" * 30_000)
        with pytest.raises(ConnectionClosedError) as caught:
            large.recv()
        assert caught.value.rcvd is not None
        assert (caught.value.rcvd.code, bool(caught.value.rcvd.reason)) == (1009, True)
        other.send(json.dumps({"type": "append", "id": 1, "ops": []}))
        assert json.loads(other.recv())["receipts"] == []


PING, TEXT, MORE = b"\x89\x80\0\0\0\0", b"\x01\x80\0\0\0\0", b"\x00\x80\0\0\0\0"


@pytest.mark.parametrize("flood", [PING * 3_000, TEXT + MORE * 1_000], ids=["pings", "fragments"])
def test_a_flood_of_small_frames_closes_its_socket_with_a_reason(server: ServerProcess, flood: bytes) -> None:
    with connect(f"{server.websocket_url}/v1/sessions/jam/live?follow=false") as live:
        live.recv()
        live.socket.sendall(flood)
        with pytest.raises(ConnectionClosedError) as caught:
            live.recv(timeout=10)
        assert caught.value.rcvd is not None
        assert (caught.value.rcvd.code, "1000" in caught.value.rcvd.reason) == (1008, True)


@pytest.mark.parametrize(
    "frames",
    [b"\x81\x81\0\0\0\0\xff", b"\x01\x81\0\0\0\0\xe2\x80\x80\0\0\0\0"],
    ids=["no character", "half a character"],
)
def test_a_text_that_is_no_utf8_closes_its_socket_with_a_reason_and_no_traceback(
    server: ServerProcess, frames: bytes
) -> None:
    before = len(server.log)
    with connect(f"{server.websocket_url}/v1/sessions/jam/live?follow=false") as live:
        live.recv()
        body = '{"type": "append", "id": 1, "ops": [], "é": 1}'.encode()
        half = body.index("é".encode()) + 1  # a character may lie in two frames
        for head, part in ((0x01, body[:half]), (0x80, body[half:])):
            live.socket.sendall(bytes([head, 0x80 + len(part), 0, 0, 0, 0]) + part)
        assert json.loads(live.recv())["error"]["field"] == "é"
        live.socket.sendall(frames)
        with pytest.raises(ConnectionClosedError) as caught:
            live.recv(timeout=10)
        assert caught.value.rcvd is not None
        assert (caught.value.rcvd.code, caught.value.rcvd.reason) == (1007, "a text message is not UTF-8")
    assert not any("Traceback" in json.dumps(line) for line in server.log[before:])


def test_messages_may_come_in_some_fragments_and_pings_between_them(server: ServerProcess) -> None:
    with connect(f"{server.websocket_url}/v1/sessions/jam/live?follow=false") as live:
        live.recv()
        for _ in range(3):
            live.send(['{"type": "append", "id": 1, "ops": ', *[" "] * 500, "[]}"])
            for _ in range(100):
                live.ping().wait(10)
            assert json.loads(live.recv())["receipts"] == []


@pytest.mark.parametrize(
    ("message", "field"),
    [
        ("{", ""),
        ("[]", ""),
        ('{"type": "dance"}', "type"),
        ('{"type": "append", "ops": 1}', "ops"),
        ('{"type": "append", "ops": [], "surprise": 1}', "surprise"),
        ('{"type": "append", "ops": [], "ack": "maybe"}', "ack"),
        ('{"type": "append", "ops": [{"domain": "text"}]}', "domain_op"),
    ],
)
def test_a_wrong_message_is_told_and_the_socket_goes_on(
    server: ServerProcess, message: str, field: str
) -> None:
    with connect(f"{server.websocket_url}/v1/sessions/jam/live?follow=false") as live:
        live.recv()
        live.send(message)
        told = json.loads(live.recv())
        assert (told["type"], told["error"]["status"], told["error"].get("field", "")) == (
            "error",
            422,
            field,
        )
        live.send(json.dumps({"type": "append", "id": 9, "ops": []}))
        assert json.loads(live.recv())["id"] == 9


def test_too_many_ops_in_one_request_are_refused(server: ServerProcess) -> None:
    assert post(server, (GOOD + "\n").encode() * 51).status_code == 413


def test_lines_without_number_are_refused_though_they_are_empty(server: ServerProcess) -> None:
    assert post(server, b"\n" * BODY_BYTES).status_code == 413


MANY = b"[" + b"1, " * 5_000_000 + b"1]"
"""JSON that takes seconds to be refused."""


def others_answered(client: httpx.Client, is_done: Callable[[], bool]) -> int:
    """Return how many requests were answered, one after the other, until `is_done`."""
    count = 0
    while not is_done():
        assert client.get("/v1/health").status_code == 200
        count += 1
    return count


def test_nobody_waits_while_a_large_body_is_parsed(tmp_path: Path) -> None:
    head = b"POST /v1/sessions/jam/ops HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    with ServerProcess(tmp_path) as server, server.client() as client, raw_connection(server) as large:
        client.post("/v1/sessions", json={"session_id": "jam"})
        large.sendall(head + b"Content-Length: %d\r\n\r\n" % len(MANY) + MANY)
        assert others_answered(client, lambda: bool(select.select([large], [], [], 0)[0])) > 2
        assert b" 413 " in large.recv(100)


def test_nobody_waits_while_a_large_message_is_parsed_but_the_messages_after_it(tmp_path: Path) -> None:
    with ServerProcess(tmp_path, frame_bytes=1 << 24) as server, server.client() as client:
        client.post("/v1/sessions", json={"session_id": "jam"})
        with connect(f"{server.websocket_url}/v1/sessions/jam/live?follow=false") as live:
            live.recv()
            live.send(b'{"type":"append","id":1,"ops":%b}' % MANY)
            live.send(json.dumps({"type": "append", "id": 2, "ops": []}))
            received: list[str | bytes] = []

            def is_answered() -> bool:
                with suppress(TimeoutError):
                    received.append(live.recv(timeout=0))
                return bool(received)

            assert others_answered(client, is_answered) > 2
            received.append(live.recv())
            assert [json.loads(one)["id"] for one in received] == [1, 2]


def test_subscriptions_past_the_limit_are_refused(server: ServerProcess) -> None:
    url = f"{server.websocket_url}/v1/sessions/jam/live"
    with ExitStack() as stack:
        for _ in range(20):
            stack.enter_context(connect(url))
        for _ in range(100):
            with pytest.raises(InvalidStatus) as caught, connect(url):
                pass
            assert caught.value.response.status_code == 429
        with server.client() as client:
            answer = client.get("/v1/sessions/jam/events")
            assert (answer.status_code, "retry-after" in answer.headers) == (429, True)


def test_requests_one_after_the_other_without_waiting_are_answered_in_order(server: ServerProcess) -> None:
    one = b"GET /v1/health HTTP/1.1\r\nHost: 127.0.0.1\r\n%b\r\n"
    with raw_connection(server) as connection:
        connection.sendall(one % b"" + one % b"" + one % b"Connection: close\r\n")
        data = b""
        while part := connection.recv(1 << 16):
            data += part
    assert data.count(b"HTTP/1.1 200 OK") == 3


def test_a_client_that_leaves_in_the_middle_harms_nobody(server: ServerProcess) -> None:
    head = b"POST /v1/sessions/jam/ops HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    for _ in range(20):
        connection = socket.create_connection(("127.0.0.1", server.port))
        connection.sendall(head + b"Content-Length: 100\r\n\r\n[")
        connection.close()


@pytest.mark.parametrize(
    "more",
    [
        b"".join(b"X-%d: 1\r\n" % number for number in range(200)),
        b"Content-Length: 5\r\n",
    ],
    ids=["too many headers", "a body"],
)
def test_a_handshake_that_is_malformed_is_refused_and_its_connection_closed(
    server: ServerProcess, more: bytes
) -> None:
    head = b"GET /v1/sessions/jam/live HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    head += b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
    key = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    status, error = ask(server, head + key + more + b"\r\nhello")
    assert (status, error["kind"]) == (400, "BadRequest")


def test_a_chunk_without_a_length_is_refused(server: ServerProcess) -> None:
    head = b"POST /v1/sessions/jam/ops HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    assert ask(server, head + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n")[0] == 400


def test_the_line_of_what_is_no_json_is_named(server: ServerProcess) -> None:
    answer = post(server, b'[\n{"a": 1},\n{"b":\n]', **{"content-type": "application/json"})
    assert (answer.status_code, answer.json()["error"]["line"]) == (422, 4)


def test_who_asks_for_the_head_of_a_stream_gets_that_alone(server: ServerProcess) -> None:
    with server.client() as client:
        for name in ("events", "ops"):
            answer = client.head(f"/v1/sessions/jam/{name}")
            assert (answer.status_code, answer.content) == (200, b"")


@pytest.mark.parametrize("path", ["ops", "events?since=0"])
def test_who_takes_nothing_of_a_long_answer_is_dropped(tmp_path: Path, path: str) -> None:
    request = f"GET /v1/sessions/long/{path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    with ServerProcess(tmp_path, send_seconds=0.5) as server, server.client() as client:
        size = fill(client)
        with raw_connection(server) as connection:
            connection.sendall(request.encode())
            wait_until(lambda: b'{reason="not_reading"} 1.0' in client.get("/metrics").content)
            taken = 0
            while part := connection.recv(1 << 20):
                taken += len(part)
    assert taken < size


def fill(client: httpx.Client) -> int:
    """Make a session that is longer than what the kernel takes for a client that does not read."""
    client.post("/v1/sessions", json={"session_id": "long"})
    op = draft("ada", "x" * 100_000)
    for _ in range(20):
        assert client.post("/v1/sessions/long/ops", json=[op] * 10).status_code == 200
    return 20 * 10 * 100_000
