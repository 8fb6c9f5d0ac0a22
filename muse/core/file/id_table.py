"""An SQLite table gives the offset of an op id, and proves every answer, "unknown" too, by a checksum.

The ids lie in leaves. A leaf holds all ids from its first up to where the next one starts, and a crc
over both bounds and the ids. So that an id is not in its leaf says that it is not in the table; bytes
that are not what was written, and a leaf that is missing or is not the one asked for, are an error.
"""

import os
import sqlite3
import struct
import threading
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, suppress
from itertools import pairwise
from typing import NamedTuple
from urllib.parse import quote

from muse.disk.crc import crc32

TableError = sqlite3.Error
"""The table is damaged, or cannot be used."""

_CACHE_KIB = 16_384
_PATIENCE_SECONDS = 5  # another process may be adding; one that cannot add keeps its ids and tries again
_MOST_ROWS = 160  # a leaf, bounds and crc included, fits into one of SQLite's pages of 4 KiB
_END = 1 << 63

_SCHEMA = """
CREATE TABLE IF NOT EXISTS leaves (first INTEGER PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS covered (upto INTEGER NOT NULL, witness BLOB NOT NULL);
"""

_HEAD = struct.Struct(">IQQ")  # crc, first, end
_ROW = struct.Struct(">16sQ")


def _prefix(key: bytes) -> int:
    """The 63 bits by which ids are put into leaves: what an SQLite row id holds."""
    return int.from_bytes(key[:8], "big") >> 1


