"""Runs the commands that a page shows, in one shell and in their order, and compares what they print."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Timer

from tests.samples.muse_command import hear_ctrl_c

_BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_PATIENCE_SECONDS = 120
_MARK = "=== end of command, status "
ANOTHER_TERMINAL = "  # in a terminal of its own"
# What is new in each run, and what takes its place before two outputs are compared.
_NEW_EACH_TIME = (
    (re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d(:\d\d)?"), "TIME"),
    (re.compile(r"undo-[0-9a-f]{16}"), "UNDO"),
    (re.compile(r"\b(?=[0-9a-f]*\d)[0-9a-f]{12,64}\b"), "ID"),
    (re.compile(r"note/[0-9a-z]+"), "NOTE"),
    (re.compile(r" +"), " "),
)


@dataclass(frozen=True)
class ShownCommand:
    """A command of a page, and what the page shows of its output; "" where it shows nothing."""

    command: str
    shown: str

    @property
    def is_for_another_terminal(self) -> bool:
        return self.command.endswith(ANOTHER_TERMINAL)


def commands_of(page: str, heading: str = "") -> list[ShownCommand]:
    """Return the commands below a heading, or of the whole page: lines that start with "$", and with ">"."""
    part = page.split(f"\n## {heading}\n")[1].split("\n## ", maxsplit=1)[0] if heading else page
    found = []
    for block in _BLOCK.findall(part):
        for text in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            lines = text.splitlines()
            count = next(
                (at for at, line in enumerate(lines[1:], 1) if not line.startswith("> ")), len(lines)
            )
            command = "\n".join([lines[0], *(line[2:] for line in lines[1:count])])
            found.append(ShownCommand(command, "\n".join(lines[count:])))
    return found


def environment() -> dict[str, str]:
    """Return an environment where `muse` and `python3` are those under test, and the author is Ada."""
    tools = os.path.dirname(sys.executable)
    path = f"{tools}{os.pathsep}{os.environ.get('PATH', '')}"
    return {**os.environ, "PATH": path, "MUSE_AUTHOR": "Ada", "PYTHONDONTWRITEBYTECODE": "1"}


def outputs_of(commands: list[ShownCommand], directory: Path, timeout_seconds: float = 300) -> list[str]:
    """Run commands in one shell that starts in a directory; return what each printed.

    A command that fails is told with all that was printed.
    """
    script = "".join(f"{{ {one.command}\n}} 2>&1\necho '{_MARK}'$?\n" for one in commands)
    done = subprocess.run(
        ["bash"],
        input=script,
        cwd=directory,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=timeout_seconds,
        check=False,
    )
    parts = re.split(rf"^{_MARK}(\d+)\n", done.stdout, flags=re.MULTILINE)
    outputs, statuses = parts[:-1:2], parts[1::2]
    assert len(outputs) == len(commands), done.stdout + done.stderr
    for one, output, status in zip(commands, outputs, statuses, strict=True):
        assert status == "0", f"$ {one.command}\n{output}(exit status {status})"
    return outputs


def comparable(output: str) -> str:
    """Return an output without what is new in each run."""
    for pattern, word in _NEW_EACH_TIME:
        output = pattern.sub(word, output)
    return "\n".join(line.rstrip() for line in output.strip().splitlines())


def check_page(page: str, directory: Path, heading: str = "") -> None:
    """Run the commands of a page, but for those for another terminal; each prints what the page shows."""
    commands = [one for one in commands_of(page, heading) if not one.is_for_another_terminal]
    assert commands
    place = str(directory.resolve())
    for one, output in zip(commands, outputs_of(commands, directory), strict=True):
        if one.shown:
            seen = output.replace(place, "/home/ada")
            assert comparable(seen) == comparable(one.shown), f"$ {one.command}\n{seen}"


_PROGRAM = re.compile(r"^```python\n(# (\w+\.py)\n.*?)^```$", re.MULTILINE | re.DOTALL)


def save_programs(page: str, directory: Path) -> None:
    """Save the programs of a page whose first line is a comment with the name of a file."""
    for program, name in _PROGRAM.findall(page):
        (directory / name).write_text(program, encoding="utf-8")


@contextmanager
def started(command: str, directory: Path) -> Iterator[subprocess.Popen[str]]:
    """Start a command that goes on; it is ended as by Ctrl-C, and has to end well."""
    with subprocess.Popen(
        ["bash", "-c", f"exec {command}"],
        cwd=directory,
        env={**environment(), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=hear_ctrl_c,  # noqa: PLW1509 - it takes no lock
    ) as process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=_PATIENCE_SECONDS)
    assert process.returncode == 0


def wait_for_line(process: subprocess.Popen[str], words: str) -> None:
    """Read what a process prints up to a line with these words; fail if it ends or is silent too long."""
    assert process.stdout is not None
    timer = Timer(_PATIENCE_SECONDS, process.kill)
    timer.start()
    seen = []
    try:
        for line in process.stdout:
            seen.append(line)
            if words in line:
                return
    finally:
        timer.cancel()
    raise AssertionError(f"no {words!r} in {seen}")
