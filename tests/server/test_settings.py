"""The settings: all in one place, documented as they are; and traces, where they are configured."""

import errno
import io
import json
import logging
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import fields
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from websockets.sync.client import connect

from muse.errors import UsageError
from muse.server.logs import make_logger, take_in_libraries
from muse.server.settings import Settings, read_settings
from tests.samples.project import DOCS
from tests.samples.server_process import ServerProcess, draft

DOCUMENT = DOCS / "server.md"
ROW = re.compile(r"^\| `(\w+)` \|([^|]*)\|", re.MULTILINE)


def test_every_setting_is_documented_with_its_default() -> None:
    rows = dict(ROW.findall(DOCUMENT.read_text(encoding="utf-8").partition("## Settings")[2]))
    shown = {setting.name: _shown(getattr(Settings(), setting.name)) for setting in fields(Settings)}
    assert {name: value.strip() for name, value in rows.items()} == shown


def _shown(value: object) -> str:
    return json.dumps(value) if isinstance(value, tuple) else str(value)


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"surprise": 1}, "surprise"),
        ({"port": "x"}, "port"),
        ({"port": -1}, "port"),
        ({"threads": 0}, "threads"),
        ({"certificate": "x"}, "private key"),
        ({"log_level": "loud"}, "log_level"),
    ],
)
def test_a_wrong_setting_is_named(document: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        read_settings(document)


def append_by_request(server: ServerProcess) -> None:
    with server.client() as client:
        client.post("/v1/sessions/jam/ops", json=[draft("ada")])


def append_by_socket(server: ServerProcess) -> None:
    with connect(f"{server.websocket_url}/v1/sessions/jam/live?follow=false") as live:
        live.recv()
        live.send(json.dumps({"type": "append", "ops": [draft("ada")]}))
        live.recv()


@pytest.fixture
def _own_logging() -> Iterator[None]:
    """Give the libraries' loggers back what they had."""
    loggers = [logging.getLogger(name) for name in ("uvicorn.error", "asyncio", "opentelemetry")]
    before = [(one.handlers, one.level, one.propagate) for one in loggers]
    yield
    for one, (handlers, level, propagate) in zip(loggers, before, strict=True):
        one.handlers, one.propagate = handlers, propagate
        one.setLevel(level)


@pytest.mark.parametrize("append", [append_by_request, append_by_socket])
def test_traces_are_sent_where_an_endpoint_is_configured(
    tmp_path: Path, append: Callable[[ServerProcess], None]
) -> None:
    received: list[bytes] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Collector) as collector:
        threading.Thread(target=collector.serve_forever, daemon=True).start()
        endpoint = f"http://127.0.0.1:{collector.server_port}/v1/traces"
        with ServerProcess(tmp_path, otlp_endpoint=endpoint) as server, server.client() as client:
            client.post("/v1/sessions", json={"session_id": "jam"})
            append(server)
            client.close()
            server.stop()
        collector.shutdown()
    spans = b"".join(received)
    assert b"\x06append" in spans  # a name stands behind its length
    assert (b"POST /v1/sessions/{session_id}/ops" in spans) == (append is append_by_request)


@pytest.mark.usefixtures("_own_logging")
def test_a_log_that_cannot_be_written_stops_nothing() -> None:
    tried: list[str] = []

    class FullDisk(io.StringIO):
        def write(self, text: str) -> int:
            tried.append(text)
            raise OSError(errno.ENOSPC, "no space left on device")

    logger = make_logger(FullDisk(), "info")
    take_in_libraries(logger)
    logger.error("failed")
    logging.getLogger("uvicorn.error").error("failed")
    assert sum("failed" in text for text in tried) == 2


@pytest.mark.usefixtures("_own_logging")
def test_what_libraries_say_is_structured_too() -> None:
    stream = io.StringIO()
    take_in_libraries(make_logger(stream, "info"))
    logging.getLogger("opentelemetry.exporter").warning("no collector")
    (line,) = stream.getvalue().splitlines()
    assert (json.loads(line)["event"], json.loads(line)["source"]) == (
        "no collector",
        "opentelemetry.exporter",
    )
