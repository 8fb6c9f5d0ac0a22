"""How whole commands grow: `python -m benchmarks.growth.run [--long] [--only KIND,...] [--rounds N] ...`.

Each measurement is a process. A round measures every row once at a size; the smaller sizes come first, and
of a row that took too long at one size the larger ones are left out.
"""

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence

from benchmarks import machine
from benchmarks.growth.processes import FailedError, Took, TooLongError, run
from benchmarks.growth.projects import ROUNDS_AT_MOST
from benchmarks.growth.rows import LONG_SIZES, ROWS, SIZES, GrowthRow

_HOME = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_PREPARING_SECONDS = 7_200.0
_UNITS = {
    "ops": "ops of a session",
    "sessions": "sessions",
    "commits": "commits",
    "files": "files",
    "notes": "notes",
}

Samples = dict[tuple[str, str], dict[int, list[Took]]]
"""(Kind, title) -> size -> what it took, one a round. No rounds where it took too long or failed."""


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth.run")
    parser.add_argument("--long", action="store_true", help="ten million ops too: an hour, and 15 GB of disk")
    parser.add_argument(
        "--only", default="", help="kinds, separated by commas: ops, sessions, commits, files, notes"
    )
    parser.add_argument("--most", type=int, default=0, help="leave out larger sizes")
    parser.add_argument("--rounds", type=int, default=3, choices=range(1, ROUNDS_AT_MOST + 1))
    parser.add_argument("--scratch", default=os.path.join(_HOME, ".scratch"))
    parser.add_argument(
        "--out", default=os.path.join(_HOME, ".partial"), help="where growth.md and others go"
    )
    return parser.parse_args()


class Growth:
    """Measures, and keeps what was found: `samples`, and `notes` of what could not be measured."""

    def __init__(self, rounds: int, scratch: str) -> None:
        self.samples: Samples = {}
        self.notes: list[str] = []
        self._rounds = rounds
        self._scratch = scratch

    def measure(self, kind: str, size: int) -> None:
        """Make a project of a size, and measure every row of a kind on it."""
        rows = [row for row in ROWS if row.kind == kind]
        directory = tempfile.mkdtemp(dir=self._scratch)
        try:
            root = os.path.join(directory, "project")
            command = [sys.executable, "-m", "benchmarks.growth.projects", kind, str(size), root]
            run(command, os.getcwd(), most_seconds=_PREPARING_SECONDS)
            for number in range(self._rounds):
                shift = number % len(rows)
                for row in (*rows[shift:], *rows[:shift]):
                    self._measure_one(row, size, number, root)
                sys.stderr.write(f"{kind} {size:,}: round {number + 1}/{self._rounds}\n")
        finally:
            shutil.rmtree(directory)

    def _measure_one(self, row: GrowthRow, size: int, number: int, root: str) -> None:
        found = self.samples.setdefault((row.kind, row.title), {})
        if [] in found.values():
            return
        try:
            found.setdefault(size, []).append(row.measure(root, number))
        except (TooLongError, FailedError) as error:
            found[size] = []
            self.notes.append(f"{row.title} at {size:,} {_UNITS[row.kind]}: {error}")


def table(kind: str, sizes: Sequence[int], samples: Samples) -> list[str]:
    """Return a table of a kind: median seconds of processors and peak memory at each size, and the goals."""
    lines = [
        f"| {_UNITS[kind]} | " + " | ".join(f"{size:,}" for size in sizes) + " | goal | |",
        "| --- |" + " --- |" * (len(sizes) + 2),
    ]
    for row in ROWS:
        found = samples.get((row.kind, row.title), {})
        if row.kind == kind and found:
            cells = [_cell(found.get(size, ())) for size in sizes]
            lines.append(f"| {row.title} | {' | '.join(cells)} | {_goal(row)} | {_verdict(row, found)} |")
    return lines


def _seconds(took: Sequence[Took]) -> float:
    return statistics.median(one.counted_seconds for one in took)


def _peak(took: Sequence[Took]) -> float:
    return statistics.median(one.peak_bytes for one in took)


def _cell(took: Sequence[Took]) -> str:
    return f"{_text(_seconds(took))}, {_peak(took) / 1e6:.0f} MB" if took else "-"


def _text(seconds: float) -> str:
    return f"{seconds * 1000:.2g} ms" if seconds < 0.1 else f"{seconds:.2f} s"


def _goal(row: GrowthRow) -> str:
    if row.goal is None:
        return ""
    memory = f", {row.goal.peak_bytes / 1e6:.0f} MB" if row.goal.peak_bytes else ""
    return f"{_text(row.goal.seconds)}{memory} at {row.goal.size:,}"


def _verdict(row: GrowthRow, found: Mapping[int, Sequence[Took]]) -> str:
    goal = row.goal
    sizes = [size for size in found if goal is not None and size >= goal.size]
    if goal is None or not sizes:
        return ""
    took = found[min(sizes)]  # a size that is larger is held against the goal as it is
    is_met = bool(took) and _seconds(took) <= goal.seconds
    return "met" if is_met and (not goal.peak_bytes or _peak(took) <= goal.peak_bytes) else "**missed**"


def _write(out: str, facts: Mapping[str, str], sizes: Mapping[str, Sequence[int]], growth: Growth) -> None:
    samples = growth.samples
    os.makedirs(out, exist_ok=True)
    results = {
        "machine": dict(facts),
        "samples": [
            {"kind": kind, "row": title, "size": size, "took": [one._asdict() for one in took]}
            for (kind, title), by_size in samples.items()
            for size, took in by_size.items()
        ],
    }
    with open(os.path.join(out, "growth.json"), "w", encoding="utf-8") as file:
        json.dump(results, file, indent=1)
    from benchmarks.growth.picture import draw  # noqa: PLC0415 - measurements begin with what is held here

    draw(samples, _UNITS, os.path.join(out, "growth.svg"))
    tables = [line for kind in sizes for line in (*table(kind, sizes[kind], samples), "")]
    text = [
        "# How commands grow",
        "",
        "How it is measured: [benchmarks/README.md](../README.md). Medians: seconds of processors of a whole",
        "process (of its own part, for what a program does with the library), and the most memory it held.",
        "",
        "![a line a row](growth.svg)",
        "",
        *tables,
        *(f"- {note}" for note in growth.notes),
        "",
        "## The machine",
        "",
        *(f"- {fact}: {value}" for fact, value in facts.items()),
        "",
    ]
    with open(os.path.join(out, "growth.md"), "w", encoding="utf-8") as file:
        file.write("\n".join(text))
    print("\n".join(tables))


def main() -> None:
    arguments = _arguments()
    os.makedirs(arguments.scratch, exist_ok=True)
    before = machine.load()
    all_sizes = LONG_SIZES if arguments.long else SIZES
    wanted = [name for name in arguments.only.split(",") if name] or list(all_sizes)
    sizes = {
        kind: [size for size in all_sizes[kind] if not arguments.most or size <= arguments.most]
        for kind in wanted
    }
    growth = Growth(arguments.rounds, arguments.scratch)
    for kind, own in sizes.items():
        for size in own:
            growth.measure(kind, size)
    facts = machine.facts(arguments.scratch) | {
        "load of the last minute": f"{before} before, {machine.load()} after",
        "rounds": str(arguments.rounds),
    }
    _write(arguments.out, facts, sizes, growth)


if __name__ == "__main__":
    main()
