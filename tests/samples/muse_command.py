"""Runs the command `muse` for tests: in this process, which is quick, or in one of its own, which is real."""

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from muse.cli.app import run

COMMAND = (sys.executable, "-m", "muse")


@dataclass(frozen=True)
class Ran:
    """What a command left: its exit status and what it printed."""

    status: int
    out: str
    err: str

    @property
    def records(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def record(self) -> dict[str, Any]:
        (only,) = self.records
        return only

    @property
    def complaint(self) -> str:
        """The one line of an error."""
        (line,) = self.err.splitlines()
        assert line.startswith("muse: ")
        assert not self.out
        return line.removeprefix("muse: ")


Muse = Callable[..., Ran]


def make_muse(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], directory: Path) -> Muse:
    """Return a function that runs `muse` in `directory`, with the bytes `stdin` to read."""

    def muse(*arguments: str, stdin: bytes = b"") -> Ran:
        monkeypatch.chdir(directory)
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        capsys.readouterr()
        status = run(list(arguments))
        printed = capsys.readouterr()
        return Ran(status, printed.out, printed.err)

    return muse


def run_muse(
    *arguments: str,
    cwd: Path,
    stdin: bytes = b"",
    timeout_seconds: float = 60,
    environment: Mapping[str, str] | None = None,
) -> Ran:
    """Run `muse` in a process of its own, its output in pipes; `environment` is added to its own."""
    done = subprocess.run(
        [*COMMAND, *arguments],
        cwd=cwd,
        input=stdin,
        env={**os.environ, **(environment or {})},
        capture_output=True,
        timeout=timeout_seconds,
        check=False,
    )
    return Ran(done.returncode, done.stdout.decode(), done.stderr.decode())


def hear_ctrl_c() -> None:
    """Run in a child before its program: where the tests run in the background, Ctrl-C is ignored there."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
