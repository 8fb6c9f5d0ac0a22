"""The index says where the line of an op id starts, so that an op is appended once, however long the log.

It is a cache: everything in it comes from the log, and it is made again when it is missing, damaged or
does not fit the log. The newest ids are in memory; beyond a bound they move into a table beside the
log, whose own cache is bounded. So memory stays the same however long the log is.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import sha256
from itertools import chain

from muse.core.entry import is_op_id
from muse.core.file.id_table import IdTable, TableError
from muse.disk.storage import Storage
from muse.errors import StorageError

IDS_IN_MEMORY = 16_384
"""So many ids are kept in memory before they move to the table (about 150 bytes each)."""

_IDS_A_MOVE = 128
_MOST_TABLES = 3  # so many damaged ones are thrown away; then memory must do
_WITNESS_BYTES = 4096

Found = tuple[int, list[tuple[str, int]]]
"""The byte up to which these are all ops of the log, and the ops, each (op id, start)."""


def _key(op_id: str) -> bytes:
    if is_op_id(op_id):
        return bytes.fromhex(op_id.replace("-", ""))
    return sha256(op_id.encode()).digest()[:16]  # another tool's id


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
        self._leaving: dict[str, int] = {}  # on their way to the table, all before byte `_leaving_upto`
        self._still_to_go: list[str] = []  # those of them that are not there yet
        self._leaving_upto = 0
        self._table: IdTable | None = None
        self._tables_left = _MOST_TABLES
        self._in_table = 0  # the table holds all ids before this byte
        self._covered = 0  # the table and memory do before this one
        if storage.exists(path):
            self._open_table()

    def find_many(self, op_ids: Sequence[str], upto: int) -> dict[str, int]:
        """Return where the first line of each op starts, of those in the log before byte `upto`."""
        while True:
            try:
                self._catch_up(upto)
                stored = self._find_in_table(op_ids)
            except TableError:
                self.discard()
                continue
            parts = (self._recent, self._leaving)
            in_memory = (((op_id, part[op_id]) for op_id in op_ids if op_id in part) for part in parts)
            known = dict(chain.from_iterable(in_memory)) | stored
            return {op_id: start for op_id, start in known.items() if start < upto}

    def _find_in_table(self, op_ids: Sequence[str]) -> dict[str, int]:
        if self._table is None or not self._in_table:
            return {}
        keys = {_key(op_id): op_id for op_id in op_ids}
        return {keys[key]: start for key, start in self._table.find_many(list(keys)).items()}

    def learn(self, found: Iterable[tuple[str, int]], start: int, end: int) -> None:
        """Take in the ops that were written from byte `start` to `end`, if all before are known."""
        if self._covered != start:
            return
        try:
            self._add(found, end)
        except TableError:
            self.discard()

    def _catch_up(self, upto: int) -> None:
        if self._covered < upto:
            for end, found in self._scan(self._covered, upto):
                self._add(found, end)

    def _add(self, found: Iterable[tuple[str, int]], end: int) -> None:
        before = len(self._recent)
        for op_id, start in found:
            self._recent.setdefault(op_id, start)
        self._covered = end
        added = len(self._recent) - before
        if not self._leaving and len(self._recent) >= IDS_IN_MEMORY:
            self._begin_to_move()
        if self._leaving and self._table is not None:
            self._move_some(self._table, max(_IDS_A_MOVE, 2 * added))

    def _begin_to_move(self) -> None:
        if self._table is None:
            self._open_table()
        if self._table is None:
            return  # there can be no table here (a read-only directory): memory must do
        self._leaving, self._recent = self._recent, {}
        self._still_to_go = sorted(self._leaving, reverse=True)  # neighbours go into the same leaf
        self._leaving_upto = self._covered

    def _move_some(self, table: IdTable, count: int) -> None:
        """Move some ids into the table: a few at each append, so that none has to wait for all of them."""
        some = self._still_to_go[-count:]
        is_all = len(some) == len(self._still_to_go)
        upto = self._leaving_upto
        rows = {_key(op_id): self._leaving[op_id] for op_id in some}
        if table.add(rows, upto, self._witness(upto), first=not self._in_table, is_all=is_all):
            del self._still_to_go[-count:]
            if is_all:
                self._in_table = upto
                self._leaving = {}
                table.tidy()

    def _open_table(self) -> None:
        """Open the table, or make it; one that does not fit the log is thrown away first."""
        while self._tables_left > 0:
            try:
                self._table = IdTable(self._path)
                upto = self._covered_by_table(self._table)
            except TableError:
                upto = None
            if upto is not None:
                self._in_table = upto
                self._covered = max(self._covered, upto)
                return
            self._remove_table()

    def _covered_by_table(self, table: IdTable) -> int | None:
        """Return how much of the log the table covers; None if any of it speaks of another log."""
        covered = table.covered() or [(0, b"")]
        fits = all(not upto or (upto > 0 and witness == self._witness(upto)) for upto, witness in covered)
        return covered[0][0] if fits else None

    def _witness(self, upto: int) -> bytes:
        """Digest the log's first bytes and those before `upto`: another log, or a shorter one, differs."""
        first = self._read(0, min(_WITNESS_BYTES, upto))
        start = max(0, upto - _WITNESS_BYTES)
        return sha256(b"leaves %d " % upto + first + self._read(start, upto - start)).digest()

    def discard(self) -> None:
        """Forget everything, the table too: it is made again from the log when it is next needed."""
        self._remove_table()
        self._recent.clear()
        self._leaving = {}
        self._still_to_go = []
        self._in_table = self._covered = 0

    def _remove_table(self) -> None:
        self.close()
        self._tables_left -= 1
        try:
            for suffix in ("-journal", "-wal", "-shm", ""):
                self._storage.remove(self._path + suffix)
        except StorageError:
            self._tables_left = 0

    def close(self) -> None:
        """Close the table on the disk. Closing twice is fine."""
        if self._table is not None:
            self._table.close()
            self._table = None
