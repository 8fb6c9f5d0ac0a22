"""Finds the words that stay away although what took them is taken back: others went on where they were. Pure.

It is asked for one answer to the question which ops count, so it is the same in whatever order ops are taken
back, and the words come once those others are taken back too.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate
from typing import NamedTuple

from muse.plugins.code.deeds import Deed
from muse.plugins.code.undo_lines import Life
from muse.plugins.code.undo_lives import NEVER
from muse.plugins.code.update import Id


class Passed(NamedTuple):
    """What a character of a text and its copies, which are beside it, have gone through.

    `lives` say when one of them was there. `bringer` brought the first, None if it was there before, and the
    `deleters` took one away. None of these is an undoing.
    """

    identity: Id
    is_end: bool
    is_present: bool
    lives: Sequence[Life]
    bringer: Deed | None
    deleters: Sequence[Deed]


class Overtaking(NamedTuple):
    """Why words stay away, and the op of others that it is owed to."""

    reason: str
    deed: Deed


class Overtaken:
    """The words of a text that others went on without, for one answer to the question which ops count."""

    def __init__(
        self,
        characters: Sequence[Passed],
        replacements: "Replacements",
        counts: Callable[[Deed | None], bool],
    ) -> None:
        self._places = {one.identity: place for place, one in enumerate(characters)}
        self._rewriters = _rewriters(characters, replacements, counts)
        self._gone_lines = _GoneLines(characters, counts)

    def by(self, identity: Id, went: int) -> Overtaking | None:
        """Return by what a character is overtaken that went at a place; None for one that may come again."""
        place = self._places.get(identity)
        if place is None:
            return None
        if place in self._rewriters:
            return Overtaking("others changed what came in its place: it stays away", self._rewriters[place])
        deleter = self._gone_lines.deleter(place, went)
        return None if deleter is None else Overtaking("others deleted the line: it stays deleted", deleter)


def _rewriters(
    characters: Sequence[Passed], replacements: "Replacements", counts: Callable[[Deed | None], bool]
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
        if (first := _first(one.deleters, counts)) is not None:
            takers[place] = first
            continue
        for deed in one.deleters:
            instead = replacements.of(deed).get(place)
            if not instead:
                continue
            key = deed.op_id, instead[0]
            if key not in known:
                known[key] = _last_of(takers.get(brought) for brought in instead)
            if (found := known[key]) is not None:
                takers[place] = rewriters[place] = found
                break
    return rewriters


def _last_of(deeds: Iterable[Deed | None]) -> Deed | None:
    """Return the last of some deeds; None where one is missing."""
    last: Deed | None = None
    for deed in deeds:
        if deed is None:
            return None
        last = deed if last is None or deed.place > last.place else last
    return last


def _first(deeds: Sequence[Deed], counts: Callable[[Deed | None], bool]) -> Deed | None:
    return min(filter(counts, deeds), key=lambda deed: deed.place, default=None)


class Replacements:
    """What ops brought in the place of what they took away, whether they count or not."""

    def __init__(self, characters: Sequence[Passed]) -> None:
        self._characters = characters
        self._taken: dict[str, list[int]] = {}
        self._brought: dict[str, list[int]] = {}
        for place, one in enumerate(characters):
            for deed in one.deleters:
                self._taken.setdefault(deed.op_id, []).append(place)
            if one.bringer is not None:
                self._brought.setdefault(one.bringer.op_id, []).append(place)
        self._known: dict[str, dict[int, list[int]]] = {}

    def of(self, deed: Deed) -> dict[int, list[int]]:
        """Return, for each place where an op took something, the places of what it brought there instead."""
        if deed.op_id not in self._known:
            taken, brought = self._taken.get(deed.op_id, []), self._brought.get(deed.op_id, [])
            self._known[deed.op_id] = found = dict[int, list[int]]()
            for run in self._runs(sorted((*taken, *brought)), deed.place) if brought else ():
                own = [place for place in run if self._characters[place].bringer is deed]
                found |= dict.fromkeys(run, own)
        return self._known[deed.op_id]

    def _runs(self, places: Sequence[int], when: int) -> Iterator[list[int]]:
        """Yield the places between which nothing was there at the time."""
        run: list[int] = []
        for place in places:
            between = range(run[-1] + 1, place) if run else ()
            if any(came < when < went for one in between for came, went in self._characters[one].lives):
                yield run
                run = []
            run.append(place)
        if run:
            yield run


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
            first = _first(one.deleters, counts)
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
