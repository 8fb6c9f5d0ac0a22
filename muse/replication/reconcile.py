"""Range-based set reconciliation: which ops one of two replicas has and the other lacks. Pure.

The replicas compare fingerprints of ranges, and split those that differ until few ops are left: the
cost grows with the difference, and with the logarithm of the whole. The method is that of Aljoscha
Meyer, "Range-Based Set Reconciliation" (SRDS 2023), the messages are made after those of the Negentropy
protocol, version 1. One side, the initiator, learns the difference; the other answers each message from
its items alone and remembers nothing.

    message      =  version (1 byte), range*; what no range covers is equal, or settled
    range        =  stamp, mode and length, prefix, content; it starts where the one before it ended
    stamp        =  0: no end; else 1 + that of the range's end - that of the end before
    mode, length =  1 byte: mode * 32 + bytes of the prefix, with which the end goes on behind its stamp
    content      =  SKIP: nothing; FINGERPRINT: 16 bytes; LIST: count, item*: all that the sender has
                    ANSWER, to a LIST: count, bytes: a bit for each listed item that the sender lacks;
                    count, item*: those that the list lacks
    item         =  stamp - that of the item before (first: of the range's start), op id (16), crc (4)

Numbers are base 128, most significant digits first, all bytes but the last with their high bit set.
"""

import hashlib
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from typing import NoReturn

from muse.core.entry import MAX_LAMPORT
from muse.errors import MuseError

ITEM_BYTES = 28
"""An item: Lamport stamp (8 bytes, big-endian), op id (16), crc of the entry's line (4). Sorted as bytes."""

MESSAGE_BYTES = 1 << 18
"""The longest message that is made or accepted, unless another limit is agreed upon."""

DIFFERENCES_AT_MOST = 1 << 25
"""How many differences an initiator takes in: a peer cannot fill its memory with ops it makes up."""

_VERSION = 1
_SKIP, _FINGERPRINT, _LIST, _ANSWER = range(4)
_END = b"\xff"  # greater than every item: stamps start with a zero byte
_FINGERPRINT_BYTES = 16
_STRIDE = 16  # items between two sums that are kept
_SUM = 1 << 256
_PARTS = 4  # fewer bytes than with any other number but 3
_LISTED = 6  # at most so many items are listed rather than split
_RESERVE_BYTES = 1 << 10  # more than all that the answer to one range takes, but for the items of an ANSWER
_SMALLEST_ITEM_BYTES = 21
_IDLE_ROUNDS = 100


class ProtocolError(MuseError):
    """A peer sent what no replica sends, or its messages do not end."""


def pack_item(lamport_ts: int, op_id: str, crc: int) -> bytes:
    """Return an item of 28 bytes: stamp, op id, crc; they sort as the stamps do."""
    return lamport_ts.to_bytes(8) + bytes.fromhex(op_id.replace("-", "")) + crc.to_bytes(4)


def pack_items(stamps: Iterable[int], op_ids: Iterable[str], crcs: Iterable[str]) -> list[bytes]:
    """Return what `pack_item` does for each, in a fraction of the time; a crc is eight hex digits."""
    texts = [f"{stamp:016x}{op_id}{crc}" for stamp, op_id, crc in zip(stamps, op_ids, crcs, strict=True)]
    data = bytes.fromhex("".join(texts).replace("-", ""))
    return [data[at : at + ITEM_BYTES] for at in range(0, len(data), ITEM_BYTES)]


def item_op_id(item: bytes) -> str:
    """Return the op id of an item as text."""
    digits = item[8:24].hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


class _Rows:
    """Items of equal length in one run of bytes, as a sequence."""

    def __init__(self, data: bytes | bytearray) -> None:
        self.data = data

    def __len__(self) -> int:
        return len(self.data) // ITEM_BYTES

    def __getitem__(self, index: int) -> bytes:
        return bytes(self.data[index * ITEM_BYTES : (index + 1) * ITEM_BYTES])


