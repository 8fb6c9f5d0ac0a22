"""Loads a real server: `python -m benchmarks.server.run [--minutes N | --seconds N] [--agents N] ...`.

Prints what came of it, and writes it to `--out` as JSON. Exit status 1 if anything was lost.
"""

import argparse
import json
import os
import shutil
import statistics
import sys
from collections.abc import Sequence
from typing import Any

import orjson

from benchmarks import machine
from benchmarks.server.load import Job
from benchmarks.server.processes import MemoryLog, first_line, process, result_of, start_load, start_together
from muse.core.op_log import OpLog
from muse.core.timestamp import now_text
from muse.disk.crc import crc32
from muse.history.repository import Repository

_HOME = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_PEOPLE, _PEOPLE_RATE = 5, 5.0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.server.run")
    parser.add_argument("--minutes", type=float, help="how long the agents edit (10)", default=10.0)
    parser.add_argument("--seconds", type=float, help="the same, in seconds")
    parser.add_argument("--agents", type=int, default=100)
    parser.add_argument("--rate", type=float, default=100.0, help="edits a second of each agent (100)")
    parser.add_argument("--followers", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=5, help="of single-op appends over HTTP (5)")
    parser.add_argument("--round-seconds", type=float, default=5.0)
    parser.add_argument("--flood-seconds", type=float, default=15.0)
    parser.add_argument("--only", default="live,flood,http", help="parts, separated by commas")
    parser.add_argument("--scratch", default=os.path.join(_HOME, ".scratch"))
    parser.add_argument("--out", help="where the results go as JSON")
    return parser.parse_args()


class Bench:
    """One server on a new repository in `root`, and what is measured of it."""

    def __init__(self, url: str, process_id: int, root: str) -> None:
        self._url = url
        self._process_id = process_id
        self._root = root

    def live(self, arguments: argparse.Namespace) -> dict[str, Any]:
        """Agents edit, followers watch; then the log itself is asked."""
        session_id = self._session("live")
        seconds = arguments.seconds or arguments.minutes * 60
        wanted = arguments.agents * int(arguments.rate * seconds)

        def job(name: str, actors: int) -> Job:
            return Job(self._url, session_id, actors, arguments.rate, seconds, name, ops=wanted)

        watching = start_load("followers", job("watcher", arguments.followers))
        editing = start_load("agents", job("agent", arguments.agents))
        start_together(editing, watching)
        memory = MemoryLog(self._process_id, min(1.0, seconds / 20))
        edited, watched = result_of(editing), result_of(watching)
        return {
            "asked": {"agents": arguments.agents, "rate": arguments.rate, "seconds": seconds, "ops": wanted},
            "append to acknowledgement": edited,
            "append to followers": watched,
            "server": memory.stop(),
            "lost": self._lost(session_id, wanted, arguments.agents, edited, watched),
        }

    def _lost(self, session_id: str, wanted: int, agents: int, edited: Any, watched: Any) -> dict[str, Any]:
        order = 0
        stored = -agents  # the first of each is not counted
        with OpLog(self._root, session_id) as log:
            for entry in log.entries():
                order = crc32(orjson.dumps(entry) + b",", order)
                stored += 1
        return {
            "not acknowledged": wanted - edited["acknowledged"],
            "not in the log": edited["acknowledged"] - stored,
            "in another order at a follower": watched["orders"] != [order],
        }

    def flood(self, arguments: argparse.Namespace) -> dict[str, Any]:
        """People edit, undisturbed; and then while one agent floods."""
        session_id, seconds = self._session("flood"), arguments.flood_seconds

        people = Job(self._url, session_id, _PEOPLE, _PEOPLE_RATE, seconds, "person")
        calm = start_load("people", people)
        start_together(calm)
        alone = result_of(calm)
        flooding = start_load("flood", Job(self._url, session_id, 1, 0, seconds + 1, "flooder"))
        disturbed = start_load("people", people)
        start_together(flooding, disturbed)
        beside = result_of(disturbed)
        return {
            "people alone": alone["latency"],
            "people beside a flood": beside["latency"],
            "flood": result_of(flooding),
            "lost": {"not acknowledged": alone["failures"] + beside["failures"]},
        }

    def http(self, arguments: argparse.Namespace) -> dict[str, Any]:
        """Single-op appends, and a bare endpoint that parses the same body: by turns, in one run."""
        session_id = self._session("http")
        ours: list[float] = []
        bare: list[float] = []
        with process("benchmarks.server.bare") as running:
            bare_url = first_line(running)
            for _ in range(arguments.rounds):
                ours.append(_asked(self._url, session_id, arguments.round_seconds))
                bare.append(_asked(bare_url, session_id, arguments.round_seconds))
        ratios = [one / other for one, other in zip(ours, bare, strict=True)]
        return {
            "requests a second": round(statistics.median(ours)),
            "bare Starlette": round(statistics.median(bare)),
            "ratio": round(statistics.median(ratios), 2),
            "ratios": [round(ratio, 2) for ratio in ratios],
        }

    def _session(self, session_id: str) -> str:
        with OpLog(self._root, session_id) as log:
            log.create()
        return session_id


def _asked(url: str, session_id: str, seconds: float) -> float:
    with process("benchmarks.server.http_rate", url, session_id, str(seconds)) as running:
        return float(result_of(running))


def _lines(results: dict[str, Any], depth: int = 0) -> list[str]:
    lines = []
    for name, value in results.items():
        if isinstance(value, dict) and not {"p50_ms", "start_mb"} & value.keys():
            lines += [f"{'  ' * depth}{name}", *_lines(value, depth + 1)]
        elif isinstance(value, dict):
            shown = ", ".join(f"{key} {number:g}" for key, number in value.items())
            lines.append(f"{'  ' * depth}{name}: {shown}")
        else:
            lines.append(f"{'  ' * depth}{name}: {value}")
    return lines


def main(parts: Sequence[str] = ("live", "flood", "http")) -> None:
    arguments = _arguments()
    root = os.path.join(arguments.scratch, f"server-{os.getpid()}")
    Repository.init(root, now=now_text())
    results: dict[str, Any] = {"machine": {**machine.facts(root), "load average before": machine.load()}}
    try:
        with process("muse", "--json", "serve", "--repo", root, "--port", "0") as running:
            url = json.loads(first_line(running))["url"]
            bench = Bench(url, running.pid, root)
            for part in parts:
                if part in arguments.only.split(","):
                    results[part] = getattr(bench, part)(arguments)
                    sys.stdout.write("\n".join(_lines({part: results[part]})) + "\n\n")
                    sys.stdout.flush()
    finally:
        shutil.rmtree(root, ignore_errors=True)
    if arguments.out:
        with open(arguments.out, "w", encoding="utf-8") as file:
            json.dump(results, file, indent=2)
    lost = [value for part in parts if part in results for value in results[part].get("lost", {}).values()]
    if any(lost):
        raise SystemExit("something was lost: see above")


if __name__ == "__main__":
    main()
