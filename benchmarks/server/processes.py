"""The processes of a run: the servers, and what loads them."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from benchmarks.case import project_root
from benchmarks.server.load import Job

_STOP_SECONDS = 30.0
_NOTICE_SECONDS = 0.5


@contextmanager
def process(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run a module of Python until the end of the block."""
    running = subprocess.Popen(
        [sys.executable, "-m", *arguments], cwd=project_root(), stdout=subprocess.PIPE, text=True
    )
    try:
        yield running
    finally:
        running.terminate()
        try:
            running.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()


def first_line(running: subprocess.Popen[str]) -> str:
    assert running.stdout is not None  # noqa: S101 - it was asked for
    line = running.stdout.readline().strip()
    if not line:
        raise SystemExit("a process did not start: its reason is above")
    return line


def start_load(role: str, job: Job) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "benchmarks.server.load", role, json.dumps(asdict(job))],
        cwd=project_root(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def start_together(*loads: subprocess.Popen[str]) -> None:
    """Wait until all are ready, and let them start at one moment."""
    for load in loads:
        first_line(load)
    for load in loads:
        assert load.stdin is not None  # noqa: S101 - it was asked for
        load.stdin.write(f"{time.monotonic() + _NOTICE_SECONDS}\n")
        load.stdin.flush()


def result_of(running: subprocess.Popen[str]) -> Any:
    out, _ = running.communicate()
    if running.returncode != 0:
        raise SystemExit("a process of the load failed: its reason is above")
    return json.loads(out)


class MemoryLog:
    """The resident memory of a process over time, in megabytes, and the processor time it took."""

    def __init__(self, process_id: int, every_seconds: float) -> None:
        self._process_id = process_id
        self._every = every_seconds
        self._stopped = threading.Event()
        self.megabytes: list[float] = []
        self._cpu_before = self.cpu_seconds()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stopped.wait(self._every):
            self.megabytes.append(self._resident())

    def _resident(self) -> float:
        with open(f"/proc/{self._process_id}/status", encoding="utf-8") as file:
            line = next(line for line in file if line.startswith("VmRSS"))
        return round(int(line.split()[1]) / 1024, 1)

    def cpu_seconds(self) -> float:
        with open(f"/proc/{self._process_id}/stat", encoding="utf-8") as file:
            fields = file.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self) -> dict[str, Any]:
        """Return the memory a fifth into the run and later: what grows, grows there."""
        self._stopped.set()
        self._thread.join()
        settled = self.megabytes[len(self.megabytes) // 5 :] or [0.0]
        half = len(settled) // 2
        return {
            "start_mb": self.megabytes[0] if self.megabytes else 0.0,
            "first_half_mb": max(settled[: half or 1]),
            "second_half_mb": max(settled[half:]),
            "cpu_seconds": round(self.cpu_seconds() - self._cpu_before, 1),
        }
