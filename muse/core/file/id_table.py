"""The table gives, for a fingerprint, the places in the log where its op may start: 16 bytes a row.

It is private memory, over a snapshot that is never written to. A row is believed by nobody: the line that it
names is the judge. That a fingerprint has no row is as sure as the snapshot, which is checked as it is read.
The compiled form takes in the segments of the snapshot as they are asked for. The form in Python leaves them
in the file, with the last ones it read in a bounded cache. Nothing here works on the whole table at once.
"""

import struct
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import Protocol

from muse.core import compiled
from muse.core.file.id_file import ROW_BYTES, IdFile
from muse.core.file.id_prints import PRINT_BYTES

Hit = tuple[int, int]
"""Which of the fingerprints that were asked for, and a place where its op may start."""

CACHE_BYTES = 1 << 24
"""So much of a snapshot is kept in memory where the index is Python."""

_ROWS_A_SEGMENT = 230
"""Rows that a segment of the compiled table has at first, at most: it splits at 240."""


class IdTable(Protocol):
    """The rows of a snapshot, if there is one, and those added since. May raise `TableError`.

    For one thread at a time, but for `rows`. `lets_go`: whether rows that a snapshot has leave memory.
    """

    lets_go: bool

    def find(self, prints: bytes) -> list[Hit]:
        """Return all rows with these fingerprints, in no order."""

    def add(self, prints: bytes, starts: list[int], *, are_new: bool) -> list[int]:
        """Add rows; return which were not added, as memory has one of their fingerprint.

        `are_new`: `find` has just said that there is none of any, so nobody need look again.
        """

    def add_one(self, fingerprint: bytes, start: int) -> None:
        """Add a row beside others of its fingerprint."""

    def freeze(self) -> None:
        """Make `rows` give what is in the table now, whatever is added from now on."""

    def rows(self, bits: int, number: int, covered: int) -> bytes:
        """Return, sorted, the rows whose fingerprints have `number` as their upper `bits` bits.

        Only those of lines before byte `covered`. Another thread may call it, after `freeze`.
        """

    def rest_on(self, file: IdFile) -> None:
        """Take a new snapshot, of the rows that `freeze` saw, in place of the one before."""

    def close(self) -> None:
        """Close the snapshot."""


