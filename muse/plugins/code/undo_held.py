"""Finds the changes inside lines that stay whole although they are taken back: others wrote in them. Pure.

What such a change brought stays, and what it took stays away. The words of others would else be beside words
that they never saw, or in the midst of them.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise

from muse.plugins.code.deeds import Deed
from muse.plugins.code.undo_passed import Change, Passed, Replacements, last_of

Counts = Callable[[Deed | None], bool]


class Held:
    """The changes inside lines in which others wrote, for one answer to the question which ops count.

    Once others wrote in one change, all that its actor had changed in the line stays. `staying` are the
    places of characters that such changes brought, and `away` of those that they took, each with the last op
    of others.
    """

    def __init__(self, characters: Sequence[Passed], replacements: Replacements, counts: Counts) -> None:
        self.staying: dict[int, Deed] = {}
        self.away: dict[int, Deed] = {}
        self._characters, self._replacements, self._counts = characters, replacements, counts
        self._stays = [not any(map(counts, one.deleters)) for one in characters]
        self._shown = [
            stays and counts(one.bringer) for one, stays in zip(characters, self._stays, strict=True)
        ]
        self._writers: dict[tuple[str, int], Deed] = {}  # of each change of an op, who wrote in it last
        deeds = sorted(self._asked(), key=lambda deed: deed.place, reverse=True)
        lines = list(self._lines(deed for deed in deeds if not counts(deed)))
        is_new = bool(lines)
        while is_new:
            self._before = list(_last_shown(self._shown))
            self._behind = [len(characters) - 1 - place for place in _last_shown(self._shown[::-1])][::-1]
            for deed in deeds:
                self._find_writers(deed)
            is_new = sum(map(self._hold_line, lines)) > 0

    def _asked(self) -> Iterable[Deed]:
        """Return the ops that do not count, and all that took away what an op brought."""
        found: dict[str, Deed] = {}
        for one in self._characters:
            for deed in one.deleters:
                if one.bringer is not None or not self._counts(deed):
                    found[deed.op_id] = deed
            if one.bringer is not None and not self._counts(one.bringer):
                found[one.bringer.op_id] = one.bringer
        return found.values()

    def _lines(self, deeds: Iterable[Deed]) -> Iterable[list[tuple[Deed, Change]]]:
        """Return what each actor changed inside each line."""
        ends = [place for place, one in enumerate(self._characters) if one.is_end and self._stays[place]]
        found: dict[tuple[str, int], list[tuple[Deed, Change]]] = {}
        for deed in deeds:
            for change in self._replacements.changes(deed):
                if not any(self._characters[place].is_end for place in change.places):
                    key = deed.actor_id, bisect_left(ends, change.first)
                    found.setdefault(key, []).append((deed, change))
        return found.values()

    def _find_writers(self, deed: Deed) -> None:
        """Note who wrote last in each change of an op, or in the place of what it brought, if it is left."""
        for change in self._replacements.changes(deed):
            if not self._counts(deed):
                found = self._writer_in(change, deed)
            elif any(self._shown[place] for place in change.brought):
                found = deed
            else:
                found = self._writer_instead(change, deed)
            if found is not None:
                self._writers[deed.op_id, change.first] = found

    def _hold_line(self, line: Sequence[tuple[Deed, Change]]) -> bool:
        """Hold what an actor changed in a line before others wrote in it; return whether that is new."""
        writer = last_of(self._writers.get((deed.op_id, change.first)) for deed, change in line)
        if writer is None:
            return False
        known = len(self.staying) + len(self.away)
        for deed, change in line:
            if (deed.op_id, change.first) in self._writers or self._is_made(change, deed, writer):
                self._hold_change(change, deed, writer)
        return known < len(self.staying) + len(self.away)

    def _hold_change(self, change: Change, deed: Deed, writer: Deed) -> None:
        self._writers.setdefault((deed.op_id, change.first), writer)
        for place in change.places:
            if self._stays[place] and place not in self.away:
                is_brought = self._characters[place].bringer is deed
                (self.staying if is_brought else self.away)[place] = writer
                self._shown[place] = is_brought

    def _writer_in(self, change: Change, deed: Deed) -> Deed | None:
        """Return the last op of others that wrote in a change, if any did."""
        own = set(change.places)
        inside = range(change.brought[0] + 1, change.brought[-1]) if change.brought else ()
        bringers = {self._characters[one].bringer for one in inside if one not in own and self._shown[one]}
        writers = {*bringers, *self._joined(change, deed, own)}
        made = (one for one in writers if one is not None and self._is_made(change, deed, one))
        return last_of((self._writer_instead(change, deed), *made))

    def _is_made(self, change: Change, deed: Deed, writer: Deed) -> bool:
        """Tell whether a change was there, and not taken back, when another op was made."""
        when, own = writer.place, self._characters
        if when < deed.place:
            return False
        taken = [own[one] for one in change.places if self._stays[one] and own[one].bringer is not deed]
        if taken:
            return not any(one.was_there(when) for one in taken)
        return any(came < when <= went for place in change.brought for came, went in own[place].lives)

    def _writer_instead(self, change: Change, deed: Deed) -> Deed | None:
        """Return the last op that wrote in the place of what a change brought, of what is left."""
        found: list[Deed | None] = []
        for place in change.brought:
            for taker in self._characters[place].deleters:
                other = None if taker is deed else self._replacements.change_at(taker, place)
                found.append(None if other is None else self._writers.get((taker.op_id, other.first)))
        return last_of(found)

    def _joined(self, change: Change, deed: Deed, own: set[int]) -> Iterator[Deed | None]:
        """Yield who wrote what would be one word with other text, or between, were a change taken back."""
        first, last = change.places[0], change.places[-1]
        hull = [self._before[first], *range(first, last + 1), self._behind[last]]
        then = [
            place for place in hull if self._is_shown(place) and self._characters[place].bringer is not deed
        ]
        for one, other in pairwise(then):
            if self._characters[one].is_word and self._characters[other].is_word:
                between = change.brought[
                    bisect_left(change.brought, one) : bisect_left(change.brought, other)
                ]
                going = [self._characters[place] for place in between if self._stays[place]]
                if one in own or other in own or not all(character.is_word for character in going):
                    yield from (self._characters[one].bringer, self._characters[other].bringer)
                    yield from self._takers(range(one + 1, other))

    def _takers(self, places: Iterable[int]) -> Iterator[Deed]:
        """Yield the ops that count and took something away."""
        for place in places:
            yield from filter(self._counts, self._characters[place].deleters)

    def _is_shown(self, place: int) -> bool:
        return 0 <= place < len(self._shown) and self._shown[place]


def _last_shown(shown: Sequence[bool]) -> Iterator[int]:
    """Yield, for each place, the last one before it that is shown, else -1."""
    last = -1
    for place, is_shown in enumerate(shown):
        yield last
        if is_shown:
            last = place
