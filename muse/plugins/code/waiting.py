"""Which ops wait for what: an op that arrives wakes those that may take effect now, and no others. Pure."""

from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence
from heapq import heappop, heappush
from itertools import islice

from muse.plugins.code.live_tree import LiveTree
from muse.plugins.code.ops import Cause, CodeOp
from muse.plugins.code.update import Update

_Clocks = dict[int, list[tuple[int, int]]]
"""By client, clocks with the numbers of the ops that wait there, in order."""


class WaitingOps:
    """Ops, each a number, by the first thing that each lacks of a tree.

    What an op lacks in the second place it says when it is tried again. So each is tried as often as it
    names causes, in whatever order they come.
    """

    def __init__(self, tree: LiveTree) -> None:
        self._tree = tree
        self._files_known = len(tree.placements)
        self._for_file: dict[str, list[int]] = {}
        self._for_text: dict[str, _Clocks] = {}
        self._for_gap: dict[str, _Clocks] = {}
        self._clients_known: dict[str, int] = {}

    def add(self, number: int, cause: Cause) -> None:
        """Note what an op waits for."""
        if cause.client is None:
            self._for_file.setdefault(cause.file_id, []).append(number)
            return
        self._clients_known.setdefault(cause.file_id, len(self._vector(cause.file_id)))
        if cause.goes:
            clocks = self._for_gap.setdefault(cause.file_id, {}).setdefault(cause.client, [])
            insort(clocks, (cause.clock, number))
        else:
            clocks = self._for_text.setdefault(cause.file_id, {}).setdefault(cause.client, [])
            heappush(clocks, (cause.clock, number))

    def woken(self, ops: Sequence[CodeOp], *, had_effect: bool) -> Iterator[int]:
        """Yield those that wait no more, after these ops were tried on the tree.

        One without effect may have brought in its file, or what its file was changed to from outside.
        """
        made = len(self._tree.placements) - self._files_known
        for file_id in list(islice(reversed(self._tree.placements), made)):
            yield from self._for_file.pop(file_id, ())
        self._files_known += made
        for op in ops:
            if op.file_id in self._clients_known:
                yield from self._woken_in(op.file_id, op.update if had_effect else None)

    def _woken_in(self, file_id: str, update: Update | None) -> Iterator[int]:
        vector = self._vector(file_id)
        joined = list(islice(reversed(vector), len(vector) - self._clients_known[file_id]))
        self._clients_known[file_id] = len(vector)
        text, gaps = self._for_text.get(file_id, {}), self._for_gap.get(file_id, {})
        for client in {*joined, update.client} if update else joined:
            clocks = text.get(client, [])
            while clocks and clocks[0][0] <= vector.get(client, 0):
                yield heappop(clocks)[1]
        if joined:  # it may be a change from outside, which deletes too
            for clocks in gaps.values():
                yield from (number for _, number in clocks)
            gaps.clear()
        for client, clock, length in update.deletes if update and gaps else ():
            clocks = gaps.get(client, [])
            start, stop = bisect_left(clocks, (clock,)), bisect_left(clocks, (clock + length,))
            yield from (number for _, number in clocks[start:stop])
            del clocks[start:stop]

    def _vector(self, file_id: str) -> dict[int, int]:
        document = self._tree.file(file_id).document
        return {} if document is None else document.vector
