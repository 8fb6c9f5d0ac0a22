"""How much one actor may do, and how many of a thing there may be at once."""

import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from muse.server.faults import RequestError
from muse.server.settings import Settings

_ACTORS_KEPT = 10_000
_TOO_MANY = 429


class TokenBucket:
    """A limit that lets `rate` pass each second, and `burst` at once after a rest."""

    __slots__ = ("_burst", "_filled_at", "_level", "_rate")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._rate = rate
        self._burst = burst
        self._level = float(burst)
        self._filled_at = now

    def wait_for(self, amount: float, now: float) -> float:
        """Return in how many seconds `amount` may pass; 0 if now."""
        self._level = min(self._burst, self._level + (now - self._filled_at) * self._rate)
        self._filled_at = now
        return max(0.0, (amount - self._level) / self._rate)

    def take(self, amount: float) -> None:
        """Let `amount` pass."""
        self._level -= amount


class Quotas:
    """The ops and bytes a second of each actor."""

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._clock = clock
        self._requests: OrderedDict[str, TokenBucket] = OrderedDict()
        self._sessions: OrderedDict[str, TokenBucket] = OrderedDict()
        self._presence: OrderedDict[str, TokenBucket] = OrderedDict()
        self._reservations: OrderedDict[str, TokenBucket] = OrderedDict()
        self._buckets: OrderedDict[str, tuple[TokenBucket, TokenBucket]] = OrderedDict()

    def charge(self, actor: str, ops: int, size: int, *, named: int = 0) -> None:
        """Let all of an actor's ops pass, or raise the refusal, which says when to come again.

        `named`: how many bytes they bring besides the `size` of the request.
        """
        settings = self._settings
        if ops > settings.ops_burst or size > settings.bytes_burst:
            raise RequestError(
                413,
                f"{ops} ops of {size} bytes at once: at most {settings.ops_burst} ops and "
                f"{settings.bytes_burst} bytes are allowed; send less at a time",
            )
        self.charge_batch(actor, ops, size + named)

    def charge_batch(self, actor: str, ops: int, size: int) -> None:
        """Let a batch of any size pass after a rest: what is above the burst is paid for afterwards."""
        settings, now = self._settings, self._clock()
        ops_bucket, bytes_bucket = self._buckets_of(actor, now)
        wait = max(
            ops_bucket.wait_for(min(ops, settings.ops_burst), now),
            bytes_bucket.wait_for(min(size, settings.bytes_burst), now),
        )
        if wait > 0:
            _raise_too_many(
                f"actor {actor!r} is past its {settings.ops_per_second:g} ops or "
                f"{settings.bytes_per_second:g} bytes a second: come again in {wait:.3f} s",
                wait,
            )
        ops_bucket.take(ops)
        bytes_bucket.take(size)

    @contextmanager
    def paying_for_refusal(self, actor: str, size: int) -> Iterator[None]:
        """Let an actor pay for what it sent if that is refused in the block, as for one op of that size.

        What is refused as too much now is sent again, and pays then.
        """
        try:
            yield
        except Exception as error:
            if not (isinstance(error, RequestError) and error.status == _TOO_MANY):
                self.pay(actor, size)
            raise

    def pay(self, actor: str, size: int) -> None:
        """Take the price of one op of a size, though an actor then owes it."""
        now = self._clock()
        ops_bucket, bytes_bucket = self._buckets_of(actor, now)
        for bucket, amount in ((ops_bucket, 1), (bytes_bucket, size)):
            bucket.wait_for(0, now)
            bucket.take(amount)

    def debt_seconds(self, actor: str) -> float:
        """Return in how many seconds an actor has paid what it owes; 0 if it owes nothing."""
        now = self._clock()
        return max(bucket.wait_for(0, now) for bucket in self._buckets_of(actor, now))

    def check_debt(self, actor: str) -> None:
        """Raise the refusal of an actor that owes something."""
        wait = self.debt_seconds(actor)
        if wait > 0:
            _raise_too_many(f"actor {actor!r} sent too much: come again in {wait:.3f} s", wait)

    def charge_request(self, holder: str) -> None:
        """Let a holder of a token send a request, or raise the refusal."""
        rate = self._settings.requests_per_second
        self._charge_one(self._requests, holder, rate, 2 * rate, f"more than {rate:g} requests a second")

    def charge_presence(self, actor: str) -> None:
        """Let an actor say where it is, or raise the refusal."""
        rate = self._settings.presence_per_second
        self._charge_one(self._presence, actor, rate, 2 * rate, f"more than {rate:g} moves a second")

    def charge_reservation(self, actor: str) -> None:
        """Let an actor write a record of coordination, or raise the refusal. Appends wait for it."""
        rate = self._settings.claims_per_second
        self._charge_one(
            self._reservations, actor, rate, 2 * rate, f"more than {rate:g} reservations and intents a second"
        )

    def charge_session(self, actor: str) -> None:
        """Let an actor make a session, or raise the refusal."""
        rate, burst = self._settings.sessions_per_hour, self._settings.sessions_burst
        self._charge_one(
            self._sessions, actor, rate / 3600, burst, f"more than {rate:g} new sessions an hour"
        )

    def _charge_one(
        self, buckets: OrderedDict[str, TokenBucket], actor: str, rate: float, burst: float, what: str
    ) -> None:
        now = self._clock()
        bucket = buckets.get(actor)
        if bucket is None:
            bucket = buckets[actor] = TokenBucket(rate, max(1, burst), now)
            _bound(buckets)
        wait = bucket.wait_for(1, now)
        if wait > 0:
            _raise_too_many(what, wait)
        bucket.take(1)

    def _buckets_of(self, actor: str, now: float) -> tuple[TokenBucket, TokenBucket]:
        buckets = self._buckets.get(actor)
        if buckets is None:
            settings = self._settings
            buckets = self._buckets[actor] = (
                TokenBucket(settings.ops_per_second, settings.ops_burst, now),
                TokenBucket(settings.bytes_per_second, settings.bytes_burst, now),
            )
            _bound(self._buckets)
        return buckets


