"""The index says where the line of an op id starts, so that an op is appended once, however long the log.

It is a cache: everything in it comes from the log, and it is made again when it is missing, damaged or
does not fit the log. It is a table in this process's memory, over a snapshot beside the log that any process
may have left; what the log has behind that is scanned. Nothing is read before an id is looked up. On a hit
the log's line decides. A new snapshot is written in the background, once enough ops came for the work to be
in proportion; whatever goes wrong with it, the index goes on in memory.
"""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from hashlib import sha256
from operator import itemgetter

from muse.core import compiled
from muse.core.file.id_file import Facts, IdFile, TableError, UnreadableError, bits_for, write_id_file
from muse.core.file.id_prints import PRINT_BYTES, fingerprints, new_key
from muse.core.file.id_table import IdTable
from muse.disk import layout
from muse.disk.storage import Storage
from muse.errors import StorageError

SNAPSHOT_ROWS = 16_384
"""So many ops are worth a snapshot: to scan fewer takes no longer than to read one."""

ROWS_AT_ONCE = 1 << 20
"""No more ops are scanned before their rows leave memory for a snapshot; then twice as many, and so on."""

_SHARE = 4  # a snapshot is written when a quarter of its rows is new: 80 bytes an op, however long the log
_MOST_FILES = 3  # so many damaged ones are thrown away, or cannot be written; then memory must do
_WITNESS_BYTES = 4096

Found = tuple[int, list[str], list[int]]
"""The byte up to which these are all ops of the log; their ids, and where their lines start."""


