"""Finds the lines that stay whole although the op that brought them is taken back. Pure.

A line is up to its line end, with it. An edit of whole lines may have brought the same text as from the
middle of one line to the middle of another (`x = 1⏎    ` behind an indent, for `    x = 1⏎` before it): what
is looked at here is moved to the start of the line where that makes no difference to the text.
"""

from bisect import bisect_right
from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

Life = tuple[int, int]
"""The places between which a character was there: it came with the first, and went with the second."""

_LEFT, _WHOLE, _GONE = range(3)  # a line of which characters go, if any; one that stays; one that goes


class Standing(NamedTuple):
    """A character of a text: the place of the op that brought it, and whether that op is taken back.

    `lives` say when it was there, if it is taken back.
    """

    text: str
    place: int
    is_taken: bool
    lives: tuple[Life, ...] = ()


class KeptLine(NamedTuple):
    """The numbers of the characters in a line that stay although they are taken back, and of the others."""

    taken: list[int]
    others: list[int]


def kept_lines(characters: Sequence[Standing]) -> list[KeptLine]:
    """List the lines that hold what is taken back, and stay: others wrote in them after that.

    The last of `characters` is the end of the text, as a line end. A line that has something from before what
    is taken back is one of others: it loses what is taken back by character.
    """
    blocks = list(_blocks(characters))
    touched = [block for block in blocks if not all(characters[place].is_taken for place in range(*block))]
    return _StandingLines(characters, touched).kept() if touched else []


def _blocks(characters: Sequence[Standing]) -> Iterator[tuple[int, int]]:
    """Yield the stretches of what is taken back, with what was written in and beside it since."""
    start, lives = -1, set[Life]()
    for place, character in enumerate(characters):
        if character.is_taken:
            if start < 0:
                start = place
                while start and _is_since(characters[start - 1], character.lives):
                    start -= 1
            lives.update(character.lives)
        elif start >= 0 and not _is_since(character, lives):
            yield start, place
            start, lives = -1, set()
    if start >= 0:
        yield start, len(characters)


def _is_since(character: Standing, lives: Collection[Life]) -> bool:
    """Tell whether a character is of another, written while what has these lives was there."""
    return not character.is_taken and any(first < character.place < last for first, last in lives)


