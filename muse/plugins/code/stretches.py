"""Stretches of ids, which cost what their ends do, however long they are. Pure."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator

from muse.plugins.code.update import Id

Stretch = tuple[int, int, int]
"""A client, the first clock, and how many there are."""


class Marks:
    """Ids that can be asked for by stretch."""

    def __init__(self, identities: Iterable[Id]) -> None:
        clocks: dict[int, set[int]] = {}
        for client, clock in identities:
            clocks.setdefault(client, set()).add(clock)
        self._clocks = {client: sorted(found) for client, found in clocks.items()}

    def within(self, stretch: Stretch) -> Iterator[Id]:
        """Yield those that are in a stretch, in the order of their clocks."""
        client, clock, length = stretch
        known = self._clocks.get(client, [])
        for number in known[bisect_left(known, clock) : bisect_left(known, clock + length)]:
            yield client, number


class Stretches:
    """Which ids are in one of some stretches."""

    def __init__(self) -> None:
        self._ends: dict[int, list[tuple[int, int]]] = {}  # by client, none of which meet

    def add(self, client: int, start: int, end: int) -> None:
        """Take in the ids from `start` to before `end`."""
        known = self._ends.setdefault(client, [])
        first = bisect_left(known, start, key=lambda found: found[1])
        last = bisect_right(known, end, key=lambda found: found[0])
        if first < last:
            start, end = min(start, known[first][0]), max(end, known[last - 1][1])
        known[first:last] = [(start, end)]

    def __contains__(self, identity: Id) -> bool:
        client, clock = identity
        known = self._ends.get(client, [])
        place = bisect_right(known, clock, key=lambda found: found[0]) - 1
        return place >= 0 and clock < known[place][1]


def edges(stretches: Iterable[Stretch]) -> Iterator[Id]:
    """Yield the first id of each stretch, and the one behind it."""
    for client, clock, length in stretches:
        yield client, clock
        yield client, clock + length
