"""Two logs become one: of the entries that come, which are new, known, in conflict, orphans or refused.

Union by op id: idempotent, commutative and associative. Nothing is written here; `OpLog.merge` does.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from muse.core.blocks import decode_framed
from muse.core.clock import LamportClock
from muse.core.entry import MAX_LAMPORT, Limits, OpEntry, check_entry
from muse.core.file.log_reader import LogReader
from muse.core.intake import Incoming, Refusal, is_same_entry
from muse.core.line import FramedEntry, decode_line, encode_line, read_framed
from muse.core.orphan_file import ORPHAN_BYTES_AT_MOST, ORPHANS_AT_MOST, ByOpId
from muse.core.other_sessions import reason
from muse.errors import DomainError, InvalidEntryError

Check = Callable[[OpEntry], None]
"""Raises `DomainError` for an entry whose op its domain refuses."""

Holders = Callable[[Collection[str]], Mapping[str, str]]
"""Returns those of some ops that another session holds: op id -> its session."""

Ready = tuple[FramedEntry, bytes]
"""A checked entry, and its line without newline."""

Coming = Mapping[str, FramedEntry]
"""By op id."""

Waiting = dict[str, bytes]
"""Op id -> line without newline, of orphans."""

_REASONS_KEPT = 100
_LINES_AT_ONCE = 256


@dataclass(frozen=True, slots=True)
class MergeResult:
    """The outcome of a merge: how many entries were new, how many the log had already, and the rest.

    `added` counts those too that were orphans until now. `orphans`: new ones whose parents are not here, or
    not stamped below them.
    `conflicts`: op ids that the log has with another body; nothing was changed for them. `refused`: what
    may not enter. `reasons` says why, of the first hundred in conflict or refused.
    """

    added: int = 0
    known: int = 0
    orphans: int = 0
    conflicts: int = 0
    refused: int = 0
    reasons: tuple[Refusal, ...] = ()


@dataclass(slots=True)
class Merge:
    """One merge under way. Its driver holds the session's lock while a batch is sorted out."""

    reader: LogReader
    clock: LamportClock
    limits: Limits
    check: Check | None = None
    holders: Holders | None = None
    added: int = 0
    known: int = 0
    conflicts: int = 0
    refused: int = 0
    reasons: list[Refusal] = field(default_factory=list)
    _orphans: set[str] = field(default_factory=set)

    def result(self) -> MergeResult:
        """Return what was counted so far."""
        reasons = tuple(self.reasons)
        return MergeResult(self.added, self.known, len(self._orphans), self.conflicts, self.refused, reasons)

    def sort_out(
        self, batch: Incoming, orphans: ByOpId, end: int, op_count: int
    ) -> tuple[list[Ready], Waiting]:
        """Return what enters the log now, of `batch` and of the orphans, and the orphans from now on.

        The log has `op_count` ops before byte `end`. Parents come before their children.
        """
        self.count(batch)
        waiting = {op_id: line[:-1] for op_id, (_, line) in orphans.items()}
        own = self.reader.lines_of({**waiting, **batch.lines}, end, op_count)
        ready = self._admissible(self._unknown(batch.lines, own), orphans)
        for op_id, (_, line) in orphans.items():
            known = own.get(op_id)
            if known is None:
                ready.append((read_framed(line), line[:-1]))
            elif not is_same_entry(known, line[:-1]):  # brought by another way meanwhile, as something else
                self.note([_conflict(op_id)])
        return self._enter(ready, orphans, end, op_count)

    def _unknown(self, lines: Mapping[str, bytes], own: Mapping[str, bytes]) -> dict[str, bytes]:
        """Return the lines of ops that the log, which has the lines `own`, does not have."""
        unknown = {op_id: line for op_id, line in lines.items() if op_id not in own} if own else dict(lines)
        self.known += len(lines) - len(unknown)
        for op_id, line in own.items():
            other = lines.get(op_id, line)
            if other != line and not is_same_entry(other, line):
                self.known -= 1
                self.note([_conflict(op_id)])
        elsewhere = self.holders(unknown) if self.holders is not None and unknown else {}
        self.note((), [Refusal(op_id, reason(holder)) for op_id, holder in elsewhere.items()])
        if not elsewhere:
            return unknown
        return {op_id: line for op_id, line in unknown.items() if op_id not in elsewhere}

    def _admissible(self, by_id: dict[str, bytes], orphans: ByOpId) -> list[Ready]:
        """Decode the lines of new entries; refuse what is not an entry, or beyond what this log accepts."""
        op_ids, lines = list(by_id), list(by_id.values())
        found: list[Ready] = []
        for start in range(0, len(lines), _LINES_AT_ONCE):
            some = slice(start, start + _LINES_AT_ONCE)
            ready = self._all_at_once(op_ids[some], lines[some])
            found += filter(None, map(self._one, op_ids[some], lines[some])) if ready is None else ready
        return [ready for ready in found if not self._is_orphan(ready, orphans)] if orphans else found

    def _all_at_once(self, op_ids: list[str], lines: list[bytes]) -> list[Ready] | None:
        """Return all of `lines`, in a fraction of the time, if nothing is to be said of any."""
        found = decode_framed(op_ids, lines, self.limits)
        if found is None:
            return None
        try:
            self._check_stamp(max([one.lamport_ts for one in found]))
            if self.check is not None:
                for line in lines:
                    self.check(decode_line(line))
        except (InvalidEntryError, DomainError):
            return None
        return list(zip(found, lines, strict=True))

    def _one(self, op_id: str, line: bytes) -> Ready | None:
        try:
            entry = decode_line(line)
            check_entry(entry, self.limits)
            _check_id(entry, op_id)
            self._check_stamp(entry["lamport_ts"])
            if self.check is not None:
                self.check(entry)
            own_line = encode_line(entry, self.limits)
        except (InvalidEntryError, DomainError) as error:
            self.note((), [Refusal(op_id, str(error))])
            return None
        return read_framed(own_line), own_line[:-1]

    def _is_orphan(self, found: Ready, orphans: ByOpId) -> bool:
        one, line = found
        known = orphans.get(one.op_id)
        if known is None:
            return False
        if is_same_entry(known[1][:-1], line):
            self.known += 1
        else:
            self.note([Refusal(one.op_id, "it is here, as an orphan, with another body")])
        return True

    def _check_stamp(self, stamp: int) -> None:
        if not self.clock.believes(stamp):
            raise InvalidEntryError(
                f"lamport_ts {stamp} is more than {self.limits.lamport_jump} ahead of this log's "
                f"clock ({self.clock.value}): it is not adopted",
                field="lamport_ts",
            )

    def _enter(
        self, ready: list[Ready], orphans: ByOpId, end: int, op_count: int
    ) -> tuple[list[Ready], Waiting]:
        """Part those whose parents are there, with lower stamps, from those that have to wait."""
        if not any(one.parent_op_ids for one, _ in ready):
            self.added += len(ready)
            return ready, {}
        ready.sort(key=_total_order)  # a parent's stamp is lower: parents come first
        coming = {one.op_id: one for one, _ in ready}
        stamps = self._stamps_of_parents(coming, end, op_count)
        entered: list[Ready] = []
        waiting: Waiting = {}
        for one, line in ready:
            if all(stamps.get(parent, MAX_LAMPORT) < one.lamport_ts for parent in one.parent_op_ids):
                stamps[one.op_id] = one.lamport_ts
                entered.append((one, line))
            else:
                waiting[one.op_id] = line
        self.added += len(entered)
        return entered, self._keep(waiting, orphans)

    def _stamps_of_parents(self, coming: Coming, end: int, op_count: int) -> dict[str, int]:
        """Return the stamps of those parents that are in the log."""
        parents = {parent for one in coming.values() for parent in one.parent_op_ids} - coming.keys()
        lines = self.reader.lines_of(dict.fromkeys(parents, b""), end, op_count)
        return {op_id: decode_line(line)["lamport_ts"] for op_id, line in lines.items()}

    def _keep(self, waiting: Waiting, orphans: ByOpId) -> Waiting:
        """Return those of `waiting` that there is room for: the orphans so far, and others as they come."""
        kept = {op_id: line for op_id, line in waiting.items() if op_id in orphans}
        size = sum(map(len, kept.values())) + len(kept)
        self._orphans &= kept.keys()
        for op_id, line in waiting.items():
            if op_id in kept:
                continue
            if len(kept) < ORPHANS_AT_MOST and size + len(line) < ORPHAN_BYTES_AT_MOST:
                kept[op_id] = line
                size += len(line) + 1
                self._orphans.add(op_id)
            else:
                reason = f"its parents are not here, and as many wait for theirs as may ({len(kept)})"
                self.note((), [Refusal(op_id, reason)])
        return kept

    def count(self, batch: Incoming) -> None:
        """Count what of a batch needs no sorting out."""
        self.known += batch.repeated
        self.note(batch.conflicts, batch.refused)

    def note(self, conflicts: Collection[Refusal] = (), refused: Collection[Refusal] = ()) -> None:
        """Count what may not enter, and keep the first hundred reasons."""
        self.conflicts += len(conflicts)
        self.refused += len(refused)
        room = _REASONS_KEPT - len(self.reasons)
        self.reasons += [*conflicts, *refused][: max(0, room)]


def _check_id(entry: OpEntry, op_id: str) -> None:
    if entry["op_id"] != op_id:
        raise InvalidEntryError(
            f"it is called {op_id} and {entry['op_id']}: the key op_id appears twice in it"
        )


def _conflict(op_id: str) -> Refusal:
    return Refusal(op_id, "the log has this op id with another body")


def _total_order(found: Ready) -> tuple[int, str, str]:
    one = found[0]
    return (one.lamport_ts, one.actor_id, one.op_id)
