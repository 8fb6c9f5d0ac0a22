"""Writes what a run found: a table of targets, a table for each row, plots, and everything as JSON."""

import json
import os
from collections.abc import Iterator
from typing import Any

from benchmarks.case import OUR_NAME, Case, Row
from benchmarks.contenders import CONTENDERS
from benchmarks.families import CASES
from benchmarks.summary import Samples, judge, number, ratio, spread, title_of

_VERDICTS = {True: "met", False: "**missed**", None: "not measured"}


def write(results: dict[str, Any], directory: str, name: str) -> str:
    """Write `name`.md, `name`.json and the plots; return what is worth printing."""
    os.makedirs(directory, exist_ok=True)
    cases = [CASES[case] for case in results["cases"]]
    with open(os.path.join(directory, f"{name}.json"), "w", encoding="utf-8") as file:
        json.dump(results, file, indent=1)
    plots = _plots(cases, results["samples"], directory, name)
    targets = "\n".join(_targets(cases, results))
    text = "\n".join((
        "# Benchmark results",
        "",
        _origin(name, whole=results["whole"]),
        "How it is measured: [benchmarks/README.md](../README.md). Medians, with the least and the most in",
        "parentheses; ratios are taken within a round. Less is better everywhere.",
        "",
        targets,
        "",
        *plots,
        "",
        *(line for case in cases for line in _case(case, results)),
        "## The machine",
        "",
        *(f"- {fact}: {value}" for fact, value in results["machine"].items()),
        "",
    ))  # fmt: skip
    path = os.path.join(directory, f"{name}.md")
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    return f"{targets}\n\nEverything is in {os.path.relpath(path)}\n"


def _origin(name: str, *, whole: bool) -> str:
    if not whole:
        return "A part of the whole, or a small run: no claim."
    return "Written by `make bench-long`." if name == "long" else "Written by `make bench`."


def _plots(cases: list[Case], samples: dict[str, Samples], directory: str, name: str) -> list[str]:
    try:
        from benchmarks.plots import draw  # noqa: PLC0415 - the numbers do not depend on a plotting library
    except ImportError as reason:
        return [f"Plots are left out: {reason}."]
    return [f"![{plot.removesuffix('.svg')}]({plot})" for plot in draw(cases, samples, directory, name)]


def _targets(cases: list[Case], results: dict[str, Any]) -> Iterator[str]:
    yield "| what | ours | to reach | reached | |"
    yield "| --- | --- | --- | --- | --- |"
    for case in cases:
        samples: Samples = results["samples"].get(case.name, {})
        for row in case.rows:
            for target in row.targets:
                verdict = judge(case, row, target, samples)
                ours = spread(samples, target.who, row.metric)
                value = f"{number(ours.middle)} {row.unit}" if ours else "-"
                who = "" if target.who == OUR_NAME else f"; {title_of(case, target.who)}"
                cells = (f"{row.title}{who}", value, verdict.wanted, verdict.reached, _VERDICTS[verdict.met])
                yield f"| {' | '.join(cells)} |"


def _case(case: Case, results: dict[str, Any]) -> Iterator[str]:
    samples: Samples = results["samples"].get(case.name, {})
    for row in case.rows:
        yield f"## {row.title[0].upper()}{row.title[1:]}"
        yield ""
        yield from _table(case, row, samples, results)
        yield ""
    if case.explanation:
        yield from (case.explanation, "")
    yield from _footnotes(case, results)


def _table(case: Case, row: Row, samples: Samples, results: dict[str, Any]) -> Iterator[str]:
    names = [one.name for one in case.entrants]
    references = [name for name in ("bare", "naive") if name in names]
    marks = _marks(case)
    yield f"| | {row.unit} | spread | " + "".join(f"x {name} | " for name in references) + "ops |"
    yield "| --- " * (4 + len(references)) + "|"
    measured = {one.name: spread(samples, one.name, row.metric) for one in case.entrants}
    for one in sorted(case.entrants, key=lambda one: _rank(measured[one.name])):
        found = measured[one.name]
        title = f"**{one.title}**" if one.contender == OUR_NAME else one.title
        title += f" [{marks[one.contender]}]" if one.contender in marks else ""
        if found is None:
            reason = results["missing"].get(case.name, {}).get(one.name, "not part of this row")
            yield f"| {title} | left out | {reason.replace('|', '/')} |" + " |" * (1 + len(references))
            continue
        ratios = (ratio(samples, one.name, name, row.metric) for name in references)
        shown = "".join(f"{number(each.middle)} | " if each else "- | " for each in ratios)
        limits = f"{number(found.least)}-{number(found.most)}"
        ops = results["counts"][case.name][one.name]
        yield f"| {title} | {number(found.middle)} | {limits} | {shown}{ops:,} |"


def _rank(found: Any) -> float:
    return found.middle if found else float("inf")


def _marks(case: Case) -> dict[str, int]:
    """Number the contenders of a case that need a word of explanation."""
    noted = dict.fromkeys(one.contender for one in case.entrants if CONTENDERS[one.contender].note)
    return {name: mark for mark, name in enumerate(noted, 1)}


def _footnotes(case: Case, results: dict[str, Any]) -> Iterator[str]:
    for name, mark in _marks(case).items():
        yield f"{mark}. {CONTENDERS[name].title}: {CONTENDERS[name].note}"
    apart = [one.title for one in case.entrants if not one.compared]
    if apart:
        yield f"- Shown, but not compared as equals: {', '.join(apart)}."
    for name, notes in results["notes"].get(case.name, {}).items():
        yield f"- {name}: {'; '.join(notes)}."
    yield ""
