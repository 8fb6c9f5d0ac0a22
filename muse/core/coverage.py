"""The part of a log that commits cover: the cut, the checkpoint file, and the arithmetic of both. Pure.

Coverage is by position in the file, never by Lamport: an op that arrives late with a low stamp lies
behind the cut and is still to come.
"""

from collections.abc import Collection, Container, Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, NotRequired, TypedDict

import msgspec
import orjson

from muse.core.blocks import Position
from muse.core.entry import DEFAULT_LIMITS, MAX_LAMPORT, OpEntry
from muse.core.line import FRAME_LENGTH, frame, frame_holds
from muse.core.strict_json import parse_strictly
from muse.errors import CorruptionError, InvalidEntryError

Count = Annotated[int, msgspec.Meta(ge=0, le=MAX_LAMPORT)]


@dataclass(frozen=True, slots=True)
class Cut:
    """A point in one log file: its byte offset, the entries before it, and their highest Lamport."""

    offset: int
    op_count: int
    lamport_ts: int


class CutRecord(TypedDict):
    """A `Cut` as the checkpoint file holds it."""

    offset: Count
    op_count: Count
    lamport_ts: Count
    op_id: NotRequired[str]  # of the line that ends there


class OpLogCheckpoint(TypedDict):
    """How much of a session is in history. The first five keys are the Muse format's.

    `lamport_ts` and `op_count` speak of all ops covered. `cut`: before it everything is covered.
    `domains`: for a domain that is covered further than that, up to which byte offset. `frontier`:
    each actor's highest covered Lamport. `commit_id`: "" when no commit was named. `op_lists`: lists
    of ops that commits cover, of which some are behind the cut. `tips`: commits with whose whole
    history that is so.
    """

    session_id: str
    snapshot_id: str
    lamport_ts: Count
    op_count: Count
    created_at: str
    cut: NotRequired[CutRecord]
    domains: NotRequired[dict[str, Count]]
    frontier: NotRequired[dict[str, Count]]
    commit_id: NotRequired[str]
    op_lists: NotRequired[list[str]]
    tips: NotRequired[list[str]]


@dataclass(frozen=True, slots=True)
class Coverage:
    """Which ops of a log are in history.

    All before `cut`, those of `domains` before their offset, and those in `op_lists`, wherever they are.
    """

    cut: Cut
    domains: Mapping[str, int]
    frontier: Mapping[str, int]
    op_count: int
    lamport_ts: int
    op_lists: tuple[str, ...] = ()

    def is_pending(self, domain: str, offset: int) -> bool:
        """Tell whether an entry of `domain` at byte `offset`, in no list, is still to be committed."""
        return offset >= self.cut.offset and offset >= self.domains.get(domain, 0)

    def reach(self, upto: Mapping[str, int] | int) -> int:
        """Return up to which byte `advance` must see the entries."""
        return _Reach(upto, self).highest

    def advance(
        self,
        tail: Iterable[Position],
        upto: Mapping[str, int] | int,
        jump: int = DEFAULT_LIMITS.lamport_jump,
        listed: Container[str] = (),
    ) -> "Coverage":
        """Return the coverage after collapsing `upto`: one offset for all domains, or one a domain.

        `tail` are the positions of all entries from `cut` up to `reach(upto)`, in the order of the
        file. Never takes back what was covered before. A stamp more than `jump` ahead of those
        before it is not believed: it is its actor's highest, but not the log's.
        """
        reach = _Reach(upto, self)
        frontier = dict(self.frontier)
        op_count, lamport_ts = self.op_count, self.lamport_ts
        base = self.cut
        unbroken = True
        entries_before, highest = base.op_count, base.lamport_ts
        for position in tail:
            is_listed = position.op_id in listed
            covered = is_listed or position.offset < reach.of(position.domain)
            stamp = position.lamport_ts if position.lamport_ts - max(lamport_ts, highest) <= jump else 0
            if covered and not is_listed and self.is_pending(position.domain, position.offset):
                op_count += 1
                lamport_ts = max(lamport_ts, stamp)
                frontier[position.actor_id] = max(frontier.get(position.actor_id, 0), position.lamport_ts)
            if unbroken and not covered:
                base = Cut(position.offset, entries_before, highest)
                unbroken = False
            entries_before += 1
            highest = max(highest, stamp)
        if unbroken and reach.highest > base.offset:
            base = Cut(reach.highest, entries_before, highest)
        domains = {domain: offset for domain, offset in reach.domains.items() if offset > base.offset}
        return Coverage(base, domains, frontier, op_count, lamport_ts, self.op_lists)

    def adopt(
        self,
        tail: Iterable[tuple[int, OpEntry | None]],
        end: int,
        op_ids: Collection[str],
        listed: Container[str] = (),
        jump: int = DEFAULT_LIMITS.lamport_jump,
    ) -> "Adopted":
        """Return the coverage once the ops `op_ids` are covered too, wherever they are.

        `tail` are the entries from `cut` up to byte `end`, each with its place, and None for bytes that
        are damaged: the cut never passes them. No more are taken than needed. `listed` are the ops of
        `op_lists`.
        """
        frontier = dict(self.frontier)
        op_count, lamport_ts = self.op_count, self.lamport_ts
        entries_before, highest = self.cut.op_count, self.cut.lamport_ts
        base: Cut | None = None
        found: set[str] = set()
        behind: set[str] = set()
        for offset, entry in tail:
            if entry is None:
                base = base or Cut(offset, entries_before, highest)
                continue
            op_id, stamp = entry["op_id"], entry["lamport_ts"]
            believed = stamp if stamp - max(lamport_ts, highest) <= jump else 0
            is_placed = not self.is_pending(entry["domain"], offset)
            if op_id in op_ids:
                if op_id not in found and not is_placed and op_id not in listed:
                    op_count += 1
                    lamport_ts = max(lamport_ts, believed)
                    frontier[entry["actor_id"]] = max(frontier.get(entry["actor_id"], 0), stamp)
                    if base:
                        behind.add(op_id)
                found.add(op_id)
            elif not is_placed and op_id not in listed:
                base = base or Cut(offset, entries_before, highest)
            if base and len(found) == len(op_ids):
                break
            entries_before += 1
            highest = max(highest, believed)
        base = base or Cut(end, entries_before, highest)
        domains = {domain: offset for domain, offset in self.domains.items() if offset > base.offset}
        after = Coverage(base, domains, frontier, op_count, lamport_ts, self.op_lists)
        return Adopted(after, found, behind)


