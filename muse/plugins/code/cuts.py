"""What was deleted from a text, by the ids of its characters, and which edit did it first. Pure."""

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field

from muse.plugins.code.lines import Line
from muse.plugins.code.update import Id, Update


@dataclass(frozen=True, slots=True, eq=False)
class Cut:
    """An edit that deleted: its place, the first line that it touched, and whether it wrote nothing."""

    place: int
    line: Line
    only_cuts: bool


@dataclass(slots=True)
class Cuts:
    """Ranges of ids, none of them twice: client -> where they start, and end, and what deleted them."""

    _starts: dict[int, list[int]] = field(default_factory=dict)
    _ends: dict[int, list[tuple[int, Cut]]] = field(default_factory=dict)

    def add(self, update: Update, cut: Cut) -> None:
        """Note what the update deletes, as far as nothing did before."""
        for client, clock, length in update.deletes:
            starts, ends = self._starts.setdefault(client, []), self._ends.setdefault(client, [])
            begin, end = clock, clock + length
            for first, stop, _ in [*self._in(client, begin, end), (end, end, cut)]:
                if begin < first:
                    place = bisect_right(starts, begin)
                    starts.insert(place, begin)
                    ends.insert(place, (first, cut))
                begin = max(begin, stop)

    def met_by(self, update: Update) -> list[Cut]:
        """List the edits that deleted what the update deletes too, or both neighbours of its text."""
        ranges = (self._in(client, clock, clock + length) for client, clock, length in update.deletes)
        found = dict.fromkeys(cut for each in ranges for _, _, cut in each)
        if update.left and update.right:
            left, right = (self._at(neighbour) for neighbour in (update.left, update.right))
            if left and right:
                found |= dict.fromkeys((left, right))
        return list(found)

    def _at(self, identity: Id) -> Cut | None:
        client, clock = identity
        return next((cut for _, _, cut in self._in(client, clock, clock + 1)), None)

    def _in(self, client: int, start: int, end: int) -> Iterator[tuple[int, int, Cut]]:
        starts, ends = self._starts.get(client, []), self._ends.get(client, [])
        place = max(bisect_right(starts, start) - 1, 0)
        while place < len(starts) and starts[place] < end:
            stop, cut = ends[place]
            if stop > start:
                yield starts[place], stop, cut
            place += 1