class OpIndex:
    """The ids of one log's ops, each with the byte offset of its first line.

    `read(offset, length)` reads the log's bytes, `scan(start, stop)` its ops. `op_id_at(start, op_id)` gives
    the op id of the line there, which is likely `op_id`; None if no entry can be read. Not for several
    threads at once.
    """

    def __init__(
        self,
        path: str,
        storage: Storage,
        read: Callable[[int, int], bytes],
        scan: Callable[[int, int], Iterator[Found]],
        op_id_at: Callable[[int, str], str | None],
    ) -> None:
        self._path = path
        self._storage = storage
        self._read = read
        self._scan = scan
        self._op_id_at = op_id_at
        self._key = b""
        self._table: IdTable | None = None
        self._covered = 0  # the table has all ids before this byte
        self._stored = 0  # rows of the snapshot
        self._new = 0  # and rows since
        self._writing: SnapshotWriter | None = None
        self._files_left = _MOST_FILES
        self._asked: tuple[Sequence[str], bytes] = ((), b"")
        self._unknown = b""  # fingerprints that were just looked up, and are of no row

    # -- asking -----------------------------------------------------------------------------------

    def find_many(self, op_ids: Sequence[str], upto: int) -> dict[str, int]:
        """Return where the first line of each op starts, of those in the log before byte `upto`."""
        if not op_ids:
            return {}
        is_new = False  # made from the log in this call
        while True:
            try:
                table = self._caught_up(upto)
                prints = fingerprints(op_ids, self._key)
                hits = table.find(prints)
                self._asked = op_ids, prints
                self._unknown = b"" if hits else prints
                return self._judged(op_ids, prints, hits, upto, strict=not is_new) if hits else {}
            except UnreadableError:
                self._files_left -= 1
                self.close()
            except TableError:
                self.discard()
                is_new = True

    def _judged(
        self, op_ids: Sequence[str], prints: bytes, hits: list[tuple[int, int]], upto: int, *, strict: bool
    ) -> dict[str, int]:
        """Return the first line of each op of `hits` whose line is that op's."""
        found: dict[str, int] = {}
        for which, start in sorted(hits, key=itemgetter(1)):
            op_id = op_ids[which]
            if strict and start >= self._covered:
                raise TableError("a row names a line behind what it covers")
            if start < upto and op_id not in found:
                own = prints[PRINT_BYTES * which : PRINT_BYTES * which + PRINT_BYTES]
                if self._is_at(op_id, own, start, strict=strict):
                    found[op_id] = start
        return found

    def _is_at(self, op_id: str, own: bytes, start: int, *, strict: bool) -> bool:
        """Tell whether a row is that of an op; with `strict`, raise `TableError` for a row of no op."""
        there = self._op_id_at(start, op_id)
        if there == op_id:
            return True
        if strict and (there is None or fingerprints([there], self._key) != own):
            raise TableError("a row names a line that is not of its op")  # or that was damaged since
        return False

    # -- taking in --------------------------------------------------------------------------------

    def learn(self, op_ids: list[str], starts: list[int], start: int, end: int) -> None:
        """Take in the ops that were written from byte `start` to `end`, if all before are known."""
        if self._table is None or self._covered != start:
            return
        try:
            self._add(self._table, op_ids, starts, end)
        except TableError:
            self.discard()
        except StorageError:
            return  # what was written is acknowledged all the same, and scanned when it is asked for
        self._write_if_due()

    def _caught_up(self, upto: int) -> IdTable:
        """Return the table, which has all ops before byte `upto` now."""
        table = self._open() if self._table is None else self._table
        if self._covered < upto:
            for end, op_ids, starts in self._scan(self._covered, upto):
                self._add(table, op_ids, starts, end)
                if self._new >= max(ROWS_AT_ONCE, self._stored):
                    self._write_if_due(wait=True)
            self._write_if_due()
        return table

    def _add(self, table: IdTable, op_ids: list[str], starts: list[int], end: int) -> None:
        asked, prints = self._asked  # what was asked for is mostly added next
        if asked is not op_ids:
            prints = fingerprints(op_ids, self._key)
        are_new, self._unknown = prints is self._unknown, b""
        for which in table.add(prints, starts, are_new=are_new) if op_ids else ():
            own = prints[PRINT_BYTES * which : PRINT_BYTES * which + PRINT_BYTES]
            known = table.find(own)  # a repeated line gets no row, or one that is repeated without end had
            if not any(self._is_at(op_ids[which], own, place, strict=False) for _, place in known):
                table.add_one(own, starts[which])
        self._new += len(op_ids)
        self._covered = end

    # -- the snapshot -----------------------------------------------------------------------------

    def _open(self) -> IdTable:
        """Open the snapshot; one that does not fit the log is thrown away."""
        self._remove_older_table()
        file = None
        try:
            if self._files_left > 0 and self._storage.exists(self._path):
                file = self._fitting_file()
        except (UnreadableError, StorageError):
            self._files_left -= 1
        except TableError:
            self._remove_file()
        self._key = new_key() if file is None else file.facts.key
        self._covered = 0 if file is None else file.facts.covered
        self._stored = 0 if file is None else file.count
        self._new = 0
        self._asked = (), b""
        self._table = IdTable(file)
        return self._table

    def _fitting_file(self) -> IdFile:
        file = IdFile(self._path, self._storage)
        if file.facts.witness != self._witness(file.facts.covered):
            file.close()
            raise TableError("it is of another log, or of another state of this one")
        return file

    def _witness(self, upto: int) -> bytes:
        """Digest the log's first bytes and those before `upto`: another log, or a shorter one, differs."""
        first = self._read(0, min(_WITNESS_BYTES, upto))
        start = max(0, upto - _WITNESS_BYTES)
        return sha256(b"ids %d " % upto + first + self._read(start, upto - start)).digest()

    def _write_if_due(self, *, wait: bool = False) -> None:
        """Begin to write a snapshot if enough is new; take over the one that was written."""
        if self._writing is not None and (wait or not self._writing.is_alive()):
            self._end_writing()
        table, due = self._table, max(SNAPSHOT_ROWS, self._stored // _SHARE)
        if table is None or self._new < due or self._writing is not None or self._files_left <= 0:
            return
        try:
            witness = self._witness(self._covered)
        except StorageError:
            self._files_left -= 1
            return
        facts = Facts(bits_for(self._stored + self._new), self._key, self._covered, witness)
        table.freeze()
        self._writing = SnapshotWriter(self._path, self._storage, facts, table, self._new)
        if not self._writing.begin():
            self._writing = None
            self._files_left -= 1
        elif wait:
            self._end_writing()

    def _end_writing(self) -> None:
        """Wait for the snapshot that is being written; rest on it, if it could be written."""
        writing, self._writing = self._writing, None
        if writing is None or self._table is None:
            return
        file = writing.wait()
        if file is None:
            self._files_left -= not writing.is_overtaken
            return
        self._table.rest_on(file, writing.segments)
        self._stored = file.count
        self._new -= writing.new_rows

    # -- throwing away ----------------------------------------------------------------------------

    def discard(self) -> None:
        """Forget everything, the snapshot too: it is made again from the log when it is next needed."""
        if self._writing is not None:
            self._writing.give_up()
        self.close()
        self._remove_file()

    def _remove_file(self) -> None:
        self._files_left -= 1
        try:
            self._storage.remove(self._path)
        except StorageError:
            self._files_left = 0

    def _remove_older_table(self) -> None:
        """Remove the table that earlier builds kept: nobody reads it any more."""
        older = layout.older_op_index_files(os.path.dirname(self._path))
        with suppress(StorageError):
            if self._storage.exists(older[-1]):
                for path in older:
                    self._storage.remove(path)

    def close(self, *, wait: bool = True) -> None:
        """Release the snapshot; with `wait`, once the one that is being written is there. Twice is fine."""
        if wait:
            self._end_writing()
        table, self._table = self._table, None
        self._writing = None
        self._covered = 0
        if table is not None:
            table.close()


class SnapshotWriter:
    """A thread that writes one snapshot. No error leaves it: then there is no new snapshot."""

    def __init__(self, path: str, storage: Storage, facts: Facts, table: IdTable, new_rows: int) -> None:
        self.new_rows = new_rows
        self.is_overtaken = False  # by another process, whose snapshot is as good
        self.segments: list[bytes | None] = []  # as they were written, in the form that keeps them in memory
        self._path = path
        self._storage = storage
        self._facts = facts
        self._table = table
        self._is_given_up = False
        self._file: IdFile | None = None
        self._thread = threading.Thread(target=self._write, name="muse-op-index")

    def begin(self) -> bool:
        """Start to write; False if this process can start no thread."""
        try:
            self._thread.start()
        except RuntimeError:
            return False
        return True

    def is_alive(self) -> bool:
        """Tell whether it is still writing."""
        return self._thread.is_alive()

    def give_up(self) -> None:
        """Leave what was at the path, unless it is too late for that."""
        self._is_given_up = True

    def wait(self) -> IdFile | None:
        """Wait until it is written; return the snapshot, or None if there is no new one."""
        self._thread.join()
        return self._file

    def _write(self) -> None:
        try:
            if self._storage.exists(os.path.dirname(self._path)):
                write_id_file(self._path, self._storage, self._facts, self._segments())
                file = IdFile(self._path, self._storage)
                if file.facts == self._facts:
                    self._file = file
                else:
                    self.is_overtaken = True
                    file.close()
        except (StorageError, OSError, TableError, MemoryError):
            return

    def _segments(self) -> Iterator[bytes]:
        bits = self._facts.bits
        for number in range(1 << bits):
            if self._is_given_up:
                raise TableError("nobody wants it any more")
            rows = self._table.rows(bits, number)
            if compiled.NATIVE is not None:
                self.segments.append(rows)
            yield rows
