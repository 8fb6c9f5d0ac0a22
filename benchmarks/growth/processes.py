"""One measurement is one process, from its start to its end: its time, its processor time, its memory."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from typing import IO, NamedTuple

_SAID_BYTES = 2_000


class Took(NamedTuple):
    """What a process took: seconds that passed, seconds of processors, and the most memory it held.

    `own_seconds` are those of a part that it measured itself.
    """

    seconds: float
    processor_seconds: float
    peak_bytes: int
    own_seconds: float | None = None

    @property
    def counted_seconds(self) -> float:
        """What is told: its own part where it has one, else what it took of processors."""
        return self.processor_seconds if self.own_seconds is None else self.own_seconds


class TooLongError(Exception):
    """A process was ended, since it took longer than it may."""


class FailedError(Exception):
    """A process ended with a status that is none of those expected; the text is what it said."""


def muse(*arguments: str) -> list[str]:
    """Return the command that runs `muse` of this environment."""
    return [os.path.join(os.path.dirname(sys.executable), "muse"), *arguments]


def run(
    command: Sequence[str],
    directory: str,
    *,
    most_seconds: float,
    statuses: Sequence[int] = (0,),
    times_itself: bool = False,
) -> Took:
    """Run a command in a directory and return what it took.

    The peak is that of its whole life; on Linux it begins at what this process holds, which is little. With
    `times_itself` the seconds of its own part are those that it prints. Raises `TooLongError`, `FailedError`.
    """
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    began = time.perf_counter()
    process = subprocess.Popen(
        command,
        cwd=directory,
        env={**environment, "MUSE_AUTHOR": "bench"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE if times_itself else subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    timer = threading.Timer(most_seconds, process.kill)
    timer.start()
    told = _read(process.stdout)  # a line at most, so that it never waits for the other to be read
    said = _read(process.stderr)[-_SAID_BYTES:]
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    timer.cancel()
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode == -signal.SIGKILL and seconds >= most_seconds:
        raise TooLongError(f"ended after {most_seconds:.0f} s")
    if process.returncode not in statuses:
        raise FailedError(f"{' '.join(command)} ended with {process.returncode}: {said.strip()}")
    unit = 1 if sys.platform == "darwin" else 1024
    own_seconds = float(told) if times_itself else None
    return Took(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * unit, own_seconds)


def _read(pipe: IO[bytes] | None) -> str:
    if pipe is None:
        return ""
    with pipe:
        return pipe.read().decode("utf-8", "replace")
