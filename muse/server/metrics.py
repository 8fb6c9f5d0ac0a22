"""What the server counts, as Prometheus reads it."""

from bisect import bisect_left
from collections import Counter as Tally
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import accumulate

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from muse.session.receipt import Receipt

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class AckTimes:
    """Seconds to acknowledgements of one kind. For one thread, at a tenth of the library's cost."""

    def __init__(self) -> None:
        self._counts = [0] * (len(_SECONDS) + 1)
        self._sum = 0.0

    def observe(self, seconds: float) -> None:
        """Count an acknowledgement that took so many seconds."""
        self._counts[bisect_left(_SECONDS, seconds)] += 1
        self._sum += seconds

    def add_to(self, family: HistogramMetricFamily, ack: str) -> None:
        """Add the buckets to a family, as Prometheus has them: each counts all below its bound."""
        bounds = [*map(str, map(float, _SECONDS)), "+Inf"]
        buckets = list(zip(bounds, map(float, accumulate(self._counts)), strict=True))
        family.add_metric([ack], buckets, self._sum)


class _PerRequest(Collector):
    """What is counted for each request and op, for the library to collect when somebody asks."""

    def __init__(self) -> None:
        self.ack_seconds = {level: AckTimes() for level in ("written", "durable")}
        self.ops: Tally[str] = Tally(dict.fromkeys(("stored", "known", "refused", "proposed"), 0))
        self.requests: Tally[tuple[str, int]] = Tally()

    def collect(self) -> Iterator[CounterMetricFamily | HistogramMetricFamily]:
        ops = CounterMetricFamily("muse_ops", "Ops by what became of them.", labels=["status"])
        for status, number in self.ops.items():
            ops.add_metric([status], number)
        yield ops
        requests = CounterMetricFamily(
            "muse_requests", "Requests by method and status.", labels=["method", "status"]
        )
        for (method, answer), number in self.requests.items():
            requests.add_metric([method, str(answer)], number)
        yield requests
        acks = HistogramMetricFamily(
            "muse_ack_seconds", "From the arrival of an append to its acknowledgement.", labels=["ack"]
        )
        for level, times in self.ack_seconds.items():
            times.add_to(acks, level)
        yield acks


class Metrics:
    """Counters of one server. A label has few values, and no client chooses them: no actors, no sessions."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self._per_request = _PerRequest()
        registry.register(self._per_request)
        self.ack_seconds = self._per_request.ack_seconds
        self.sync_seconds = Histogram(
            "muse_sync_seconds", "One sync of a log, for all who wait.", buckets=_SECONDS, registry=registry
        )
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
        """Count an op by the status of its receipt."""
        self._per_request.ops[receipt.status] += 1

    def count_request(self, method: str, status: int) -> None:
        """Count a request by its method and the status of its answer."""
        self._per_request.requests[method, status] += 1

    def count_refused(self, reason: str) -> None:
        """Count what was refused before it was a request, by the reason."""
        self._refused.labels(reason).inc()

    def exposition(self) -> bytes:
        """Return all metrics as the text that Prometheus reads."""
        return generate_latest(self.registry)
