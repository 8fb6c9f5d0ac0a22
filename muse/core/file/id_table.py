"""The table gives, for a fingerprint, the places in the log where its op may start: 16 bytes a row.

Rows that a snapshot has stay in it, and its segments are read as they are asked for; rows that came since are
in private memory. A row is believed by nobody: the line that it names is the judge. That a fingerprint has
no row is as sure as the snapshot, which is checked as it is read. Nothing here works on all rows at once.
"""

import struct
from collections.abc import Iterator, Sequence

from muse.core import compiled
from muse.core.file.id_file import ROW_BYTES, Hit, IdFile
from muse.core.file.id_prints import PRINT_BYTES

CACHE_BYTES = 1 << 24
"""So much of a snapshot is kept in memory where the index is Python; where it is compiled, what was read."""


class IdTable:
    """The rows of a snapshot, if there is one, and those added since. May raise `TableError`.

    For one thread at a time, but for `rows`.
    """

    def __init__(self, file: IdFile | None) -> None:
        self._added = _new_rows()
        self._frozen: list[compiled.RowTable] = []  # they are being written, or were to be
        self._take(file, [])

    def _take(self, file: IdFile | None, segments: list[bytes | None]) -> None:
        self._file = file
        self._kept = segments
        if file is not None and compiled.NATIVE is not None and not segments:
            self._kept = [None] * (1 << file.facts.bits)
        self._cache: dict[int, bytes] = {}
        self._cached = 0

    # -- asking and adding ------------------------------------------------------------------------

    def find(self, prints: bytes) -> list[Hit]:
        """Return all rows with these fingerprints, in no order."""
        hits = self._find_added(prints)
        if self._file is not None:
            found = self._file.find(prints, self._kept) if self._kept else None
            hits += self._find_in_python(self._file, prints) if found is None else found
        return hits

    def _find_added(self, prints: bytes) -> list[Hit]:
        hits = self._added.find(prints)
        for part in self._frozen:
            hits += part.find(prints)
        return hits

    def _find_in_python(self, file: IdFile, prints: bytes) -> list[Hit]:
        hits: list[Hit] = []
        shift, cache = 64 - file.facts.bits, self._cache
        numbers, ones = _unpacked(prints)
        for which, number in enumerate(numbers):
            rows = cache.get(number >> shift)
            if rows is None:
                rows = self._read(file, number >> shift)
            if (one := ones[which]) in rows:
                hits += [(which, start) for start in _starts(rows, one)]
        return hits

    def _read(self, file: IdFile, number: int) -> bytes:
        rows = file.segment(number)
        self._cache[number] = rows
        self._cached += len(rows)
        while self._cached > CACHE_BYTES:
            self._cached -= len(self._cache.pop(next(iter(self._cache))))
        return rows

    def add(self, prints: bytes, starts: list[int], *, are_new: bool) -> list[int]:
        """Add rows; return which were not added, as memory has one of their fingerprint.

        `are_new`: `find` has just given no row of any, so nobody need look again.
        """
        if are_new and isinstance(self._added, RowsInPython):
            return self._added.add_new(prints, starts)
        known = set() if are_new else {which for part in self._frozen for which, _ in part.find(prints)}
        if not known:
            return self._added.add(prints, starts)
        rest = [which for which in range(len(starts)) if which not in known]
        own = b"".join([prints[PRINT_BYTES * which : PRINT_BYTES * (which + 1)] for which in rest])
        left_out = self._added.add(own, [starts[which] for which in rest])
        return sorted([*known, *(rest[place] for place in left_out)])

    def add_one(self, fingerprint: bytes, start: int) -> None:
        """Add a row beside others of its fingerprint."""
        self._added.add_one(fingerprint, start)

    # -- the next snapshot ------------------------------------------------------------------------

    def freeze(self) -> None:
        """Make `rows` give what is in the table now, whatever is added from now on."""
        if isinstance(self._added, RowsInPython):
            self._added.settle()
        self._frozen, self._added = [*self._frozen, self._added], _new_rows()

    def rows(self, bits: int, number: int) -> bytes:
        """Return, sorted, the rows whose fingerprints have `number` as their upper `bits` bits.

        Those of the snapshot and those that `freeze` saw. Another thread may call it.
        """
        first = number << (64 - bits)
        last = first + (1 << (64 - bits)) - 1
        rows = b""
        if self._file is not None:
            shift = 64 - self._file.facts.bits
            rows = self._file.rows(first >> shift, last >> shift)
        for part in self._frozen:
            rows = _merged(rows, part.rows(first, last), first, last)
        return rows

    def rest_on(self, file: IdFile, segments: list[bytes | None]) -> None:
        """Take a new snapshot, of the rows that `freeze` saw, in place of the one before.

        `segments`: what `rows` gave for it, which need not be read again, or nothing.
        """
        self.close()
        self._frozen = []
        self._take(file, segments)

    def close(self) -> None:
        """Close the snapshot."""
        if self._file is not None:
            self._file.close()


