"""Op id -> where its line starts: what makes an append idempotent, for good and at any length.

A cache: everything in it comes from the log, and it is made anew when it is missing, damaged or does
not fit the log. The newest ids are held in memory; beyond a bound they move into an SQLite table
beside the log, whose own cache is bounded. So memory stays the same however long the log is.
"""

import contextlib
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import sha256

from muse.core.storage import Storage

IDS_IN_MEMORY = 16_384
"""How many ids are held in memory before they move to the table (about 150 bytes each)."""

_CACHE_KIB = 16_384
_WITNESS_BYTES = 4096
_KEYS_A_QUERY = 500

_SCHEMA = """
CREATE TABLE IF NOT EXISTS ids (op_id BLOB PRIMARY KEY, start INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS covered (upto INTEGER NOT NULL, witness BLOB NOT NULL);
"""

Found = tuple[int, list[tuple[str, int]]]
"""Some ops of the log, each (op id, start), and the byte up to which that is all of them."""


def _key(op_id: str) -> bytes:
    return bytes.fromhex(op_id.replace("-", ""))


class OpIndex:
    """The ids of one log's ops, each with the byte offset of its first line.

    `read(offset, length)` reads the log's bytes, `scan(start, stop)` its ops. Not for several
    threads at once.
    """

    def __init__(
        self,
        path: str,
        storage: Storage,
        read: Callable[[int, int], bytes],
        scan: Callable[[int, int], Iterator[Found]],
    ) -> None:
        self._path = path
        self._storage = storage
        self._read = read
        self._scan = scan
        self._recent: dict[str, int] = {}
        self._table: sqlite3.Connection | None = None
        self._covered = 0
        if storage.exists(path):
            self._open_table()

    def find_many(self, op_ids: Sequence[str], upto: int) -> dict[str, int]:
        """Return where the first lines of those ops start that are in the log before byte `upto`."""
        self._catch_up(upto)
        try:
            stored = self._find_in_table(op_ids)
        except sqlite3.Error:  # a cache that cannot be read is made anew
            self.discard()
            return self.find_many(op_ids, upto)
        recent = self._recent
        return {op_id: recent[op_id] for op_id in op_ids if op_id in recent} | stored

    def _find_in_table(self, op_ids: Sequence[str]) -> dict[str, int]:
        found: dict[str, int] = {}
        if self._table is None:
            return found
        for first in range(0, len(op_ids), _KEYS_A_QUERY):
            keys = {_key(op_id): op_id for op_id in op_ids[first : first + _KEYS_A_QUERY]}
            places = ",".join("?" * len(keys))
            query = f"SELECT op_id, start FROM ids WHERE op_id IN ({places})"  # noqa: S608 - question marks only
            rows = self._table.execute(query, list(keys))
            found.update((keys[bytes(key)], int(start)) for key, start in rows)
        return found

    def _catch_up(self, upto: int) -> None:
        if self._covered >= upto:
            return
        for end, found in self._scan(self._covered, upto):
            self._add(found)
            self._covered = end
            if len(self._recent) >= IDS_IN_MEMORY:
                self._move_to_table()

    def _add(self, found: Iterable[tuple[str, int]]) -> None:
        for op_id, start in found:
            self._recent.setdefault(op_id, start)

    def _move_to_table(self) -> None:
        if self._table is None:
            self._open_table()
        if self._table is None:
            return  # there can be no table here (a read-only directory): memory must do
        rows = sorted((_key(op_id), start) for op_id, start in self._recent.items())
        with contextlib.suppress(sqlite3.Error), self._table:
            self._table.executemany("INSERT OR IGNORE INTO ids VALUES (?, ?)", rows)
            self._table.execute("DELETE FROM covered")
            self._table.execute(
                "INSERT INTO covered VALUES (?, ?)", (self._covered, self._witness(self._covered))
            )
            self._recent.clear()

    def _open_table(self) -> None:
        """Open the table, or make it; one that does not fit the log is thrown away first."""
        for _ in range(2):
            try:
                self._table = self._connect()
                upto = self._covered_by_table(self._table)
            except (sqlite3.Error, ValueError):
                upto = None
            if upto is not None:
                self._covered = max(self._covered, upto)
                return
            self._remove_table()

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=60, check_same_thread=False)
        connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        connection.executescript(_SCHEMA)
        return connection

    def _covered_by_table(self, table: sqlite3.Connection) -> int | None:
        """Return how much of the log the table covers; None if it speaks of another log."""
        row = table.execute("SELECT upto, witness FROM covered").fetchone()
        if row is None:
            return 0
        upto, witness = int(row[0]), bytes(row[1])
        return upto if witness == self._witness(upto) else None

    def _witness(self, upto: int) -> bytes:
        """Digest the log's first bytes and those before `upto`: another log, or a shorter one, differs."""
        first = self._read(0, min(_WITNESS_BYTES, upto))
        start = max(0, upto - _WITNESS_BYTES)
        return sha256(b"%d " % upto + first + self._read(start, upto - start)).digest()

    def discard(self) -> None:
        """Forget everything, the table too: it is made anew from the log when it is next needed."""
        self._remove_table()
        self._recent.clear()
        self._covered = 0

    def _remove_table(self) -> None:
        self.close()
        for suffix in ("", "-journal"):
            with contextlib.suppress(OSError):
                self._storage.remove(self._path + suffix)

    def close(self) -> None:
        if self._table is not None:
            self._table.close()
            self._table = None
