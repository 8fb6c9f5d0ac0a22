"""What the server counts, as Prometheus reads it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from muse.guard import Receipt

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Metrics:
    """Counters of one server. Labels have few values, none of a client's choice: no actors, no sessions."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ops = Counter("muse_ops", "Ops by what became of them.", ["status"], registry=registry)
        self._ops = {status: ops.labels(status) for status in ("stored", "known", "refused", "proposed")}
        ack = Histogram(
            "muse_ack_seconds",
            "From the arrival of an append to its acknowledgement.",
            ["ack"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.ack_seconds = {level: ack.labels(level) for level in ("written", "durable")}
        self.sync_seconds = Histogram(
            "muse_sync_seconds", "One sync of a log, for all who wait.", buckets=_SECONDS, registry=registry
        )
        self._requests = Counter(
            "muse_requests", "Requests by method and status.", ["method", "status"], registry=registry
        )
        self._requests_of: dict[tuple[str, int], Counter] = {}
        self._refused = Counter("muse_refused", "What was refused, by reason.", ["reason"], registry=registry)
        self.overflows = Counter(
            "muse_queue_overflows", "Followers too slow for their queues.", registry=registry
        )
        followers = Gauge("muse_followers", "Live followers.", ["kind"], registry=registry)
        self._followers = {kind: followers.labels(kind) for kind in ("websocket", "events")}
        self.open_sessions = Gauge("muse_open_sessions", "Sessions that are open.", registry=registry)
        self.lag_bytes = Gauge(
            "muse_follower_lag_bytes", "How far the slowest follower is behind.", registry=registry
        )

    def measure(self, sessions: Callable[[], float], lag: Callable[[], float]) -> None:
        """Say where to look when somebody asks how many sessions are open, and how far followers lag."""
        self.open_sessions.set_function(sessions)
        self.lag_bytes.set_function(lag)

    @contextmanager
    def following(self, kind: str, *, counts: bool) -> Iterator[None]:
        """Count a follower while the block runs."""
        followers = self._followers[kind]
        followers.inc(counts)
        try:
            yield
        finally:
            followers.dec(counts)

    def count_receipt(self, receipt: Receipt) -> None:
        self._ops[receipt.status].inc()

    def count_request(self, method: str, status: int) -> None:
        counter = self._requests_of.get((method, status))
        if counter is None:  # `labels` costs as much as all the rest
            counter = self._requests_of[method, status] = self._requests.labels(method, str(status))
        counter.inc()

    def count_refused(self, reason: str) -> None:
        self._refused.labels(reason).inc()

    def exposition(self) -> bytes:
        return generate_latest(self.registry)