class Leaf(NamedTuple):
    """The rows of all ids whose prefix is at least `first` and below `end`: op id and offset in the log."""

    first: int
    end: int
    rows: bytes = b""

    @classmethod
    def from_body(cls, body: object, found_at: int, prefix: int) -> "Leaf":
        """Read the leaf found at `found_at`; `TableError` unless it is that one, and holds `prefix`."""
        if isinstance(body, bytes) and len(body) >= _HEAD.size:
            crc, first, end = _HEAD.unpack_from(body)
            if found_at == first <= prefix < end and crc == crc32(body[4:]):
                return cls(first, end, body[_HEAD.size :])
        raise sqlite3.DatabaseError("a leaf of the table is damaged or missing")

    def body(self) -> bytes:
        """Return what is stored: the rows with their bounds, behind a crc of them."""
        covered = _HEAD.pack(0, self.first, self.end)[4:] + self.rows
        return crc32(covered).to_bytes(4, "big") + covered

    def find(self, key: bytes) -> int | None:
        """Return the byte of the log that the leaf has for an id; None if it does not have the id."""
        place = self.rows.find(key)
        while place > 0 and place % _ROW.size:  # the end of one row and the start of the next
            place = self.rows.find(key, place + 1)
        return None if place < 0 else int.from_bytes(self.rows[place + 16 : place + 24], "big")

    def with_rows(self, added: bytes) -> list["Leaf"]:
        """Return the leaf with more rows; if that is too many, the leaves it is split into."""
        whole = self._replace(rows=self.rows + added)
        if len(whole.rows) <= _MOST_ROWS * _ROW.size:
            return [whole]
        rows = sorted(whole.rows[place : place + _ROW.size] for place in range(0, len(whole.rows), _ROW.size))
        prefixes = list(map(_prefix, rows))
        half = _MOST_ROWS // 2
        bounds = sorted({self.first, self.end, *prefixes[half : len(rows) - half // 2 : half]})
        places = [bisect_left(prefixes, bound) for bound in bounds]
        pieces = (b"".join(rows[start:stop]) for start, stop in pairwise(places))
        return list(map(Leaf, bounds, bounds[1:], pieces))


class IdTable:
    """The table at `path`, made if it is missing. Every method may raise `TableError`."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._tidying: threading.Thread | None = None
        self._connection = sqlite3.connect(
            path, timeout=_PATIENCE_SECONDS, check_same_thread=False, isolation_level=None
        )
        try:
            self._connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
            # None of many small transactions waits for the disk; a power cut may take the last ones, whole.
            if self._connection.execute("PRAGMA journal_mode = WAL").fetchone() == ("wal",):
                self._connection.execute("PRAGMA synchronous = NORMAL")
                self._connection.execute("PRAGMA wal_autocheckpoint = 0")  # see `tidy`
            self._connection.executescript(_SCHEMA)
        except TableError:
            self.close()
            raise

    def covered(self) -> list[tuple[int, bytes]]:
        """Return the byte before which all ids are in the table, then that of the ids being added.

        Each comes with the log's witness. Empty if the table is.
        """
        rows = self._connection.execute("SELECT upto, witness FROM covered ORDER BY upto").fetchall()
        if not all(isinstance(upto, int) and isinstance(witness, bytes) for upto, witness in rows):
            raise sqlite3.DatabaseError("the table does not say what it covers")
        return rows

    def find_many(self, keys: Sequence[bytes]) -> dict[bytes, int]:
        """Return the offsets of those ids that are in the table."""
        found = {}
        with self._connection:
            self._connection.execute("BEGIN")  # one lock of the file for all of them
            for leaf, own in self._by_leaf(sorted(keys)):
                for key in own:
                    start = leaf.find(key)
                    if start is not None:
                        found[key] = start
        return found

    def add(
        self, rows: Mapping[bytes, int], upto: int, witness: bytes, *, first: bool, is_all: bool = True
    ) -> bool:
        """Add the rows whose ids are not there yet; with `is_all`, the log before `upto` is covered now.

        False, with nothing added, where it cannot be written (a full disk, a read-only file). With
        `first`, the table is expected to be empty: leaves that nothing says it covers are thrown away.
        """
        try:
            self._add(rows, upto, witness, first=first, is_all=is_all)
        except sqlite3.OperationalError:
            return False
        return True

    def _add(
        self, rows: Mapping[bytes, int], upto: int, witness: bytes, *, first: bool, is_all: bool
    ) -> None:
        with self._connection:
            self._connection.execute("BEGIN IMMEDIATE")
            covered = self.covered()
            if not covered:
                if not first:
                    raise sqlite3.DatabaseError("the table no longer says what it covers")
                self._connection.execute("DELETE FROM leaves")
                self._store(Leaf(0, _END))
                covered = [(0, b"")]
                self._connection.execute("INSERT INTO covered VALUES (?, ?)", covered[0])
            for leaf, keys in self._by_leaf(sorted(rows)):
                new = b"".join([_ROW.pack(key, rows[key]) for key in keys if leaf.find(key) is None])
                for part in leaf.with_rows(new):
                    self._store(part)
            if covered[0][0] < upto and (upto, witness) not in covered:
                self._connection.execute("INSERT INTO covered VALUES (?, ?)", (upto, witness))
            if is_all:
                self._connection.execute("DELETE FROM covered WHERE upto < ?", (upto,))

    def tidy(self) -> None:
        """Bring what was added from SQLite's log into the table itself, while others go on."""
        if self._tidying is None or not self._tidying.is_alive():
            self._tidying = threading.Thread(target=_checkpoint, args=(self._path,), daemon=True)
            self._tidying.start()

    def _store(self, leaf: Leaf) -> None:
        self._connection.execute("INSERT OR REPLACE INTO leaves VALUES (?, ?)", (leaf.first, leaf.body()))

    def _by_leaf(self, keys: Sequence[bytes]) -> Iterator[tuple[Leaf, Sequence[bytes]]]:
        """Yield each leaf that some of the sorted `keys` belong to, with those."""
        query = "SELECT body, first FROM leaves WHERE first <= ? ORDER BY first DESC LIMIT 1"
        prefixes = [_prefix(key) for key in keys]
        place = 0
        while place < len(keys):
            row = self._connection.execute(query, (prefixes[place],)).fetchone()
            body, found_at = row or (None, 0)
            leaf = Leaf.from_body(body, found_at, prefixes[place])
            after = bisect_left(prefixes, leaf.end, place)
            yield leaf, keys[place:after]
            place = after

    def close(self) -> None:
        """Close the table, once the tidying that runs in the background is done."""
        if self._tidying is not None:
            self._tidying.join()
        self._connection.close()


_AT_WORK = threading.Lock()
"""Taken while a thread tidies: a child that was forked then would wait for SQLite's own locks for ever."""

os.register_at_fork(
    before=_AT_WORK.acquire, after_in_parent=_AT_WORK.release, after_in_child=_AT_WORK.release
)


def _checkpoint(path: str) -> None:
    with _AT_WORK, suppress(TableError):
        uri = f"file:{quote(path)}?mode=rw"  # it may be gone by now
        with closing(sqlite3.connect(uri, uri=True)) as connection:
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
