"""Times the commands that people type, beside git and jj: `python -m benchmarks.doors.run [--rounds N] ...`.

Each is a process, from its start to its end. In a round every command runs once, the next round begins with
the next one; ratios are taken within a round.
"""

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks import machine
from benchmarks.doors.saves import WatchedText
from benchmarks.doors.trees import Took, Tool, change_one, make_tree, tools

_HOME = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


@dataclass(frozen=True)
class Entrant:
    """What is measured: `measure` is called with the number of the round."""

    row: str
    name: str
    measure: Callable[[int], Took]
    goal_seconds: float | None = None


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.doors.run")
    parser.add_argument("--files", type=int, default=5_000)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--only", default="", help="rows that begin so, separated by commas")
    parser.add_argument("--scratch", default=os.path.join(_HOME, ".scratch"))
    parser.add_argument(
        "--out", default=os.path.join(_HOME, ".partial"), help="where doors.md and doors.json go"
    )
    return parser.parse_args()


def _record(tool: Tool, directory: str, number: int) -> Took:
    change_one(directory, number)
    return tool.run(directory, *tool.record)


def entrants(found: Sequence[Tool], directory: str, files: int, text: WatchedText | None) -> list[Entrant]:
    """Make a tree and a repository a tool, and return what is measured in them."""
    goals = {"status": 0.5, "record": 0.3, "start": 0.2}
    measured = []
    for tool in found:
        goal = goals if tool.name == "muse" else {}
        large, small = (os.path.join(directory, f"{tool.name}-{size}") for size in ("large", "small"))
        for place, count in ((large, files), (small, 3)):
            make_tree(place, count)
            for arguments in tool.setup:
                tool.run(place, *arguments)
        measured += [
            Entrant(
                f"status of {files:,} files",
                f"{tool.name} status",
                lambda _, tool=tool, at=large: tool.run(at, *tool.status),
                goal.get("status"),
            ),
            Entrant(
                f"record one changed of {files:,} files",
                f"{tool.name} {next(word for word in tool.record if word in {'record', 'commit'})}",
                lambda number, tool=tool, at=large: _record(tool, at, number),
                goal.get("record"),
            ),
            Entrant(
                "start: status of 3 files",
                f"{tool.name} status",
                lambda _, tool=tool, at=small: tool.run(at, *tool.status),
                goal.get("start"),
            ),
            Entrant(
                "start: help",
                f"{tool.name} --help",
                lambda _, tool=tool, at=small: tool.run(at, "--help"),
                goal.get("start"),
            ),
        ]
    if text is not None:
        name = "muse watch"
        row = f"a line saved in a text of {text.size / 1e6:.1f} MB is an op"
        measured.append(Entrant(row, name, lambda _: text.save(), 0.05))
    return measured


Samples = dict[str, dict[str, list[Took]]]
"""Row -> entrant -> what it took, one a round."""


def measure(measured: Sequence[Entrant], rounds: int) -> Samples:
    """Measure each entrant once a round. A first round, which warms up, does not count."""
    samples: Samples = {}
    for number in range(rounds + 1):
        shift = number % len(measured)
        for one in (*measured[shift:], *measured[:shift]):
            took = one.measure(number)
            if number:
                samples.setdefault(one.row, {}).setdefault(one.name, []).append(took)
        sys.stderr.write(f"round {number}/{rounds}\n")
    return samples


def table(measured: Sequence[Entrant], samples: Samples) -> list[str]:
    """Return a table: medians, the least and the most, how many times what git takes, and the goals."""
    lines = [
        "| | ms | of a processor, ms | times git's | goal, ms | |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in dict.fromkeys(one.row for one in measured):
        lines.append(f"| **{row}** | | | | | |")
        gits = next((found for name, found in samples[row].items() if name.startswith("git ")), None)
        lines += [_line(one, samples[row][one.name], gits) for one in measured if one.row == row]
    return lines


def _line(one: Entrant, found: Sequence[Took], gits: Sequence[Took] | None) -> str:
    times = [took.seconds for took in found]
    middle = statistics.median(times)
    spread = f"{middle * 1000:.0f} ({min(times) * 1000:.0f} to {max(times) * 1000:.0f})"
    processor = [took.processor_seconds for took in found if took.processor_seconds is not None]
    used = f"{statistics.median(processor) * 1000:.0f}" if processor else ""
    ratio = ""
    if gits:
        ratio = f"{statistics.median(a.seconds / b.seconds for a, b in zip(found, gits, strict=True)):.1f}"
    goal, verdict = "", ""
    if one.goal_seconds:
        goal = f"{one.goal_seconds * 1000:.0f}"
        verdict = "met" if middle < one.goal_seconds else "**missed**"
    return f"| {one.name} | {spread} | {used} | {ratio} | {goal} | {verdict} |"


def _write(arguments: argparse.Namespace, results: dict[str, Any], lines: Sequence[str]) -> None:
    os.makedirs(arguments.out, exist_ok=True)
    with open(os.path.join(arguments.out, "doors.json"), "w", encoding="utf-8") as file:
        json.dump(results, file, indent=1)
    text = [
        "# The commands that people type",
        "",
        "How it is measured: [benchmarks/README.md](../README.md). Medians of whole processes, from start to",
        "end, with the least and the most; ratios are taken within a round.",
        "",
        *lines,
        "",
        "## The machine",
        "",
        *(f"- {fact}: {value}" for fact, value in results["machine"].items()),
        "",
    ]
    with open(os.path.join(arguments.out, "doors.md"), "w", encoding="utf-8") as file:
        file.write("\n".join(text))


def main() -> None:
    arguments = _arguments()
    os.makedirs(arguments.scratch, exist_ok=True)
    directory = tempfile.mkdtemp(dir=arguments.scratch)
    found = tools(os.path.join(os.path.dirname(sys.executable), "muse"))
    before = machine.load()
    text = None
    try:
        wanted = [name for name in arguments.only.split(",") if name]
        if not wanted or any(name.startswith("a line") for name in wanted):
            os.makedirs(place := os.path.join(directory, "text"))
            text = WatchedText(found[0], place)
        measured = [
            one
            for one in entrants(found, directory, arguments.files, text)
            if not wanted or any(one.row.startswith(name) for name in wanted)
        ]
        samples = measure(measured, arguments.rounds)
    finally:
        if text is not None:
            text.stop()
        shutil.rmtree(directory)
    lines = table(measured, samples)
    facts = machine.facts(arguments.scratch) | {
        "load of the last minute": f"{before} before, {machine.load()} after",
        "rounds": str(arguments.rounds),
        "tools": ", ".join(tool.name for tool in found),
    }
    _write(arguments, {"machine": facts, "samples": samples}, lines)
    print("\n".join(lines))


if __name__ == "__main__":
    main()
