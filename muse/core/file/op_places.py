"""A merge keeps in memory which block of a log each op is in, as it asks for most of them."""

from collections.abc import Mapping

from muse.core import compiled
from muse.core.blocks import decode_block, decode_heads, op_ids_of, split_prefixed
from muse.core.entry import OpEntry
from muse.core.file.log_file import LogFile
from muse.core.line import PREFIX, entry_json, frame, frame_holds

_HEAD_LENGTH = len(PREFIX) + 36


class OpPlaces:
    """The ops of the log at `file` before byte `end`, in about 150 bytes each.

    A line's crc is not checked before `lines` is asked for it.
    """

    def __init__(self, file: LogFile) -> None:
        self.end = 0
        self._file = file
        self._block_of: dict[str, int] = {}
        self._blocks: list[tuple[int, int]] = []  # where each starts, and its length
        self._unusual: set[int] = set()
        self._read_last: tuple[int, bytes] = (-1, b"")

    def __len__(self) -> int:
        return len(self._block_of)

    def look(self, data: bytes, offset: int) -> list[int]:
        """Take in the block that starts at `end`; return the stamps in it."""
        scanned = compiled.scan_block(data, offset, check_crc=False)
        if scanned is not None:
            self.learn(scanned[0], offset, len(data))
            return scanned[1]
        heads = decode_heads(data)
        if heads is not None:
            self.learn([head.op_id for head in heads], offset, len(data))
            return [head.lamport_ts for head in heads]
        entries = decode_block(data, offset).entries
        self._unusual.add(len(self._blocks))
        self.learn([entry["op_id"] for entry in entries], offset, len(data))
        return [entry["lamport_ts"] for entry in entries]

    def learn(self, op_ids: list[str], offset: int, length: int) -> None:
        """Take in the ops of the `length` bytes of lines that begin at byte `offset`, which is `end`."""
        number, first = len(self._blocks), self._block_of.setdefault
        for op_id in op_ids:  # of an op that is there twice, the first line counts
            first(op_id, number)
        self._blocks.append((offset, length))
        self.end = offset + length

    def catch_up(self, end: int) -> None:
        """Take in what was written up to byte `end`."""
        for offset, data in self._file.blocks(self.end, end):
            self.look(data, offset)

    def in_common(self, data: bytes, at: int) -> int:
        """Return how many bytes of `data` from `at`, whole lines, one block of the log has in a row."""
        head = data[at : at + _HEAD_LENGTH]
        number = self._block_of.get(head[len(PREFIX) :].decode("latin-1"))
        if number is None or number in self._unusual:
            return 0
        block = self._read(number)
        start = block.find(head)
        length = min(len(block) - start, len(data) - at)
        return length if start >= 0 and block[start : start + length] == data[at : at + length] else 0

    def lines(self, wanted: Mapping[str, bytes]) -> dict[str, bytes]:
        """Return the line, without newline, of each op that the log has; see `LogReader.lines_of`."""
        numbers = {self._block_of[op_id] for op_id in self._block_of.keys() & wanted.keys()}
        found: dict[str, bytes] = {}
        for number in sorted(numbers):
            data = self._read(number)
            lines = split_prefixed(data)
            some = _among(wanted, lines) if lines else {}
            if lines is None or not all(
                wanted[op_id] == line or frame_holds(line) for op_id, line in some.items()
            ):
                some = _among(wanted, [line_of(entry) for entry in decode_block(data, 0).entries])
            for op_id, line in some.items():
                found.setdefault(op_id, line)
        return found

    def _read(self, number: int) -> bytes:
        if self._read_last[0] != number:
            self._read_last = number, self._file.read(*self._blocks[number])
        return self._read_last[1]


def _among(wanted: Mapping[str, bytes], lines: list[bytes]) -> dict[str, bytes]:
    """Return, of some lines, those of the ops `wanted`; of an op that is there twice, the first."""
    by_id = dict(zip(reversed(op_ids_of(lines)), reversed(lines), strict=True))
    return {op_id: by_id[op_id] for op_id in by_id.keys() & wanted.keys()}


def line_of(entry: OpEntry) -> bytes:
    """Return the line of an entry that was read, without newline."""
    return frame(entry_json(entry))[:-1]
