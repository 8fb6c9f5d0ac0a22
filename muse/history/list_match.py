"""Matches the ids in a log with the lists of commits, both read along in their order. Pure."""

from collections import Counter
from collections.abc import Collection, Iterable


class ListMatch:
    """Tells which ops of a log no list has, with few ids in memory where both have about the same order.

    `awaited` are ids that lists name and that have not been met. `unknown` are those met that no list read by
    then awaited: they are in no list at all, or the log repeats their line. `wanted` are chosen as well.
    """

    def __init__(self, lists: Iterable[Collection[str]], wanted: Collection[str] = ()) -> None:
        self.awaited: set[str] = set()
        self.unknown: set[str] = set()
        self.wanted = frozenset(wanted)
        self._lists = iter(lists)

    def choose(self, op_ids: list[str]) -> set[str]:
        """Take in the ids of some lines, in the order of the log; return those whose entries matter."""
        met = set(op_ids)
        unknown = met - self.awaited
        while unknown and (more := next(self._lists, None)) is not None:
            self.awaited.update(more)
            unknown.difference_update(more)
        self.awaited -= met
        if len(met) < len(op_ids):
            unknown.update(op_id for op_id, count in Counter(op_ids).items() if count > 1)
        self.unknown |= unknown
        return unknown | (met & self.wanted)

    def finish(self) -> None:
        """Take in the lists of which the log has nothing."""
        for more in self._lists:
            self.awaited.update(more)