def sorted_items(batches: Iterable[Iterable[bytes]]) -> bytes:
    """Return all items in order, each once, as one run of bytes.

    Items that come in order take their 28 bytes each and no more memory; only late ones are collected.
    """
    packed = bytearray()
    late: set[bytes] = set()
    last = b""
    for batch in batches:
        rising = sorted(set(batch))
        start = bisect_right(rising, last)
        late.update(rising[:start])
        packed += b"".join(rising[start:])
        last = rising[-1] if start < len(rising) else last
    if not late:
        return bytes(packed)
    rows, pieces, done = _Rows(packed), [], 0
    for item in sorted(late):
        place = bisect_left(rows, item)
        if rows[place] != item:
            pieces += [bytes(packed[done * ITEM_BYTES : place * ITEM_BYTES]), item]
            done = place
    return b"".join([*pieces, packed[done * ITEM_BYTES :]])


class ItemSet:
    """The items of one replica. `data` is what `sorted_items` returns; a range's fingerprint costs O(1)."""

    def __init__(self, data: bytes) -> None:
        self._rows = _Rows(data)
        size = _STRIDE * ITEM_BYTES
        strides = (_sum_in(data, start, start + size) for start in range(0, len(data) - size + 1, size))
        self._sums = list(accumulate(strides, initial=0))

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> bytes:
        return self._rows[index]

    def __iter__(self) -> Iterator[bytes]:
        return map(self._rows.__getitem__, range(len(self._rows)))

    def __contains__(self, item: object) -> bool:
        return isinstance(item, bytes) and self[self.find(item)] == item

    def find(self, bound: bytes) -> int:
        """Return how many items are lower than `bound`."""
        return bisect_left(self._rows, bound)

    def fingerprint(self, start: int, stop: int) -> bytes:
        """Return the hash over the number and the sum of the hashes of the items from `start` to `stop`."""
        total = (self._sum(stop) - self._sum(start)) % _SUM
        data = total.to_bytes(32) + (stop - start).to_bytes(8)
        return hashlib.sha256(data).digest()[:_FINGERPRINT_BYTES]

    def _sum(self, stop: int) -> int:
        strides = stop // _STRIDE
        return self._sums[strides] + sum(_digest(self[index]) for index in range(strides * _STRIDE, stop))


def _sum_in(data: bytes, start: int, stop: int) -> int:
    """Add what `_digest` gives for the items between two bytes; without a call for each, as they are many."""
    sha256, number = hashlib.sha256, int.from_bytes
    places = range(start, stop, ITEM_BYTES)
    return sum([number(sha256(data[at : at + ITEM_BYTES]).digest()) for at in places])


def _digest(item: bytes) -> int:
    """Hash an item: sums of raw items would be equal where two crcs differ by as much."""
    return int.from_bytes(hashlib.sha256(item).digest())


# -- the two sides --------------------------------------------------------------------------------


def respond(items: ItemSet, message: bytes, limit: int = MESSAGE_BYTES) -> bytes:
    """Answer a message of an initiator. `ProtocolError` for other bytes."""
    writer = _Writer(items, limit)
    for part in _ranges(message, limit):
        start, stop = items.find(part.lower), items.find(part.upper)
        if part.mode == _ANSWER:
            _refuse("an answer to a list that was never sent")
        if part.mode == _SKIP:
            writer.skip(part.upper)
        elif part.mode == _LIST:
            writer.answer(part, start, stop)
        else:
            writer.compare(part, start, stop)
        if writer.is_full:
            break
    return writer.finish()


