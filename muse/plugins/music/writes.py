"""Tells which of several writes of one value are in effect, where some took others back. Pure.

An undoing names what it takes back. Of other writes only the value is known: one that leads back to an
earlier value counts as taking back all between, and one that leads to a value that was taken back, as
bringing it back.
"""

from collections.abc import Collection, Hashable, Mapping, Sequence
from itertools import chain
from typing import Any

from muse.domain import UNDO_INTENT

Undoings = Mapping[int, Collection[int]]
"""The ops that are undoings, each with the ops that it takes back."""
_START = -1


def undoings_in(entries: Sequence[Mapping[str, Any]]) -> Undoings:
    """Return which of the entries took others back, and which, by their places."""
    places = {entry["op_id"]: place for place, entry in enumerate(entries)}
    return {
        place: {places[parent] for parent in entry["parent_op_ids"] if parent in places}
        for place, entry in enumerate(entries)
        if entry["intent_id"].startswith(UNDO_INTENT)
    }


def writes_in_effect(
    writes: Sequence[tuple[int, Hashable]], first: Hashable, wanted: Collection[int], undoings: Undoings
) -> tuple[list[int], dict[int, int]]:
    """Return the places of the writes in effect, oldest first, and place -> later place for those led back.

    `writes` are ops with the values they wrote, `first` is the value before them. An op that is `wanted`
    leads nothing back: it is looked at to be taken back itself. Nor does one that writes the value that is
    there already: that confirms it, unless it is an undoing.
    """
    history = _History(writes, first)
    for place, (index, value) in enumerate(writes):
        undone = undoings.get(index, ())
        if index in wanted or not (
            history.undo(value, place, undone)
            or (undone and history.is_at(value))
            or history.bring_back(value, place)
            or history.lead_back(value, place)
        ):
            history.add(place)
    return history.path[1:], history.led_back


class _History:
    """The writes in effect as a `path` from the start; `led_back` names what took each of the others back.

    `_effects` says what each write did to the path: behind which place it removed and added which others.
    """

    def __init__(self, writes: Sequence[tuple[int, Hashable]], first: Hashable) -> None:
        self.path = [_START]
        self.led_back: dict[int, int] = {}
        self._writes = writes
        self._first = first
        self._before: dict[int, int] = {}
        self._effects: dict[int, tuple[int, list[int], list[int]]] = {}
        self._places: dict[int, list[int]] = {}
        self._on_path: dict[Hashable, list[int]] = {first: [_START]}
        self._off_path: dict[Hashable, list[int]] = {}

    def add(self, place: int) -> None:
        self._before[place] = self.path[-1]
        self._note(place, [], [place])

    def is_at(self, value: Hashable) -> bool:
        return self._value(self.path[-1]) == value

    def undo(self, value: Hashable, place: int, undone: Collection[int]) -> bool:
        """Turn back what the ops `undone` did last, if that leads to `value`.

        Where others wrote since, one of them is turned back together with what came after it.
        """
        theirs = sorted((one for op in undone for one in self._places.get(op, ())), reverse=True)
        path = self.path[:]
        for one in theirs:
            base, removed, added = self._effects[one]
            end = len(path) - len(added)
            if path[end:] == added and path[end - 1] == base:
                path[end:] = removed
        ways = chain((path,), map(self._turned_back, theirs))
        path = next((way for way in ways if way != self.path and self._value(way[-1]) == value), self.path)
        if path == self.path:  # they took back less, or something else
            return False
        shared = next(
            (n for n, both in enumerate(zip(path, self.path, strict=False)) if both[0] != both[1]),
            min(len(path), len(self.path)),
        )
        self._note(place, self.path[shared:], path[shared:])
        return True

    def _turned_back(self, place: int) -> list[int]:
        """Return the path as it was before the write at `place`, if what that followed is still on it."""
        base, removed, _ = self._effects[place]
        if base != _START and (base in self.led_back or base not in self._before):
            return self.path
        return [*self.path[: self.path.index(base) + 1], *removed]

    def lead_back(self, value: Hashable, place: int) -> bool:
        """Take back the writes since `value` was last there; False if it was not, or is there now."""
        found = self._on_path.get(value)
        if not found or found[-1] == self.path[-1]:
            return False
        count = 1
        while self.path[-1 - count] != found[-1]:
            count += 1
        self._note(place, self.path[-count:], [])
        return True

    def bring_back(self, value: Hashable, place: int) -> bool:
        """Let the writes that led from here to `value` be in effect again; False if none were taken back."""
        off = self._off_path.get(value, [])
        while off and off[-1] not in self.led_back:
            off.pop()  # it is in effect again
        if not off or self.is_at(value):
            return False
        branch = [off[-1]]
        while (before := self._before[branch[-1]]) in self.led_back:
            branch.append(before)
        if before != self.path[-1]:
            return False
        self._note(place, [], branch[::-1])
        return True

    def _note(self, place: int, removed: list[int], added: list[int]) -> None:
        """Let a write remove what is last on the path, and add others there."""
        base = self.path[-1 - len(removed)]
        self._effects[place] = (base, removed, added)
        self._places.setdefault(self._writes[place][0], []).append(place)
        for gone in reversed(removed):
            self.path.pop()
            self._on_path[self._value(gone)].pop()
            self._off_path.setdefault(self._value(gone), []).append(gone)
            self.led_back[gone] = place
        for one in added:
            self.path.append(one)
            self._on_path.setdefault(self._value(one), []).append(one)
            self.led_back.pop(one, None)

    def _value(self, place: int) -> Hashable:
        return self._first if place == _START else self._writes[place][1]