def _new_rows() -> compiled.RowTable:
    return compiled.row_table() or RowsInPython()


def _merged(some: bytes, others: bytes, first: int, last: int) -> bytes:
    """Return sorted rows together, of the fingerprints from `first` to `last`."""
    merged = compiled.merge_rows(some, others, first, last)
    if merged is not None:
        return merged
    lowest, highest = first.to_bytes(PRINT_BYTES, "big"), last.to_bytes(PRINT_BYTES, "big")
    rows = sorted(split_rows(some) + split_rows(others))
    return b"".join([row for row in rows if lowest <= row[:PRINT_BYTES] <= highest])


def _unpacked(prints: bytes) -> tuple[Sequence[int], Sequence[bytes]]:
    """Return fingerprints as numbers and as bytes."""
    count = len(prints) // PRINT_BYTES
    return struct.unpack(f">{count}Q", prints), struct.unpack("8s" * count, prints)


# -- in Python ---------------------------------------------------------------------------------------

_NEWEST = 8192  # so many rows are in a dict, which takes 100 bytes for each
_LEAF_BYTES = 64 * ROW_BYTES
_BRANCHES = 16
_ROOT_BITS = 12
_ROOT_SHIFT = 64 - _ROOT_BITS
_NOTHING = b""

_Node = bytearray | bytes | list["_Node"]
"""A leaf of rows, in no order, or a node for each value of the next four bits."""


class RowsInPython:
    """Rows in memory, by fingerprint: the newest in a dict, all others in a trie of small leaves.

    A leaf that is full is split, so nothing waits for the table as a whole. 20 to 37 bytes a row.
    """

    def __init__(self) -> None:
        self._newest: dict[int, int] = {}
        self._root: list[_Node] = [_NOTHING] * (1 << _ROOT_BITS)
        self._has_leaves = False

    def find(self, prints: bytes) -> list[Hit]:
        """Return which of the fingerprints have a row, each with the start in it."""
        newest, hits = self._newest, []
        numbers, ones = _unpacked(prints)
        if not newest.keys().isdisjoint(numbers):
            hits = [(which, newest[one]) for which, one in enumerate(numbers) if one in newest]
        if not self._has_leaves:
            return hits
        root = self._root
        for which, number in enumerate(numbers):
            node = root[number >> _ROOT_SHIFT]
            shift = _ROOT_SHIFT
            while type(node) is list:
                shift -= 4
                node = node[number >> shift & 15]
            if (one := ones[which]) in node:
                hits += [(which, start) for start in _starts(node, one)]  # type: ignore[arg-type]
        return hits

    def add(self, prints: bytes, starts: list[int]) -> list[int]:
        """Add rows; return which were not added, as there is a row of their fingerprint."""
        known = {which for which, _ in self.find(prints)}
        if not known:
            return self.add_new(prints, starts)
        rest = [which for which in range(len(starts)) if which not in known]
        own = b"".join([prints[PRINT_BYTES * which : PRINT_BYTES * (which + 1)] for which in rest])
        left_out = self.add_new(own, [starts[which] for which in rest])
        return sorted([*known, *(rest[place] for place in left_out)])

    def add_new(self, prints: bytes, starts: list[int]) -> list[int]:
        """Add rows that are not there; return those whose fingerprint another of them has."""
        numbers, _ = _unpacked(prints)
        first = dict(zip(reversed(numbers), reversed(range(len(numbers))), strict=True))
        if len(first) == len(numbers):
            self._newest.update(zip(numbers, starts, strict=True))
        else:
            self._newest.update({number: starts[which] for number, which in first.items()})
        if len(self._newest) >= _NEWEST:
            self.settle()
        return (
            [which for which, number in enumerate(numbers) if first[number] != which]
            if (len(first) < len(numbers))
            else []
        )

    def add_one(self, fingerprint: bytes, start: int) -> None:
        """Add a row beside others of its fingerprint."""
        self._put(int.from_bytes(fingerprint, "big"), fingerprint + start.to_bytes(8, "big"))

    def rows(self, first: int, last: int) -> bytes:
        """Return the sorted rows of the fingerprints from `first` to `last`; call `settle` before."""
        lowest, highest = first.to_bytes(PRINT_BYTES, "big"), last.to_bytes(PRINT_BYTES, "big")
        rows = sorted(self._between(first, last))
        return b"".join([row for row in rows if lowest <= row[:PRINT_BYTES] <= highest])

    def settle(self) -> None:
        """Move the newest rows into the leaves."""
        pack = struct.Struct(">QQ").pack
        for number, start in self._newest.items():
            self._put(number, pack(number, start))
        self._newest.clear()

    def _put(self, number: int, row: bytes) -> None:
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

    def _between(self, first: int, last: int) -> Iterator[bytes]:
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
