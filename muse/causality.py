"""What came before what: causes named as parents, and what an author can have known. Pure.

Entries are whole log entries, as plain dicts. Of each, only `op_id`, `actor_id` and `parent_op_ids`
are looked at; their order is the caller's, the total order as a rule.
"""

from array import array
from collections.abc import Iterable, Mapping, Sequence
from heapq import heappop, heappush
from typing import Any, TypeVar

from muse.errors import ConflictError

_NAMED_IN_MESSAGE = 3

Entry = TypeVar("Entry", bound=Mapping[str, Any])


class CausalCycleError(ConflictError):
    """Ops that are each a cause of the next, and the last of the first: `op_ids`, the causes first."""

    def __init__(self, op_ids: list[str]) -> None:
        shown = ", ".join(op_ids[:_NAMED_IN_MESSAGE])
        more = f" and {len(op_ids) - _NAMED_IN_MESSAGE} more" if len(op_ids) > _NAMED_IN_MESSAGE else ""
        super().__init__(
            f"ops name one another as parents in a circle: {shown}{more}; no tool of ours writes that: "
            "find the tool that did, and read in the total order meanwhile",
            op_id=op_ids[0],
        )
        self.op_ids = op_ids


def causal_order(entries: Sequence[Entry]) -> list[Entry]:
    """Bring entries, given in the total order, into one where every parent comes before its children.

    The total order is such an order already wherever stamps exceed those of their parents. Where a
    line of another tool breaks that, the entry waits for its parents, and of all that wait for nothing the
    first in the total order comes first: the same on every replica. A parent that is not among
    `entries` holds nobody up. Raises `CausalCycleError` where no order can be found.
    """
    places = {entry["op_id"]: place for place, entry in enumerate(entries)}
    if all(
        places.get(parent, -1) < place
        for place, entry in enumerate(entries)
        for parent in entry["parent_op_ids"]
    ):
        return list(entries)
    parents = [{places[name] for name in entry["parent_op_ids"] if name in places} for entry in entries]
    children: dict[int, list[int]] = {}
    for place, known in enumerate(parents):
        for parent in known:
            children.setdefault(parent, []).append(place)
    missing = list(map(len, parents))
    ready = [place for place, count in enumerate(missing) if not count]
    ordered: list[int] = []
    while ready:
        place = heappop(ready)
        ordered.append(place)
        for child in children.get(place, ()):
            missing[child] -= 1
            if not missing[child]:
                heappush(ready, child)
    if len(ordered) < len(entries):
        raise CausalCycleError([entries[place]["op_id"] for place in _cycle(parents, missing)])
    return [entries[place] for place in ordered]


def _cycle(parents: Sequence[set[int]], missing: Sequence[int]) -> list[int]:
    """Return a circle among the entries that still miss a parent: each has one that does so too."""
    place = next(place for place, count in enumerate(missing) if count)
    trail: dict[int, None] = {}
    while place not in trail:
        trail[place] = None
        place = min(parent for parent in parents[place] if missing[parent])
    passed = list(trail)
    return passed[passed.index(place) :][::-1]


class HeadOps:
    """The ops, of those taken in, that no other rests on: of each actor the last, unless another names it.

    An op rests on its actor's earlier ops and on its parents. It is taken in after those. `heads` are
    those of what was taken in before: op id -> actor, "" where that is not known.
    """

    __slots__ = ("_last", "actors")

    def __init__(self, heads: Mapping[str, str] | None = None) -> None:
        self.actors: dict[str, str] = dict(heads or {})
        """Op id of each head -> its actor; the last one taken in is the last."""
        self._last: dict[str, str] = {actor: op_id for op_id, actor in self.actors.items() if actor}

    def copy(self) -> "HeadOps":
        """Return the same heads, which change on their own from now on."""
        other = HeadOps()
        other.actors, other._last = self.actors.copy(), self._last.copy()
        return other

    def take(self, op_id: str, actor_id: str, parent_op_ids: Iterable[str]) -> bool:
        """Take in an op; return whether it rests on all that were taken in before."""
        self.actors.pop(self._last.get(actor_id, ""), None)
        for parent in parent_op_ids:
            self.actors.pop(parent, None)
        rests_on_all = not self.actors
        self.actors[op_id] = actor_id
        self._last[actor_id] = op_id
        return rests_on_all