def _raise_too_many(message: str, wait: float) -> NoReturn:
    raise RequestError(_TOO_MANY, message, retry_after=round(wait + 0.0005, 3), reason="quota")


def _bound(buckets: OrderedDict[str, Any]) -> None:
    """Forget the oldest bucket if there are too many."""
    if len(buckets) > _ACTORS_KEPT:
        buckets.popitem(last=False)


class Slots:
    """At most `limit` at once for each holder."""

    def __init__(self, limit: int, what: str) -> None:
        self._limit = limit
        self._what = what
        self._taken: Counter[Hashable] = Counter()

    @contextmanager
    def one(self, holder: Hashable) -> Iterator[None]:
        """Take one while the block runs; raise the refusal if the holder has as many as it may."""
        if self._taken[holder] >= self._limit:
            raise RequestError(
                429,
                f"there are {self._limit} {self._what} of yours open: close some",
                retry_after=1,
                reason=self._what,
            )
        self._taken[holder] += 1
        try:
            yield
        finally:
            self._taken[holder] -= 1
            if not self._taken[holder]:
                del self._taken[holder]


class DistinctSlots:
    """At most `limit` different things in use at once for each holder."""

    def __init__(self, limit: int, what: str) -> None:
        self._limit = limit
        self._what = what
        self._used: dict[Hashable, Counter[Hashable]] = {}

    @contextmanager
    def one(self, holder: Hashable, thing: Hashable) -> Iterator[None]:
        """Use a thing while the block runs; raise the refusal if the holder uses as many as it may."""
        used = self._used.get(holder, Counter())
        if thing not in used and len(used) >= self._limit:
            raise RequestError(
                _TOO_MANY,
                f"{self._limit} {self._what} are in use by this token: leave some",
                retry_after=1,
                reason=self._what,
            )
        self._used[holder] = used
        used[thing] += 1
        try:
            yield
        finally:
            used[thing] -= 1
            if not used[thing]:
                del used[thing]
            if not used:
                self._used.pop(holder, None)


class Budget:
    """Bytes that may be in memory at once: `limit` in all, and half of it for one holder. For any threads."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._taken: Counter[Hashable] = Counter()
        self._total = 0

    def take(self, holder: Hashable, size: int) -> None:
        """Take some bytes, or raise the refusal."""
        with self._lock:
            if self._taken[holder] + size > self._limit // 2:
                _raise_too_many("what you send and ask for at once is too large together: do less at once", 1)
            if self._total + size > self._limit:
                raise RequestError(
                    503, "requests take all the memory that they may have", retry_after=1, reason="memory"
                )
            self._taken[holder] += size
            self._total += size

    @contextmanager
    def holding(self, holder: Hashable, size: int) -> Iterator[None]:
        """Have some bytes in memory while the block runs, or raise the refusal."""
        self.take(holder, size)
        try:
            yield
        finally:
            self.give_back(holder, size)

    def give_back(self, holder: Hashable, size: int) -> None:
        """Give back bytes that were taken."""
        with self._lock:
            self._total -= size
            self._taken[holder] -= size
            if not self._taken[holder]:
                del self._taken[holder]
