"""Entries whose parents have not come, or have stamps that are not below: which, and what they wait for."""

from collections.abc import Iterable

from muse.core.arrivals import Arrivals
from muse.core.entry import OpEntry, total_order
from muse.core.file.log_file import LogFile
from muse.core.file.log_reader import LogReader
from muse.core.orphan_file import OrphanFile


class Orphans:
    """The orphans of one log. They came in a merge, and stay until their parents are in the log."""

    def __init__(self, store: OrphanFile, arrivals: Arrivals, file: LogFile, reader: LogReader) -> None:
        self._store = store
        self._arrivals = arrivals
        self._file = file
        self._reader = reader

    def entries(self) -> list[OpEntry]:
        """Return the orphans, in the total order."""
        return sorted((entry for entry, _ in self._store.read().values()), key=total_order)

    def missing_parents(self) -> list[str]:
        """Return the ids that orphans wait for: parents that are neither in the log nor orphans; sorted."""
        orphans = self._store.read()
        parents = {parent for entry, _ in orphans.values() for parent in entry["parent_op_ids"]}
        named = parents - orphans.keys()
        return sorted(named - self._reader.find_many(list(named), self._file.end()).keys()) if named else []

    def release(self) -> int:
        """Append the orphans whose parents have come by another way; return how many."""
        return self._arrivals.release()

    def let_in(self, entries: Iterable[OpEntry]) -> None:
        """Append those of the entries, orphans or not, that the log lacks, durably, whatever keeps them out.

        For what a commit covers: it vouches for them.
        """
        self._arrivals.let_in_covered(entries)
