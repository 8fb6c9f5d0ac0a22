"""The client of a Muse server: `AsyncClient` for asyncio, `Client` for everybody else.

It needs the extra `client`: `pip install 'muse-oplog[client]'`.
"""

from muse.client.blocking import BlockingFollower as Follower
from muse.client.blocking import Client, RemotePeer, Session
from muse.client.client import AsyncClient
from muse.client.failures import (
    BusyError,
    DamagedError,
    DiskFullError,
    ForbiddenError,
    InvalidRequestError,
    MissingError,
    OtherLogCursorError,
    OtherRepositoryError,
    RefusedConflictError,
    ServerError,
    TooLargeError,
    UnauthorizedError,
    UnreachableError,
)
from muse.client.follower import AsyncFollower
from muse.client.ops import Ack
from muse.client.session import AsyncSession
from muse.session.receipt import Receipt

__all__ = [
    "Ack",
    "AsyncClient",
    "AsyncFollower",
    "AsyncSession",
    "BusyError",
    "Client",
    "DamagedError",
    "DiskFullError",
    "Follower",
    "ForbiddenError",
    "InvalidRequestError",
    "MissingError",
    "OtherLogCursorError",
    "OtherRepositoryError",
    "Receipt",
    "RefusedConflictError",
    "RemotePeer",
    "ServerError",
    "Session",
    "TooLargeError",
    "UnauthorizedError",
    "UnreachableError",
]
