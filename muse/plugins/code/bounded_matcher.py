"""Finds what two sequences have in common, as `difflib` does, in bounded time. Pure."""

from collections.abc import Sequence
from difflib import Match, SequenceMatcher
from itertools import accumulate

_LEAST, _FOR_EACH = 100_000, 1_000
"""How many pairs of equal items may be looked at: at least, and for each item."""


class BoundedMatcher(SequenceMatcher[str]):
    """A `SequenceMatcher` that gives up looking, and takes the rest for different, after so many steps.

    It looks at each pair of equal items for each block that it finds: the cube of the length where many items
    are equal and the blocks are short. Texts of people are far from that.
    """

    a: Sequence[str]
    b2j: dict[str, list[int]]

    def __init__(self, old: Sequence[str], new: Sequence[str], *, autojunk: bool = False) -> None:
        super().__init__(None, old, new, autojunk)
        self._pairs = list(accumulate((len(self.b2j.get(item, ())) for item in old), initial=0))
        self._steps_left = _LEAST + _FOR_EACH * (len(old) + len(new))

    def find_longest_match(
        self, alo: int = 0, ahi: int | None = None, blo: int = 0, bhi: int | None = None
    ) -> Match:
        """Return the longest common block in two ranges; an empty one when the steps are used up."""
        end = len(self.a) if ahi is None else ahi
        self._steps_left -= self._pairs[end] - self._pairs[alo]
        if self._steps_left < 0:
            return Match(alo, blo, 0)
        return super().find_longest_match(alo, ahi, blo, bhi)
