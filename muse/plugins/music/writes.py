"""Tells which of several writes of one value are in effect, where some led back to what was before. Pure.

A write says what the value is then, not whether it takes another back. So a write that leads back to an
earlier value counts as taking back all between, and one that leads to a value that was taken back, as
bringing it back. That is what an undoing does, and the undoing of an undoing.
"""

from collections.abc import Collection, Hashable, Sequence

_START = -1


def writes_in_effect(
    writes: Sequence[tuple[int, Hashable]], first: Hashable, wanted: Collection[int]
) -> tuple[list[int], dict[int, int]]:
    """Return the places of the writes in effect, oldest first, and place -> later place for those led back.

    `writes` are ops with the values they wrote, `first` is the value before them. An op that is `wanted`
    leads nothing back: it is looked at to be taken back itself. Nor does one that writes the value that is
    there already: that confirms it.
    """
    history = _History(first)
    for place, (index, value) in enumerate(writes):
        if index in wanted or not (history.bring_back(value) or history.lead_back(value, place)):
            history.add(value, place)
    return history.path[1:], history.led_back


class _History:
    """The writes in effect as a `path` from the start, and where each of the others was on it."""

    def __init__(self, first: Hashable) -> None:
        self.path = [_START]
        self.led_back: dict[int, int] = {}
        self._value = {_START: first}
        self._before: dict[int, int] = {}
        self._there = {_START}
        self._on_path: dict[Hashable, list[int]] = {first: [_START]}
        self._off_path: dict[Hashable, list[int]] = {}

    def add(self, value: Hashable, place: int) -> None:
        self._value[place] = value
        self._before[place] = self.path[-1]
        self._put(place)

    def lead_back(self, value: Hashable, place: int) -> bool:
        """Take back the writes since `value` was last there; False if it was not, or is there now."""
        found = self._on_path.get(value)
        if not found or found[-1] == self.path[-1]:
            return False
        while self.path[-1] != found[-1]:
            gone = self.path.pop()
            self._there.remove(gone)
            self._on_path[self._value[gone]].pop()
            self._off_path.setdefault(self._value[gone], []).append(gone)
            self.led_back[gone] = place
        return True

    def bring_back(self, value: Hashable) -> bool:
        """Let the writes that led from here to `value` be in effect again; False if there are none."""
        if value == self._value[self.path[-1]]:
            return False
        off = self._off_path.get(value, [])
        while off and off[-1] not in self.led_back:
            off.pop()  # it is in effect again
        if not off:
            return False
        branch = [off[-1]]
        while (before := self._before[branch[-1]]) not in self._there:
            branch.append(before)
        if before != self.path[-1]:
            return False
        for place in reversed(branch):
            del self.led_back[place]
            self._put(place)
        return True

    def _put(self, place: int) -> None:
        self._there.add(place)
        self.path.append(place)
        self._on_path.setdefault(self._value[place], []).append(place)
