"""Clients that leave at any moment: what was made for them is given back, whoever waits for it no more."""

import asyncio
import json
import os
import socket
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from muse.core.op_log import OpLog
from muse.core.timestamp import now_text
from muse.history.repository import Repository
from muse.server.in_threads import InThreads
from muse.server.metrics import Metrics
from muse.server.sessions import OpenSession
from muse.server.settings import Settings
from tests.samples.server_process import ServerProcess, draft
from tests.samples.waiting import wait_until


class Made:
    """A resource that is slow to make and to use, and notes what happens to it."""

    def __init__(self, told: list[str], gate: threading.Event) -> None:
        self.told, self.gate = told, gate
        gate.wait(30)
        told.append("made")

    def work(self) -> None:
        self.told.append("begun")
        self.gate.wait(30)
        self.told.append("ended")

    def close(self) -> None:
        self.told.append("closed")


async def cancelled(coroutine: Coroutine[Any, Any, Any], begun: Callable[[], bool]) -> None:
    """Wait for something, and stop waiting once it has begun."""
    task = asyncio.create_task(coroutine)
    await asyncio.to_thread(wait_until, begun)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_what_is_made_for_a_client_that_left_meanwhile_is_closed() -> None:
    told: list[str] = []
    gate = threading.Event()
    with ThreadPoolExecutor(2) as threads:

        def make() -> Made:
            told.append("asked")
            return Made(told, gate)

        async def run() -> None:
            with InThreads(threads, make) as resource:
                await cancelled(resource.open(), lambda: told == ["asked"])
            gate.set()

        asyncio.run(run())
    assert told == ["asked", "made", "closed"]


def test_a_resource_is_closed_only_after_the_use_that_nobody_waits_for() -> None:
    told: list[str] = []
    gate = threading.Event()
    gate.set()
    with ThreadPoolExecutor(2) as threads:

        async def run() -> None:
            with InThreads(threads, lambda: Made(told, gate)) as resource:
                await resource.open()
                gate.clear()
                await cancelled(resource.use(Made.work), lambda: told == ["made", "begun"])
            gate.set()

        asyncio.run(run())
    assert told == ["made", "begun", "ended", "closed"]


def test_a_feed_that_was_opened_for_one_who_left_serves_the_next_and_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository, _ = Repository.init(str(tmp_path), now=now_text(), any_domain=True)
    with OpLog(str(tmp_path), "jam") as log:
        log.create()
    gate = threading.Event()
    asked: list[int] = []
    follow = OpLog.follow

    def slowly(log: OpLog, **options: Any) -> Any:
        asked.append(1)
        gate.wait(30)
        return follow(log, **options)

    monkeypatch.setattr(OpLog, "follow", slowly)
    before = set(threading.enumerate())

    async def run() -> None:
        with ThreadPoolExecutor(2) as threads:
            session = OpenSession(repository, "jam", threads, Settings(), Metrics())
            await cancelled(session.feed(), lambda: bool(asked))
            gate.set()
            await session.feed()
            await session.close()

    asyncio.run(run())
    assert len(asked) == 1
    assert set(threading.enumerate()) == before


def descriptors(server: ServerProcess) -> int:
    return len(os.listdir(f"/proc/{server.pid}/fd"))


def visit(server: ServerProcess, path: str, read_bytes: int) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        if read_bytes:
            connection.recv(read_bytes)


@pytest.mark.parametrize("path", ["events?since=0", "events", "ops", "ops?order=total"])
def test_visitors_leave_no_descriptor_and_no_slot_behind(tmp_path: Path, path: str) -> None:
    with (
        ServerProcess(tmp_path, session_idle_seconds=0.1, subscriptions_per_token=30) as server,
        server.client() as client,
    ):
        client.post("/v1/sessions", json={"session_id": "jam"})
        with OpLog(str(tmp_path), "jam") as log:
            for number in range(2_000):
                log.record("ada", "text", {"op": "insert", "address": "x", "n": number})

        def is_at_rest() -> bool:
            lines = client.get("/metrics").text.splitlines()
            return {"muse_open_sessions 0.0", 'muse_followers{kind="events"} 0.0'} <= set(lines)

        client.get("/v1/sessions/jam")
        wait_until(is_at_rest)
        before = descriptors(server)
        for number in range(60):
            visit(server, f"/v1/sessions/jam/{path}", number % 2)
        wait_until(is_at_rest)
        wait_until(lambda: descriptors(server) <= before)


def test_a_body_that_comes_slowly_is_appended_though_its_session_was_closed_meanwhile(tmp_path: Path) -> None:
    body = json.dumps([draft("ada")]).encode()
    head = b"POST /v1/sessions/jam/ops HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    with ServerProcess(tmp_path, session_idle_seconds=0.1) as server, server.client() as client:
        client.post("/v1/sessions", json={"session_id": "jam"})
        assert client.post("/v1/sessions/jam/ops", json=[draft("ada")]).status_code == 200
        with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
            connection.sendall(head + b"Content-Length: %d\r\n\r\n" % len(body) + body[:5])
            wait_until(lambda: "muse_open_sessions 0.0" in client.get("/metrics").text)
            connection.sendall(body[5:])
            assert b" 200 OK" in connection.recv(1 << 16)


def test_what_is_idle_is_closed_though_the_tokens_cannot_be_read(tmp_path: Path) -> None:
    log = str(tmp_path / ".muse" / "op_log" / "jam" / "ops.jsonl")
    with ServerProcess(tmp_path, session_idle_seconds=1) as server:
        with server.client(server.token("ada")) as client:
            client.post("/v1/sessions", json={"session_id": "jam"})
            assert client.post("/v1/sessions/jam/ops", json=[draft("ada")]).status_code == 200
        (tmp_path / ".muse" / "server" / "tokens.json").write_bytes(b"{")

        def has_log_open() -> bool:
            found = Path(f"/proc/{server.pid}/fd")
            return any(os.path.realpath(one) == log for one in found.iterdir())

        wait_until(lambda: not has_log_open())


def test_a_slow_reader_reads_a_log_to_its_end_though_its_session_is_idle(tmp_path: Path) -> None:
    with ServerProcess(tmp_path, session_idle_seconds=0.1) as server, server.client() as client:
        client.post("/v1/sessions", json={"session_id": "jam"})
        with OpLog(str(tmp_path), "jam") as log:
            for _ in range(400):
                log.record("ada", "text", {"op": "insert", "address": "x", "pad": "x" * 100_000})
        client.post("/v1/sessions", json={"session_id": "other"})
        with (
            client.stream("GET", "/v1/sessions/jam/ops?order=total") as answer,
            server.client() as server_reads,
        ):
            lines = answer.iter_lines()
            next(lines)
            server_reads.get("/v1/sessions/other")
            wait_until(lambda: "muse_open_sessions 1.0" in server_reads.get("/metrics").text)
            assert sum('"op_id"' in line for line in lines) == 399
