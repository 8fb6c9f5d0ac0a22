"""What the characters of a text went through, and what ops put in the place of others. Pure."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from muse.plugins.code.deeds import Deed
from muse.plugins.code.undo_lines import Life
from muse.plugins.code.update import Id


class Passed(NamedTuple):
    """What a character of a text and its copies, which are beside it, have gone through.

    `text` is empty where nobody knows it. `lives` say when one of them was there. `bringer` brought the
    first, None if it was there before, and the `deleters` took one away. None of these is an undoing.
    """

    identity: Id
    text: str
    is_present: bool
    lives: Sequence[Life]
    bringer: Deed | None
    deleters: Sequence[Deed]

    @property
    def is_end(self) -> bool:
        """Whether it is a line end."""
        return self.text == "\n"

    @property
    def is_word(self) -> bool:
        """Whether it is of a word."""
        return self.text.isalnum() or self.text == "_"

    def was_there(self, when: int) -> bool:
        """Tell whether it was there when the op at a place was made."""
        return any(came < when < went for came, went in self.lives)


class Change(NamedTuple):
    """A change of an op: the places of what it took and brought. Nothing else was there between them then.

    `brought` are those of what it brought.
    """

    places: Sequence[int]
    brought: Sequence[int]

    @property
    def first(self) -> int:
        """Its first place, by which it is known among the changes of its op."""
        return self.places[0]


class Replacements:
    """The changes of ops, whether they count or not."""

    def __init__(self, characters: Sequence[Passed]) -> None:
        self._characters = characters
        self._taken: dict[str, list[int]] = {}
        self._brought: dict[str, list[int]] = {}
        for place, one in enumerate(characters):
            for deed in one.deleters:
                self._taken.setdefault(deed.op_id, []).append(place)
            if one.bringer is not None:
                self._brought.setdefault(one.bringer.op_id, []).append(place)
        self._changes: dict[str, list[Change]] = {}
        self._change_at: dict[str, dict[int, Change]] = {}

    def changes(self, deed: Deed) -> list[Change]:
        """Return the changes of an op, in their order in the text."""
        if deed.op_id not in self._changes:
            places = {*self._taken.get(deed.op_id, ()), *self._brought.get(deed.op_id, ())}
            self._changes[deed.op_id] = list(self._find_changes(sorted(places), deed))
        return self._changes[deed.op_id]

    def change_at(self, deed: Deed, place: int) -> Change | None:
        """Return the change of an op at a place, None where it changed nothing."""
        if deed.op_id not in self._change_at:
            self._change_at[deed.op_id] = {
                one: change for change in self.changes(deed) for one in change.places
            }
        return self._change_at[deed.op_id].get(place)

    def _find_changes(self, places: Sequence[int], deed: Deed) -> Iterator[Change]:
        run: list[int] = []
        for place in places:
            between = range(run[-1] + 1, place) if run else ()
            if any(self._characters[one].was_there(deed.place) for one in between):
                yield self._change(run, deed)
                run = []
            run.append(place)
        if run:
            yield self._change(run, deed)

    def _change(self, places: list[int], deed: Deed) -> Change:
        return Change(places, [place for place in places if self._characters[place].bringer is deed])


def last_of(deeds: Iterable[Deed | None]) -> Deed | None:
    """Return the last of those that are ops."""
    return max((deed for deed in deeds if deed is not None), key=lambda deed: deed.place, default=None)


def first_of(deeds: Iterable[Deed], counts: Callable[[Deed | None], bool]) -> Deed | None:
    """Return the first of some ops that counts."""
    return min(filter(counts, deeds), key=lambda deed: deed.place, default=None)
