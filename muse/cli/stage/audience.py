"""The audience of a live performance: a terminal, a pipe, or a program that reads JSON Lines."""

import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from muse.cli.shared.commit_text import SHORT_ID
from muse.cli.shared.output import Output, count_of, error_console, printable
from muse.cli.stage.performance import Audience
from muse.session.commit import CommitOutcome


def commit_text(outcome: CommitOutcome, seconds: float) -> str:
    """Say when a commit was made, and what it holds."""
    ignored = f", {len(outcome.ignored)} without effect" if outcome.ignored else ""
    commit = (outcome.commit_id or "")[:SHORT_ID]
    return f"{seconds:6.1f} s  commit {commit}  {count_of(outcome.op_count, 'edit')}{ignored}"


class ProgramAudience:
    """Each event is a line of JSON."""

    def __init__(self, output: Output) -> None:
        self._output = output

    def started(self, edits: Mapping[str, int]) -> None:
        self._output.record({"event": "started", "actors": list(edits)})

    def acknowledged(self, actor_id: str, op_ids: Sequence[str]) -> None:
        self._output.record({"event": "acknowledged", "actor": actor_id, "op_ids": list(op_ids)})

    def committed(self, outcome: CommitOutcome, seconds: float) -> None:
        record = {"event": "committed", "commit_id": outcome.commit_id, "seconds": round(seconds, 3)}
        self._output.record({**record, **outcome.as_record()})


class PipeAudience:
    """A line when the players start, and one for each commit."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._edits = 0

    def started(self, edits: Mapping[str, int]) -> None:
        self._output.line(f"{count_of(len(edits), 'actor')} play: {', '.join(edits)}")

    def acknowledged(self, _actor_id: str, op_ids: Sequence[str]) -> None:
        self._edits += len(op_ids)

    def committed(self, outcome: CommitOutcome, seconds: float) -> None:
        self._output.line(f"{commit_text(outcome, seconds)}; {self._edits} acknowledged so far")


class TerminalAudience:
    """A bar for each actor, and the commits above them."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}
        self._edits: Counter[str] = Counter()
        self._start = 0.0

    def started(self, edits: Mapping[str, int]) -> None:
        self._start = time.monotonic()
        for actor_id, total in edits.items():
            self._tasks[actor_id] = self._progress.add_task(printable(actor_id), total=total, rate=0)

    def acknowledged(self, actor_id: str, op_ids: Sequence[str]) -> None:
        self._edits[actor_id] += len(op_ids)
        edits = self._edits[actor_id]
        rate = edits / max(time.monotonic() - self._start, 0.001)
        self._progress.update(self._tasks[actor_id], completed=edits, rate=rate)

    def committed(self, outcome: CommitOutcome, seconds: float) -> None:
        self._progress.console.print(commit_text(outcome, seconds))


@contextmanager
def audience_for(output: Output) -> Iterator[Audience]:
    """Choose the audience that fits the output."""
    if output.as_json:
        yield ProgramAudience(output)
    elif sys.stderr.isatty():
        bars = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("edits, {task.fields[rate]:.0f} a second"),
            TimeElapsedColumn(),
        )
        with Progress(*bars, console=error_console(), transient=True) as progress:
            yield TerminalAudience(progress)
    else:
        yield PipeAudience(output)
