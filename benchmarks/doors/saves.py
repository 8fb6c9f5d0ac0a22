"""From a save of a large text to its op in the log, with `muse watch` between."""

import os
import signal
import subprocess
import time
from contextlib import suppress

from benchmarks.doors.trees import Took, Tool

_LINES = 16_000
_PATIENCE_SECONDS = 60.0
_LOG = os.path.join(".muse", "op_log", "bench", "ops.jsonl")


class WatchedText:
    """A text of a megabyte in a repository of its own, and a watch of it."""

    def __init__(self, muse: Tool, directory: str) -> None:
        self._path = os.path.join(directory, "long.txt")
        self._log = os.path.join(directory, _LOG)
        self._lines = [
            f"line {number}, as long as lines of a program mostly are here\n" for number in range(_LINES)
        ]
        self._count = 0
        self._save()
        for arguments in muse.setup:
            muse.run(directory, *arguments)
        self._watch = subprocess.Popen(
            [muse.program, "watch", "--actor", "bench"],
            cwd=directory,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        said = self._watch.stdout.readline() if self._watch.stdout else b""
        if b"started" not in said:
            raise SystemExit("muse watch did not start: is the extra `watch` installed?")

    @property
    def size(self) -> int:
        return os.path.getsize(self._path)

    def save(self) -> Took:
        """Insert a line in the middle, save as editors do, and return how long it takes to be in the log."""
        self._count += 1
        self._lines.insert(_LINES // 2 + 17 * self._count, f"a new line, number {self._count}\n")
        before = os.path.getsize(self._log)
        began = self._save()
        while os.path.getsize(self._log) == before:
            if time.perf_counter() - began > _PATIENCE_SECONDS:
                raise SystemExit(f"a save was not recorded within {_PATIENCE_SECONDS:.0f} seconds")
            time.sleep(0.0005)
        return Took(time.perf_counter() - began)

    def _save(self) -> float:
        beside = f"{self._path}.swp"
        with open(beside, "w", encoding="utf-8") as file:
            file.writelines(self._lines)
        began = time.perf_counter()
        os.replace(beside, self._path)
        return began

    def stop(self) -> None:
        self._watch.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            self._watch.communicate(timeout=_PATIENCE_SECONDS)