class _StandingLines:
    """A text by its lines. `owners` are the characters as they are once blocks start with a line."""

    def __init__(self, characters: Sequence[Standing], blocks: Sequence[tuple[int, int]]) -> None:
        self._characters = characters
        self._texts = [character.text for character in characters]
        ends = [place + 1 for place, text in enumerate(self._texts) if text == "\n"]
        self._starts = [0, *ends[:-1]]
        self._ends = ends
        self._owners = list(characters)
        for block in blocks:
            self._align_block(*block)
        for block in blocks:
            for run in self._runs_of_others(*block):
                self._align(*run, is_taken=False)
        self._kinds = [self._kind(*line) for line in zip(self._starts, self._ends, strict=True)]

    def kept(self) -> list[KeptLine]:
        staying = self._staying()
        found = []
        for start, end in zip(self._starts, self._ends, strict=True):
            taken = [place for place in range(start, end) if place in staying]
            if taken:
                others = [place for place in range(start, end) if not self._characters[place].is_taken]
                found.append(KeptLine(taken, others))
        return found

    # -- whose each line is ---------------------------------------------------------------------

    def _align_block(self, start: int, end: int) -> None:
        """Align a block, with or without what others wrote at its start and its end."""
        taken = [place for place in range(start, end) if self._characters[place].is_taken]
        starts, ends = dict.fromkeys((start, taken[0])), dict.fromkeys((end, taken[-1] + 1))
        if not any(self._align(first, last, is_taken=True) for last in ends for first in starts):
            self._align_around_others(taken)

    def _align_around_others(self, taken: Sequence[int]) -> None:
        """Align what is taken back of a block as if others had written nothing in the text that it shares."""
        begin = self._starts[bisect_right(self._starts, taken[0]) - 1]
        length = taken[0] - begin
        texts = [self._texts[place] for place in taken]
        if (
            0 < length < len(taken)
            and texts[-length - 1] == "\n"
            and texts[-length:] == self._texts[begin : taken[0]]
        ):
            for one, other in zip(range(begin, taken[0]), taken[-length:], strict=True):
                self._owners[one], self._owners[other] = self._owners[other], self._owners[one]

    def _align(self, start: int, end: int, *, is_taken: bool) -> bool:
        """Let a stretch own the same text from the start of a line to the start of another, if it can.

        Return whether it does so now.
        """
        texts = self._texts
        begin = self._starts[bisect_right(self._starts, start) - 1]
        length = start - begin
        if not length:
            return end > start and texts[end - 1] == "\n"
        last = end - length
        if last >= start and texts[last - 1] == "\n" and texts[begin:start] == texts[last:end]:
            return self._swap(begin, last, length, own=last, is_taken=is_taken)
        length = self._ends[bisect_right(self._ends, start)] - start
        if start + length <= end and texts[start : start + length] == texts[end : end + length]:
            return self._swap(start, end, length, own=start, is_taken=is_taken)
        return False

    def _swap(self, one: int, other: int, length: int, *, own: int, is_taken: bool) -> bool:
        """Exchange the owners of two pieces, unless the one in the stretch, at `own`, is not of its kind."""
        owners = self._owners
        if any(self._characters[place].is_taken != is_taken for place in range(own, own + length)):
            return False
        first, second = owners[one : one + length], owners[other : other + length]
        owners[one : one + length], owners[other : other + length] = second, first
        return True

    def _runs_of_others(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        first = start
        for place in range(start, end + 1):
            if place == end or self._characters[place].is_taken:
                if first < place:
                    yield first, place
                first = place + 1

    def _kind(self, start: int, end: int) -> int:
        owners = self._owners[start:end]
        lives = {stretch for owner in owners if owner.is_taken for stretch in owner.lives}
        others = {owner.place: owner for owner in owners if not owner.is_taken}
        if not lives:
            return _LEFT
        if not others:
            return _GONE
        return _WHOLE if all(_is_since(other, lives) for other in others.values()) else _LEFT

    # -- what stays of it -----------------------------------------------------------------------

    def _staying(self) -> set[int]:
        """Return the numbers of the characters that stay although they are taken back."""
        staying = set[int]()
        for line, kind in enumerate(self._kinds):
            places = range(self._starts[line], self._ends[line])
            if kind == _WHOLE:
                staying.update(places)
                staying |= self._line_end_before(line)
            elif kind == _LEFT:
                staying.update(place for place in places if not self._owners[place].is_taken)
        for start, end in self._gone():
            staying.update(range(start, end))
            staying.difference_update(self._as_taken(start, end, staying))
        return {place for place in staying if self._characters[place].is_taken}

    def _line_end_before(self, line: int) -> set[int]:
        """Return what must stay of the lines around a whole one, so that it is a line of its own."""
        before = line - 1
        while before >= 0 and self._kinds[before] == _GONE:
            before -= 1
        if before < 0 or self._kinds[before] != _LEFT:
            return set()
        end = self._ends[before]
        places = range(self._starts[before], end)
        rest = [self._texts[place] for place in places if not self._owners[place].is_taken]
        if not self._owners[end - 1].is_taken or "".join(rest).strip():
            return {end - 1}
        return {
            *places,
            *self._indent_behind(line),
        }  # else the indent of a line of others would be left in it

    def _indent_behind(self, line: int) -> Iterator[int]:
        """Yield the indent of the next line of which characters go."""
        while line < len(self._kinds) and self._kinds[line] != _LEFT:
            line += 1
        for place in range(self._starts[line], self._ends[line]) if line < len(self._kinds) else ():
            if self._texts[place] not in {" ", "\t"}:
                return
            yield place

    def _gone(self) -> Iterator[tuple[int, int]]:
        """Yield where lines go that are side by side."""
        start = -1
        for line, kind in enumerate([*self._kinds, _LEFT]):
            if kind == _GONE:
                start = line if start < 0 else start
            elif start >= 0:
                yield self._starts[start], self._ends[line - 1]
                start = -1

    def _as_taken(self, start: int, end: int, staying: set[int]) -> range:
        """Return what goes in place of whole lines: as long, as good, and without others' characters."""
        others = [place for place in range(start, end) if not self._characters[place].is_taken]
        if not others:
            return range(start, end)
        texts = self._texts
        shift = others[-1] + 1 - start
        if texts[start : start + shift] == texts[end : end + shift] and self._stay(end, end + shift, staying):
            return range(start + shift, end + shift)
        shift = end - others[0]
        first = start - shift
        if (
            first >= 0
            and texts[first:start] == texts[end - shift : end]
            and self._stay(first, start, staying)
        ):
            return range(first, end - shift)
        return range(0)

    def _stay(self, start: int, end: int, staying: set[int]) -> bool:
        return all(
            self._characters[place].is_taken and place in staying and self._texts[place]
            for place in range(start, end)
        )
