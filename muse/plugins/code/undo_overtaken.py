"""Finds the words that stay away although what took them is taken back: others went on where they were. Pure.

It is asked for one answer to the question which ops count, so it is the same in whatever order ops are taken
back, and the words come once those others are taken back too.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
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

    def __init__(self, characters: Sequence[Passed], counts: Callable[[Deed | None], bool]) -> None:
        self._counts = counts
        self._places = {one.identity: place for place, one in enumerate(characters)}
        self._replacements = _Replacements(characters)
        self._gone_lines = _GoneLines(characters, counts)
        self._characters = characters

    def by(self, identity: Id, went: int) -> Overtaking | None:
        """Return by what a character is overtaken that went at a place; None for one that may come again."""
        place = self._places.get(identity)
        if place is None:
            return None
        one = self._characters[place]
        for deed in one.deleters:
            if (other := self._rewriter(self._replacements.of(deed).get(place, ()))) is not None:
                return Overtaking("others changed what came in its place: it stays away", other)
        deleter = self._gone_lines.deleter(place, went)
        return None if deleter is None else Overtaking("others deleted the line: it stays deleted", deleter)

    def _rewriter(self, replacement: Sequence[int]) -> Deed | None:
        """Return the last of those that took a replacement away, None where some of it was left."""
        last: Deed | None = None
        for place in replacement:
            first = _first(self._characters[place].deleters, self._counts)
            if first is None:
                return None
            last = first if last is None or first.place > last.place else last
        return last


def _first(deeds: Sequence[Deed], counts: Callable[[Deed | None], bool]) -> Deed | None:
    return min(filter(counts, deeds), key=lambda deed: deed.place, default=None)


class _Replacements:
    """What ops brought in the place of what they took away."""

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

    A line of which words had gone is deleted where others deleted more of it since, and a line end of it, and
    nothing is left that anybody wrote in it and nobody deleted. Words that come again would else be in the
    line before or the next one.
    """

    def __init__(self, characters: Sequence[Passed], counts: Callable[[Deed | None], bool]) -> None:
        self._characters = characters
        self._lost: list[int] = []  # since when each is deleted by an op that counts, or -1
        self._line_ends: list[_LineEnd] = []
        staying: list[bool] = []
        for place, one in enumerate(characters):
            first = _first(one.deleters, counts)
            is_brought = counts(one.bringer)
            may_come = is_brought and bool(one.deleters)
            staying.append(first is None and not may_come and (one.is_present or one.bringer is not None))
            self._lost.append(-1 if first is None else first.place)
            if one.is_end and is_brought:
                self._line_ends.append(_LineEnd(place, NEVER if first is None else first.place, first))
        self._staying = [0, *accumulate(staying)]  # how many are before each place
        self._known: dict[tuple[int, int, int], Deed | None] = {}

    def deleter(self, place: int, went: int) -> Deed | None:
        """Return what deleted the line in which a character was when it went, None where that is there."""
        ends = self._line_ends
        number = bisect_left(ends, place, key=lambda end: end.place)
        before = next((ends[one] for one in range(number - 1, -1, -1) if ends[one].since > went), None)
        behind = next((ends[one] for one in range(number, len(ends)) if ends[one].since > went), None)
        first = 0 if before is None else before.place + 1
        last = len(self._lost) if behind is None else behind.place
        key = first, last, went
        if key not in self._known:
            self._known[key] = self._deleter(range(first, last), went, before, behind)
        return self._known[key]

    def _deleter(
        self, line: range, went: int, before: _LineEnd | None, behind: _LineEnd | None
    ) -> Deed | None:
        if self._staying[line.stop] > self._staying[line.start]:
            return None
        lost = [place for place in line if self._lost[place] > went]
        if lost and behind is not None and behind.deleter is not None:
            return behind.deleter
        if before is not None and before.deleter is not None:
            deed = before.deleter  # of its own line end alone, it would have deleted the line before
            return deed if any(deed in self._characters[place].deleters for place in lost) else None
        return None
