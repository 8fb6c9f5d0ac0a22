"""A session on a server: it takes ops, gives the ops of all actors, and makes commits of them."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Literal, Self

import orjson

from muse.client.appender import Appender
from muse.client.failures import ServerError, failure
from muse.client.follower import START, AsyncFollower
from muse.client.local_copy import LocalCopy
from muse.client.mirror import Mirror
from muse.client.ops import Ack, draft, encoded
from muse.client.outbox import LINGER_SECONDS, Outbox
from muse.client.requests import Requests
from muse.core.entry import OpEntry, check_entry
from muse.core.op_log import OpLog
from muse.errors import MuseError, UsageError
from muse.session.receipt import Receipt

Order = Literal["log", "total", "causal"]

_SAVE_SECONDS = 1.0


class AsyncSession:
    """One session, as one actor. An async context manager: at its end it waits for what is on its way.

    Ops are gathered for some milliseconds and sent together, in their order, one batch after the other.
    If a connection breaks, they are sent again under the same ids, and stored once. With a `copy` they
    go into the local log first: while the server is away an op has the receipt "local", and after that
    each log gets the ops of the other.
    """

    def __init__(
        self,
        requests: Requests,
        session_id: str,
        actor_id: str,
        *,
        ack: Ack = "written",
        copy: LocalCopy | None = None,
        linger_seconds: float = LINGER_SECONDS,
    ) -> None:
        self.session_id = session_id
        self.actor_id = actor_id
        self.requests = requests
        self._path = f"/sessions/{session_id}"
        self._copy = copy
        self._outbox = Outbox(linger_seconds=linger_seconds, is_kept=copy is not None)
        self._mirror = Mirror(copy, requests, session_id, actor_id, self._outbox) if copy else None
        self._appender = Appender(
            requests.address, session_id, actor_id, self._outbox, ack=ack, mirror=self._mirror
        )
        self._tasks: list[asyncio.Task[None]] = []
        self._fault: BaseException | None = None

    # -- appending ------------------------------------------------------------------------------

    async def submit(
        self,
        domain: str,
        domain_op: Mapping[str, Any],
        *,
        op_id: str | None = None,
        parent_op_ids: Sequence[str] | None = None,
        intent_id: str = "",
        reservation_id: str = "",
        seen_frontier: Mapping[str, int] | None = None,
        above: int = 0,
    ) -> "asyncio.Future[Receipt]":
        """Hand over an op, and return at once; the future gets its receipt. See `record`.

        Its stamp is `above` that: of what was read past a local log, which may not have taken it in.
        Waits only while a hundred thousand ops are on their way. Nothing done, `InvalidEntryError` for an op
        that no log takes, and `UsageError` before `open` and after `close`.
        """
        await self.space()
        self._check_open()
        names = {"parent_op_ids": parent_op_ids, "intent_id": intent_id, "reservation_id": reservation_id}
        if self._copy is None:
            op: Mapping[str, Any] = draft(self.actor_id, domain, domain_op, op_id=op_id, **names)  # type: ignore[arg-type]
        else:
            op = self._copy.record(domain, domain_op, op_id=op_id, seen=seen_frontier, above=above, **names)  # type: ignore[arg-type]
        return self._outbox.add(op["op_id"], encoded(op), orjson.dumps(seen_frontier))

    async def record(
        self,
        domain: str,
        domain_op: Mapping[str, Any],
        *,
        op_id: str | None = None,
        parent_op_ids: Sequence[str] | None = None,
        intent_id: str = "",
        reservation_id: str = "",
        seen_frontier: Mapping[str, int] | None = None,
    ) -> Receipt:
        """Hand over an op and wait for its receipt, which says what became of it.

        With an `op_id` of your choice it is safe to call again after an error. `seen_frontier`: per actor,
        the highest stamp that this actor has read; the receipt names newer ops on the same address. Without
        `parent_op_ids`, the op rests on all that this actor has read, or is in the log where it is not said.
        Raises `ServerError` if the server could not be reached for the `patience_seconds` of the address, or
        refuses everything. Its `op_ids` are not acknowledged, but may be stored.
        """
        submitted = await self.submit(
            domain,
            domain_op,
            op_id=op_id,
            parent_op_ids=parent_op_ids,
            intent_id=intent_id,
            reservation_id=reservation_id,
            seen_frontier=seen_frontier,
        )
        return await self._receipt(submitted)

    async def _receipt(self, submitted: "asyncio.Future[Receipt]") -> Receipt:
        try:
            return await submitted
        except ServerError as error:
            for op_id in error.op_ids:  # the caller then knows of them
                self._outbox.given_up.pop(op_id, None)
            raise

    async def record_many(self, domain: str, domain_ops: Iterable[Mapping[str, Any]]) -> list[Receipt]:
        """Hand over several ops, and wait for the receipts of all, in order."""
        futures = [await self.submit(domain, domain_op) for domain_op in domain_ops]
        return [await self._receipt(future) for future in futures]

    async def append(self, entries: Iterable[OpEntry]) -> list[Receipt]:
        """Hand over ready entries of this actor; each is stored once, however often it comes."""
        futures = []
        for entry in entries:
            check_entry(entry)
            if entry["actor_id"] != self.actor_id:
                raise UsageError(
                    f"op {entry['op_id']} is of {entry['actor_id']!r}, this session of {self.actor_id!r}"
                )
            await self.space()
            self._check_open()
            if self._copy is not None:
                self._copy.log.take_ready([entry])
            futures.append(self._outbox.add(entry["op_id"], encoded(entry)))
        return [await self._receipt(future) for future in futures]

    async def flush(self) -> None:
        """Wait until every op that was handed over is settled: with a local log, until the server is back.

        Raises the `ServerError` for which ops of `submit` were given up; those of `record` were told already.
        With a local log no op is given up: raises the error with which the server refuses everything, or
        the error that prevents taking in. The server is then asked whether it has all that it acknowledged.
        """
        self._check_open()
        await self._outbox.empty()
        given_up = dict(self._outbox.given_up)
        self._outbox.given_up.clear()
        for error in given_up.values():
            raise error
        if self._mirror is None:
            return
        while not await self._mirror.is_there_still():
            await self._outbox.empty()
        if self._mirror.unread is not None:
            raise self._mirror.unread

    async def space(self) -> None:
        """Wait until there are not too many ops on their way."""
        if self._outbox.is_crowded:
            await self._outbox.space()

    @property
    def is_full(self) -> bool:
        """Whether `submit` would have to wait: so many ops have not been sent."""
        return self._outbox.is_full

    @property
    def unacknowledged(self) -> int:
        """How many ops the server has not yet answered."""
        return len(self._outbox)

    # -- reading --------------------------------------------------------------------------------

    def follow(self, since: str = START, *, patience_seconds: float | None = None) -> AsyncFollower:
        """Follow the ops of all actors after a cursor; "0" is the start. See `AsyncFollower`."""
        return AsyncFollower(self.requests.address, self.session_id, self.actor_id, since, patience_seconds)

    async def read(
        self,
        *,
        since: str | None = None,
        until: str | None = None,
        actor: str | None = None,
        domain: str | None = None,
        address: str | None = None,
        order: Order = "log",
        limit: int | None = None,
    ) -> AsyncIterator[OpEntry]:
        """Iterate over the ops that are there now; `address` is a prefix. Streams, and is not tried again."""
        params = {"since": since, "until": until, "actor": actor, "domain": domain, "address": address}
        async with self.requests.lines(
            f"{self._path}/ops", {**params, "order": order, "limit": limit}
        ) as lines:
            async for line in lines:
                entry = orjson.loads(line)
                if "op_id" not in entry:
                    raise failure(500, entry, f"session {self.session_id!r}: the stream failed on its way")
                entry.pop("cursor", None)
                yield entry

    async def read_all(self, /, **given: Any) -> list[OpEntry]:
        """Return what `read` iterates over."""
        return [entry async for entry in self.read(**given)]

    async def end(self) -> str:
        """Return the cursor at which the log ends now: later ops are after it."""
        return str((await self.show())["cursor"])

    @property
    def log(self) -> OpLog | None:
        """The local log, to read it while the server is away; None without one."""
        return self._copy.log if self._copy else None

    # -- history --------------------------------------------------------------------------------

    async def show(self) -> Any:
        """Return the facts of the session, as `GET /sessions/{id}` has them."""
        return await self.requests.json("GET", self._path)

    async def checkpoint(self) -> Any:
        """Return the document `{"checkpoint": ...}` of the session: null before its first commit."""
        return await self.requests.json("GET", f"{self._path}/checkpoint")

    async def delta(self, domain: str) -> Any:
        """Return the pending ops of a domain, collapsed into a delta; see `OpLog.to_structured_delta`."""
        return await self.requests.json("GET", f"{self._path}/delta", params={"domain": domain})

    async def commit(
        self, message: str, *, author: str | None = None, branch: str | None = None, full: bool = False
    ) -> Any:
        """Carry the pending ops into a branch; `author` is the actor by default.

        Tried again after its answer was lost, it finds nothing pending and says so.
        """
        document = {"message": message, "author": author or self.actor_id, "branch": branch, "full": full}
        return await self.requests.json("POST", f"{self._path}/commit", document)

    async def proposals(self) -> Any:
        """Return the ops that were set aside and wait for somebody to decide."""
        found: list[Any] = []
        after: str | None = None
        while True:
            page = await self.requests.json("GET", f"{self._path}/proposals", params={"after": after})
            found += page["proposals"]
            after = page.get("next")
            if after is None:
                return {"proposals": found}

    async def accept(self, proposal_id: str) -> Any:
        """Let a proposal into the log, as the actor of the session; the answer has its `receipt`."""
        document = {"actor_id": self.actor_id}
        return await self.requests.json("POST", f"{self._path}/proposals/{proposal_id}/accept", document)

    async def reject(self, proposal_id: str, reason: str = "") -> Any:
        """Refuse a proposal, as the actor of the session; the answer has the `proposal` as it is then."""
        document = {"actor_id": self.actor_id, "reason": reason}
        return await self.requests.json("POST", f"{self._path}/proposals/{proposal_id}/reject", document)

    # -- lifetime -------------------------------------------------------------------------------

    async def open(self) -> Self:
        """Begin. A local log hands over the ops that the server may not have, and takes in the others."""
        if self._tasks:
            raise UsageError(f"session {self.session_id!r} is open already")
        if self._mirror is not None:
            self._mirror.send_unsent()
            self._tasks.append(asyncio.create_task(_lasting(self._mirror.take_in)))
            self._tasks.append(asyncio.create_task(_lasting(self._mirror.save)))
        appending = asyncio.create_task(self._appender.run())
        appending.add_done_callback(self._ended)
        self._tasks.append(appending)
        return self

    def _check_open(self) -> None:
        if self._fault is not None:
            raise ServerError(f"session {self.session_id!r} cannot go on: {self._fault!r}") from self._fault
        if not self._tasks:
            raise UsageError(
                f"session {self.session_id!r} is not open: use it in a 'with' block, or call open()"
            )

    def _ended(self, appending: "asyncio.Task[None]") -> None:
        """Let nobody wait in vain once the sending has ended."""
        self._fault = None if appending.cancelled() else appending.exception()
        if self._fault is not None:
            self._outbox.fail(ServerError(f"session {self.session_id!r} cannot go on: {self._fault!r}"))

    async def close(self) -> None:
        """Stop at once: what is not acknowledged is left to the local log, or given up."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        if self._mirror is not None:
            self._mirror.close()
            self._outbox.keep()
        self._outbox.fail(ServerError(f"session {self.session_id!r} was closed before this was acknowledged"))

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(self, kind: object, *_: object) -> None:
        try:
            if kind is None:
                await (self.flush() if self._copy is None else self._outbox.told())
        finally:
            await self.close()


async def _lasting(work: Callable[[], Any]) -> None:
    """Do work again and again, with a pause each time; an error of the server or of this machine may pass."""
    while True:
        with suppress(MuseError):
            await work()
        await asyncio.sleep(_SAVE_SECONDS)
