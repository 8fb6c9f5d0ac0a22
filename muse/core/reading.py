"""Reading a log: in an order, some of its ops, one by its id, or those that are still to come."""

from collections.abc import Callable, Iterable, Iterator
from operator import itemgetter
from typing import Literal

from muse.causality import causal_order
from muse.core.appends import Appends
from muse.core.coverage import Cut
from muse.core.entry import OpEntry, matches, total_order
from muse.core.file.cursors import Cursors
from muse.core.file.log_file import LogFile
from muse.core.file.log_reader import LogReader, collector_paused
from muse.core.file.session_file import SessionFile
from muse.core.file.tail import Follower
from muse.core.session_directory import SessionDirectory
from muse.core.uncommitted import PendingOps
from muse.errors import UsageError

Order = Literal["log", "total", "causal"]
Wanted = Callable[[OpEntry], bool]


def wanted(actor: str | None, domain: str | None, address: str | None) -> Wanted | None:
    """Return a test for the entries of an actor, a domain and an address (None: any); None for all."""
    if actor is None and domain is None and address is None:
        return None
    return lambda entry: matches(entry, actor, domain, address)


class LogReading:
    """The reading side of one handle of a log."""

    def __init__(
        self,
        directory: SessionDirectory,
        file: LogFile,
        reader: LogReader,
        appends: Appends,
        pending: PendingOps,
        *,
        cursors: Cursors,
    ) -> None:
        self._directory = directory
        self._file = file
        self._reader = reader
        self._appends = appends
        self._pending = pending
        self._cursors = cursors

    def entries(
        self, since: int | Cut, until: int | Cut | None, wanted: Wanted | None, order: Order, *, salvage: bool
    ) -> Iterator[OpEntry]:
        """Iterate over ops, each once, in bounded memory when `order` is "log", that of the file."""
        if order not in {"log", "total", "causal"}:
            raise UsageError(f"order {order!r} is unknown: use 'log', 'total' or 'causal'")
        start, stop = _offset(since), self._file.end() if until is None else _offset(until)
        located = self._reader.distinct(start, stop, self._pending.frontier_at(start), salvage=salvage)
        found: Iterator[OpEntry] = map(itemgetter(1), located)
        if order == "causal":
            found = iter(causal_order(sorted(found, key=total_order)))
        matching = found if wanted is None else filter(wanted, found)
        return iter(sorted(matching, key=total_order)) if order == "total" else matching

    def all_entries(self, *, salvage: bool) -> list[OpEntry]:
        """Return every op once, in the total order."""
        found: dict[str, OpEntry] = {}
        with collector_paused():
            is_in_order = self._reader.collect(self._file.end(), found, salvage=salvage)
            return list(found.values()) if is_in_order else sorted(found.values(), key=total_order)

    def find(self, op_ids: Iterable[str]) -> dict[str, tuple[int, int, OpEntry]]:
        """Return those of the ops that the log holds: where the line of each starts and ends, its entry."""
        with self._appends.lock:
            self._appends.take_in()
            end = self._appends.seen_end
            starts = self._reader.find_many(list(op_ids), end) if end else {}
            lines = ((op_id, start, *self._reader.line_at(start)) for op_id, start in starts.items())
            return {op_id: (start, end, entry) for op_id, start, entry, end in lines}

    def follow(self, since: int | Cut | None, wanted: Wanted | None) -> Follower:
        """Iterate over entries as they arrive, from `since` (None: from now), until it is stopped."""
        self._appends.check_open()
        start = self._file.end() if since is None else _offset(since)
        directory = self._directory
        log_file = SessionFile(directory.root, directory.session_id, directory.storage)
        reader = LogReader(log_file, directory.index_path, directory.storage)
        frontier = self._pending.frontier_at(start)
        cursors = self._cursors.of(log_file)
        return Follower(log_file, reader, cursors, start, frontier, wanted=wanted or (lambda _entry: True))


def _offset(place: int | Cut) -> int:
    return place.offset if isinstance(place, Cut) else place
