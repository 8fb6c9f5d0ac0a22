"""SIGKILL, again and again, under load: every op that was acknowledged is found once."""

import json
import threading
import uuid
from collections import Counter
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

from muse.core.op_log import OpLog
from tests.samples.format_reader import read_log
from tests.samples.server_process import ServerProcess, draft
from tests.samples.waiting import wait_until


class _Load:
    """Some clients that append, and send again under the same ids what was not acknowledged."""

    def __init__(self, server: ServerProcess) -> None:
        self.acknowledged: set[str] = set()
        self._server = server
        self._stopped = threading.Event()
        kinds = (self._by_http, self._by_http, self._by_socket, self._by_socket)
        self._threads = [
            threading.Thread(target=self._run, args=(kind, number)) for number, kind in enumerate(kinds)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join(60)

    def _run(self, kind: object, number: int) -> None:
        assert callable(kind)
        waiting: list[str] = []
        while not self._stopped.is_set():
            try:
                kind(f"actor-{number}", waiting)
            except (httpx.HTTPError, WebSocketException, OSError, EOFError):
                self._stopped.wait(0.02)

    def _by_http(self, actor: str, waiting: list[str]) -> None:
        with self._server.client() as client:
            while not self._stopped.is_set():
                answer = client.post(
                    "/v1/sessions/jam/ops", params={"ack": "written"}, json=self._next(actor, waiting)
                )
                if answer.status_code == 200:
                    self._settle(answer.json()["receipts"], waiting)

    def _by_socket(self, actor: str, waiting: list[str]) -> None:
        with connect(f"{self._server.websocket_url}/v1/sessions/jam/live?follow=false") as socket:
            while not self._stopped.is_set():
                ops = self._next(actor, waiting)
                socket.send(json.dumps({"type": "append", "id": 1, "ops": ops, "ack": "durable"}))
                while (message := json.loads(socket.recv()))["type"] != "receipts":
                    pass
                self._settle(message["receipts"], waiting)

    def _next(self, actor: str, waiting: list[str]) -> list[dict[str, object]]:
        waiting.extend(str(uuid.uuid4()) for _ in range(5))
        return [draft(actor, op_id=op_id) for op_id in waiting]

    def _settle(self, receipts: list[dict[str, object]], waiting: list[str]) -> None:
        assert {receipt["status"] for receipt in receipts} <= {"stored", "known"}
        self.acknowledged.update(waiting)
        waiting.clear()


def kill_under_load(root: Path, kills: int) -> None:
    server = ServerProcess(root, ops_per_second=100_000, ops_burst=1_000_000).start()
    with server.client() as client:
        client.post("/v1/sessions", json={"session_id": "jam"})
    load = _Load(server)
    load.start()
    try:
        for _ in range(kills):
            before = len(load.acknowledged)
            wait_until(lambda before=before: len(load.acknowledged) > before + 200)
            server.kill()
            server.start()
    finally:
        load.stop()
        server.kill()
    with OpLog(root, "jam") as log:
        in_log = [entry["op_id"] for entry in log.entries()]
    lines = (root / ".muse" / "op_log" / "jam" / "ops.jsonl").read_bytes()
    found = Counter(entry["op_id"] for _, entry, _ in read_log(lines).entries)  # each line, repeated or not
    assert in_log == list(found)
    assert len(load.acknowledged) >= 200 * kills
    assert load.acknowledged <= found.keys()
    assert set(found.values()) == {1}


def test_every_acknowledged_op_is_found_once_though_the_server_is_killed_under_load(tmp_path: Path) -> None:
    kill_under_load(tmp_path, 5)


@pytest.mark.long
def test_every_acknowledged_op_is_found_once_though_the_server_is_killed_many_times(tmp_path: Path) -> None:
    kill_under_load(tmp_path, 100)