def make_table(file: IdFile | None) -> IdTable:
    """Return a table over a snapshot, in the form that runs."""
    rows = file.count if file is not None else 0
    bits = (rows // _ROWS_A_SEGMENT).bit_length()
    table = compiled.id_table(bits, rows)
    return TableInPython(file) if table is None else TableInC(table, file)


class TableInC:
    """The compiled form: all rows that were ever asked for are in memory, with their neighbours."""

    lets_go = False

    def __init__(self, table: compiled.NativeTable, file: IdFile | None) -> None:
        self._table = table
        self._file = file
        self.add_one = table.add_one

    def find(self, prints: bytes) -> list[Hit]:
        """Return all rows with these fingerprints."""
        while (found := self._table.find(prints)) is None:
            self._fill(self._table.lacking(prints))
        return found

    def add(self, prints: bytes, starts: list[int], *, are_new: bool) -> list[int]:  # noqa: ARG002
        """Add rows; return which have their fingerprint in common with others. To look is free here."""
        return self._table.add(prints, starts)

    def _fill(self, ranges: list[tuple[int, int]]) -> None:
        """Take in what the snapshot has between each two fingerprints."""
        if self._file is None:
            raise AssertionError("without a snapshot nothing is lacking")
        shift = 64 - self._file.facts.bits
        for first, last in ranges:
            self._table.fill(first, last, self._file.rows(first >> shift, last >> shift))

    def freeze(self) -> None:
        """Do nothing: rows are told apart by their starts, which only grow."""

    def rows(self, bits: int, number: int, covered: int) -> bytes:
        """Return the rows of a range, sorted."""
        while (found := self._table.rows(bits, number, covered)) is None:
            first = number << (64 - bits)
            self._fill(self._table.lacking_between(first, first + (1 << (64 - bits)) - 1))
        return found

    def rest_on(self, file: IdFile) -> None:
        """Close both snapshots: all rows are in memory by now."""
        file.close()
        self.close()

    def close(self) -> None:
        """Close the snapshot."""
        if self._file is not None:
            self._file.close()


# -- in Python ---------------------------------------------------------------------------------------

_NEWEST = 8192  # so many rows are in a dict, which takes 100 bytes for each
_LEAF_BYTES = 64 * ROW_BYTES
_BRANCHES = 16
_ROOT_BITS = 12
_ROOT_SHIFT = 64 - _ROOT_BITS
_NOTHING = b""

_Node = bytearray | bytes | list["_Node"]
"""A leaf of rows, in no order, or a node for each value of the next four bits."""


class _RowsInMemory:
    """Rows in memory, by fingerprint: the newest in a dict, all others in a trie of small leaves.

    A leaf that is full is split, so nothing waits for the table as a whole. 20 to 30 bytes a row.
    """

    def __init__(self) -> None:
        self.newest: dict[int, int] = {}
        self._root: list[_Node] = [_NOTHING] * (1 << _ROOT_BITS)
        self._has_leaves = False

    def find(self, numbers: Sequence[int], prints: bytes, hits: list[Hit]) -> None:
        newest = self.newest
        if not newest.keys().isdisjoint(numbers):
            hits += [(which, newest[one]) for which, one in enumerate(numbers) if one in newest]
        if not self._has_leaves:
            return
        root, ones = self._root, struct.unpack("8s" * len(numbers), prints)
        for which, number in enumerate(numbers):
            node = root[number >> _ROOT_SHIFT]
            shift = _ROOT_SHIFT
            while type(node) is list:
                shift -= 4
                node = node[number >> shift & 15]
            if (one := ones[which]) in node:
                hits += [(which, start) for start in _starts(node, one)]  # type: ignore[arg-type]

    def add_newest(self, numbers: Sequence[int], starts: Sequence[int]) -> None:
        self.newest.update(zip(numbers, starts, strict=True))
        if len(self.newest) >= _NEWEST:
            self.settle()

    def settle(self) -> None:
        """Move the newest rows into the leaves."""
        pack = struct.Struct(">QQ").pack
        for number, start in self.newest.items():
            self.put(number, pack(number, start))
        self.newest.clear()

    def put(self, number: int, row: bytes) -> None:
        """Put a row into its leaf."""
        self._has_leaves = True
        branch, place, shift = self._root, number >> _ROOT_SHIFT, _ROOT_SHIFT
        while type(node := branch[place]) is list:
            shift -= 4
            branch, place = node, number >> shift & 15
        if not node:
            branch[place] = bytearray(row)
            return
        node += row  # type: ignore[operator]
        if len(node) > _LEAF_BYTES and shift:
            branch[place] = _split(bytearray(node), shift - 4)

    def between(self, first: int, last: int) -> Iterator[bytes]:
        """Yield the rows of the leaves that may have fingerprints from `first` to `last`."""
        for place in range(first >> _ROOT_SHIFT, (last >> _ROOT_SHIFT) + 1):
            yield from _rows_below(self._root[place], place << _ROOT_SHIFT, _ROOT_SHIFT, first, last)


def _rows_below(node: _Node, lowest: int, shift: int, first: int, last: int) -> Iterator[bytes]:
    if isinstance(node, list):
        shift -= 4
        for place, child in enumerate(node):
            start = lowest + (place << shift)
            if start <= last and start + (1 << shift) > first:
                yield from _rows_below(child, start, shift, first, last)
    else:
        yield from split_rows(node)


def _split(leaf: bytearray, shift: int) -> list[_Node]:
    children: list[_Node] = [_NOTHING] * _BRANCHES
    octet, shift = 7 - shift // 8, shift % 8
    for row in split_rows(leaf):
        place = row[octet] >> shift & 15
        children[place] += row  # type: ignore[operator]
    return [bytearray(child) if child else child for child in children]  # type: ignore[arg-type]


def split_rows(rows: bytes | bytearray) -> list[bytes]:
    """Return each row of some."""
    return [bytes(rows[place : place + ROW_BYTES]) for place in range(0, len(rows), ROW_BYTES)]


def _starts(rows: bytes | bytearray, one: bytes) -> Iterator[int]:
    """Yield the starts of the rows of a fingerprint."""
    place = rows.find(one)
    while place >= 0:
        if place % ROW_BYTES == 0:
            yield int.from_bytes(rows[place + PRINT_BYTES : place + ROW_BYTES], "big")
        place = rows.find(one, place + 1)


class TableInPython:
    """The form in Python: rows that a snapshot has stay there, the others are in memory."""

    lets_go = True

    def __init__(self, file: IdFile | None) -> None:
        self._file = file
        self._added = _RowsInMemory()
        self._frozen: list[_RowsInMemory] = []  # they are being written, or were to be
        self._cache: dict[int, bytes] = {}
        self._cached = 0

    def find(self, prints: bytes) -> list[Hit]:
        """Return all rows with these fingerprints."""
        numbers = struct.unpack(f">{len(prints) // PRINT_BYTES}Q", prints)
        hits: list[Hit] = []
        for part in (self._added, *self._frozen):
            part.find(numbers, prints, hits)
        if self._file is not None:
            self._find_in_file(self._file, numbers, prints, hits)
        return hits

    def _find_in_file(self, file: IdFile, numbers: Sequence[int], prints: bytes, hits: list[Hit]) -> None:
        shift, cache = 64 - file.facts.bits, self._cache
        ones = struct.unpack("8s" * len(numbers), prints)
        for which, number in enumerate(numbers):
            rows = cache.get(number >> shift)
            if rows is None:
                rows = self._read(file, number >> shift)
            if (one := ones[which]) in rows:
                hits += [(which, start) for start in _starts(rows, one)]

    def _read(self, file: IdFile, number: int) -> bytes:
        rows = file.segment(number)
        self._cache[number] = rows
        self._cached += len(rows)
        while self._cached > CACHE_BYTES:
            self._cached -= len(self._cache.pop(next(iter(self._cache))))
        return rows

    def add(self, prints: bytes, starts: list[int], *, are_new: bool) -> list[int]:
        """Add rows; return which have their fingerprint in common with others."""
        numbers = struct.unpack(f">{len(prints) // PRINT_BYTES}Q", prints)
        common: list[Hit] = []
        for part in () if are_new else (self._added, *self._frozen):
            part.find(numbers, prints, common)
        if not common and len(set(numbers)) == len(numbers):
            self._added.add_newest(numbers, starts)
            return []
        kept_back = {which for which, _ in common}
        first: dict[int, int] = {}
        for which, number in enumerate(numbers):
            if which not in kept_back and first.setdefault(number, which) != which:
                kept_back.add(which)
        new = [which for which in range(len(numbers)) if which not in kept_back]
        self._added.add_newest([numbers[which] for which in new], [starts[which] for which in new])
        return sorted(kept_back)

    def add_one(self, fingerprint: bytes, start: int) -> None:
        """Add a row beside others of its fingerprint."""
        self._added.put(int.from_bytes(fingerprint, "big"), fingerprint + start.to_bytes(8, "big"))

    def freeze(self) -> None:
        """Put what was added aside, beside what could not be written before."""
        self._added.settle()
        self._frozen, self._added = [*self._frozen, self._added], _RowsInMemory()

    def rows(self, bits: int, number: int, covered: int) -> bytes:  # noqa: ARG002 - what is frozen is before it
        """Return the rows of a range, sorted."""
        first = number << (64 - bits)
        last = first + (1 << (64 - bits)) - 1
        rows = [row for part in self._frozen for row in part.between(first, last)]
        if self._file is not None:
            shift = 64 - self._file.facts.bits
            rows += split_rows(self._file.rows(first >> shift, last >> shift))
        rows.sort()
        start = bisect_left(rows, first.to_bytes(8, "big"))
        stop = bisect_left(rows, (last + 1).to_bytes(9, "big")[1:]) if last + 1 < 1 << 64 else len(rows)
        return b"".join(rows[start:stop])

    def rest_on(self, file: IdFile) -> None:
        """Leave the rows that the new snapshot has to it."""
        self.close()
        self._file, self._frozen = file, []
        self._cache = {}
        self._cached = 0

    def close(self) -> None:
        """Close the snapshot."""
        if self._file is not None:
            self._file.close()
