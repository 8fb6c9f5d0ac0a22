"""A Muse server, for a program that runs on asyncio."""

import ssl
from collections.abc import Mapping, Sequence
from typing import Any, Self

from muse.client.address import Address
from muse.client.local_copy import LocalCopy
from muse.client.ops import Ack
from muse.client.outbox import LINGER_SECONDS
from muse.client.requests import Requests
from muse.client.session import AsyncSession
from muse.core.op_ids import OP_IDS


class AsyncClient:
    """A server at `url`, which is called with `token`. An async context manager.

    A call that may succeed later (no connection, over the quota, the server restarts) is tried again for
    `patience_seconds`; then a `ServerError` is raised. Answers are the documents that the server sends.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str = "",
        tls: ssl.SSLContext | None = None,
        patience_seconds: float = 30.0,
    ) -> None:
        self._requests = Requests(Address(url, token, tls, patience_seconds))

    def session(
        self,
        session_id: str,
        actor_id: str,
        *,
        ack: Ack = "written",
        cache: str | None = None,
        linger_seconds: float = LINGER_SECONDS,
    ) -> AsyncSession:
        """Return a session to open: `async with client.session("jam-1", "ada") as session`.

        `cache` names a directory for the local log, to work on while the server is away.
        """
        copy = None if cache is None else LocalCopy(cache, session_id, actor_id, self._requests.address.url)
        return AsyncSession(
            self._requests, session_id, actor_id, ack=ack, copy=copy, linger_seconds=linger_seconds
        )

    async def sessions(self) -> Any:
        """Return the ids of the sessions that the token may use."""
        return await self._requests.json("GET", "/sessions")

    async def create_session(self, session_id: str, policy: Mapping[str, Any] | None = None) -> Any:
        """Make a session; one that is there already stays as it is."""
        document: dict[str, Any] = {"session_id": session_id}
        if policy is not None:
            document["policy"] = dict(policy)
        return await self._requests.json("POST", "/sessions", document)

    async def history(self, *, branch: str | None = None, limit: int | None = None) -> Any:
        """Return the commits of a branch, the newest first."""
        return await self._requests.json("GET", "/log", params={"branch": branch, "limit": limit})

    async def commit(self, commit_id: str) -> Any:
        """Return a commit and its files, path -> object id; `commit_id` may be shortened."""
        return await self._requests.json("GET", f"/commits/{commit_id}")

    async def file(self, commit_id: str, path: str) -> bytes:
        """Return a file's contents at a commit."""
        return await self._requests.content("GET", f"/commits/{commit_id}/files/{path}")

    async def reservations(self) -> Any:
        """Return the reservations that are in force."""
        return await self._requests.json("GET", "/coordination/reservations")

    async def reserve(self, addresses: Sequence[str], actor_id: str, /, **given: Any) -> Any:
        """Reserve addresses; `RefusedConflictError` while another actor has one of them.

        `given`: `branch`, `run_id`, `ttl_seconds`, `operation`. Tried again, it makes no second reservation.
        """
        document = {"addresses": list(addresses), "actor_id": actor_id, "reservation_id": OP_IDS.next()}
        return await self._requests.json("POST", "/coordination/reservations", {**document, **given})

    async def renew(self, reservation_id: str, actor_id: str, ttl_seconds: float = 300.0) -> Any:
        """Let a reservation last `ttl_seconds` from now; `ServerError` if it is over, or of another actor."""
        document = {"actor_id": actor_id, "ttl_seconds": ttl_seconds}
        return await self._requests.json(
            "POST", f"/coordination/reservations/{reservation_id}/renew", document
        )

    async def release(self, reservation_id: str, actor_id: str) -> Any:
        """End a reservation of the actor before its time; `ServerError` if it is another actor's."""
        document = {"actor_id": actor_id}
        return await self._requests.json(
            "POST", f"/coordination/reservations/{reservation_id}/release", document
        )

    async def intents(self) -> Any:
        """Return what actors said that they will do, on all branches."""
        return await self._requests.json("GET", "/coordination/intents")

    async def intend(self, addresses: Sequence[str], actor_id: str, /, **given: Any) -> Any:
        """Say what is about to be done to addresses.

        `given`: `branch`, `run_id`, `operation`, `detail`, `reservation_id`.
        """
        document = {"addresses": list(addresses), "actor_id": actor_id, "intent_id": OP_IDS.next()}
        return await self._requests.json("POST", "/coordination/intents", {**document, **given})

    async def forecast(
        self, addresses: Sequence[str] = (), *, party: str = "", branch: str | None = None
    ) -> Any:
        """Return which intents and reservations collide; `party` at `addresses` is one more plan."""
        document = {"addresses": list(addresses), "party": party, "branch": branch}
        return await self._requests.json("POST", "/coordination/forecast", document)

    async def health(self) -> Any:
        """Return how the server is; it answers without a token."""
        return await self._requests.json("GET", "/health")

    async def close(self) -> None:
        """Close all connections for requests. Sessions and followers are closed by themselves."""
        await self._requests.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
