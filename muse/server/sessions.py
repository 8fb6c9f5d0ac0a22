"""The sessions that a server has open: each with its log, its queue of appends, its feed and its clients."""

import asyncio
import time
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from typing import Any

import orjson

from muse.core.file.live_or_archived import session_exists
from muse.core.op_log import OpLog, list_sessions
from muse.disk import layout
from muse.errors import NotFoundError
from muse.history.repository import Repository
from muse.server.appending import AppendQueue
from muse.server.client_queue import ClientQueue, Message
from muse.server.faults import RequestError
from muse.server.feed import Feed
from muse.server.metrics import Metrics
from muse.server.presence import Presence
from muse.server.settings import Settings
from muse.session.guarded_log import GuardedLog
from muse.session.policy import Policy, replace_policy


class OpenSession:
    """One session while it is open. Made on the loop; its log is first touched in a thread."""

    def __init__(
        self, repository: Repository, session_id: str, threads: Executor, settings: Settings, metrics: Metrics
    ) -> None:
        self.session_id = session_id
        self.log = OpLog(repository.root, session_id, storage=repository.storage)
        self.guarded = GuardedLog(repository, self.log)
        self.appends = AppendQueue(self.guarded, self.log, threads, settings, metrics)
        self._threads = threads
        self._settings = settings
        self._metrics = metrics
        self._feed: Feed | None = None
        self._opening: asyncio.Task[Feed] | None = None
        self._presence = Presence()
        self._users = 0
        self.used_at = time.monotonic()

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Keep the session open while the block runs."""
        self._users += 1
        try:
            yield
        finally:
            self._users -= 1
            self.used_at = time.monotonic()

    @property
    def is_idle(self) -> bool:
        """Whether nobody uses the session, and nothing is to be appended."""
        return not self._users and self.appends.is_idle

    @property
    def is_spoilt(self) -> bool:
        """Whether its log has to be opened again: it was replaced, or a write, a sync or the feed failed."""
        has_failed = self.appends.has_failed or (self._feed is not None and self._feed.failure is not None)
        return has_failed or self.log.cursors.log_is_replaced

    # -- following ------------------------------------------------------------------------------

    async def feed(self) -> Feed:
        """Return the feed; the first follower begins to open it, and may leave meanwhile."""
        if self._feed is not None:
            return self._feed
        if self._opening is None:
            self._opening = asyncio.get_running_loop().create_task(self._open_feed())
        return await asyncio.shield(self._opening)

    async def _open_feed(self) -> Feed:
        loop = asyncio.get_running_loop()
        feed = Feed(self.log, self._settings, loop, self._metrics.overflows.inc)
        try:
            await loop.run_in_executor(self._threads, feed.open)
            self._feed = feed
        finally:
            self._opening = None
        return feed

    def lag_bytes(self) -> int:
        """Return how many bytes the slowest of its followers is behind what was read."""
        return self._feed.lag_bytes() if self._feed is not None else 0

    def stop_following(self, queue: ClientQueue) -> None:
        """Forget a client that followed; nothing happens if it did not."""
        if self._feed is not None:
            self._feed.leave(queue)

    # -- presence -------------------------------------------------------------------------------

    def present(self) -> list[dict[str, Any]]:
        """Return the actors that are here, and where."""
        return self._presence.here()

    def arrive(self, connection: int, actor: str) -> bytes:
        """Note that an actor is here, and tell the others; return the message that lists who was here."""
        here = self._presence.message
        if self._presence.arrive(connection, actor):
            self._tell({"actor": actor, "state": "here", "where": None})
        return here

    def move(self, connection: int, where: Any) -> None:
        """Note where an actor is, and tell the others."""
        actor = self._presence.move(connection, where)
        self._tell({"actor": actor, "state": "here", "where": where})

    def leave(self, connection: int) -> None:
        """Note that a connection is gone; an actor is gone with its last connection."""
        if (actor := self._presence.leave(connection)) is not None:
            self._tell({"actor": actor, "state": "gone", "where": None})

    def _tell(self, change: dict[str, Any]) -> None:
        if self._feed is not None:
            self._feed.tell(Message(orjson.dumps({"type": "presence", **change})))

    # -- lifetime -------------------------------------------------------------------------------

    async def close(self) -> None:
        """Finish what is on its way, bring it to the disk, and close the files."""
        if self._opening is not None:
            await asyncio.wait([self._opening])
        if self._feed is not None:
            self._feed.drop()
        await self.appends.drained()
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._threads, self._close_files)

    def _close_files(self) -> None:
        if self._feed is not None:
            self._feed.close()
        try:
            if self.appends.has_written and not self.is_spoilt:
                self.log.sync()
        finally:
            self.log.close()


class Sessions:
    """Opens sessions when they are asked for, and closes those that nobody uses any more."""

    def __init__(
        self, repository: Repository, threads: Executor, settings: Settings, metrics: Metrics
    ) -> None:
        self._repository = repository
        self._threads = threads
        self._settings = settings
        self._metrics = metrics
        self._open: dict[str, OpenSession] = {}
        self._closing: set[asyncio.Task[None]] = set()
        metrics.measure(lambda: len(self._open), self._lag_bytes)

    def _lag_bytes(self) -> int:
        return max((session.lag_bytes() for session in list(self._open.values())), default=0)

    def get(self, session_id: str) -> OpenSession:
        """Return a session that is there; `NotFoundError` for any other."""
        session = self._open.get(session_id)
        if session is not None and not session.is_spoilt:
            session.used_at = time.monotonic()
            return session
        self._check_on_disk(session_id)
        if session is not None:
            self._let_go(session)
        if len(self._open) >= self._settings.open_sessions and not self._close_one():
            raise RequestError(503, "all the sessions that the server may open are in use", retry_after=1)
        session = OpenSession(self._repository, session_id, self._threads, self._settings, self._metrics)
        self._open[session_id] = session
        return session

    def check(self, session_id: str) -> str:
        """Give back the id of a session that is there; `NotFoundError` for any other."""
        session = self._open.get(session_id)  # of one that is open, nothing has to be looked up
        if session is None or session.is_spoilt:
            self._check_on_disk(session_id)
        return session_id

    def _check_on_disk(self, session_id: str) -> None:
        if not self.has(session_id):
            raise NotFoundError(f"there is no session {session_id!r} here: GET /v1/sessions lists them")

    def has(self, session_id: str) -> bool:
        """Return whether a session is on the disk."""
        return layout.is_session_id(session_id) and self._is_there(session_id)

    def _is_there(self, session_id: str) -> bool:
        return session_exists(self._repository.root, session_id, storage=self._repository.storage)

    def all(self) -> list[str]:
        """Return the ids of all sessions, open or not. Blocks."""
        return list_sessions(self._repository.root, storage=self._repository.storage)

    def create(self, session_id: str, policy: Policy | None) -> bool:
        """Make a session, with its policy if one is given; False if it was there, and stays as it is. Blocks.

        If several make it at once, one of them does, with its policy. A crash leaves all or nothing.
        """
        root, storage = self._repository.root, self._repository.storage
        with OpLog(root, session_id, storage=storage) as log, log.exclusive():
            if policy is not None and not self._is_there(session_id):
                replace_policy(root, session_id, policy, storage)
            return log.create()

    # -- lifetime -------------------------------------------------------------------------------

    def close_idle(self) -> None:
        """Close the sessions that nobody used for a while: they can then be archived, and memory is free."""
        before = time.monotonic() - self._settings.session_idle_seconds
        for session in list(self._open.values()):
            if session.is_idle and (session.used_at < before or session.is_spoilt):
                self._let_go(session)

    def _close_one(self) -> bool:
        idle = [session for session in self._open.values() if session.is_idle]
        if idle:
            self._let_go(min(idle, key=lambda session: session.used_at))
        return bool(idle)

    def _let_go(self, session: OpenSession) -> None:
        self._open.pop(session.session_id, None)
        task = asyncio.get_running_loop().create_task(session.close())
        self._closing.add(task)
        task.add_done_callback(self._closed)

    def _closed(self, task: "asyncio.Task[None]") -> None:
        self._closing.discard(task)
        task.exception()  # what failed was told to those whom it concerned

    @property
    def are_drained(self) -> bool:
        """Whether nothing is on its way into any log."""
        return all(session.appends.is_idle for session in self._open.values())

    async def close(self) -> None:
        """Close all sessions, and bring to the disk what was appended."""
        for session in list(self._open.values()):
            self._let_go(session)
        while self._closing:
            await asyncio.wait(self._closing)
