"""The checkpoint of a log, which says how much of it is in history, and the ops that are still to come."""

from collections.abc import Iterable, Iterator

from muse.core.appends import Appends
from muse.core.arrivals import Arrivals
from muse.core.coverage import NOTHING, Coverage, Cut, OpLogCheckpoint
from muse.core.delta import collapse
from muse.core.entry import OpEntry, total_order
from muse.core.file.checkpoint_store import CheckpointFile
from muse.core.file.log_reader import collector_paused
from muse.core.uncommitted import LacksOpsError, PendingOps
from muse.domain import StructuredDelta
from muse.errors import CorruptionError


class Checkpoints:
    """The checkpoint of one log, as it is and as commits say it should be.

    `collapsed`: domain -> up to which byte this handle has collapsed its ops since the last checkpoint.
    """

    def __init__(
        self,
        appends: Appends,
        store: CheckpointFile,
        pending: PendingOps,
        arrivals: Arrivals,
        collapsed: dict[str, int],
    ) -> None:
        self._appends = appends
        self._store = store
        self._pending = pending
        self._arrivals = arrivals
        self._collapsed = collapsed

    # -- what the checkpoint says -----------------------------------------------------------------

    def read(self) -> OpLogCheckpoint | None:
        """Return the checkpoint, or None if it does not exist. `CorruptionError` if it cannot be trusted."""
        return self._store.read()

    def trusted(self) -> OpLogCheckpoint | None:
        """Return the checkpoint; None if it does not exist, or cannot be trusted."""
        return self._store.trusted()

    def coverage(self) -> Coverage:
        """Return what the checkpoint covers; nothing if it does not exist."""
        return self._store.coverage()

    def frontier_after(self, entries: Iterable[OpEntry]) -> dict[str, int]:
        """Return the frontier once `entries` are covered too: each actor's highest Lamport."""
        return self._pending.frontier_after(entries)

    # -- what this handle covers ------------------------------------------------------------------

    def pending(self, until: Cut, *, salvage: bool) -> list[OpEntry]:
        """Return the entries before a cut that no checkpoint covers, in the total order."""
        with collector_paused():
            return sorted(self._pending.entries(until, salvage=salvage), key=total_order)

    def iterate_pending(self, until: Cut) -> Iterator[OpEntry]:
        """Yield the pending ops before a cut, each once, in the order of the log."""
        return self._pending.entries(until, salvage=False)

    def delta(self, domain: str, until: Cut, *, salvage: bool) -> StructuredDelta:
        """Collapse the pending ops of `domain` before a cut; the next checkpoint covers them."""
        with collector_paused():
            delta = collapse(self._pending.entries(until, salvage=salvage), domain)
        with self._appends.lock:
            self._collapsed[domain] = until.offset
        return delta

    def advance(
        self, snapshot_id: str, commit_id: str, until: Cut | None, tips: Iterable[str]
    ) -> OpLogCheckpoint:
        """Cover what is before `until`, or what was collapsed, or all so far. The log is synced first."""
        self._make_durable()
        with self._appends.file_lock(), self._appends.lock:
            upto = until.offset if until else dict(self._collapsed) or self._appends.cut().offset
            covered = self._pending.advanced(self._store.coverage(), upto)
            checkpoint = self._store.write(snapshot_id, covered, commit_id, tips)
            self._collapsed.clear()
        return checkpoint

    # -- what commits say -------------------------------------------------------------------------

    def with_commits(
        self, op_lists: Iterable[str], *, salvage: bool = False, is_trusted: bool = True
    ) -> Coverage:
        """Return what is covered once the ops are that commits name by their lists, oldest first.

        A checkpoint that cannot be trusted, or is not, counts as none. Orphans that a commit covers are
        released: history vouches for them. `CorruptionError` if the log lacks an op, unless `salvage`.
        """
        names = list(op_lists)
        before = self._store.trusted_coverage() if is_trusted else NOTHING
        try:
            return self._pending.adopted(before, names, self._appends.cut().offset)
        except LacksOpsError as error:
            self._arrivals.release_covered(error.op_ids)
        return self._pending.adopted(before, names, self._appends.cut().offset, salvage=salvage)

    def adopt(self, coverage: Coverage, snapshot_id: str, commit_id: str, tips: Iterable[str] = ()) -> None:
        """Make `coverage`, which `with_commits` gave, the checkpoint's. The log is synced first."""
        self._make_durable()
        with self._appends.exclusive():
            self._store.write(snapshot_id, coverage, commit_id, tips)

    def fits_log(self) -> bool:
        """Return whether the log reaches what the checkpoint covers, and is the one that it was made from."""
        try:
            self._appends.cut()
        except CorruptionError:
            return False
        return True

    def distrust(self) -> None:
        """Count the checkpoint as lost, so that it is made again from the commits and nothing else."""
        self._store.distrust()

    def discard(self) -> None:
        """Remove a checkpoint that cannot be trusted, where history knows of no commit of this session."""
        self._store.discard()

    def _make_durable(self) -> None:
        self._appends.prepare()
        self._appends.sync()