@dataclass(frozen=True, slots=True)
class Adopted:
    """The outcome of adopting ops: which were found, and which are covered behind the cut."""

    coverage: Coverage
    found: set[str]
    behind: set[str]


class _Reach:
    """Up to which offset each domain will be covered."""

    def __init__(self, upto: Mapping[str, int] | int, before: Coverage) -> None:
        self._floor = upto if isinstance(upto, int) else before.cut.offset
        self.domains = dict(before.domains)
        if not isinstance(upto, int):
            for domain, offset in upto.items():
                self.domains[domain] = max(offset, self.domains.get(domain, 0))
        self.highest = max([self._floor, *self.domains.values()])

    def of(self, domain: str) -> int:
        return max(self._floor, self.domains.get(domain, 0))


NOTHING = Coverage(Cut(0, 0, 0), {}, {}, 0, 0)


def make_checkpoint(
    session_id: str,
    snapshot_id: str,
    coverage: Coverage,
    created_at: str,
    *,
    commit_id: str = "",
    tips: Iterable[str] = (),
    last_op_id: str = "",
) -> OpLogCheckpoint:
    """Return a checkpoint; `last_op_id` names the line that ends at the cut, "" if that is not an entry."""
    cut = coverage.cut
    cut_record: CutRecord = {
        "offset": cut.offset,
        "op_count": cut.op_count,
        "lamport_ts": cut.lamport_ts,
        "op_id": last_op_id,
    }
    return {
        "session_id": session_id,
        "snapshot_id": snapshot_id,
        "lamport_ts": coverage.lamport_ts,
        "op_count": coverage.op_count,
        "created_at": created_at,
        "cut": cut_record,
        "domains": dict(sorted(coverage.domains.items())),
        "frontier": dict(sorted(coverage.frontier.items())),
        "commit_id": commit_id,
        "op_lists": list(coverage.op_lists),
        "tips": sorted(tips),
    }


def coverage_of(checkpoint: OpLogCheckpoint) -> Coverage | None:
    """Return what a checkpoint covers; None if it names no cut (the five-key form of other tools)."""
    cut = checkpoint.get("cut")
    if cut is None:
        return None
    return Coverage(
        Cut(cut["offset"], cut["op_count"], cut["lamport_ts"]),
        checkpoint.get("domains", {}),
        checkpoint.get("frontier", {}),
        checkpoint["op_count"],
        checkpoint["lamport_ts"],
        tuple(checkpoint.get("op_lists", ())),
    )


def encode_checkpoint(checkpoint: OpLogCheckpoint) -> bytes:
    """Return the file's bytes: one line, framed by a crc as the log's lines are."""
    return frame(orjson.dumps(checkpoint))


def decode_checkpoint(data: bytes, session_id: str, path: str) -> OpLogCheckpoint:
    """Return the checkpoint in the file's bytes.

    Raises `CorruptionError`, naming `path`, for anything but a whole and consistent checkpoint of
    this session; a crc, where there is one, must match.
    """
    advice = "it can be rebuilt from the commits: 'muse session recover'"
    try:
        value = _parse(data)
        checkpoint = msgspec.convert(value, OpLogCheckpoint)
    except (InvalidEntryError, msgspec.ValidationError) as error:
        raise CorruptionError(f"{path} is no checkpoint: {error}; {advice}", path=path) from error
    if checkpoint["session_id"] != session_id:
        raise CorruptionError(
            f"{path} is the checkpoint of session {checkpoint['session_id']!r}, not {session_id!r}; {advice}",
            path=path,
        )
    return checkpoint


def _parse(data: bytes) -> Any:
    line = data.removesuffix(b"\n")
    if b',"crc":"' in line[-FRAME_LENGTH:] and not frame_holds(line):
        raise InvalidEntryError("the crc does not match its bytes", field="crc")
    value = parse_strictly(line)
    if not isinstance(value, dict):
        return value
    if value.pop("crc", None) is None:
        if "cut" in value:
            raise InvalidEntryError("its crc is missing", field="crc")
    elif not frame_holds(line):  # it is not the last thing in the line
        raise InvalidEntryError("the crc does not match its bytes", field="crc")
    return value
