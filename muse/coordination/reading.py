"""RecordReader: takes in what was written to the files of coordination since it last looked."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass

from muse.coordination.holdings import Holdings
from muse.coordination.journal import COMPANIONS, KINDS
from muse.coordination.store import RecordStore
from muse.disk.json_file import field
from muse.errors import CorruptionError, NotFoundError, StorageError

_OTHER_TOOLS_SECONDS = 1.0  # how soon a record that another tool wrote is seen


@dataclass(frozen=True, slots=True)
class _Unreadable:
    """A record that could not be read. `stops`: without it nobody knows who holds what."""

    kind: str
    own: str
    error: CorruptionError | StorageError
    stops: bool


class RecordReader:
    """Keeps the holdings of a repository up to date: what it costs does not grow with the records.

    `now` is the wall clock, in seconds.
    """

    def __init__(self, store: RecordStore, now: Callable[[], float]) -> None:
        self.holdings = Holdings()
        self._store = store
        self._now = now
        self._changed: dict[str, float] = {}  # kind -> the time of its directory, as last seen
        self._unreadable: dict[str, _Unreadable] = {}  # by path
        self._journal_read: tuple[int, int] | None = None  # which file it is, and how far
        self._looked_for_others = float("-inf")

    def refresh(self) -> None:
        """Take in what was written since. Under one of the locks: then no record is half-written."""
        file, end = self._store.journal_end()
        known, start = self._journal_read or (-1, 0)
        if file != known or end < start:
            self._read_everything()
        elif end > start:
            for kind, own in self._store.announced(start, end):
                self._read_one(kind, own)
        self._journal_read = file, end
        now = self._now()
        is_due = abs(now - self._looked_for_others) >= _OTHER_TOOLS_SECONDS
        if is_due:
            self._looked_for_others = now
            self._read_others()
        if self._unreadable:
            self._read_again(others_too=is_due)
        if not self._is_stopped():
            self.holdings.let_expire(now)

    def faults(self) -> list[str]:
        """Return what is wrong with records that could not be read."""
        return [str(self._unreadable[path].error) for path in sorted(self._unreadable)]

    def check_whole(self) -> None:
        """Raise unless everything that says who holds what could be read."""
        for record in self._unreadable.values():
            if record.stops:
                raise CorruptionError(
                    f"{record.error}; it says who holds what, and without it nothing is reserved and no op "
                    "is let through: put the file back, or remove it",
                    path=record.error.path,
                ) from record.error

    def _is_stopped(self) -> bool:
        return any(record.stops for record in self._unreadable.values())

    def _read_everything(self) -> None:
        self.holdings.clear()
        self._unreadable = {}
        for kind in KINDS:
            for own in self._store.ids(kind):
                self._read_one(kind, own)
        for own in self._store.ids(COMPANIONS["reservations"]):
            if not self.holdings.has_taken("reservations", own):
                self._read_lone_epoch(own)

    def _read_lone_epoch(self, own: str) -> None:
        """Keep an epoch from being used again if its reservation was never written, or was removed."""
        kind = COMPANIONS["reservations"]
        with contextlib.suppress(CorruptionError, NotFoundError):
            epoch = field(self._store.read(kind, own), "epoch", int, self._store.path(kind, own))
            self.holdings.epoch = max(self.holdings.epoch, epoch)

    def _read_others(self) -> None:
        """Read what other tools wrote: they know nothing of the journal."""
        for kind, taken in self.holdings.taken.items():
            changed = self._store.changed_at(kind)
            # Two changes may leave a directory one time: one that changed just now is no proof.
            if changed != self._changed.get(kind, 0.0) or changed > self._now() - 2:
                self._changed[kind] = changed
                for own in self._store.ids(kind):
                    if own not in taken and self._store.path(kind, own) not in self._unreadable:
                        self._read_one(kind, own)

    def _read_again(self, *, others_too: bool) -> None:
        """Read what could not be read: it may have been put right, or removed."""
        was_stopped = self._is_stopped()
        for record in list(self._unreadable.values()):
            if record.stops or others_too:
                self._read_one(record.kind, record.own)
        if was_stopped and not self._is_stopped():
            self._read_everything()  # what rests on it was read before it

    def _read_one(self, kind: str, own: str) -> None:
        """Take in one record. One that was announced and not written is nothing."""
        if self.holdings.has_taken(kind, own):
            return
        path = self._store.path(kind, own)
        is_ours = self._store.has_companion(kind, own)
        try:
            document = self._store.read(kind, own)
            companion = self._store.read(COMPANIONS[kind], own) if is_ours else None
            self.holdings.take(kind, own, document, companion, path)
        except NotFoundError:
            self._unreadable.pop(path, None)
        except (CorruptionError, StorageError) as error:
            # What cannot be read is never taken for a free address; a release is not needed for that.
            stops = kind == "renewals" or (kind == "reservations" and is_ours)
            self._unreadable[path] = _Unreadable(kind, own, error, stops)
        else:
            self._unreadable.pop(path, None)
