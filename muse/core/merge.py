"""Two logs become one: of the entries that come, which are new, known, in conflict, held or refused.

Union by op id: idempotent, commutative and associative. Nothing is written here; `OpLog.merge` does.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from muse.core.clock import LamportClock
from muse.core.entry import Limits, OpEntry, check_entries, check_entry, total_order
from muse.core.held import HELD_AT_MOST
from muse.core.incoming import Incoming, Refusal
from muse.core.log_reader import LogReader
from muse.core.record import decode_line, decode_lines, encode_line, encode_lines, op_id_of
from muse.errors import DomainError, InvalidEntryError

Check = Callable[[OpEntry], None]
"""Raises `DomainError` for an entry whose op its domain refuses."""

Ready = tuple[OpEntry, bytes]
"""An entry that may enter, and its line."""

_REASONS_KEPT = 100


@dataclass(frozen=True, slots=True)
class MergeResult:
    """What a merge came to: how many entries were new, how many the log held already, and the rest.

    `added` counts those that had been held and are released now. `held`: new ones whose parents are
    not here. `conflicts`: op ids that the log has with another body; nothing was changed for them.
    `refused`: what may not enter. `reasons` says why, of the first hundred in conflict or refused.
    """

    added: int = 0
    known: int = 0
    held: int = 0
    conflicts: int = 0
    refused: int = 0
    reasons: tuple[Refusal, ...] = ()


@dataclass(slots=True)
class Merge:
    """One merge under way. Whoever drives it holds the session's lock while a batch is sorted out.

    `waiting` are entries whose parents are not in the log: those held before, and new ones.
    """

    reader: LogReader
    clock: LamportClock
    limits: Limits
    waiting: dict[str, OpEntry]
    check: Check | None = None
    added: int = 0
    known: int = 0
    conflicts: int = 0
    refused: int = 0
    reasons: list[Refusal] = field(default_factory=list)
    _held_before: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        self._held_before = frozenset(self.waiting)

    def result(self) -> MergeResult:
        held = len(self.waiting.keys() - self._held_before)
        return MergeResult(
            self.added, self.known, held, self.conflicts, self.refused, tuple(self.reasons[:_REASONS_KEPT])
        )

    @property
    def waiting_changed(self) -> bool:
        return self.waiting.keys() != self._held_before

    def sort_out(self, batch: Incoming, end: int, op_count: int) -> list[Ready]:
        """Return the entries of `batch` that enter the log now; it has `op_count` ops before byte `end`."""
        self.known += batch.repeated
        self._note(batch.conflicts, batch.refused)
        own = self.reader.lines_of(batch.lines, end, op_count)
        fresh: list[bytes] = []
        for op_id, line in batch.lines.items():
            known = own.get(op_id)
            if known is None:
                fresh.append(line)
            elif known == line or _decoded(known) == _decoded(line):
                self.known += 1
            else:
                self._note([Refusal(op_id.decode(), "the log has this op id with another body")])
        return self._enter(self._admissible(fresh), end, op_count)

    def release(self, end: int, op_count: int) -> list[Ready]:
        """Return the waiting entries whose parents are in the log by now."""
        entries, self.waiting = self.waiting, {}
        ids = [op_id.encode() for op_id in entries]
        own = self.reader.lines_of(ids, end, op_count)
        for op_id, line in own.items():  # brought by another way meanwhile
            entry = entries.pop(op_id.decode())
            if decode_line(line) != entry:
                self._note([Refusal(entry["op_id"], "the log has this op id with another body")])
        return self._enter([(entry, encode_line(entry)) for entry in entries.values()], end, op_count)

    def _admissible(self, lines: list[bytes]) -> list[Ready]:
        """Decode the lines of new entries; refuse what is none, or is beyond what this log accepts."""
        found = self._all_at_once(lines)
        if found is None:
            found = [ready for ready in map(self._one, lines) if ready is not None]
        return [ready for ready in found if not self._is_held(ready[0])]

    def _all_at_once(self, lines: list[bytes]) -> list[Ready] | None:
        """Return all of `lines`, in a quarter of the time, if nothing is to be said of any."""
        try:
            entries = decode_lines(lines)
            check_entries(entries, self.limits)
            self._check_stamp(max((entry["lamport_ts"] for entry in entries), default=0))
            if self.check is not None:
                for entry in entries:
                    self.check(entry)
            encoded = encode_lines(entries, self.limits)
        except (InvalidEntryError, DomainError):
            return None
        return list(zip(entries, encoded.splitlines(keepends=True), strict=True))

    def _one(self, line: bytes) -> Ready | None:
        op_id = op_id_of(line).decode("ascii", "replace")
        try:
            entry = decode_line(line)
            check_entry(entry, self.limits)
            self._check_stamp(entry["lamport_ts"])
            if self.check is not None:
                self.check(entry)
            return entry, encode_line(entry, self.limits)
        except (InvalidEntryError, DomainError) as error:
            self._note((), [Refusal(op_id, str(error))])
            return None

    def _is_held(self, entry: OpEntry) -> bool:
        known = self.waiting.get(entry["op_id"])
        if known == entry:
            self.known += 1
        elif known is not None:
            self._note([Refusal(entry["op_id"], "it is held with another body")])
        return known is not None

    def _check_stamp(self, stamp: int) -> None:
        if not self.clock.believes(stamp):
            raise InvalidEntryError(
                f"lamport_ts {stamp} is more than {self.limits.lamport_jump} ahead of this log's "
                f"clock ({self.clock.value}): it is not adopted",
                field="lamport_ts",
            )

    def _enter(self, ready: list[Ready], end: int, op_count: int) -> list[Ready]:
        """Return those whose parents are there; hold the others, refuse impossible stamps."""
        if not any(entry["parent_op_ids"] for entry, _ in ready):
            self.added += len(ready)
            return ready
        ready.sort(key=lambda found: total_order(found[0]))  # a parent's stamp is lower: parents come first
        entries = [entry for entry, _ in ready]
        coming = {entry["op_id"]: entry["lamport_ts"] for entry in entries}
        stamps = self._stamps_of_parents(entries, coming, end, op_count)
        entered: list[Ready] = []
        for entry, line in ready:
            parents = entry["parent_op_ids"]
            bad = [parent for parent in parents if self._stamp(parent, coming, stamps) >= entry["lamport_ts"]]
            if bad:
                self._note((), [Refusal(entry["op_id"], self._why(entry, bad[0], coming, entries))])
            elif all(parent in stamps for parent in parents):
                stamps[entry["op_id"]] = entry["lamport_ts"]
                entered.append((entry, line))
            elif len(self.waiting) < HELD_AT_MOST:
                self.waiting[entry["op_id"]] = entry
            else:
                reason = f"its parents are not here, and {HELD_AT_MOST} entries are held already"
                self._note((), [Refusal(entry["op_id"], reason)])
        self.added += len(entered)
        return entered

    def _stamps_of_parents(
        self, entries: list[OpEntry], coming: Mapping[str, int], end: int, op_count: int
    ) -> dict[str, int]:
        parents = {parent for entry in entries for parent in entry["parent_op_ids"]} - coming.keys()
        lines = self.reader.lines_of([parent.encode() for parent in parents], end, op_count)
        return {op_id.decode(): decode_line(line)["lamport_ts"] for op_id, line in lines.items()}

    def _stamp(self, op_id: str, coming: Mapping[str, int], stamps: Mapping[str, int]) -> int:
        """Return an op's stamp, if anything is known of it; else 0."""
        if op_id in self.waiting:
            return self.waiting[op_id]["lamport_ts"]
        return coming.get(op_id) or stamps.get(op_id, 0)

    def _why(self, entry: OpEntry, parent: str, coming: Mapping[str, int], entries: list[OpEntry]) -> str:
        by_id = self.waiting | {other["op_id"]: other for other in entries if other["op_id"] in coming}
        if _reaches(by_id, parent, entry["op_id"]):
            return f"it and its parent {parent} are in a cycle of parents: nothing can be its own cause"
        return (
            f"lamport_ts {entry['lamport_ts']} does not exceed that of its parent {parent}: its author's "
            "clock did not take the parent in"
        )

    def _note(self, conflicts: Collection[Refusal] = (), refused: Collection[Refusal] = ()) -> None:
        self.conflicts += len(conflicts)
        self.refused += len(refused)
        room = _REASONS_KEPT - len(self.reasons)
        self.reasons += [*conflicts, *refused][: max(0, room)]


def _decoded(line: bytes) -> OpEntry | None:
    try:
        return decode_line(line)
    except InvalidEntryError:
        return None


def _reaches(entries: Mapping[str, OpEntry], start: str, goal: str) -> bool:
    """Whether `goal` is among the ancestors of `start`, as far as `entries` tell."""
    seen: set[str] = set()
    to_see = [start]
    while to_see:
        op_id = to_see.pop()
        if op_id == goal:
            return True
        if op_id not in seen and op_id in entries:
            seen.add(op_id)
            to_see += entries[op_id]["parent_op_ids"]
    return False
