"""What is measured, on what, and how much of it there is."""

import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.growth.processes import Took, muse, run
from benchmarks.growth.projects import SESSION, late_actor
from muse.disk.layout import op_index_file

MOST_SECONDS = 1_800.0
"""A command that takes longer is ended, and says so in the table."""


@dataclass(frozen=True, slots=True)
class Goal:
    """What is to be reached at `size`: seconds of processors, and bytes of memory, 0 for any."""

    size: int
    seconds: float
    peak_bytes: int = 0


@dataclass(frozen=True, slots=True)
class GrowthRow:
    """A command on projects of a kind. `measure(root, number)` runs it, in the round of that number."""

    kind: str
    title: str
    measure: Callable[[str, int], Took]
    goal: Goal | None = None


SIZES = {
    "ops": (10_000, 100_000, 1_000_000),
    "sessions": (100, 1_000, 10_000),
    "commits": (500, 1_500, 5_000),
    "files": (500, 2_000, 6_000),
    "notes": (2_300, 23_000, 230_000),
}
LONG_SIZES = {**SIZES, "ops": (*SIZES["ops"], 10_000_000)}


def _command(*arguments: str, statuses: tuple[int, ...] = (0,)) -> Callable[[str, int], Took]:
    def measure(root: str, number: int) -> Took:
        words = [one.format(number=number, late=late_actor(number)) for one in arguments]
        return run(muse(*words), root, statuses=statuses, most_seconds=MOST_SECONDS)

    return measure


def _job(name: str, root: str, number: int) -> Took:
    """Run a job of `in_process`; its time is that of its own part, the memory that of the process."""
    command = [sys.executable, "-m", "benchmarks.growth.in_process", name, root, str(number)]
    return run(command, os.getcwd(), most_seconds=MOST_SECONDS, times_itself=True)


def _in_process(name: str) -> Callable[[str, int], Took]:
    return lambda root, number: _job(name, root, number)


def _append_without_index(root: str, number: int) -> Took:
    path = op_index_file(root, SESSION)
    for suffix in ("", "-wal", "-shm"):
        if os.path.exists(path + suffix):
            os.remove(path + suffix)
    return _job("append_ready", root, number)


def _clone(root: str, _: int) -> Took:
    copy = f"{root}-clone"
    try:
        return run(muse("clone", root, copy), os.path.dirname(root), most_seconds=MOST_SECONDS)
    finally:
        shutil.rmtree(copy, ignore_errors=True)


def _pull_nothing(root: str, _: int) -> Took:
    """Pull into a clone that has all; it is made once, before the clock starts."""
    copy = f"{root}-pulling"
    if not os.path.exists(copy):
        run(muse("clone", root, copy), os.path.dirname(root), most_seconds=MOST_SECONDS)
    run(muse("pull", root), copy, most_seconds=MOST_SECONDS)
    return run(muse("pull", root), copy, most_seconds=MOST_SECONDS)


def _replay_notes(root: str, _: int) -> Took:
    copy = f"{root}-replay"
    command = muse("replay", f"{root}.mid", "--rate", "max", "--repo", copy)
    try:
        return run(command, os.path.dirname(root), most_seconds=MOST_SECONDS)
    finally:
        shutil.rmtree(copy, ignore_errors=True)


ROWS = (
    GrowthRow("ops", "muse session check", _command("session", "check", SESSION), Goal(1_000_000, 4)),
    GrowthRow(
        "ops",
        "muse session conflicts",
        _command("session", "conflicts", SESSION),
        Goal(1_000_000, 5, 300_000_000),
    ),
    GrowthRow(
        "ops",
        "muse undo, of ten ops",
        _command("undo", SESSION, "--actor", "{late}", "--as", "bench"),
        Goal(1_000_000, 5, 300_000_000),
    ),
    GrowthRow("ops", "muse status", _command("status")),
    GrowthRow("ops", "muse log -n 10", _command("log", "-n", "10")),
    GrowthRow("ops", "muse verify --replay", _command("verify", "--replay"), Goal(1_000_000, 15)),
    GrowthRow("ops", "muse clone", _clone, Goal(1_000_000, 20, 150_000_000)),
    GrowthRow("ops", "muse pull, nothing new", _pull_nothing, Goal(1_000_000, 0.5)),
    GrowthRow("ops", "append of a ready entry", _in_process("append_ready")),
    GrowthRow("ops", "append of a ready entry, no index", _append_without_index, Goal(1_000_000, 1.5)),
    GrowthRow("sessions", "first edit of a new session", _in_process("first_edit"), Goal(10_000, 0.003)),
    GrowthRow("sessions", "muse clone", _clone, Goal(3_000, 5)),
    GrowthRow("sessions", "muse session list", _command("session", "list")),
    GrowthRow("sessions", "muse pull, nothing new", _pull_nothing, Goal(10_000, 0.5)),
    GrowthRow("commits", "muse clone", _clone, Goal(5_000, 5)),
    GrowthRow("commits", "muse verify --replay", _command("verify", "--replay")),
    GrowthRow("commits", "muse blame", _command("blame", "f0.txt"), Goal(1_500, 2)),
    GrowthRow("commits", "muse log -n 10", _command("log", "-n", "10")),
    GrowthRow("files", "a keystroke", _in_process("keystroke"), Goal(6_000, 0.01)),
    GrowthRow("files", "create of one file", _in_process("create")),
    GrowthRow("files", "muse status", _command("status", statuses=(0, 1))),
    GrowthRow("notes", "muse replay of a MIDI file, and its proof", _replay_notes, Goal(230_000, 60)),
)
