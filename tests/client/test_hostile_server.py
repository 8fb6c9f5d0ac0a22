"""A server that sends without end takes no memory without end, and one that sends anything is named."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from websockets.server import ServerProtocol

from muse.client import RemotePeer, requests
from muse.client.address import Address
from muse.client.failures import ServerError
from muse.client.socket import opened
from muse.history.repository import Repository
from muse.replication import wire
from muse.replication.local_peer import LocalPeer
from muse.replication.transfer import pull

LIMIT = 1 << 16
_SENT_AT_MOST = 1 << 24


@contextmanager
def endless(status: str, piece: bytes) -> Iterator[tuple[str, list[int]]]:
    """A server that answers each request with the same piece again and again; and how much it got rid of."""
    sent: list[int] = []

    def answer(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(1 << 16)
            connection.sendall(f"HTTP/1.1 {status}\r\nconnection: close\r\n\r\n".encode())
            sent.append(0)
            try:
                while sent[-1] < _SENT_AT_MOST:
                    connection.sendall(piece)
                    sent.append(sent.pop() + len(piece))
            except OSError:
                pass

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=answer, args=(listener,))
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", sent
        thread.join(60)
        assert not thread.is_alive()


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "_ANSWER_BYTES", LIMIT, raising=False)
    monkeypatch.setattr(requests, "_LINE_BYTES", LIMIT, raising=False)


@pytest.mark.parametrize("status", ["200 OK", "404 Not Found"])
def test_a_pull_ends_where_an_answer_does_not(tmp_path: Path, status: str) -> None:
    Repository.init(str(tmp_path))
    with (
        endless(status, b" " * 4096) as (url, sent),
        RemotePeer(url) as peer,
        LocalPeer(str(tmp_path)) as own,
        pytest.raises(ServerError, match="is longer than 65536 bytes"),
    ):
        pull(own, peer)
    assert sent < [_SENT_AT_MOST]


def test_a_peer_answers_in_no_more_bytes_than_its_message_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "_LINE_BYTES", 1 << 13)
    monkeypatch.setattr(wire, "_DATA_BYTES", {"get": 1 << 14})
    assert wire.longest_answer("get") == 3 << 13
    with (
        endless("200 OK", b" " * 4096) as (url, _),
        RemotePeer(url) as peer,
        pytest.raises(ServerError, match="is longer than 8192 bytes"),
    ):
        peer.identity()


@pytest.mark.parametrize("body", [b'{"repo_id":"x"}', b'["cursor"]', b'"cursor"', b"7", b"null"])
def test_an_answer_that_lacks_what_is_asked_for_is_named(body: bytes) -> None:
    async def ask(url: str) -> object:
        async with requests.Requests(Address(url)) as asked:
            return (await asked.json("GET", "/sessions/jam"))["cursor"]

    with (
        endless(f"200 OK\r\ncontent-length: {len(body)}", body) as (url, _),
        pytest.raises(ServerError, match="is this a Muse server"),
    ):
        asyncio.run(ask(url))


def test_a_stream_ends_where_a_line_does_not() -> None:
    async def read(url: str) -> list[bytes]:
        async with requests.Requests(Address(url)) as asked, asked.lines("/sessions/jam/ops") as lines:
            return [line async for line in lines]

    with (
        endless("200 OK", b"x" * 4096) as (url, sent),
        pytest.raises(ServerError, match="longer than 65536 bytes"),
    ):
        asyncio.run(read(url))
    assert sent < [_SENT_AT_MOST]


def test_the_lines_of_a_stream_are_whole_however_they_come() -> None:
    async def read(url: str) -> list[bytes]:
        found = []
        async with requests.Requests(Address(url)) as asked, asked.lines("/sessions/jam/ops") as lines:
            async for line in lines:
                found.append(line)
                if len(found) == 2_000:
                    break
        return found

    with endless("200 OK", b"one\n\ntwo and a half\nthree") as (url, _):
        found = asyncio.run(read(url))
    assert set(found) == {b"one", b"two and a half", b"threeone"}
    assert found[:4] == [b"one", b"two and a half", b"threeone", b"two and a half"]


def test_who_gives_up_waiting_for_the_answer_to_a_goodbye_leaves_no_connection() -> None:
    def welcome_and_fall_silent(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            protocol = ServerProtocol()
            while not (requests_made := protocol.events_received()):
                protocol.receive_data(connection.recv(1 << 16))
            protocol.send_response(protocol.accept(requests_made[0]))  # type: ignore[arg-type]
            connection.sendall(b"".join(protocol.data_to_send()))
            with suppress(OSError):
                while connection.recv(1 << 16):
                    pass
            ended.set()

    async def hang_up_in_a_hurry(url: str) -> None:
        async with asyncio.timeout(60):
            connecting = opened(Address(url), "jam", {})
            await connecting.__aenter__()
            goodbye = asyncio.ensure_future(connecting.__aexit__(None, None, None))
            await asyncio.sleep(0)
            goodbye.cancel()
            await asyncio.wait([goodbye])
            await asyncio.to_thread(ended.wait, 30)

    ended = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=welcome_and_fall_silent, args=(listener,), daemon=True)
        thread.start()
        asyncio.run(hang_up_in_a_hurry(f"http://127.0.0.1:{listener.getsockname()[1]}"))
        thread.join(60)
    assert ended.is_set()
