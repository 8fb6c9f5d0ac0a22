"""Which characters of a text were deleted, by their ids, and which edit deleted each first. Pure."""

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field

from muse.plugins.code.lines import TracedLine
from muse.plugins.code.update import Id, Update


@dataclass(frozen=True, slots=True, eq=False)
class Deletion:
    """An edit that deleted text: its place, the first line that it touched, and whether it wrote nothing."""

    place: int
    line: TracedLine
    only_deletes: bool


@dataclass(slots=True)
class Deletions:
    """Ranges of deleted ids, each once: client -> where they start and end, and which edit deleted them."""

    _starts: dict[int, list[int]] = field(default_factory=dict)
    _ends: dict[int, list[tuple[int, Deletion]]] = field(default_factory=dict)

    def add(self, update: Update, deletion: Deletion) -> None:
        """Note what the update deletes and no earlier edit did."""
        for client, clock, length in update.deletes:
            starts, ends = self._starts.setdefault(client, []), self._ends.setdefault(client, [])
            begin, end = clock, clock + length
            for first, stop, _ in [*self._in(client, begin, end), (end, end, deletion)]:
                if begin < first:
                    place = bisect_right(starts, begin)
                    starts.insert(place, begin)
                    ends.insert(place, (first, deletion))
                begin = max(begin, stop)

    def met_by(self, update: Update) -> list[Deletion]:
        """List the edits that deleted the same characters as the update, or both neighbours of its text."""
        ranges = (self._in(client, clock, clock + length) for client, clock, length in update.deletes)
        found = dict.fromkeys(deletion for each in ranges for _, _, deletion in each)
        if update.left and update.right:
            left, right = (self._at(neighbour) for neighbour in (update.left, update.right))
            if left and right:
                found |= dict.fromkeys((left, right))
        return list(found)

    def _at(self, identity: Id) -> Deletion | None:
        client, clock = identity
        return next((deletion for _, _, deletion in self._in(client, clock, clock + 1)), None)

    def _in(self, client: int, start: int, end: int) -> Iterator[tuple[int, int, Deletion]]:
        starts, ends = self._starts.get(client, []), self._ends.get(client, [])
        place = max(bisect_right(starts, start) - 1, 0)
        while place < len(starts) and starts[place] < end:
            stop, deletion = ends[place]
            if stop > start:
                yield starts[place], stop, deletion
            place += 1
