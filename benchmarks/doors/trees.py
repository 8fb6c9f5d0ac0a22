"""The same files for each tool, and one of them changed at a time."""

import os
import resource
import shutil
import subprocess
import time
from dataclasses import dataclass
from typing import NamedTuple

_A_DIRECTORY = 50
_LINES = 20
IDENTITY = ("-c", "user.name=bench", "-c", "user.email=bench@localhost")


@dataclass(frozen=True)
class Tool:
    """A program, what makes a repository of a tree, and its commands for the same work."""

    name: str
    program: str
    setup: tuple[tuple[str, ...], ...]
    status: tuple[str, ...]
    record: tuple[str, ...]

    def run(self, directory: str, *arguments: str) -> "Took":
        """Run the tool as people do; `CalledProcessError`, with what it said, if it fails."""
        before, began = _processor_seconds(), time.perf_counter()
        subprocess.run(
            [self.program, *arguments], cwd=directory, env=_environment(), capture_output=True, check=True
        )
        return Took(time.perf_counter() - began, _processor_seconds() - before)


class Took(NamedTuple):
    """Seconds that passed, and seconds of processors, where these are known."""

    seconds: float
    processor_seconds: float | None = None


def _processor_seconds() -> float:
    """Return what all processes took that were started and ended here."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _environment() -> dict[str, str]:
    """Return an environment in which Python keeps what it compiled, as it does where nothing else is said."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "MUSE_AUTHOR": "bench"}


def tools(muse: str) -> list[Tool]:
    """Return those that are installed; ours first."""
    all_of_them = [
        Tool(
            "muse",
            muse,
            (("init",), ("record", "--actor", "bench"), ("commit", "-m", "all")),
            ("status",),
            ("record", "--actor", "bench"),
        ),
        Tool(
            "git",
            shutil.which("git") or "",
            (("init", "-q"), ("add", "."), (*IDENTITY, "commit", "-qm", "all")),
            ("status",),
            (*IDENTITY, "commit", "-qam", "one"),
        ),
        Tool(
            "jj",
            shutil.which("jj") or "",
            (("git", "init"), ("commit", "-m", "all")),
            ("status",),
            ("commit", "-m", "one"),
        ),
    ]
    return [tool for tool in all_of_them if tool.program]


def make_tree(directory: str, count: int) -> None:
    """Write `count` text files of about a kilobyte, fifty a directory."""
    for number in range(count):
        place = os.path.join(directory, f"d{number // _A_DIRECTORY:03}")
        os.makedirs(place, exist_ok=True)
        with open(os.path.join(place, f"f{number:05}.txt"), "w", encoding="utf-8") as file:
            file.writelines(
                f"line {line} of file {number}, as long as lines mostly are\n" for line in range(_LINES)
            )


def change_one(directory: str, number: int) -> None:
    """Add a line to one of the files."""
    place = os.path.join(directory, f"d{number // _A_DIRECTORY:03}", f"f{number:05}.txt")
    with open(place, "a", encoding="utf-8") as file:
        file.write(f"changed, number {number}\n")
