"""The bounds of what comes before a request, in whatever pieces it comes."""

import asyncio
import json
import socket
from typing import Any

import pytest
from uvicorn.server import ServerState

from muse.server.edge.door import Door, Guest
from muse.server.edge.http_protocol import PIECES_AT_MOST, PIPELINED_AT_MOST, BoundedHttp
from muse.server.settings import Settings
from tests.server.test_uvicorn_contract import Wire, config, idle

HEADER_BYTES = 4_000


def unheard(_reason: str) -> None:
    """Take the reason of a refusal that nobody counts."""


def a_guest() -> Guest:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return Guest(Door(listener, Settings(), unheard), "127.0.0.1", is_surplus=False)


def received(*pieces: bytes) -> tuple[bytes, list[str]]:
    """Return what a connection that gets these pieces answers at once, and the reasons of its refusals."""
    refused: list[str] = []

    async def run() -> bytes:
        settings = Settings(header_bytes=HEADER_BYTES)
        protocol = BoundedHttp(settings, refused.append, a_guest(), config(idle), ServerState())
        wire = Wire(protocol)
        protocol.connection_made(wire)
        for piece in pieces:
            protocol.data_received(piece)
        protocol.connection_lost(None)
        return wire.written

    return asyncio.run(run()), refused


def head(length: int, *headers: str) -> bytes:
    lines = ["POST /v1/sessions HTTP/1.1", "Host: here", f"Content-Length: {length}", *headers]
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode()


@pytest.mark.parametrize("cut", [1, 20, 40, 70])
def test_a_body_that_comes_with_the_end_of_the_headers_counts_for_no_header(cut: int) -> None:
    body = b"x" * 200_000
    data = head(len(body)) + body
    assert received(data[:cut], data[cut:]) == (b"", [])


@pytest.mark.parametrize("size", [1, 700, 10_000])
def test_headers_that_are_too_long_are_refused_in_whatever_pieces_they_come(size: int) -> None:
    for more in (["X: " + "y" * HEADER_BYTES], [f"X-{number}: 1" for number in range(1_000)]):
        data = head(5, *more) + b"12345"
        answer, refused = received(*(data[at : at + size] for at in range(0, len(data), size)))
        status, _, body = answer.partition(b"\r\n\r\n")
        assert (status.split()[1], refused) == (b"431", ["headers"])
        assert json.loads(body)["error"]["kind"] == "HeadersTooLarge"


REQUEST = b"GET /v1/health HTTP/1.1\r\nHost: here\r\n\r\n"


class Tap(Wire):
    """A wire that knows whether it is read from."""

    is_read = True

    def pause_reading(self) -> None:
        self.is_read = False

    def resume_reading(self) -> None:
        self.is_read = True


@pytest.mark.parametrize("waiting", [1, 5, PIPELINED_AT_MOST])
def test_nothing_more_is_read_while_a_request_waits_for_the_answer_to_an_earlier_one(waiting: int) -> None:
    async def run() -> list[tuple[int, bool]]:
        may_end = asyncio.Semaphore(0)

        async def listening(_scope: Any, receive: Any, send: Any) -> None:
            await receive()
            await may_end.acquire()
            await send({"type": "http.response.start", "status": 204, "headers": []})
            await send({"type": "http.response.body"})

        protocol = BoundedHttp(Settings(), unheard, a_guest(), config(listening), ServerState())
        wire = Tap(protocol)
        protocol.connection_made(wire)
        protocol.data_received(REQUEST * (waiting + 1))
        seen = []
        for _ in range(waiting + 1):
            for _ in range(10):  # turns of the loop
                await asyncio.sleep(0)
            seen.append((len(protocol.pipeline), wire.is_read))
            may_end.release()
        for _ in range(10):
            await asyncio.sleep(0)
        assert wire.written.count(b"HTTP/1.1 204") == waiting + 1
        protocol.connection_lost(None)
        return seen

    assert asyncio.run(run()) == [(left, left == 0) for left in range(waiting, -1, -1)]


def test_a_connection_whose_requests_do_not_wait_for_answers_is_closed() -> None:
    assert received(REQUEST * 5_000) == (b"", ["pipelined"])
    assert received(REQUEST * (PIPELINED_AT_MOST + 1)) == (b"", [])


@pytest.mark.parametrize("size", [1, 7, 40])
def test_a_body_in_small_pieces_is_refused(size: int) -> None:
    start = b"POST /v1/sessions HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n"
    piece = b"%x\r\n%b\r\n" % (size, b"x" * size)
    answer, refused = received(start, piece * (PIECES_AT_MOST + 1))
    assert (answer.split()[1], refused) == (b"400", ["malformed"])
    assert received(start, piece * PIECES_AT_MOST) == (b"", [])
    large = b"ff\r\n%b\r\n" % (b"x" * 255)
    assert received(start, large * 10 * PIECES_AT_MOST) == (b"", [])
