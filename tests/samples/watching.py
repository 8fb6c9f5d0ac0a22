"""Runs `muse watch` as a process, for tests, and waits for what it says."""

import json
import os
import queue
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.samples.muse_command import COMMAND, hear_ctrl_c

SECONDS = 120
"""A busy machine may take long: nothing is asserted about time."""

Event = dict[str, Any]


class WatchProcess:
    """`muse watch` on a repository, or a directory of an actor, once it says that it watches.

    Without a `session`, it chooses one itself.
    """

    def __init__(
        self, repo: Path | str, actor: str, *options: str, session: str = "jam", token: str = ""
    ) -> None:
        self.actor = actor
        self.heard: list[Event] = []
        named = [session] if session else []
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._process = subprocess.Popen(
            [*COMMAND, "--repo", str(repo), "watch", *named, "--actor", actor, "--json", *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "MUSE_TOKEN": token},
            preexec_fn=hear_ctrl_c,  # noqa: PLW1509 - no threads of the child yet
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put(None)

    def until(self, condition: Callable[[Event], bool]) -> Event:
        """Wait for an event of which the condition holds."""
        while True:
            line = self._lines.get(timeout=SECONDS)
            assert line is not None, f"muse watch ended: {self.heard}, {self._errors()}"
            event: Event = json.loads(line)
            self.heard.append(event)
            if condition(event):
                return event

    def until_kind(self, kind: str, path: str = "") -> Event:
        return self.until(lambda event: event["event"] == kind and event["path"] == path)

    def recorded(self, path: str) -> Event:
        """Wait until a file was recorded."""
        return self.until_kind("recorded", path)

    def brought(self, path: str) -> Event:
        """Wait until what others did to a file is in it."""
        return self.until_kind("brought", path)

    def _errors(self) -> str:
        assert self._process.stderr is not None
        return self._process.stderr.read()

    def stop(self, status: int = 0) -> list[Event]:
        """End it with Ctrl-C, and return all that it said."""
        self._process.send_signal(signal.SIGINT)
        self._finish()
        assert self._process.returncode == status, (self._process.returncode, self._errors())
        return self.heard

    def kill(self) -> None:
        self._process.kill()
        self._finish()

    def fails(self) -> tuple[int, str]:
        """Wait until it ends, and return its exit status and what it says on stderr."""
        self._finish()
        with self._process:
            return self._process.returncode, self._errors()

    def _finish(self) -> None:
        self._process.wait(SECONDS)
        self._reader.join(SECONDS)
        while not self._lines.empty():
            line = self._lines.get()
            if line is not None and line.endswith("\n"):
                self.heard.append(json.loads(line))

    def __enter__(self) -> Self:
        self.until_kind("started")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process.poll() is None:
            self.kill()
        for stream in (self._process.stdout, self._process.stderr):
            if stream is not None:
                stream.close()
