"""Runs the real server as a process, for tests; and the little of HTTP that they need themselves."""

import json
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from muse.core.timestamp import now_text
from muse.history.repository import Repository
from muse.server.edge.access import Tokens

START_SECONDS = 60


class ServerProcess:
    """`muse serve` on a repository. `settings` are those of its configuration file."""

    def __init__(self, root: Path, *, port: int = 0, **settings: Any) -> None:
        self.root = root
        self._port = port
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None
        self.url = ""
        self.log_path = root / "server.log"
        if not (root / ".muse").exists():
            Repository.init(str(root), now=now_text(), any_domain=True)

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def websocket_url(self) -> str:
        return self.url.replace("http", "ws", 1)

    def start(self) -> Self:
        """Start it, and wait until it answers. The same port is used at each start."""
        arguments = ["--repo", str(self.root), "--port", str(self._port), "--json"]
        if self._settings:
            config = self.root / "server.toml"
            config.write_text(_toml(self._settings))
            arguments += ["--config", str(config)]
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "muse", "serve", *arguments], stdout=subprocess.PIPE, stderr=log
            )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, f"the server did not start:\n{self.log_path.read_text()}"
        self.url = json.loads(line)["url"]
        self._port = self.port
        return self

    def kill(self) -> None:
        """End it with SIGKILL."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        self._close()

    def stop(self) -> int:
        """Ask it to stop, and return its exit status."""
        assert self._process is not None
        self._process.terminate()
        status = self._process.wait(START_SECONDS)
        self._close()
        return status

    def terminate(self) -> None:
        """Ask it to stop, and do not wait."""
        assert self._process is not None
        self._process.terminate()

    def _close(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        self._process.stdout.close()

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def log(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log_path.read_text().splitlines()]

    def token(self, actor: str, scope: str = "append", *, session: str = "*", **options: Any) -> str:
        """Make a token; the server need not be told."""
        return Tokens(str(self.root)).create(actor, scope, session=session, **options)[0]

    def client(self, token: str | None = None, **options: Any) -> httpx.Client:
        """Return an HTTP client of this server."""
        headers = {"authorization": f"Bearer {token}"} if token else {}
        options.setdefault("verify", self.url.startswith("https:"))  # a context of TLS takes 40 ms to make
        return httpx.Client(base_url=self.url, headers=headers, timeout=30, trust_env=False, **options)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.is_running:
            self.kill()


def _toml(settings: Mapping[str, Any]) -> str:
    return "".join(f"{name} = {json.dumps(value)}\n" for name, value in settings.items())


@contextmanager
def running_server(**settings: Any) -> Iterator[ServerProcess]:
    """Run a server of a new repository while the block runs."""
    with tempfile.TemporaryDirectory() as directory, ServerProcess(Path(directory), **settings) as server:
        yield server


def draft(actor: str | None = None, address: str = "song.txt", **fields: Any) -> dict[str, Any]:
    """Return an op as a client sends it."""
    op = {"domain": "text", "domain_op": {"op": "insert", "address": address}, **fields}
    return op if actor is None else {"actor_id": actor, **op}


@contextmanager
def raw_connection(server: ServerProcess) -> Iterator[socket.socket]:
    """Open a bare connection."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        yield connection


def answer_on(connection: socket.socket) -> tuple[int, dict[str, Any]]:
    """Read until the server closes; return the status and the JSON of the body."""
    data = b""
    while part := connection.recv(1 << 16):
        data += part
    head, _, body = data.partition(b"\r\n\r\n")
    return int(head.split(b" ")[1]), json.loads(body)
