"""Finds what an undoing brought back, in the file as it was before the undone op. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from muse.domain import UNDO_INTENT, Origin
from muse.plugins.code.bounded_matcher import BoundedMatcher
from muse.plugins.op_fields import undone_by

LINE = "line "
"""Begins the address of a line, which is only its number: lines are known by their text."""

Listing = Sequence[Origin]
Step = tuple[str, int, int, int, int]
_REMEMBERED = 256


@dataclass(frozen=True, slots=True)
class Sought:
    """A part that an undoing brought back: `after` is the file then, `place` where the part is in it.

    Before one of the ops `undone` it may be found as it was, with those who made and changed it.
    """

    undone: tuple[str, ...]
    after: Listing
    place: int


def taken_back_by(entry: Mapping[str, Any]) -> list[str]:
    """Return the ids of the ops that an entry takes back; none if it is no undoing."""
    is_undoing = entry["intent_id"].startswith(UNDO_INTENT)
    return undone_by(entry["domain_op"]) or (list(entry["parent_op_ids"]) if is_undoing else [])


class Alignment:
    """Finds parts of one listing of a file in another. It remembers what it compared last."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, int], tuple[Listing, Listing, Sequence[Step]]] = {}
        self._places: dict[int, tuple[Listing, dict[str, int]]] = {}

    def place_in(self, listing: Listing, address: str) -> int | None:
        """Return where the part of an address is in a listing."""
        if id(listing) not in self._places:
            if len(self._places) >= _REMEMBERED:
                self._places.clear()
            numbered = zip(range(len(listing) - 1, -1, -1), reversed(listing), strict=True)
            self._places[id(listing)] = listing, {part.address: place for place, part in numbered}
        return self._places[id(listing)][1].get(address)

    def same(self, now: Listing, place: int, other: Listing) -> int | None:
        """Return where a part is in another listing of its file, with the same content."""
        return self._find(now, place, other, may_differ=False)

    def traced(self, now: Listing, place: int, before: Listing) -> int | None:
        """Return where a part was before, though its content may have been another."""
        return self._find(now, place, before, may_differ=True)

    def _find(self, now: Listing, place: int, other: Listing, *, may_differ: bool) -> int | None:
        part = now[place]
        if not part.address.startswith(LINE):
            found = self.place_in(other, part.address)
            is_same = found is not None and (may_differ or other[found].summary == part.summary)
            return found if is_same else None
        for tag, start, end, first, last in self._steps(now, other):
            if start <= place < end:
                fits = tag == "equal" or (may_differ and tag == "replace" and end - start == last - first)
                return first + place - start if fits else None
        return None

    def _steps(self, now: Listing, other: Listing) -> Sequence[Step]:
        key = id(now), id(other)
        if key not in self._known:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            texts = [one.summary for one in now], [one.summary for one in other]
            self._known[key] = now, other, BoundedMatcher(*texts, autojunk=True).get_opcodes()
        return self._known[key][2]
