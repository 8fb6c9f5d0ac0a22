"""Performs live: starts the players, commits while they play, and waits for the end."""

import multiprocessing
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Protocol

from muse.cli.stage.players import Acknowledged, Failed, Finished, Job, Ready, run_job
from muse.errors import MuseError
from muse.session.commit import CommitOutcome
from muse.session.live import LiveSession

_PATIENCE_SECONDS = 0.2
_START_SECONDS = 60.0
_GOODBYE_SECONDS = 2.0


class ActorLostError(MuseError):
    """A player ended before its work was done."""


@dataclass(frozen=True, slots=True)
class Result:
    """What one actor did: its edits, and the seconds that they took."""

    actor_id: str
    edits: int
    seconds: float

    @property
    def rate(self) -> float:
        """Edits a second."""
        return self.edits / self.seconds if self.seconds > 0 else float(self.edits)


@dataclass(slots=True)
class Performance:
    """The outcome of a performance."""

    results: list[Result] = field(default_factory=list)
    commits: list[CommitOutcome] = field(default_factory=list)
    acknowledged: int = 0
    seconds: float = 0.0


class Audience(Protocol):
    """Is told what happens, as it happens."""

    def started(self, edits: Mapping[str, int]) -> None:
        """Take in that the players start; `edits` is how many edits each actor will make."""

    def acknowledged(self, actor_id: str, op_ids: Sequence[str]) -> None:
        """Take in that edits of an actor are in the log."""

    def committed(self, outcome: CommitOutcome, seconds: float) -> None:
        """Take in that a commit was made, `seconds` after the start."""


@dataclass(slots=True)
class _Player:
    """One process. `left` are its actors that have not finished."""

    process: BaseProcess
    connection: Connection
    left: set[str]


def perform(
    live: LiveSession, jobs: Sequence[Job], *, title: str, commit_seconds: float, audience: Audience
) -> Performance:
    """Run the jobs, each in a process, and commit every `commit_seconds` until all is in history.

    Raises `ActorLostError` if a player dies: what it acknowledged is in the log all the same.
    """
    performance = Performance()
    with _players(jobs) as players:
        _start_together(players)
        audience.started({actor: edits for job in jobs for actor, edits in job.edits.items()})
        start = time.monotonic()
        next_commit = start + commit_seconds
        while any(player.left for player in players):
            _hear(
                players, min(_PATIENCE_SECONDS, max(0, next_commit - time.monotonic())), performance, audience
            )
            if time.monotonic() >= next_commit:
                _commit(live, title, start, performance, audience)
                next_commit = max(next_commit + commit_seconds, time.monotonic())
        performance.seconds = time.monotonic() - start
        _commit(live, title, start, performance, audience)
    performance.results.sort(key=lambda result: result.actor_id)
    return performance


@contextmanager
def _players(jobs: Sequence[Job]) -> Iterator[list[_Player]]:
    """Start a process for each job; on leaving, hang up and wait for each to end."""
    context = multiprocessing.get_context("spawn")
    players: list[_Player] = []
    try:
        with _ctrl_c_held_back():
            for job in jobs:
                ours, theirs = context.Pipe()
                process = context.Process(target=run_job, args=(job, theirs), daemon=True)
                process.start()
                theirs.close()  # so that the end of the process is the end of what we can read
                players.append(_Player(process, ours, set(job.edits)))
        yield players
    finally:
        for player in players:
            player.connection.close()
        deadline = time.monotonic() + _GOODBYE_SECONDS
        for player in players:
            player.process.join(max(0, deadline - time.monotonic()))
            if player.process.is_alive():
                player.process.kill()
                player.process.join()


@contextmanager
def _ctrl_c_held_back() -> Iterator[None]:
    """Keep Ctrl-C from the processes made here: their parent ends them by hanging up.

    A Ctrl-C that comes meanwhile takes effect at the end of the block.
    """
    resource_tracker.ensure_running()  # as a first process is made, it would unblock the signal
    came: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _frame: came.append(number))
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        signal.signal(signal.SIGINT, before)
    if came:
        signal.raise_signal(signal.SIGINT)


def _start_together(players: list[_Player]) -> None:
    deadline = time.monotonic() + _START_SECONDS
    for player in players:
        if not player.connection.poll(max(0, deadline - time.monotonic())):
            raise ActorLostError(f"{_names(player)} did not start within {_START_SECONDS:.0f} seconds")
        message = _receive(player)
        if not isinstance(message, Ready):
            raise ActorLostError(f"{_names(player)} could not start: {message}")
    for player in players:
        try:
            player.connection.send("start")
        except OSError as error:
            raise _lost(player) from error


def _hear(players: list[_Player], seconds: float, performance: Performance, audience: Audience) -> None:
    """Take in what the players report, for at most `seconds`."""
    by_connection = {player.connection: player for player in players if player.left}
    for ready in wait(list(by_connection), seconds):
        player = by_connection[ready]  # type: ignore[index]
        message = _receive(player)
        if isinstance(message, Acknowledged):
            performance.acknowledged += len(message.op_ids)
            audience.acknowledged(message.actor_id, message.op_ids)
        elif isinstance(message, Finished):
            performance.results.append(Result(message.actor_id, message.edits, message.seconds))
            player.left.discard(message.actor_id)
        elif isinstance(message, Failed):
            raise ActorLostError(f"{_names(player)} cannot go on: {message.reason}")


def _receive(player: _Player) -> object:
    try:
        return player.connection.recv()
    except (EOFError, OSError) as error:
        raise _lost(player) from error


def _lost(player: _Player) -> ActorLostError:
    player.process.join(_GOODBYE_SECONDS)
    code = player.process.exitcode
    cause = f"exit status {code}"
    if code is not None and code < 0:
        cause = f"signal {signal.Signals(-code).name}"
    return ActorLostError(
        f"{_names(player)} died ({cause}): what was acknowledged is in the log, and 'muse commit' keeps it"
    )


def _names(player: _Player) -> str:
    return " and ".join(sorted(player.left)) or "an actor"


def _commit(
    live: LiveSession, title: str, start: float, performance: Performance, audience: Audience
) -> None:
    outcome = live.commit(f"{title}, take {len(performance.commits) + 1}")
    if outcome.commit_ids:
        performance.commits.append(outcome)
        audience.committed(outcome, time.monotonic() - start)