def heads_of(entries: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the ids of the entries that no other rests on, the last one last. See `HeadOps`."""
    heads = HeadOps()
    for entry in entries:
        heads.take(entry["op_id"], entry["actor_id"], entry["parent_op_ids"])
    return list(heads.actors)


_MANY = 8  # parents of an entry
_TOLD_KEPT = 1_024
_NOBODY = -1
_Told = dict[tuple[int, tuple[str, ...]], tuple["array[int]", "array[int]"]]
"""What was known, by its identity, and parents -> that, which is so kept, and what is known then."""


class CausalHistory:
    """What each of `entries` was made in knowledge of: a vector of counts for each, shared where equal.

    An entry knows its actor's earlier entries, its parents, and all that those know. An entry is
    earlier if it comes earlier in `entries`; a parent that comes later, or not at all, is unknown.
    Entries are named by their places. Memory: four bytes an actor for each entry that brought its
    actor news of another's, eight bytes for any other.
    """

    __slots__ = ("_actors", "_counts", "_known")

    def __init__(self, entries: Iterable[Mapping[str, Any]]) -> None:
        entries = entries if isinstance(entries, Sequence) else list(entries)
        numbers: dict[str, int] = {}
        self._actors = array("I", (numbers.setdefault(entry["actor_id"], len(numbers)) for entry in entries))
        self._counts = array("I")  # which of its actor's entries each is, from 1
        self._known: list[array[int]] = []  # of each other actor's entries, how many
        made = [0] * len(numbers)
        news = [array("I", bytes(4 * len(numbers)))] * len(numbers)
        places: dict[str, int] = {}
        told: _Told = {}
        for place, entry in enumerate(entries):
            actor, parents = self._actors[place], entry["parent_op_ids"]
            if len(parents) < _MANY:
                news[actor] = self._told_by(news[actor], actor, parents, places)
            else:
                news[actor] = self._told_by_many(news[actor], parents, places, told)
            made[actor] += 1
            self._counts.append(made[actor])
            self._known.append(news[actor])
            places[entry["op_id"]] = place

    def _told_by(
        self, known: "array[int]", actor: int, parents: Iterable[str], places: Mapping[str, int]
    ) -> "array[int]":
        """Return what an actor knows once it knows the parents."""
        for parent in parents:
            if parent in places:
                known = self._joined(known, actor, places[parent])
        return known

    def _told_by_many(
        self, known: "array[int]", parents: Sequence[str], places: Mapping[str, int], told: _Told
    ) -> "array[int]":
        """Return the same; for actors that knew the same, and name the same parents, it is found once."""
        key = id(known), tuple(parents)
        if key in told:
            return told[key][1]
        joined = self._told_by(known, _NOBODY, parents, places)
        if all(parent in places for parent in parents):  # one that comes later is known later
            if len(told) >= _TOLD_KEPT:
                told.clear()
            told[key] = known, joined
        return joined

    def _joined(self, known: "array[int]", actor: int, place: int) -> "array[int]":
        """Return what is known once the entry at `place` is; the same array if it was."""
        maker, count = self._actors[place], self._counts[place]
        if maker == actor or known[maker] >= count:
            return known
        joined = array("I", map(max, known, self._known[place]))
        joined[maker] = count
        return joined

    def knows(self, later: int, earlier: int) -> bool:
        """Tell whether the author of the entry at `later` had seen that at `earlier`, or it is the same."""
        maker = self._actors[earlier]
        if maker == self._actors[later]:
            return earlier <= later
        return self._known[later][maker] >= self._counts[earlier]
