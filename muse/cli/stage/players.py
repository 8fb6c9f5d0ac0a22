"""The players of a live performance: they make the edits of actors, each in a process of its own.

A player appends through a log of its own, or through a server, and tells its parent of an edit only after
the append has returned. It ends by itself as soon as its parent is gone.
"""

import heapq
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any, Protocol

from muse.cli.stage.served import ServedLog
from muse.core.entry import OpEntry
from muse.core.op_log import OpLog
from muse.errors import MuseError

DOMAIN = "music"
_REPORT_SECONDS = 0.04
_LISTEN_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Ready:
    """The process is ready, and waits for the sign to start."""


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """These edits of an actor are in the log."""

    actor_id: str
    op_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Finished:
    """An actor made its last edit, `seconds` after the sign to start."""

    actor_id: str
    edits: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Failed:
    """The player cannot go on."""

    reason: str


@dataclass(frozen=True, slots=True)
class Part:
    """What one actor is to do: these ops, in this order."""

    actor_id: str
    ops: Sequence[Mapping[str, Any]]


class ParentGoneError(Exception):
    """The process that started this one has ended: nobody waits for its edits any more."""


@dataclass(slots=True)
class Wire:
    """The way to the parent. Acknowledgements are gathered for some hundredths of a second."""

    connection: Connection
    _waiting: dict[str, list[str]] = field(default_factory=dict)
    _reported_at: float = 0.0

    def send(self, message: Ready | Acknowledged | Finished | Failed) -> None:
        """Send a message to the parent; raise `ParentGoneError` if it has ended."""
        try:
            self.connection.send(message)
        except OSError as error:
            raise ParentGoneError from error

    def wait_for_start(self) -> None:
        """Say that this process is ready, and wait for the start; `ParentGoneError` as for `send`."""
        self.send(Ready())
        try:
            self.connection.recv()
        except (EOFError, OSError) as error:
            raise ParentGoneError from error

    def acknowledge(self, actor_id: str, op_id: str) -> None:
        """Note that an op is in the log; what was noted is reported together, a few times a second."""
        self._waiting.setdefault(actor_id, []).append(op_id)
        if time.monotonic() - self._reported_at >= _REPORT_SECONDS:
            self.report()

    def report(self) -> None:
        """Send what was gathered, and see whether the parent is still there."""
        # After the start the parent sends nothing: what there is to read can only be the end.
        if self.connection.poll():
            raise ParentGoneError
        for actor_id, op_ids in self._waiting.items():
            self.send(Acknowledged(actor_id, tuple(op_ids)))
        self._waiting.clear()
        self._reported_at = time.monotonic()


class Heard(Protocol):
    """A log that is followed as it grows."""

    def next_within(self, seconds: float) -> OpEntry | None:
        """Return the next entry, or None if none came within `seconds`."""
        ...


class Playable(Protocol):
    """What tasks that need no files ask of a log; `OpLog` and a server's `ServedLog` offer it."""

    def record(
        self, actor_id: str, domain: str, domain_op: Mapping[str, Any], *, parent_op_ids: Sequence[str] = ()
    ) -> Mapping[str, Any]:
        """Append an op, and return its entry once the log has it."""
        ...

    def follow(self, *, since: int) -> AbstractContextManager[Heard]:
        """Follow the log from `since`, a byte of it."""
        ...


Task = Callable[[Any, Wire], None]
"""Is given an `OpLog`; one that asks for no more than `Playable` may be given another."""


@dataclass(frozen=True, slots=True)
class Job:
    """One process's work in one session: who acts in it, with how many edits, and the task itself.

    `url`: the server through which it is done; "" if the process opens the log itself.
    """

    root: str
    session_id: str
    edits: Mapping[str, int]
    task: Task
    url: str = ""


def run_job(job: Job, connection: Connection) -> None:
    """Do a job to its end. A player's process starts here."""
    wire = Wire(connection)
    try:
        with ServedLog(job.url, job.session_id) if job.url else OpLog(job.root, job.session_id) as log:
            try:
                wire.wait_for_start()
                job.task(log, wire)
                wire.report()
            except MuseError as error:
                wire.send(Failed(str(error)))
    except ParentGoneError:
        return


@dataclass(frozen=True, slots=True)
class Play:
    """A task: several parts at once, each at `rate` edits a second of its own (None: as fast as it goes)."""

    parts: tuple[Part, ...]
    rate: float | None

    def __call__(self, log: Playable, wire: Wire) -> None:
        # Deadlines are absolute: what one edit is late, the next ones make up for.
        start = time.monotonic()
        step = 1 / self.rate if self.rate else 0.0
        due = [(start, 0, index) for index, part in enumerate(self.parts) if part.ops]
        heapq.heapify(due)
        while due:
            at, position, index = heapq.heappop(due)
            part = self.parts[index]
            wait_until(at, wire)
            entry = log.record(part.actor_id, DOMAIN, part.ops[position])
            wire.acknowledge(part.actor_id, entry["op_id"])
            if position + 1 < len(part.ops):
                heapq.heappush(due, (start + (position + 1) * step, position + 1, index))
            else:
                wire.report()
                wire.send(Finished(part.actor_id, len(part.ops), time.monotonic() - start))


def wait_until(at: float, wire: Wire) -> None:
    """Sleep until `at`, and go on reporting if that is long."""
    while (left := at - time.monotonic()) > 0:
        if left > _REPORT_SECONDS:
            wire.report()
        time.sleep(min(left, _LISTEN_SECONDS))


@dataclass(frozen=True, slots=True)
class Answer:
    """A task: an actor that follows the log live and answers what it hears.

    `hear` is given each op of the session and returns the ops to make of it, until `is_done`.
    """

    actor_id: str
    make_listener: Callable[[], "Listener"]

    def __call__(self, log: Playable, wire: Wire) -> None:
        start = time.monotonic()
        edits = 0
        listener = self.make_listener()
        with log.follow(since=0) as follower:
            while not listener.is_done:
                entry = follower.next_within(_LISTEN_SECONDS)
                if entry is None:
                    wire.report()
                    continue
                for op in listener.hear(entry["domain_op"]) if entry["actor_id"] != self.actor_id else ():
                    answer = log.record(self.actor_id, DOMAIN, op, parent_op_ids=(entry["op_id"],))
                    wire.acknowledge(self.actor_id, answer["op_id"])
                    edits += 1
        wire.report()
        wire.send(Finished(self.actor_id, edits, time.monotonic() - start))


class Listener:
    """Hears the ops of others and answers them. Subclasses must be importable by name."""

    @property
    def is_done(self) -> bool:
        """Whether everything was heard, and answered."""
        raise NotImplementedError

    def hear(self, op: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
        """Return the ops that answer `op`."""
        raise NotImplementedError
