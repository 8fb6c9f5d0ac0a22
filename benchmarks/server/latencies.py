"""Latencies of millions of ops in little memory: counted by tenths of a millisecond."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import accumulate

_STEP_US = 100


@dataclass
class Latencies:
    """Counts latencies from moments in microseconds, on the clock that all processes share."""

    steps: Counter[int] = field(default_factory=Counter)

    def add(self, now_us: int, made_at_us: Iterable[int]) -> None:
        self.steps.update([(now_us - moment) // _STEP_US for moment in made_at_us])

    def percentile_ms(self, share: float) -> float:
        """Return the latency that `share` of all do not exceed, in milliseconds."""
        wanted = share * self.steps.total()
        steps = sorted(self.steps)
        counts = accumulate(self.steps[step] for step in steps)
        reached = (step for step, count in zip(steps, counts, strict=True) if count >= wanted)
        return (next(reached, 0) + 1) * _STEP_US / 1000

    def record(self) -> dict[str, float]:
        return {
            "ops": self.steps.total(),
            "p50_ms": self.percentile_ms(0.5),
            "p99_ms": self.percentile_ms(0.99),
            "p999_ms": self.percentile_ms(0.999),
            "longest_ms": self.percentile_ms(1),
        }


def joined(parts: Iterable[Latencies]) -> Latencies:
    whole = Latencies()
    for part in parts:
        whole.steps.update(part.steps)
    return whole
