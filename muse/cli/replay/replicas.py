"""The actors of a script at work on a replica each, and the way of their ops into a session."""

import os
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Self

from muse.cli.replay.script import Change, Create, Edit, Move, ScriptStep, Write, edits_of, schedule
from muse.cli.stage.players import Finished, Wire, wait_until
from muse.core.entry import OpEntry
from muse.core.op_log import OpLog
from muse.errors import DomainError, UsageError
from muse.history.repository import Repository
from muse.session.text_replica import CodeReplica

_SESSION = "replica"
_MERGE_SECONDS = 0.04


class Replicas:
    """One replica for each actor, its log in a directory of its own below `directory`. A context manager.

    All are opened at once, on the head of the branch, so what is committed while they are at work reaches
    them only in the way that the steps say. Actors are ranked in the order of their first
    steps: of two insertions at one place, made at the same time, that of the first actor is put first.
    """

    def __init__(self, repository: Repository, steps: Sequence[ScriptStep], directory: str) -> None:
        self._steps = steps
        self._made: list[list[OpEntry]] = [[] for _ in steps]
        self._stack = ExitStack()
        self._logs: dict[str, OpLog] = {}
        self._replicas: dict[str, CodeReplica] = {}
        self._in_view: dict[str, set[int]] = {}
        for rank, actor in enumerate(edits_of(steps), start=1):
            log = self._stack.enter_context(OpLog(os.path.join(directory, str(rank)), _SESSION))
            self._logs[actor] = log
            self._replicas[actor] = CodeReplica(repository, log, actor, rank=rank)
            self._in_view[actor] = set()

    def perform(self, place: int) -> list[OpEntry]:
        """Make the step at `place`, after all its parents; return its entries.

        Raises `DomainError`, which names the step, for an impossible one: a position beyond the text, for
        example.
        """
        step = self._steps[place]
        replica = self._replicas[step.actor_id]
        self._take_in(step.actor_id, step.parents)
        try:
            made = [entry for change in step.changes for entry in make_change(replica, change)]
        except UsageError as error:
            raise DomainError(f"step {place}, by {step.actor_id}: {error}") from error
        self._made[place] = made
        self._in_view[step.actor_id].add(place)
        return made

    def _take_in(self, actor: str, parents: Sequence[int]) -> None:
        """Merge the steps `parents`, and all that they had in view, into an actor's log."""
        in_view = self._in_view[actor]
        missing: list[int] = []
        to_see = [place for place in parents if place not in in_view]
        while to_see:
            place = to_see.pop()
            if place not in in_view:
                in_view.add(place)
                missing.append(place)
                to_see += [parent for parent in self._steps[place].parents if parent not in in_view]
        entries = [entry for place in sorted(missing) for entry in self._made[place]]
        if entries:
            self._logs[actor].append_many(entries)
            self._replicas[actor].take(entries)

    def finish(self) -> "dict[str, CodeReplica]":
        """Let every replica take in all ops; return the replicas by actor. They are alike now."""
        for actor in self._replicas:
            self._take_in(actor, range(len(self._steps)))
        return self._replicas

    def close(self) -> None:
        """Release the logs."""
        self._stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def make_change(replica: CodeReplica, change: Change) -> list[OpEntry]:
    """Make a change on a replica; return its entries."""
    if isinstance(change, Edit):
        return list(replica.edit(change.path, change.patches))
    if isinstance(change, Write):
        return list(replica.write(change.path, change.content))
    if isinstance(change, Create):
        return [replica.create(change.path, change.content)]
    if isinstance(change, Move):
        return [replica.move(change.path, change.to_path)]
    return [replica.remove(change.path)]


@dataclass(frozen=True, slots=True)
class Retype:
    """A task: the steps of a script on replicas below `scratch`, merged into the session as they come."""

    root: str
    steps: tuple[ScriptStep, ...]
    rate: float | None
    scratch: str

    def __call__(self, log: OpLog, wire: Wire) -> None:
        start = merged_at = time.monotonic()
        edits = dict.fromkeys(edits_of(self.steps), 0)
        seconds = dict.fromkeys(edits, 0.0)
        waiting: list[OpEntry] = []
        with Replicas(Repository.open(self.root), self.steps, self.scratch) as replicas:
            for after, place in schedule(self.steps, self.rate):
                now = time.monotonic()
                if waiting and (now < start + after or now - merged_at >= _MERGE_SECONDS):
                    _merge(waiting, log, wire)
                    waiting, merged_at = [], now
                wait_until(start + after, wire)
                made = replicas.perform(place)
                waiting += made
                actor = self.steps[place].actor_id
                edits[actor] += len(made)
                seconds[actor] = time.monotonic() - start
            _merge(waiting, log, wire)
        wire.report()
        for actor, count in edits.items():
            wire.send(Finished(actor, count, seconds[actor]))


def _merge(entries: list[OpEntry], log: OpLog, wire: Wire) -> None:
    """Bring entries, each after its causes, into the session's log, and report it."""
    log.append_many(entries)
    for entry in entries:
        wire.acknowledge(entry["actor_id"], entry["op_id"])
