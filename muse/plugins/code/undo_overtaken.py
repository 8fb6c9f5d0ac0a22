"""Finds the words that stay away although what took them is taken back: others went on where they were. Pure.

It is asked for one answer to the question which ops count, so it is the same in whatever order ops are taken
back, and the words come once those others are taken back too.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import accumulate
from typing import NamedTuple

from muse.plugins.code.deeds import Deed
from muse.plugins.code.undo_held import Held
from muse.plugins.code.undo_lives import NEVER
from muse.plugins.code.undo_passed import Passed, Replacements, first_of
from muse.plugins.code.update import Id

HELD = "others wrote in it: it stays as it is"
"""Why what an op changed in a line stays as it is."""


class Overtaking(NamedTuple):
    """Why words stay away, and the op of others that it is owed to."""

    reason: str
    deed: Deed


class Overtaken:
    """The words of a text that others went on without, for one answer to the question which ops count.

    `staying` are the characters that stay in what an op changed in a line, with the op of others in it.
    """

    def __init__(
        self,
        characters: Sequence[Passed],
        replacements: Replacements,
        counts: Callable[[Deed | None], bool],
    ) -> None:
        self._characters = characters
        self._places = {one.identity: place for place, one in enumerate(characters)}
        held = Held(characters, replacements, counts)
        self.staying = {characters[place].identity: deed for place, deed in held.staying.items()}
        self._held = held.away
        self._rewriters = _rewriters(characters, replacements, counts, held.away)
        self._gone_lines = _GoneLines(characters, counts)

    def by(self, identity: Id, went: int) -> Overtaking | None:
        """Return by what a character is overtaken that went at a place; None for one that may come again.

        It is not by an op that was made where it was there: an undoing had brought it back until then.
        """
        place = self._places.get(identity)
        if place is None:
            return None
        for reason, deed in (
            ("others changed what came in its place: it stays away", self._rewriters.get(place)),
            ("others deleted the line: it stays deleted", self._gone_lines.deleter(place, went)),
        ):
            if deed is not None and not self._characters[place].was_there(deed.place):
                return Overtaking(reason, deed)
        return Overtaking(HELD, self._held[place]) if place in self._held else None


def _rewriters(
    characters: Sequence[Passed],
    replacements: Replacements,
    counts: Callable[[Deed | None], bool],
    away: Mapping[int, Deed],
) -> dict[int, Deed]:
    """Return, of each character that no op took that counts, the last of those that took what came instead.

    What came instead may have been replaced in turn by an op that does not count: then it is what came
    instead of that. A character of which some of that was left is not in it.
    """
    takers: dict[int, Deed] = {}  # of a character, or of what came instead of it
    rewriters: dict[int, Deed] = {}
    known: dict[tuple[str, int], Deed | None] = {}
    taken = (place for place, one in enumerate(characters) if one.deleters)
    last_first = sorted(taken, key=lambda place: characters[place].lives[0], reverse=True)
    for place in last_first:
        one = characters[place]
        if (first := first_of(one.deleters, counts)) is not None:
            takers[place] = first
            continue
        for deed in one.deleters:
            change = replacements.change_at(deed, place)
            if change is None or not change.brought:
                continue
            key = deed.op_id, change.first
            if key not in known:
                known[key] = _last_of_all(takers.get(brought) for brought in change.brought)
            if (found := known[key]) is not None:
                takers[place] = rewriters[place] = found
                break
        else:
            if place in away:
                takers[place] = away[place]
    return rewriters


def _last_of_all(deeds: Iterable[Deed | None]) -> Deed | None:
    """Return the last of some deeds; None where one is missing."""
    last: Deed | None = None
    for deed in deeds:
        if deed is None:
            return None
        last = deed if last is None or deed.place > last.place else last
    return last


class _LineEnd(NamedTuple):
    """A line end of an op that counts: its place, and since when it is deleted by which op that counts."""

    place: int
    since: int
    deleter: Deed | None


class _GoneLines:
    """The lines of a text of which nothing is left.

    A line of which words had gone is deleted where others deleted its end since, or the one before it with
    more of the line, and nothing is left that anybody wrote in it and nobody deleted. Words that come again
    would else be in the line before or the next one.
    """

    def __init__(self, characters: Sequence[Passed], counts: Callable[[Deed | None], bool]) -> None:
        self._characters = characters
        self._line_ends: list[_LineEnd] = []
        staying: list[bool] = []
        for place, one in enumerate(characters):
            first = first_of(one.deleters, counts)
            is_brought = counts(one.bringer)
            may_come = is_brought and bool(one.deleters)
            staying.append(first is None and not may_come and (one.is_present or one.bringer is not None))
            if one.is_end and is_brought:
                self._line_ends.append(_LineEnd(place, NEVER if first is None else first.place, first))
        self._staying = [0, *accumulate(staying)]  # how many are before each place
        self._known: dict[tuple[int, int], Deed | None] = {}

    def deleter(self, place: int, went: int) -> Deed | None:
        """Return what deleted the line in which a character was when it went, None where that is there."""
        number = bisect_left(self._line_ends, place, key=lambda end: end.place)
        if (number, went) not in self._known:
            self._known[number, went] = self._deleter_between(number, went)
        return self._known[number, went]

    def _deleter_between(self, number: int, went: int) -> Deed | None:
        """Return the same for a character between a line end of this number and the one before it."""
        ends = self._line_ends
        before = next((ends[one] for one in range(number - 1, -1, -1) if ends[one].since > went), None)
        behind = next((ends[one] for one in range(number, len(ends)) if ends[one].since > went), None)
        first = 0 if before is None else before.place + 1
        last = len(self._characters) if behind is None else behind.place
        if self._staying[last] > self._staying[first]:
            return None
        if behind is not None and behind.deleter is not None:
            return behind.deleter
        if before is not None and before.deleter is not None:
            deed = before.deleter  # of its own line end alone, it would have deleted the line before
            line = self._characters[first:last]
            return deed if any(deed in one.deleters for one in line) else None
        return None
