"""The door: accepts connections, and bounds how many there are, in all and of one address, before any token.

A connection is a stranger until a request of a valid token is on it. Strangers make room for new connections,
the oldest first, and those of the address that has most of them. Only then do the others, while no request
is under way on them. So silence, slowness and TLS handshakes that never end keep nobody out.
"""

import asyncio
import contextlib
import ipaddress
import resource
import socket
import ssl
import time
from collections import OrderedDict
from collections.abc import Callable

from muse.server.edge.limits import TokenBucket
from muse.server.settings import Settings

_ACCEPTED_A_TURN = 64
_SURPLUS_AT_MOST = 32
_REST_SECONDS = 0.1
_GOODBYE_SECONDS = 2.0
_ADDRESSES_KEPT = 10_000
_PREFIX_OF_A_SITE = 64
"""How many bits of an IPv6 address tell one site from another: within it, addresses cost nothing."""


class Guest:
    """One connection, from its acceptance to its end, whichever protocol it speaks."""

    __slots__ = ("_door", "address", "close", "is_surplus")

    def __init__(self, door: "Door", address: str, *, is_surplus: bool) -> None:
        self._door = door
        self.address = address
        self.is_surplus = is_surplus
        """Whether there are too many connections: all that it gets is this answer."""
        self.close: Callable[[], object] = _nothing

    def admit(self) -> None:
        """Note that a request of a valid token is under way."""
        self._door.note_busy(self)

    def rest(self) -> None:
        """Note that no request is under way any more."""
        self._door.note_rest(self)

    def leave(self) -> None:
        """Note that the connection has ended."""
        self._door.forget(self)

    def pays_for_refusal(self) -> bool:
        """Take the price of a refusal from the address; return whether it could pay."""
        return self._door.pays(self.address)


