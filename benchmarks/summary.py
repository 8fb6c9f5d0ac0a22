"""From samples to medians, spreads, ratios and verdicts. Pure."""

from dataclasses import dataclass
from statistics import median

from benchmarks.case import OUR_NAME, Case, Metrics, Row, Target

Samples = dict[str, dict[int, Metrics]]
"""Entrant -> round -> metrics."""


@dataclass(frozen=True)
class Spread:
    middle: float
    least: float
    most: float
    count: int


@dataclass(frozen=True)
class Verdict:
    """`reached` is in words; `met` None: it could not be measured."""

    wanted: str
    reached: str
    met: bool | None


def spread(samples: Samples, name: str, metric: str) -> Spread | None:
    values = [metrics[metric] for metrics in samples.get(name, {}).values() if metric in metrics]
    return Spread(median(values), min(values), max(values), len(values)) if values else None


def ratio(samples: Samples, name: str, other: str, metric: str) -> Spread | None:
    """Compare two entrants round by round; one measured less often is compared in the rounds it has."""
    ours, theirs = samples.get(name, {}), samples.get(other, {})
    ratios = [
        ours[number][metric] / theirs[number][metric]
        for number in sorted(ours.keys() & theirs.keys())
        if metric in ours[number] and theirs[number].get(metric)
    ]
    return Spread(median(ratios), min(ratios), max(ratios), len(ratios)) if ratios else None


def judge(case: Case, row: Row, target: Target, samples: Samples) -> Verdict:
    if target.kind == "under":
        return _judge_under(row, target, samples)
    if target.kind == "ahead":
        return _judge_ahead(case, row, target, samples)
    found = ratio(samples, target.who, target.against, row.metric)
    other = title_of(case, target.against)
    if target.kind == "at most":
        wanted = f"at most {target.factor:g}x {other}"
        if found is None:
            return Verdict(wanted, "not measured", None)
        shown = f"{found.middle:.2f}x ({found.least:.2f}-{found.most:.2f})"
        return Verdict(wanted, shown, found.middle <= target.factor)
    wanted = f"{target.factor:g}x or more faster than {other}"
    if found is None:
        return Verdict(wanted, "not measured", None)
    shown = f"{1 / found.middle:.1f}x ({1 / found.most:.1f}-{1 / found.least:.1f})"
    return Verdict(wanted, shown, 1 / found.middle >= target.factor)


def _judge_under(row: Row, target: Target, samples: Samples) -> Verdict:
    wanted = f"under {target.factor:g} {row.unit}"
    found = spread(samples, target.who, row.metric)
    if found is None:
        return Verdict(wanted, "not measured", None)
    shown = f"{number(found.middle)} ({number(found.least)}-{number(found.most)})"
    return Verdict(wanted, shown, found.middle < target.factor)


def _judge_ahead(case: Case, row: Row, target: Target, samples: Samples) -> Verdict:
    peers = [
        one.name
        for one in case.entrants
        if one.contender not in {OUR_NAME, "bare", "naive"} and (not target.peers or one.name in target.peers)
    ]
    names = ", ".join(title_of(case, name) for name in target.peers)
    wanted = f"ahead of {names}" if names else "ahead of every peer"
    compared = {name: ratio(samples, target.who, name, row.metric) for name in peers}
    ratios = {name: found.middle for name, found in compared.items() if found is not None}
    if not ratios:
        return Verdict(wanted, "not measured", None)
    nearest = max(ratios, key=lambda name: ratios[name])
    best = ratios[nearest]
    words = f"{1 / best:.2f}x faster" if best < 1 else f"{best:.2f}x slower"
    return Verdict(wanted, f"{words} than {title_of(case, nearest)}", best < 1)


def title_of(case: Case, name: str) -> str:
    return next((one.title for one in case.entrants if one.name == name), name)


def number(value: float) -> str:
    """Write a value with three figures that count."""
    if value >= 1_000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if value < 100 else f"{value:.0f}"
