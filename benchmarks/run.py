"""Runs the benchmarks: `python -m benchmarks.run [--rounds N] [--ops N] [--only NAMES] [--quick] [--long]`.

Each measurement is a process of its own. In a round every entrant of a case is measured once, the
next round begins with the next entrant, so that what a noisy moment spoils is not always the same.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from benchmarks import machine
from benchmarks.case import Case, Entrant, Scale, child_command, project_root
from benchmarks.contenders import CONTENDERS
from benchmarks.families import CASES
from benchmarks.summary import Samples

_HOME = os.path.dirname(os.path.abspath(__file__))
_TIMEOUT_SECONDS = 1_800


def _scale(arguments: argparse.Namespace) -> Scale:
    quick = arguments.quick
    return Scale(
        ops=arguments.ops or (10_000 if quick else 200_000),
        rounds=arguments.rounds or (1 if quick else 3),
        big_log=100_000 if quick else 1_000_000,
        small_log=10_000,
        durable_ops=400 if quick else 2_000,
        follow_ops=100 if quick else 400,
    )


class Runner:
    """Holds a run's scratch directory, its samples and why entrants are missing."""

    def __init__(self, scale: Scale, scratch: str) -> None:
        self._scale = scale
        self._scratch = scratch
        self._datasets: dict[str, str] = {}
        self._failures = machine.installation_failures()
        self.samples: dict[str, Samples] = {}
        self.missing: dict[str, dict[str, str]] = {}
        self.notes: dict[str, dict[str, list[str]]] = {}

    def run(self, cases: Iterable[Case]) -> None:
        cases = list(cases)
        for number in range(self._scale.rounds):
            for case in cases:
                shift = number % len(case.entrants)
                for one in (*case.entrants[shift:], *case.entrants[:shift]):
                    if number < one.rounds and one.name not in self.missing.get(case.name, {}):
                        self._measure(case, one, number)

    def count(self, case: Case, one: Entrant) -> int:
        if case.dataset and case.dataset_size is not None:
            return case.dataset_size(self._scale, one)
        return max(int(case.count(self._scale) * one.share), 100)

    def _measure(self, case: Case, one: Entrant, number: int) -> None:
        began = time.monotonic()
        directory = os.path.join(self._scratch, "now")
        os.makedirs(directory)
        dataset = self._dataset(case, one)
        if case.sync_before:
            os.sync()
        result = {"unavailable": dataset[1]} if dataset[1] else self._child(case, one, directory, dataset[0])
        shutil.rmtree(directory)
        self._note(case, one, number, result)
        shown = result.get("unavailable") or ", ".join(
            f"{key} {value:.4g}" for key, value in result["metrics"].items()
        )
        sys.stderr.write(
            f"round {number + 1}/{self._scale.rounds}  {case.name:<13} {one.title:<34} {shown:<28} "
            f"[{time.monotonic() - began:.1f} s]\n"
        )

    def _note(self, case: Case, one: Entrant, number: int, result: dict[str, Any]) -> None:
        if reason := result.get("unavailable"):
            package = CONTENDERS[one.contender].package
            self.missing.setdefault(case.name, {})[one.name] = self._failures.get(package, reason)
            return
        self.samples.setdefault(case.name, {}).setdefault(one.name, {})[number] = result["metrics"]
        if result["notes"]:
            self.notes.setdefault(case.name, {})[one.name] = result["notes"]

    def _dataset(self, case: Case, one: Entrant) -> tuple[str, str]:
        """Return the directory of the case's dataset, written now if it is the first to ask, or why not."""
        if not case.dataset:
            return "", ""
        key = f"{one.dataset or case.dataset}-{one.contender}-{self.count(case, one)}"
        if key not in self._datasets:
            directory = os.path.join(self._scratch, key)
            os.makedirs(directory)
            reason = self._child(case, one, directory, "", role="prepare").get("unavailable", "")
            self._datasets[key] = f"not written: {reason}" if reason else ""
        return os.path.join(self._scratch, key), self._datasets[key]

    def _child(
        self, case: Case, one: Entrant, directory: str, dataset: str, *, role: str = "measure"
    ) -> dict[str, Any]:
        job = {
            "case": case.name,
            "entrant": one.name,
            "contender": one.contender,
            "options": dict(one.options),
            "ops": self.count(case, one),
            "directory": directory,
            "dataset": dataset,
            "dataset_kind": one.dataset or case.dataset,
            "role": role,
        }
        try:
            done = subprocess.run(
                child_command(job),
                cwd=project_root(),
                env={**os.environ, "MUSE_PURE": "1" if one.is_pure else ""},
                capture_output=True,
                text=True,
                timeout=_TIMEOUT_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return {"unavailable": f"took more than {_TIMEOUT_SECONDS} s"}
        if done.returncode != 0:
            last = (done.stderr.strip() or f"exit code {done.returncode}").splitlines()[-1]
            return {"unavailable": f"failed: {last}"}
        return dict(json.loads(done.stdout))


def _chosen(arguments: argparse.Namespace) -> list[Case]:
    if not arguments.only:
        return [case for case in CASES.values() if case.long == arguments.long]
    names = arguments.only.split(",")
    if unknown := [name for name in names if name not in CASES]:
        raise SystemExit(f"no case {', '.join(unknown)}: there are {', '.join(CASES)}")
    return [CASES[name] for name in names]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.run", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--rounds", type=int, help="how often each is measured (3)")
    parser.add_argument("--ops", type=int, help="ops of the everyday rows (200,000)")
    parser.add_argument("--only", help=f"cases, separated by commas: {', '.join(CASES)}")
    parser.add_argument("--quick", action="store_true", help="one small round: does it all run?")
    parser.add_argument("--long", action="store_true", help="the rows with ten million ops, and only those")
    parser.add_argument(
        "--scratch", default=os.path.join(_HOME, ".scratch"), help="on the disk to be measured"
    )
    parser.add_argument("--out", help="where the results go; a part of the whole does not go into results/")
    return parser.parse_args()


def main() -> None:
    arguments = _arguments()
    partial = arguments.quick or arguments.only or arguments.ops or arguments.rounds
    out = arguments.out or os.path.join(_HOME, ".partial" if partial else "results")
    scale, cases = _scale(arguments), _chosen(arguments)
    scratch = os.path.join(arguments.scratch, f"run-{os.getpid()}")
    os.makedirs(scratch)
    runner = Runner(scale, scratch)
    began, load_before = time.monotonic(), machine.load()
    try:
        facts = machine.facts(scratch)
        if "tmpfs" in facts["file system"]:
            sys.stderr.write("the scratch directory is in memory: durable rows mean nothing, see --scratch\n")
        runner.run(cases)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    facts["load average"] = f"{load_before} before, {machine.load()} after"
    facts["took"] = f"{time.monotonic() - began:.0f} s, {scale.rounds} rounds"
    results = {
        "machine": facts,
        "whole": not partial,
        "scale": asdict(scale),
        "cases": [case.name for case in cases],
        "counts": {case.name: {one.name: runner.count(case, one) for one in case.entrants} for case in cases},
        "samples": runner.samples,
        "missing": runner.missing,
        "notes": runner.notes,
    }
    from benchmarks import report  # noqa: PLC0415 - a plotting library, not wanted while measuring

    name = "long" if arguments.long else "results"
    sys.stdout.write(report.write(results, out, name))


if __name__ == "__main__":
    main()
