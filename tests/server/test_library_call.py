"""`serve` as a call from a program: it changes nothing of the process, neither while it runs nor after."""

import gc
import io
import json
import logging
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import uvicorn
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from muse.core.op_log import OpLog
from muse.core.strict_json import parse_strictly
from muse.core.timestamp import now_text
from muse.history.repository import Repository
from muse.server.api import bodies
from muse.server.api import sessions as session_api
from muse.server.api.bodies import DOCUMENT_BYTES
from muse.server.api.routes import ENDPOINTS, JSON
from muse.server.run import serve
from muse.server.sessions import Sessions
from muse.server.settings import Settings
from tests.samples.server_process import draft

LIBRARIES = (None, "uvicorn", "uvicorn.error", "uvicorn.access", "uvicorn.asgi", "asyncio", "opentelemetry")


def process_state() -> dict[str, Any]:
    """Return what a process has one of, as far as a library could change it."""
    umask = os.umask(0)
    os.umask(umask)
    loggers = [logging.getLogger(name) for name in LIBRARIES]
    return {
        "signals": {number: signal.getsignal(number) for number in signal.valid_signals()},
        "loggers": [(one.level, list(one.handlers), list(one.filters), one.propagate) for one in loggers],
        "level names": logging.getLevelNamesMapping(),
        "trace level": logging.getLevelName(5),
        "umask": umask,
        "collector": (gc.isenabled(), gc.get_threshold(), gc.get_freeze_count(), gc.get_debug()),
        "switch interval": sys.getswitchinterval(),
        "hooks": (sys.excepthook, threading.excepthook, sys.unraisablehook, sys.gettrace()),
        "limits": [resource.getrlimit(number) for number in (resource.RLIMIT_NOFILE, resource.RLIMIT_CORE)],
        "environment": dict(os.environ),
        "directory": os.getcwd(),
        "stack size": threading.stack_size(),
        "recursion": sys.getrecursionlimit(),
    }


def descriptors() -> set[tuple[str, str]]:
    found = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            found.add((name, os.readlink(f"/proc/self/fd/{name}")))
        except FileNotFoundError:  # that of the listing itself
            continue
    return found


@contextmanager
def served(root: Path, **settings: Any) -> Iterator[str]:
    """Serve from a thread of this process while the block runs."""
    Repository.init(str(root), now=now_text(), any_domain=True)
    over, answers = threading.Event(), threading.Event()
    urls: list[str] = []

    def ready(url: str) -> None:
        urls.append(url)
        answers.set()

    thread = threading.Thread(
        target=lambda: serve(
            str(root), Settings(port=0, **settings), log_to=io.StringIO(), ready=ready, is_over=over.is_set
        )
    )
    thread.start()
    try:
        assert answers.wait(30)
        yield urls[0]
    finally:
        over.set()
        thread.join(30)
        assert not thread.is_alive()


def use(url: str) -> None:
    """Ask for a little of everything: an append, a live session, a refusal, what is no HTTP."""
    with httpx.Client(base_url=url, trust_env=False) as client:
        assert client.post("/v1/sessions", json={"session_id": "jam"}).status_code == 201
        assert client.post("/v1/sessions/jam/ops", json=[draft("ada")]).status_code == 200
        assert client.get("/v1/nothing").status_code == 404
        live = url.replace("http", "ws", 1) + "/v1/sessions/jam/live"
        with connect(live) as socket:
            assert json.loads(socket.recv())["type"] == "presence"
        with pytest.raises(InvalidStatus), connect(live.replace("jam", "nope")):
            pass


def test_all_that_is_finished_at_a_stop_shares_one_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left_for_requests: list[float | None] = []
    shutdown = uvicorn.Server.shutdown

    async def told(server: uvicorn.Server, sockets: Any = None) -> None:
        left_for_requests.append(server.config.timeout_graceful_shutdown)
        await shutdown(server, sockets)

    monkeypatch.setattr(uvicorn.Server, "shutdown", told)
    monkeypatch.setattr(Sessions, "are_drained", False)  # something is being written for longer than that
    with served(tmp_path, drain_seconds=0.01):
        pass
    assert [left and round(left, 6) for left in left_for_requests] == [0]  # a timer is early by a trifle


def test_a_server_in_a_thread_changes_nothing_of_the_process(tmp_path: Path) -> None:
    before = process_state()
    with served(tmp_path / "first") as url:
        use(url)
        assert process_state() == before
    assert process_state() == before
    threads, files = set(threading.enumerate()), descriptors()  # some are kept from the first time on
    with served(tmp_path / "second") as url:
        use(url)
    assert set(threading.enumerate()) == threads
    assert descriptors() == files


