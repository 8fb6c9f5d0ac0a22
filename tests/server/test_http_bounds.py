"""The bounds of what comes before a request, in whatever pieces it comes."""

import asyncio
import json

import pytest
from uvicorn.server import ServerState

from muse.server.edge.http_protocol import BoundedHttp
from muse.server.settings import Settings
from tests.server.test_uvicorn_contract import Wire, config, idle

HEADER_BYTES = 4_000


def received(*pieces: bytes) -> tuple[bytes, list[str]]:
    """Return what a connection that gets these pieces answers at once, and the reasons of its refusals."""
    refused: list[str] = []

    async def run() -> bytes:
        settings = Settings(header_bytes=HEADER_BYTES)
        protocol = BoundedHttp(settings, refused.append, config(idle), ServerState(), {})
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
