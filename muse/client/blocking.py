"""The client for programs without an event loop: each call blocks, and does what the async one does."""

import functools
import ssl
from collections.abc import Callable, Coroutine, Iterator, Mapping
from concurrent.futures import Future
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeVar

from muse.client.address import Address
from muse.client.client import AsyncClient
from muse.client.follower import START, AsyncFollower
from muse.client.loop_thread import LoopThread
from muse.client.ops import Ack
from muse.client.outbox import LINGER_SECONDS
from muse.client.replica_source import RemoteSource
from muse.client.requests import Requests
from muse.client.session import AsyncSession
from muse.core.entry import OpEntry
from muse.core.op_ids import OP_IDS
from muse.core.op_log import OpLog
from muse.disk.resource import Resource
from muse.replication.wire import WirePeer, longest_answer
from muse.session.receipt import Receipt

_A = TypeVar("_A")
_P = ParamSpec("_P")
_T = TypeVar("_T")


class _Facade(Resource, Generic[_A]):
    """An object that calls `_inner` on the event loop of a thread."""

    _inner: _A
    _loop: LoopThread


def _blocking(
    call: Callable[Concatenate[_A, _P], Coroutine[Any, Any, _T]],
) -> Callable[Concatenate[_Facade[_A], _P], _T]:
    @functools.wraps(call)
    def method(self: _Facade[_A], /, *arguments: _P.args, **named: _P.kwargs) -> _T:
        return self._loop.run(call(self._inner, *arguments, **named))

    return method


class BlockingFollower(_Facade[AsyncFollower]):
    """An iterator over everyone's entries as they come. See `AsyncFollower`."""

    def __init__(self, loop: LoopThread, inner: AsyncFollower) -> None:
        self._loop, self._inner = loop, inner

    batch = _blocking(AsyncFollower.batch)
    batch_within = _blocking(AsyncFollower.batch_within)
    move = _blocking(AsyncFollower.move)
    close = _blocking(AsyncFollower.close)

    @property
    def present(self) -> dict[str, Any]:
        """The actors that are here -> the places that they gave; see `AsyncFollower`."""
        return self._inner.present

    @property
    def cursor(self) -> str:
        """Where to resume: after the last batch that was handed out whole."""
        return self._inner.cursor

    def __iter__(self) -> Iterator[OpEntry]:
        while True:
            yield from self.batch()


class Session(_Facade[AsyncSession]):
    """One session, as one actor. A context manager. See `AsyncSession`."""

    def __init__(self, loop: LoopThread, inner: AsyncSession) -> None:
        self._loop, self._inner = loop, inner

    record = _blocking(AsyncSession.record)
    record_many = _blocking(AsyncSession.record_many)
    append = _blocking(AsyncSession.append)
    flush = _blocking(AsyncSession.flush)
    read_all = _blocking(AsyncSession.read_all)
    end = _blocking(AsyncSession.end)
    show = _blocking(AsyncSession.show)
    checkpoint = _blocking(AsyncSession.checkpoint)
    delta = _blocking(AsyncSession.delta)
    commit = _blocking(AsyncSession.commit)
    proposals = _blocking(AsyncSession.proposals)
    accept = _blocking(AsyncSession.accept)
    reject = _blocking(AsyncSession.reject)
    close = _blocking(AsyncSession.close)

    def submit(self, domain: str, domain_op: Mapping[str, Any], **named: Any) -> "Future[Receipt]":
        """Hand over an op, and return at once; the future gets its receipt. See `AsyncSession.submit`."""
        if self._inner.is_full:
            self._loop.run(self._inner.space())
        return self._loop.start(self._submitted(domain, domain_op, **named))

    async def _submitted(self, domain: str, domain_op: Mapping[str, Any], **named: Any) -> Receipt:
        return await (await self._inner.submit(domain, domain_op, **named))

    def follow(self, since: str = START, *, patience_seconds: float | None = None) -> BlockingFollower:
        """Follow the session from a cursor; see `AsyncSession.follow`."""
        return BlockingFollower(self._loop, self._inner.follow(since, patience_seconds=patience_seconds))

    def replica_source(self, actor_id: str | None, domain: str, branch: str | None) -> RemoteSource:
        """Return what a `CodeReplica` on this session reads from and records to."""
        return RemoteSource(self._inner, self._loop, actor_id=actor_id, domain=domain, branch=branch)

    @property
    def unacknowledged(self) -> int:
        """How many ops were submitted and have no receipt yet."""
        return self._inner.unacknowledged

    @property
    def log(self) -> OpLog | None:
        """The local log, if the session has one."""
        return self._inner.log

    def open(self) -> Self:
        """Begin. `close` ends it at once; the end of a `with` block waits until all is acknowledged."""
        self._loop.run(self._inner.open())
        return self

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(self, kind: object, *rest: object) -> None:
        self._loop.run(self._inner.__aexit__(kind, *rest))


class Client(_Facade[AsyncClient]):
    """A Muse server, for a program without an event loop. A context manager. See `AsyncClient`."""

    def __init__(
        self, url: str, *, token: str = "", tls: ssl.SSLContext | None = None, patience_seconds: float = 30.0
    ) -> None:
        self._inner = AsyncClient(url, token=token, tls=tls, patience_seconds=patience_seconds)
        self._loop = LoopThread()

    sessions = _blocking(AsyncClient.sessions)
    create_session = _blocking(AsyncClient.create_session)
    history = _blocking(AsyncClient.history)
    commit = _blocking(AsyncClient.commit)
    file = _blocking(AsyncClient.file)
    reservations = _blocking(AsyncClient.reservations)
    reserve = _blocking(AsyncClient.reserve)
    renew = _blocking(AsyncClient.renew)
    release = _blocking(AsyncClient.release)
    intents = _blocking(AsyncClient.intents)
    intend = _blocking(AsyncClient.intend)
    forecast = _blocking(AsyncClient.forecast)
    health = _blocking(AsyncClient.health)

    def session(
        self,
        session_id: str,
        actor_id: str,
        *,
        ack: Ack = "written",
        cache: str | None = None,
        linger_seconds: float = LINGER_SECONDS,
    ) -> Session:
        """Return a session to open: `with client.session("jam-1", "ada") as session`."""
        inner = self._inner.session(session_id, actor_id, ack=ack, cache=cache, linger_seconds=linger_seconds)
        return Session(self._loop, inner)

    def close(self) -> None:
        if self._loop.is_here:
            self._loop.run(self._inner.close())
            self._loop.close()


class RemotePeer(WirePeer, Resource):
    """The repository of the server at `url`, as a peer for `pull`, `push`, `clone` and sync."""

    def __init__(
        self, url: str, *, token: str = "", tls: ssl.SSLContext | None = None, patience_seconds: float = 30.0
    ) -> None:
        self.url = url
        self._loop = LoopThread()
        replica = {"muse-replica": OP_IDS.next()}  # what the server compares with is read once for it
        self._requests = Requests(Address(url, token, tls, patience_seconds), replica)
        super().__init__(self._send_to_server)

    def _send_to_server(self, call: str, body: bytes) -> bytes:
        # A branch that was moved, with its answer lost, would refuse to be moved again.
        return self._loop.run(
            self._requests.content(
                "POST",
                f"/sync/{call}",
                body,
                is_idempotent=call != "advance",
                at_most=longest_answer(call),
            )
        )

    def close(self) -> None:
        if self._loop.is_here:
            self._loop.run(self._requests.close())
            self._loop.close()