IN_THE_MAIN_THREAD = """
import io, os, signal, sys, threading, time
from muse.server.api import bodies
from muse.server.api import sessions as session_api
from muse.server.api.bodies import DOCUMENT_BYTES
from muse.server.api.routes import ENDPOINTS, JSON
from muse.server.run import serve
from muse.server.settings import Settings
from tests.server.test_library_call import process_state

def ready(url):
    print("ready", flush=True)

over = []
{prelude}
before, wakeup = process_state(), signal.set_wakeup_fd(-1)
serve({root!r}, Settings(port=0), log_to=io.StringIO(), ready=ready, is_over=lambda: bool(over))
assert process_state() == before
assert signal.set_wakeup_fd(-1) == wakeup
print("went on", flush=True)
"""


def by_ctrl_c(process: "subprocess.Popen[bytes]") -> None:
    process.send_signal(signal.SIGINT)


def by_a_handler_of_the_program(process: "subprocess.Popen[bytes]") -> None:
    process.send_signal(signal.SIGTERM)


@pytest.mark.parametrize(
    ("prelude", "end"),
    [
        # What is begun in the background by a shell would ignore it.
        ("signal.signal(signal.SIGINT, signal.default_int_handler)", by_ctrl_c),
        ("signal.signal(signal.SIGTERM, lambda *_: over.append(1))", by_a_handler_of_the_program),
    ],
)
def test_a_server_in_the_main_thread_ends_and_the_program_goes_on(
    tmp_path: Path, prelude: str, end: Callable[["subprocess.Popen[bytes]"], None]
) -> None:
    Repository.init(str(tmp_path), now=now_text(), any_domain=True)
    code = IN_THE_MAIN_THREAD.format(root=str(tmp_path), prelude=prelude)
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        end(process)
        assert process.stdout.read() == b"went on\n"
    assert process.returncode == 0


def test_no_document_that_is_long_is_parsed_while_all_else_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed_by: list[str] = []
    long = b'{"x":0,' + b",".join(b'"%x":0' % number for number in range(10_000)) + b',"x":0}'

    def note(data: bytes) -> object:
        parsed_by.append(threading.current_thread().name)
        return parse_strictly(data)

    monkeypatch.setattr(bodies, "parse_strictly", note)
    asked = [one for one in ENDPOINTS if one.method != "GET" and one.body and JSON in one.body]
    with served(tmp_path) as url, httpx.Client(base_url=url, trust_env=False) as client:
        assert client.post("/v1/sessions", json={"session_id": "jam"}).status_code == 201
        for endpoint in asked:
            path = endpoint.path.replace("{session_id}", "jam").replace("{proposal_id}", str(uuid.uuid4()))
            path = path.replace("{reservation_id}", str(uuid.uuid4()))
            answer = client.request(endpoint.method, path, content=long, headers={"content-type": JSON})
            assert (answer.status_code, "'x' appears twice" in answer.text) == (422, True), path
            too_long = b" " * DOCUMENT_BYTES + b"{}"
            answer = client.request(endpoint.method, path, content=too_long, headers={"content-type": JSON})
            assert (answer.status_code == 413) is not path.endswith("/ops")
    assert len(parsed_by) >= len(asked) > 8
    assert all(name.startswith("muse") for name in parsed_by)


def test_a_long_read_ends_where_the_server_has_no_more_time_to_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_read, in_total_order = threading.Event(), session_api._in_total_order

    def note(*arguments: Any) -> Iterator[bytes]:
        for line in in_total_order(*arguments):
            is_read.set()
            yield line

    monkeypatch.setattr(session_api, "_in_total_order", note)
    # The log is read once for each two lines: all of it would take hours.
    with served(tmp_path, sorted_bytes=1, drain_seconds=0.1) as url:
        with OpLog(tmp_path, "jam") as log:
            log.record_many("ada", "test", [draft("ada")["domain_op"]] * 20_000)
        address = urlsplit(url)
        with socket.create_connection((address.hostname, address.port)) as connection:
            head = f"GET /v1/sessions/jam/ops?order=total HTTP/1.1\r\nHost: {address.netloc}\r\n\r\n"
            connection.sendall(head.encode())
            assert is_read.wait(60)


def test_a_long_delta_is_given_up_where_the_server_has_no_more_time_to_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_read = threading.Event()

    def slowly(entries: Iterator[Any], domain: str) -> Any:
        for _ in entries:
            is_read.set()
            time.sleep(0.01)  # all of them would take minutes
        return domain

    monkeypatch.setattr(session_api, "collapse", slowly)
    with served(tmp_path, drain_seconds=0.1) as url:
        with OpLog(tmp_path, "jam") as log:
            log.record_many("ada", "test", [draft("ada")["domain_op"]] * 20_000)
        address = urlsplit(url)
        with socket.create_connection((address.hostname, address.port)) as connection:
            head = f"GET /v1/sessions/jam/delta?domain=test HTTP/1.1\r\nHost: {address.netloc}\r\n\r\n"
            connection.sendall(head.encode())
            assert is_read.wait(60)
