"""What is to be typed again: steps of actors, each made with certain earlier steps in view."""

import heapq
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

CONDUCTOR = "conductor"  # lays out what was there before the first commit
Patch = tuple[int, int, str]
"""Position, how many code points go, the text that comes; of several, each counts on those before it."""


def agent_id(agent: int) -> str:
    """Name one of several agents that type a text; they count from 0."""
    return f"agent-{agent + 1}"


@dataclass(frozen=True, slots=True)
class Edit:
    """Changes within the text of a file."""

    path: str
    patches: Sequence[Patch]


@dataclass(frozen=True, slots=True)
class Create:
    """A new file."""

    path: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Write:
    """Other content of a file; of a text, only what differs is edited."""

    path: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Move:
    """A file gets another path."""

    path: str
    to_path: str


@dataclass(frozen=True, slots=True)
class Remove:
    """A file is removed."""

    path: str


Change = Edit | Create | Write | Move | Remove


@dataclass(frozen=True, slots=True)
class ScriptStep:
    """What an actor does at once.

    `parents` are places of earlier steps: they, and all that they had in view, are what the actor sees.
    An actor has all its own earlier steps in view.
    """

    actor_id: str
    parents: tuple[int, ...]
    changes: tuple[Change, ...]

    @property
    def size(self) -> int:
        """The number of its edits."""
        return sum(len(change.patches) if isinstance(change, Edit) else 1 for change in self.changes)


@dataclass(frozen=True, slots=True)
class Script:
    """The steps, and their outcome: `wanted` is path -> content. `remarks` are for people."""

    title: str
    steps: tuple[ScriptStep, ...]
    wanted: Mapping[str, bytes]
    remarks: tuple[str, ...] = field(default=())


def edits_of(steps: Iterable[ScriptStep]) -> dict[str, int]:
    """Count the edits of each actor, in the order in which they first appear."""
    edits: dict[str, int] = {}
    for step in steps:
        edits[step.actor_id] = edits.get(step.actor_id, 0) + step.size
    return edits


def schedule(steps: Sequence[ScriptStep], rate: float | None) -> Iterator[tuple[float, int]]:
    """Yield (seconds after the start, place of the step), each step after its parents.

    Each actor makes `rate` edits a second, or all of them as soon as they can be (None).
    """
    if rate is None:
        yield from ((0.0, place) for place in range(len(steps)))
        return
    due: list[float] = []
    free: dict[str, float] = {}
    for step in steps:
        at = max([free.get(step.actor_id, 0.0), *(due[parent] for parent in step.parents)])
        due.append(at)
        free[step.actor_id] = at + step.size / rate
    order = [(at, place) for place, at in enumerate(due)]
    heapq.heapify(order)
    while order:
        yield heapq.heappop(order)
