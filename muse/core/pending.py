"""Which ops of a log are still to come into history: the tail, read against the checkpoint. No op twice."""

from collections.abc import Iterable, Iterator, Mapping

from muse.core.checkpoint import Coverage, Cut
from muse.core.checkpoint_file import CheckpointFile
from muse.core.entry import Limits, OpEntry
from muse.core.log_reader import LogReader


class PendingOps:
    """The ops of one log that its checkpoint does not cover. Reads the tail only, however long the log."""

    def __init__(self, reader: LogReader, checkpoint: CheckpointFile, limits: Limits) -> None:
        self._reader = reader
        self._checkpoint = checkpoint
        self._limits = limits

    def entries(self, cut: Cut, *, salvage: bool) -> Iterator[OpEntry]:
        """Yield the pending ops before `cut`, each once, in the order of the file."""
        coverage = self._checkpoint.coverage()
        seen: dict[str, OpEntry] = {}
        for offset, entry in self._reader.scan(coverage.cut.offset, cut.offset, salvage=salvage):
            if not coverage.is_pending(entry["domain"], offset) or self._was_covered(entry, offset, coverage):
                continue
            known = seen.setdefault(entry["op_id"], entry)
            if known is entry:
                yield entry
            elif known != entry and not salvage:
                self._reader.raise_two_bodies(entry, offset)

    def _was_covered(self, entry: OpEntry, offset: int, coverage: Coverage) -> bool:
        """Whether the line repeats a covered op. Only a stamp within its actor's frontier can."""
        if entry["lamport_ts"] > coverage.frontier.get(entry["actor_id"], 0):
            return False
        first = self._reader.find(entry["op_id"], offset)
        return first is not None and first < offset and not coverage.is_pending(entry["domain"], first)

    def advanced(self, coverage: Coverage, upto: Mapping[str, int] | int) -> Coverage:
        """Return `coverage` once what is before `upto` is covered too; see `Coverage.advance`."""
        tail = self._reader.positions(coverage.cut.offset, coverage.reach(upto))
        return coverage.advance(tail, upto, self._limits.lamport_jump)

    def frontier_after(self, entries: Iterable[OpEntry]) -> dict[str, int]:
        """Return the frontier once `entries` are covered too: each actor's highest Lamport."""
        frontier = dict(self._checkpoint.coverage().frontier)
        for entry in entries:
            actor = entry["actor_id"]
            frontier[actor] = max(frontier.get(actor, 0), entry["lamport_ts"])
        return frontier

    def frontier_at(self, offset: int) -> dict[str, int]:
        """Return each actor's highest Lamport before a byte of the log: later lines can repeat only those."""
        coverage = self._checkpoint.trusted_coverage()
        known = coverage.cut.offset <= offset
        frontier = dict(coverage.frontier) if known else {}
        for position in self._reader.positions(coverage.cut.offset if known else 0, offset):
            frontier[position.actor_id] = max(frontier.get(position.actor_id, 0), position.lamport_ts)
        return frontier
