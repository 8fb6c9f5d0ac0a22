"""Entries that come from elsewhere, in batches of lines by op id: what `muse.core.merge` sorts out. Streams.

A line that is framed as ours are is not decoded here: most of what comes is known already.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from muse.core.blocks import decode_block, frames_hold, op_ids_of, split_prefixed
from muse.core.entry import Limits, OpEntry, check_entry
from muse.core.file.log_file import LogFile
from muse.core.file.op_places import OpPlaces
from muse.core.line import decode_line, encode_line
from muse.errors import InvalidEntryError

BATCH_BYTES = 1 << 23


@dataclass(frozen=True, slots=True)
class Refusal:
    """An entry that did not get in, and why. `op_id` is "" where it cannot be read."""

    op_id: str
    reason: str


@dataclass(slots=True)
class Incoming:
    """Some entries: op id -> line without newline. `repeated`: how many more are known."""

    lines: dict[str, bytes] = field(default_factory=dict)
    repeated: int = 0
    size: int = 0
    conflicts: list[Refusal] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)

    def add(self, lines: list[bytes]) -> None:
        """Take in framed lines. Of two bodies under one id, the first counts."""
        self.size += sum(map(len, lines))
        by_id = dict(zip(op_ids_of(lines), lines, strict=True))
        if len(by_id) == len(lines) and self.lines.keys().isdisjoint(by_id):
            self.lines |= by_id
            return
        for op_id, line in zip(op_ids_of(lines), lines, strict=True):
            first = self.lines.setdefault(op_id, line)
            if first is line:
                continue
            if first == line or is_same_entry(first, line):
                self.repeated += 1
            else:
                self.conflicts.append(Refusal(op_id, "it comes twice, with different bodies"))

    def add_entry(self, entry: OpEntry, limits: Limits) -> None:
        """Take in an entry as others hand it over, or refuse what may not enter."""
        try:
            check_entry(entry, limits)
            self.add([encode_line(entry, limits)[:-1]])
        except InvalidEntryError as error:
            op_id = entry.get("op_id", "") if isinstance(entry, dict) else ""
            self.refused.append(Refusal(str(op_id)[:64], str(error)))


def is_same_entry(line: bytes, other: bytes) -> bool:
    """Tell whether two lines hold the same entry, whatever else is in them."""
    try:
        return decode_line(line) == decode_line(other)
    except InvalidEntryError:
        return False


def from_log(file: LogFile, limits: Limits, places: OpPlaces) -> Iterator[Incoming]:
    """Yield what a log holds. Corrupt lines are refused with their places; torn ones were never written.

    Runs of lines that the log of `places` holds too, byte for byte, are known, and not looked into.
    """
    batch = Incoming()
    for start, whole in file.blocks(0, file.end()):
        common = 0
        while length := places.in_common(whole, common):
            batch.repeated += whole.count(b"\n", common, common + length)
            common += length
        offset, data = start + common, whole[common:]
        lines = split_prefixed(data)
        if lines is not None and frames_hold(lines):
            batch.add(lines)
        elif data:
            block = decode_block(data, offset)
            for entry in block.entries:
                batch.add_entry(entry, limits)
            batch.refused += [
                Refusal(damage.op_id, f"{file.path}, byte {damage.offset}: {damage.reason}")
                for damage in block.damages
                if damage.kind == "corrupt"
            ]
        if batch.size >= BATCH_BYTES:
            yield batch
            batch = Incoming()
    yield batch


def from_entries(entries: Iterable[OpEntry], limits: Limits) -> Iterator[Incoming]:
    """Yield entries that a caller hands over."""
    batch = Incoming()
    for entry in entries:
        batch.add_entry(entry, limits)
        if batch.size >= BATCH_BYTES:
            yield batch
            batch = Incoming()
    yield batch
