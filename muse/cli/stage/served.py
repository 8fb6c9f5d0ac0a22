"""A session as a player sees it through a server: a recorded op has its receipt when the call returns."""

import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import orjson

from muse.cli.shared.servers import client, require_client
from muse.core.entry import OpEntry
from muse.disk.resource import Resource
from muse.disk.scratch import scratch_file
from muse.errors import ConflictError, MuseError

if TYPE_CHECKING:
    from muse.client import Follower, Session

_STOP_SECONDS = 15.0


class ServedLog(Resource):
    """The log of a session on the server at `url`, for one process and any number of its actors."""

    def __init__(self, url: str, session_id: str) -> None:
        self._client = client(url)
        self._session_id = session_id
        self._sessions: dict[str, Session] = {}

    def _session(self, actor_id: str) -> "Session":
        if actor_id not in self._sessions:
            session = self._client.session(self._session_id, actor_id, linger_seconds=0)
            self._sessions[actor_id] = session.open()
        return self._sessions[actor_id]

    def record(
        self, actor_id: str, domain: str, domain_op: Mapping[str, Any], *, parent_op_ids: Sequence[str] = ()
    ) -> Mapping[str, Any]:
        """Append an op, and return its id once the server has acknowledged it."""
        receipt = self._session(actor_id).record(domain, domain_op, parent_op_ids=parent_op_ids)
        if not receipt.is_in_log:
            raise ConflictError(f"the server did not store op {receipt.op_id}: {receipt.reason}")
        return {"op_id": receipt.op_id}

    def follow(self, *, since: int) -> "ServedFollower":
        return ServedFollower(self._session("").follow(str(since)))

    def close(self) -> None:
        for session in self._sessions.values():
            session.close()
        self._client.close()


class ServedFollower(Resource):
    """Everyone's ops, one at a time."""

    def __init__(self, follower: "Follower") -> None:
        self._follower = follower
        self._waiting: list[OpEntry] = []

    def next_within(self, seconds: float) -> OpEntry | None:
        """Return the next entry; None if none came within `seconds`."""
        if not self._waiting:
            self._waiting = self._follower.batch_within(seconds)[::-1]
        return self._waiting.pop() if self._waiting else None

    def close(self) -> None:
        self._follower.close()


@contextmanager
def serving(root: str) -> Iterator[str]:
    """Run a server of the repository at `root` in a process of its own; yield its address.

    `MuseError` if it does not start. At the end it is stopped in an orderly way.
    """
    require_client()
    command = [sys.executable, "-m", "muse", "--json", "serve", "--repo", root, "--port", "0"]
    with (
        scratch_file() as said,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=said) as server,  # noqa: S603 - our own program
    ):
        try:
            assert server.stdout is not None  # noqa: S101 - it was asked for
            line = server.stdout.readline()
            if not line:
                said.seek(0)
                raise MuseError(f"the server did not start: {said.read().decode(errors='replace').strip()}")
            yield str(orjson.loads(line)["url"])
        finally:
            server.terminate()
            try:
                server.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                server.kill()
