"""The ops of a log that are not yet in history: its tail, read against the checkpoint. No op twice."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from muse.core.coverage import Coverage, Cut
from muse.core.entry import Limits, OpEntry
from muse.core.file.checkpoint_store import CheckpointFile
from muse.core.file.log_reader import LogReader, raise_two_bodies
from muse.core.file.objects import ObjectStore
from muse.core.op_list import decode_op_list
from muse.errors import CorruptionError

_IDS_AT_ONCE = 100_000


class LacksOpsError(CorruptionError):
    """A log lacks ops that commits cover."""

    def __init__(self, path: str, op_ids: Sequence[str]) -> None:
        super().__init__(
            f"{path} lacks {len(op_ids)} ops that commits cover, {op_ids[0]} for one: an older copy was put "
            "back, lines were damaged, or the commits came without their ops; put the whole log back, bring "
            "the ops with 'muse session sync', or go on without them with 'muse session recover --salvage'",
            path=path,
        )
        self.op_ids = op_ids


class PendingOps:
    """The ops of one log that its checkpoint does not cover. Reads the tail only, however long the log."""

    def __init__(
        self, reader: LogReader, checkpoint: CheckpointFile, objects: ObjectStore, limits: Limits
    ) -> None:
        self._reader = reader
        self._objects = objects
        self._checkpoint = checkpoint
        self._limits = limits

    def entries(self, cut: Cut, *, salvage: bool) -> Iterator[OpEntry]:
        """Yield the pending ops before `cut`, each once, in the order of the file."""
        coverage = self._checkpoint.coverage()
        listed = self.listed(coverage)
        seen: dict[str, OpEntry] = {}
        for offset, entry in self._reader.scan(coverage.cut.offset, cut.offset, salvage=salvage):
            if entry["op_id"] in listed or not coverage.is_pending(entry["domain"], offset):
                continue
            if self._was_covered(entry, offset, coverage, salvage=salvage):
                continue
            known = seen.setdefault(entry["op_id"], entry)
            if known is entry:
                yield entry
            elif known != entry and not salvage:
                raise_two_bodies(self._reader.path, entry, offset)

    def _was_covered(self, entry: OpEntry, offset: int, coverage: Coverage, *, salvage: bool) -> bool:
        """Whether the line repeats a covered op. Only a stamp within its actor's frontier can."""
        if entry["lamport_ts"] > coverage.frontier.get(entry["actor_id"], 0):
            return False
        first = self._reader.find(entry["op_id"], offset)
        if first is None or first >= offset or coverage.is_pending(entry["domain"], first):
            return False
        if not salvage and self._reader.entry_at(first) != entry:
            raise_two_bodies(self._reader.path, entry, offset)
        return True

    def advanced(self, coverage: Coverage, upto: Mapping[str, int] | int) -> Coverage:
        """Return `coverage` once what is before `upto` is covered too; see `Coverage.advance`."""
        tail = self._reader.positions(coverage.cut.offset, coverage.reach(upto))
        after = coverage.advance(tail, upto, self._limits.lamport_jump, self.listed(coverage))
        return self._without_spent_lists(after)

    def adopted(
        self, coverage: Coverage, op_lists: Iterable[str], end: int, *, salvage: bool = False
    ) -> Coverage:
        """Return `coverage` once the ops of those lists are covered too, wherever they are before `end`.

        Lists in the order of the log cost one reading of it. `CorruptionError` if the log lacks an op,
        unless `salvage`: then this is not the log that history was made from, or it is damaged.
        """
        listed = self.listed(coverage)
        for wanted in self._groups(op_lists):
            tail = self._reader.located(coverage.cut.offset, end)
            adopted = coverage.adopt(tail, end, wanted, listed, self._limits.lamport_jump)
            absent = [op_id for op_id in wanted if op_id not in adopted.found]
            placed = self._reader.find_many(absent, coverage.cut.offset) if absent else {}
            missing = [op_id for op_id in absent if op_id not in placed]
            if missing and not salvage:
                raise LacksOpsError(self._reader.path, missing)
            kept = dict.fromkeys(wanted[op_id] for op_id in (*adopted.behind, *missing))
            listed.update(op_id for op_id, name in wanted.items() if name in kept)
            names = tuple(dict.fromkeys([*coverage.op_lists, *kept]))
            coverage = replace(adopted.coverage, op_lists=names)
        return self._without_spent_lists(coverage)

    def _groups(self, op_lists: Iterable[str]) -> Iterator[dict[str, str]]:
        """Yield the ids of several lists at once, each with its list: as many as memory should hold."""
        group: dict[str, str] = {}
        for name in op_lists:
            group |= dict.fromkeys(self._read_list(name), name)
            if len(group) > _IDS_AT_ONCE:
                yield group
                group = {}
        if group:
            yield group

    def _without_spent_lists(self, coverage: Coverage) -> Coverage:
        """Drop the lists whose ops are all before the cut by now."""
        kept = [
            name
            for name in coverage.op_lists
            if len(self._reader.find_many(op_ids := self._read_list(name), coverage.cut.offset)) < len(op_ids)
        ]
        return replace(coverage, op_lists=tuple(kept))

    def listed(self, coverage: Coverage) -> set[str]:
        """Return the ids of the ops in the lists of `coverage`."""
        return {op_id for name in coverage.op_lists for op_id in self._read_list(name)}

    def _read_list(self, name: str) -> list[str]:
        return decode_op_list(self._objects.get(name), name)

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
