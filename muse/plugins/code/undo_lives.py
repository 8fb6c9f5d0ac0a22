"""Tells when the characters of a text were there, as ops and undoings brought and took them. Pure.

What is undone is looked at in the text as it was then: an undoing of an undoing brings back what that one
took, and nothing that an earlier one had taken before others wrote in the text.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise

from muse.plugins.code.deeds import BEFORE, Deed, FileDeeds
from muse.plugins.code.undo_lines import Life
from muse.plugins.code.update import Id

NEVER = 2**63
"""The place at which a character goes that is still there."""


def _since_when(deeds: Sequence[Deed], counts: Callable[[Deed], bool]) -> dict[str, int]:
    """Return, of each op that is taken back, since which place it is so.

    An undoing that was taken back, and counts again, does so since what took it back was taken back itself.
    """
    since: dict[str, int] = {}
    undoers: dict[str, list[Deed]] = {}
    for deed in deeds:
        for target in deed.op.undoes:
            undoers.setdefault(target, []).append(deed)
    for deed in reversed(deeds):
        again = [since[undoer.op_id] for undoer in undoers.get(deed.op_id, ()) if undoer.op_id in since]
        start = max([deed.place, *again])
        for target in deed.op.undoes if counts(deed) else ():
            since[target] = min(start, since.get(target, start))
    return since


class Lives:
    """The lives of characters, each known by the first of its copies.

    `copies_of` returns that one and its copies in their order. `ends` says where each id was taken away.
    `undone` are the deeds that are taken back now; `counts` tells of an op whether it counts then.
    """

    def __init__(
        self,
        file: FileDeeds,
        copies_of: Callable[[Id], list[Id]],
        ends: Mapping[Id, int],
        undone: Sequence[Deed],
        counts: Callable[[Deed], bool],
    ) -> None:
        self._file, self._copies_of, self._ends = file, copies_of, ends
        self._undone = undone
        self._undoings = [deed for deed in undone if deed.is_undo]
        self._brought = {identity for deed in self._undoings for identity in deed.texts}
        self._edits = sorted(deed.place for deed in file.deeds if deed.op.update and not deed.is_undo)
        self._taken_back = _since_when(file.deeds, counts)

    def of(self, root: Id) -> list[Life]:
        """Return from where to where a character was there."""
        return list(self._each(self._copies_of(root)))

    def brought_again(self, root: Id) -> list[Life]:
        """Return the lives that the undone undoings gave to a character."""
        return list(self._each(identity for identity in self._copies_of(root) if identity in self._brought))

    def taken_again(self) -> Iterator[Id]:
        """Yield the ids that the undone undoings took away."""
        for deed in self._undoings:
            ended = (one for one, place in self._ends.items() if place == deed.place)
            yield from (one for one in ended if deed.takes(one))

    def is_over(self, root: Id) -> bool:
        """Tell whether others wrote since a character went, which was gone when what is undone was done."""
        lives = self.of(root)
        if not self._is_edited(lives[-1][1], NEVER):
            return False
        return not any(first < deed.place <= last for deed in self._undone for first, last in lives)

    def is_new(self, root: Id) -> bool:
        """Tell whether an undone undoing brought a character after others wrote where it was gone."""
        if not self.brought_again(root):
            return False
        return any(self._is_edited(end, start) for (_, end), (start, _) in pairwise(self.of(root)))

    def was_left(self, root: Id) -> bool:
        """Tell whether a character was there as now, though taken back, when what is undone was done."""
        if len(self._undoings) < len(self._undone) or self.brought_again(root):
            return False
        return any(
            first < deed.place <= last and self._was_taken_back(root, deed.place)
            for deed in self._undoings
            for first, last in self.of(root)
        )

    def was_left_until(self, identity: Id, root: Id) -> bool:
        """Tell whether a character had been taken back before an undoing took its last copy."""
        is_last = self._copies_of(root)[-1] == identity
        return is_last and self._was_taken_back(root, self._ends[identity])

    def _was_taken_back(self, root: Id, place: int) -> bool:
        bringer = self._file.bringer(root)
        return bringer is not None and self._taken_back.get(bringer.op_id, NEVER) < place

    def _each(self, identities: Iterable[Id]) -> Iterator[Life]:
        for identity in identities:
            bringer = self._file.bringer(identity)
            yield BEFORE if bringer is None else bringer.place, self._ends.get(identity, NEVER)

    def _is_edited(self, first: int, last: int) -> bool:
        """Tell whether anyone wrote between two places."""
        number = bisect_left(self._edits, first)
        return number < len(self._edits) and self._edits[number] < last