class Door:
    """Accepts the connections of a listening socket. All of it is for the loop."""

    def __init__(
        self, listener: socket.socket, settings: Settings, count_refused: Callable[[str], None]
    ) -> None:
        self._listener = listener
        self._settings = settings
        self._count_refused = count_refused
        self._most = min(settings.connections, _descriptors() // 2)
        self._guests: set[Guest] = set()
        self._strangers: dict[str, OrderedDict[Guest, None]] = {}
        self._resting: OrderedDict[Guest, None] = OrderedDict()
        self._purses: OrderedDict[str, TokenBucket] = OrderedDict()
        self._greeting: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()
        self._is_open = False

    def open(self, protocol_of: Callable[[Guest], asyncio.Protocol], tls: ssl.SSLContext | None) -> None:
        """Begin to accept."""
        self._protocol_of = protocol_of
        self._tls = tls
        self._is_open = True
        self._listener.setblocking(False)
        self._loop.add_reader(self._listener.fileno(), self._accept)

    def close(self) -> None:
        """Accept nobody any more."""
        if self._is_open:
            self._is_open = False
            self._loop.remove_reader(self._listener.fileno())
        for greeting in self._greeting:
            greeting.cancel()

    async def wait_closed(self) -> None:
        """Wait until the last handshake has ended."""
        if self._greeting:
            await asyncio.wait(self._greeting)

    # -- accepting ------------------------------------------------------------------------------

    def _accept(self) -> None:
        for _ in range(_ACCEPTED_A_TURN):
            try:
                connection, peer = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError:  # no descriptor is free
                self._make_room()
                self._rest()
                return
            address = _site_of(peer[0])
            has_paid = self.pays(address)  # first: room is made for it alone
            has_room = has_paid and self._has_room(address)
            if has_room or (has_paid and len(self._guests) < self._most + _SURPLUS_AT_MOST):
                self._welcome(connection, Guest(self, address, is_surplus=not has_room))
            else:
                self._count_refused("connections")
                connection.close()

    def _rest(self) -> None:
        self._loop.remove_reader(self._listener.fileno())
        self._loop.call_later(_REST_SECONDS, self._resume)

    def _resume(self) -> None:
        if self._is_open:
            self._loop.add_reader(self._listener.fileno(), self._accept)

    def _welcome(self, connection: socket.socket, guest: Guest) -> None:
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._guests.add(guest)
        self._strangers.setdefault(guest.address, OrderedDict())[guest] = None
        greeting = self._loop.create_task(self._greet(connection, guest))
        guest.close = greeting.cancel
        self._greeting.add(greeting)
        greeting.add_done_callback(lambda done: self._greeted(done, connection, guest))

    async def _greet(self, connection: socket.socket, guest: Guest) -> None:
        """Shake hands, if that is needed, and let the protocol begin."""
        is_tls = self._tls is not None
        transport, _ = await self._loop.connect_accepted_socket(
            lambda: self._protocol_of(guest),
            connection,
            ssl=self._tls,
            ssl_handshake_timeout=self._settings.header_seconds if is_tls else None,
            ssl_shutdown_timeout=_GOODBYE_SECONDS if is_tls else None,
        )
        guest.close = transport.close

    def _greeted(self, done: "asyncio.Task[None]", connection: socket.socket, guest: Guest) -> None:
        self._greeting.discard(done)
        if done.cancelled() or done.exception() is not None:
            self.forget(guest)
            connection.close()

    # -- room -----------------------------------------------------------------------------------

    def _has_room(self, address: str) -> bool:
        """Make room for one more of an address; return whether there is any."""
        own = self._strangers.get(address, ())
        if len(own) >= self._settings.connections_per_address:
            self._drop(next(iter(own)))
        return len(self._guests) < self._most or self._make_room()

    def _make_room(self) -> bool:
        """Drop a connection that has nothing under way; return whether there was one."""
        if self._strangers:
            _, address = max((len(some), address) for address, some in self._strangers.items())
            self._drop(next(iter(self._strangers[address])))
        elif self._resting:
            self._drop(next(iter(self._resting)))
        else:
            return False
        return True

    def _drop(self, guest: Guest) -> None:
        self._count_refused("idle")
        self.forget(guest)
        guest.close()

    def note_busy(self, guest: Guest) -> None:
        """Keep a connection: a request of a valid token is under way."""
        self._resting.pop(guest, None)
        strangers = self._strangers.get(guest.address, OrderedDict())
        if guest in strangers:
            del strangers[guest]
            if not strangers:
                del self._strangers[guest.address]

    def note_rest(self, guest: Guest) -> None:
        """Let a connection go where another needs its place; a stranger goes before anyway."""
        if guest in self._guests and guest not in self._strangers.get(guest.address, ()):
            self._resting[guest] = None

    def forget(self, guest: Guest) -> None:
        """Count a connection no more."""
        self.note_busy(guest)
        self._guests.discard(guest)

    def pays(self, address: str) -> bool:
        """Take the price of a connection, or of a refusal before any token; return whether it was paid."""
        now = time.monotonic()
        purse = self._purses.pop(address, None)
        if purse is None:
            rate = self._settings.connects_per_second
            purse = TokenBucket(rate, 10 * rate, now)
        self._purses[address] = purse
        if len(self._purses) > _ADDRESSES_KEPT:
            self._purses.popitem(last=False)
        if purse.wait_for(1, now) > 0:
            return False
        purse.take(1)
        return True


def _nothing() -> None:
    """Close nothing: the connection is not yet there."""


def _site_of(address: str) -> str:
    """Return the part of an address that one site has for itself."""
    with contextlib.suppress(ValueError):
        parsed = ipaddress.ip_address(address.partition("%")[0])
        if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is None:
            return str(ipaddress.ip_network((parsed, _PREFIX_OF_A_SITE), strict=False))
    return address


def _descriptors() -> int:
    """Return how many descriptors the process may have."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return soft if soft != resource.RLIM_INFINITY else 1 << 20
