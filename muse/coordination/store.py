"""RecordStore: the files and locks of coordination.

Each record is a file of its own that is written once. The journal names each record before it is written, so
that a reader need not list all of them again.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from muse.coordination.journal import COMPANIONS, KINDS, damages_in, lines_of
from muse.coordination.record import check_own_id, record_id
from muse.disk import layout
from muse.disk.json_file import encode_with_digest, read_with_digest
from muse.disk.storage import Storage
from muse.disk.system_calls import translated
from muse.errors import CorruptionError, NotFoundError

Record = tuple[str, str, Mapping[str, Any]]
"""The kind of a record, its id and what is in its file."""


class RecordStore:
    """The coordination directory of the repository at `root`."""

    def __init__(self, root: str, storage: Storage) -> None:
        self._root = root
        self._storage = storage
        self._journal = layout.coordination_journal_file(root)

    def is_used(self) -> bool:
        """Return whether anything was ever reserved or intended here."""
        return self._storage.exists(layout.coordination_directory(self._root))

    def make(self) -> None:
        """Make the directory if it is not there."""
        self._storage.make_directories(layout.coordination_directory(self._root))

    # -- locks ----------------------------------------------------------------------------------

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Keep out all who write records or rely on them. The turnstile stops those who come later."""
        self._storage.make_directories(layout.coordination_directory(self._root), sync=True)
        with (
            self._storage.locked(layout.coordination_turnstile_file(self._root)),
            self._storage.locked(layout.coordination_lock_file(self._root)),
        ):
            yield

    @contextmanager
    def looking(self) -> Iterator[None]:
        """Keep out all who write records."""
        with self._storage.locked(layout.coordination_turnstile_file(self._root)):
            pass
        with self._storage.locked(layout.coordination_lock_file(self._root), exclusive=False):
            yield

    # -- reading --------------------------------------------------------------------------------

    def path(self, kind: str, own: str) -> str:
        """Return the path of the record with the id `own`."""
        return os.path.join(layout.coordination_record_directory(self._root, kind), f"{own}.json")

    def ids(self, kind: str) -> list[str]:
        """Return the ids of all records of a kind."""
        directory = layout.coordination_record_directory(self._root, kind)
        names = (record_id(name) for name, _ in self._storage.list_directory(directory))
        return [own for own in names if own]

    def read(self, kind: str, own: str) -> dict[str, Any]:
        """Return what is in the file of a record; `NotFoundError` if it does not exist.

        `CorruptionError` if a byte was changed, or it is the file of another record.
        """
        path = self.path(kind, own)
        document = read_with_digest(path, self._storage)
        check_own_id(document, kind, own, path)
        return document

    def has_companion(self, kind: str, own: str) -> bool:
        """Return whether Muse wrote a record: then there is a file that says whose it is."""
        return kind in COMPANIONS and self._storage.exists(self.path(COMPANIONS[kind], own))

    def changed_at(self, kind: str) -> float:
        """Return the time at which the directory of a kind changed, in seconds; 0 if it does not exist."""
        found = self._storage.look(layout.coordination_record_directory(self._root, kind))
        return found.st_mtime if found else 0.0

    def journal_end(self) -> tuple[int, int]:
        """Return the inode number of the journal and its size."""
        found = self._storage.look(self._journal)
        return (found.st_ino, found.st_size) if found else (0, 0)

    def announced(self, start: int, end: int) -> Iterator[tuple[str, str]]:
        """Yield the kind and id of each record that the journal names between two bytes."""
        for line in self._journal_bytes(start, end).decode("ascii", "replace").split("\n"):
            kind, _, own = line.partition(" ")
            if kind in KINDS and record_id(f"{own}.json"):
                yield kind, own

    def check_journal(self) -> None:
        """Raise `CorruptionError` if the journal has a line that no writer writes, and no crash leaves."""
        _, end = self.journal_end()
        for offset, line in damages_in(self._journal_bytes(0, end)) if end else ():
            raise CorruptionError(
                f"{self._journal} is damaged at byte {offset}, in the line {line[:100]!r}: no record is "
                "lost with it; 'muse coord prune' begins a new one",
                path=self._journal,
            )

    def _journal_bytes(self, start: int, end: int) -> bytes:
        with translated(self._journal, "read"):
            descriptor = self._storage.open(self._journal, os.O_RDONLY | os.O_NOFOLLOW)
            try:
                return self._storage.pread(descriptor, end - start, start)
            finally:
                self._storage.close(descriptor)

    # -- writing --------------------------------------------------------------------------------

    def write(self, records: Sequence[Record]) -> None:
        """Name records in the journal, then write them in order, each whole or not at all, durably."""
        documents = [(kind, own, encode_with_digest(document, kind)) for kind, own, document in records]
        lines = "".join(lines_of(kind, own) for kind, own, _ in documents)
        with translated(self._journal, "append to"):
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW
            descriptor = self._storage.open(self._journal, flags)
            try:
                self._storage.write_all(descriptor, lines.encode())
            finally:
                self._storage.close(descriptor)
        for kind, own, data in documents:
            self._storage.write_atomically(self.path(kind, own), data)

    def remove(self, kind: str, is_over: Callable[[str, Mapping[str, Any], str], bool]) -> int:
        """Remove the records of a kind that are over, durably; return how many.

        `is_over` gets the id of a record, what is in its file, and the path of that.
        """
        removed = 0
        for own in self.ids(kind):
            path = self.path(kind, own)
            with suppress(CorruptionError, NotFoundError):
                if is_over(own, self.read(kind, own), path):
                    self._storage.remove(path)
                    removed += 1
        if removed:
            self._storage.sync_directory(layout.coordination_record_directory(self._root, kind))
        return removed

    def clear_journal(self) -> None:
        """Empty the journal: all who read here list every record again."""
        self._storage.write_atomically(self._journal, b"")