@dataclass(slots=True)
class Initiator:
    """The side that learns the difference: `have`, items that only it has, and `need`, those it lacks.

    An op that has different bodies on the two sides is in both. `start` gives the first message,
    `receive` takes each answer and gives the next message, or None once the difference is known.
    """

    items: ItemSet
    limit: int = MESSAGE_BYTES
    have: set[bytes] = field(default_factory=set)
    need: set[bytes] = field(default_factory=set)
    rounds: int = 0

    def start(self) -> bytes:
        """Return the first message: fingerprints of ranges of all items."""
        writer = _Writer(self.items, self.limit)
        writer.split(0, len(self.items), _END)
        return writer.finish()

    def receive(self, message: bytes) -> bytes | None:
        """Take in an answer. `ProtocolError` for other bytes, and for a peer whose messages do not end."""
        self._check_progress()
        writer = _Writer(self.items, self.limit)
        for part in _ranges(message, self.limit):
            start, stop = self.items.find(part.lower), self.items.find(part.upper)
            if part.mode == _FINGERPRINT:
                writer.compare(part, start, stop)
            else:
                self._settle(part, start, stop)
                writer.skip(part.upper)
            if writer.is_full:
                break
        return None if writer.is_settled else writer.finish()

    def _settle(self, part: "_Range", start: int, stop: int) -> None:
        own = [self.items[index] for index in range(start, stop)] if part.mode != _SKIP else []
        theirs = set(part.items)
        if part.mode == _LIST:
            self.have.update(set(own) - theirs)
        elif part.mode == _ANSWER:
            if len(part.data) != _bitmap_length(len(own)):
                _refuse(f"an answer about {len(part.data) * 8} items to a list of {len(own)}")
            self.have.update(item for place, item in enumerate(own) if part.data[place // 8] >> place % 8 & 1)
        self.need.update(theirs.difference(own))

    def _check_progress(self) -> None:
        self.rounds += 1
        found = len(self.have) + len(self.need)
        if self.rounds > _IDLE_ROUNDS + found:
            _refuse(f"{self.rounds} messages, and no end")
        if found > DIFFERENCES_AT_MOST:
            _refuse(f"more than {DIFFERENCES_AT_MOST} ops that are not here")


# -- messages -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Range:
    """All items from `lower` up to, not including, `upper`; `data` is a fingerprint, or an answer's bits."""

    lower: bytes
    upper: bytes
    mode: int
    data: bytes = b""
    items: tuple[bytes, ...] = ()


class _Writer:
    """A message in the making, about `items`, of at most `limit` bytes."""

    def __init__(self, items: ItemSet, limit: int) -> None:
        if limit < 4 * _RESERVE_BYTES:
            raise ValueError(f"messages of {limit} bytes are too short to get anywhere")
        self._items = items
        self._out = bytearray([_VERSION])
        self._stamp = 0  # of the last end that is written
        self._reached = b""  # what is said, or skipped
        self._written = b""
        self._stamp_before = 0
        self._room = limit - _RESERVE_BYTES

    @property
    def is_full(self) -> bool:
        return len(self._out) > self._room

    @property
    def is_settled(self) -> bool:
        return len(self._out) == 1

    def skip(self, upper: bytes) -> None:
        self._reached = upper

    def compare(self, part: _Range, start: int, stop: int) -> None:
        if self._items.fingerprint(start, stop) == part.data:
            self.skip(part.upper)
        else:
            self.split(start, stop, part.upper)

    def split(self, start: int, stop: int, upper: bytes) -> None:
        """Say what is in a range: its items if they are few, else fingerprints of its parts."""
        count = stop - start
        if count <= _LISTED:
            listed = [self._items[index] for index in range(start, stop)]
            self._range(upper, _LIST)
            self._list(listed, self._stamp_before)
            return
        cuts = [start + count * part // _PARTS for part in range(_PARTS + 1)]
        for begin, end in pairwise(cuts):
            self._range(upper if end == stop else self._between(end), _FINGERPRINT)
            self._out += self._items.fingerprint(begin, end)

    def answer(self, part: _Range, start: int, stop: int) -> None:
        """Answer a list, up to where there is room for it."""
        listed = set(part.items)
        extra: list[bytes] = []
        upper = part.upper
        room = (self._room - len(self._out)) // (ITEM_BYTES + 2)
        for index in range(start, stop):
            if self._items[index] in listed:
                continue
            if len(extra) > room:
                upper, stop = self._between(index), index
                break
            extra.append(self._items[index])
        asked = [item for item in part.items if item < upper]
        bits = bytearray(_bitmap_length(len(asked)))
        for place, item in enumerate(asked):
            bits[place // 8] |= (item not in self._items) << place % 8
        self._range(upper, _ANSWER)
        self._out += _number(len(bits)) + bits
        self._list(extra, self._stamp_before)
        if upper != part.upper:
            self._room = 0  # the rest of the range comes up again

    def finish(self) -> bytes:
        """Return the message. One fingerprint replaces what had no room: it is asked for later."""
        if self.is_full and self._reached != _END:
            start = self._items.find(self._reached)
            self._range(_END, _FINGERPRINT)
            self._out += self._items.fingerprint(start, len(self._items))
        return bytes(self._out)

    def _between(self, index: int) -> bytes:
        """Return the shortest end that parts the item at `index` from the one before it."""
        item, before = self._items[index], self._items[index - 1] if index else b""
        return next(item[:size] for size in range(8, ITEM_BYTES + 1) if before < item[:size])

    def _range(self, upper: bytes, mode: int) -> None:
        if self._reached != self._written:
            self._end(self._reached, _SKIP)
        self._end(upper, mode)
        self._reached = upper

    def _end(self, upper: bytes, mode: int) -> None:
        self._stamp_before = self._stamp
        self._written = upper
        if upper == _END:
            self._out += bytes([0, mode << 5])
            return
        stamp = int.from_bytes(upper[:8])
        self._out += _number(stamp - self._stamp + 1) + bytes([mode << 5 | len(upper) - 8]) + upper[8:]
        self._stamp = stamp

    def _list(self, items: list[bytes], stamp: int) -> None:
        self._out += _number(len(items))
        for item in items:
            own = int.from_bytes(item[:8])
            self._out += _number(own - stamp) + item[8:]
            stamp = own


def _ranges(message: bytes, limit: int) -> Iterator[_Range]:
    """Read a message without trust; `ProtocolError` says what is wrong with it."""
    if len(message) > limit:
        _refuse(f"a message of {len(message)} bytes, where {limit} are allowed")
    if message[:1] != bytes([_VERSION]):
        _refuse(f"a message of version {message[:1].hex() or 'none'}, where {_VERSION:02x} is spoken")
    reader = _Reader(message)
    lower, stamp = b"", 0
    while reader.left:
        if lower == _END:
            _refuse("a range behind the last one")
        step = reader.number()
        mode, length = divmod(reader.take(1)[0], 32)
        end = stamp + step - 1
        if mode > _ANSWER or length > ITEM_BYTES - 8 or end > MAX_LAMPORT or (length and not step):
            _refuse("a malformed range")
        upper = _END if not step else end.to_bytes(8) + reader.take(length)
        if upper <= lower:
            _refuse("ranges that do not rise")
        data = b""
        if mode == _FINGERPRINT:
            data = reader.take(_FINGERPRINT_BYTES)
        elif mode == _ANSWER:
            data = reader.take(reader.number())
        items = tuple(reader.items(lower, upper, stamp)) if mode in {_LIST, _ANSWER} else ()
        yield _Range(lower, upper, mode, data, items)
        lower, stamp = upper, end if step else stamp


class _Reader:
    def __init__(self, message: bytes) -> None:
        self._message = message
        self._place = 1

    @property
    def left(self) -> int:
        return len(self._message) - self._place

    def take(self, count: int) -> bytes:
        if count > self.left:
            _refuse("a message that is cut short")
        self._place += count
        return self._message[self._place - count : self._place]

    def number(self) -> int:
        value, digit = 0, 128
        while digit >= 128:
            digit = self.take(1)[0]
            value = value << 7 | digit & 127
            if value >> 63:
                _refuse("a number of more than 63 bits")
        return value

    def items(self, lower: bytes, upper: bytes, stamp: int) -> Iterator[bytes]:
        count = self.number()
        if count * _SMALLEST_ITEM_BYTES > self.left:
            _refuse(f"a list of {count} items in {self.left} bytes")
        before = b""
        for _ in range(count):
            stamp += self.number()
            if stamp > MAX_LAMPORT:
                _refuse(f"a Lamport stamp past {MAX_LAMPORT}")
            item = stamp.to_bytes(8) + self.take(ITEM_BYTES - 8)
            if not before < item or not lower <= item < upper:
                _refuse("items that do not rise, or are not in their range")
            before = item
            yield item


def _number(value: int) -> bytes:
    digits = [value & 127]
    while value := value >> 7:
        digits.append(value & 127 | 128)
    return bytes(reversed(digits))


def _bitmap_length(count: int) -> int:
    return (count + 7) // 8


def _refuse(what: str) -> NoReturn:
    raise ProtocolError(
        f"the peer sent {what}: it speaks another protocol, or is damaged; nothing was taken over"
    )
