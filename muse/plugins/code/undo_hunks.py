"""What an undoing changes at one place of a text, and what others wrote in the midst of it. Pure."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from muse.plugins.code.deeds import Deed, FileDeeds
from muse.plugins.code.update import Id, Insertion

_CHARACTERS = 8_192  # so many change in one op at most,
_UNDOES = 1_000  # and so many does it take back: its line is one that a log takes


class KeptWork(NamedTuple):
    """What stays although `op_id` is undone, and the op of another that it is owed to, if it is known."""

    op_id: str
    reason: str
    because: Deed | None


@dataclass(slots=True)
class TextHunk:
    """A change at one place of a text: what goes, what comes, and which ops it takes back.

    `position` counts in the text with all hunks before it. `restored` are the ids whose characters come
    again.
    """

    position: int
    removed: str = ""
    deletes: list[Id] = field(default_factory=list)
    insertions: list[Insertion] = field(default_factory=list)
    restored: list[Id] = field(default_factory=list)
    undoes: dict[str, None] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The characters that it brings."""
        return "".join(insertion.text for insertion in self.insertions)

    @property
    def is_full(self) -> bool:
        """Whether it has as many characters, or undoes as many ops, as one op may."""
        return len(self.deletes) + len(self.restored) >= _CHARACTERS or len(self.undoes) >= _UNDOES

    def restored_ranges(self) -> list[list[int]]:
        """Return the restored ids as ranges: client, clock, length."""
        ranges: list[list[int]] = []
        for client, clock in self.restored:
            if ranges and ranges[-1][0] == client and sum(ranges[-1][1:]) == clock:
                ranges[-1][2] += 1
            else:
                ranges.append([client, clock, 1])
        return ranges


class Gap:
    """The characters that stay between two that go, if all of them were written after those."""

    def __init__(self, file: FileDeeds, named: Collection[Id]) -> None:
        self._file = file
        self._named = named  # characters in lines that are named as a whole
        self._start: tuple[int, dict[str, None]] | None = None
        self._writers: dict[str, Deed] = {}

    def add(self, identity: Id) -> None:
        """Meet a character that stays."""
        if self._start is None:
            return
        bringer = self._file.bringer(identity)
        if bringer is None or bringer.is_undo or bringer.place < self._start[0]:
            self._start = None
        elif identity not in self._named:
            self._writers[bringer.op_id] = bringer

    def between(self, root: Id, causes: dict[str, None]) -> Iterator[tuple[str, Deed]]:
        """Meet a character that goes; yield the wanted op before the gap and each op that wrote in it."""
        bringer = self._file.bringer(root)
        place = -1 if bringer is None else bringer.place
        if self._start is not None:
            wanted = next(iter(self._start[1]))
            yield from ((wanted, writer) for writer in self._writers.values() if writer.place > place)
        self._start, self._writers = (place, causes), {}
