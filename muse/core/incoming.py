"""Entries that come from elsewhere, in batches of lines by op id: what `muse.core.merge` sorts out. Streams.

A line that is framed as ours are is not decoded here: most of what comes is known already.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice

from muse.core.entry import Limits, OpEntry, check_entry
from muse.core.log_file import LogFile
from muse.core.record import decode_block, encode_line, op_id_of, split_framed
from muse.errors import InvalidEntryError

_BATCH_BYTES = 1 << 25
_ENTRIES_A_BATCH = 16_384


@dataclass(frozen=True, slots=True)
class Refusal:
    """An entry that did not get in, and why. `op_id` is "" where it cannot be read."""

    op_id: str
    reason: str


@dataclass(slots=True)
class Incoming:
    """Some entries: op id -> line without newline. `repeated`: how many lines stood there once more."""

    lines: dict[bytes, bytes] = field(default_factory=dict)
    repeated: int = 0
    size: int = 0
    conflicts: list[Refusal] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)

    def add(self, lines: list[bytes]) -> None:
        """Take in framed lines."""
        self.size += sum(map(len, lines))
        by_id = dict(zip(map(op_id_of, lines), lines, strict=True))
        if len(by_id) == len(lines) and self.lines.keys().isdisjoint(by_id):
            self.lines |= by_id
            return
        for line in lines:
            first = self.lines.setdefault(op_id_of(line), line)
            if first == line:
                self.repeated += first is not line
            else:
                reason = "it comes twice, with different bodies"
                self.conflicts.append(Refusal(op_id_of(line).decode(), reason))

    def add_entries(self, entries: Iterable[OpEntry], limits: Limits) -> None:
        """Take in entries as others hand them over; what may not enter is refused, one by one."""
        lines = []
        for entry in entries:
            try:
                check_entry(entry, limits)
                lines.append(encode_line(entry, limits)[:-1])
            except InvalidEntryError as error:
                op_id = entry.get("op_id", "") if isinstance(entry, dict) else ""
                self.refused.append(Refusal(str(op_id)[:64], str(error)))
        self.add(lines)


def from_log(file: LogFile, limits: Limits) -> Iterator[Incoming]:
    """Yield what a log holds. Corrupt lines are refused with their places; torn ones were never written."""
    batch = Incoming()
    for offset, data in file.blocks(0, file.end()):
        lines = split_framed(data)
        if lines is not None:
            batch.add(lines)
        else:
            block = decode_block(data, offset)
            batch.add_entries(block.entries, limits)
            batch.refused += [
                Refusal(damage.op_id, f"{file.path}, byte {damage.offset}: {damage.reason}")
                for damage in block.damages
                if damage.kind == "corrupt"
            ]
        if batch.size >= _BATCH_BYTES:
            yield batch
            batch = Incoming()
    yield batch


def from_entries(entries: Iterable[OpEntry], limits: Limits) -> Iterator[Incoming]:
    """Yield what somebody hands over."""
    waiting = iter(entries)
    while some := list(islice(waiting, _ENTRIES_A_BATCH)):
        batch = Incoming()
        batch.add_entries(some, limits)
        yield batch
