"""Yjs updates and state vectors as bytes: read, checked and written. Pure.

The format is that of Yjs, "v1" (`yjs/src/utils/encoding.js`). An edit may use the part of it that plain text
needs: deletions, and structs of one client in the document's one root, each of them text, deleted or
collected. Anything else is refused here, so that the library only gets what it can take.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

from muse.core.content_id import NUL, sha256_hex
from muse.errors import DomainError

ROOT = "text"
MAX_CLIENT = 2**53 - 1
MAX_CLOCK = 2**31 - 1

PIECES_AT_A_PLACE = 1_000
"""Pieces between the same two neighbours are compared with each other; an editor joins them to one."""

Id = tuple[int, int]
Vector = dict[int, int]

_GC, _DELETED, _STRING = 0, 1, 4
_ORIGIN, _RIGHT_ORIGIN, _SUB = 0x80, 0x40, 0x20
_NO_UPDATE = "`update` is not a Yjs update of one plain text edit"


class Update(NamedTuple):
    """The update of one edit. Its structs are those of `client` with clocks from `start` to before `end`.

    `needs` are ids that must be known before it can take effect, `text` is all that it inserts, `left` and
    `right` are the neighbours of its last struct. `bounds` are ids before which it inserts, `pairs` those of
    the second halves of its characters beyond U+FFFF, each of which counts as two.
    """

    data: bytes
    client: int
    start: int
    end: int
    needs: tuple[Id, ...]
    text: str
    left: Id | None = None
    right: Id | None = None
    deletes: tuple[tuple[int, int, int], ...] = ()
    bounds: tuple[Id, ...] = ()
    pairs: tuple[Id, ...] = ()

    def edges(self) -> Iterator[Id]:
        """Yield the ids before which the update inserts, or starts or stops to delete."""
        yield from self.bounds
        for client, clock, length in self.deletes:  # each for itself: so the library takes them
            yield client, clock
            yield client, clock + length

    def first_lack(self, vector: Mapping[int, int]) -> Id | None:
        """Return a client and the clock up to which a document with this state vector lacks its edits.

        None if all that the update builds on is there.
        """
        if self.start < self.end and self.start > vector.get(self.client, 0):
            return self.client, self.start
        return next(
            ((client, clock + 1) for client, clock in self.needs if clock >= vector.get(client, 0)), None
        )


@dataclass(slots=True)
class _Bytes:
    data: bytes
    place: int = 0

    def number(self) -> int:
        data, place = self.data, self.place
        byte = data[place]
        value, shift = byte & 0x7F, 7
        while byte >= 0x80:
            if shift > 56:
                raise DomainError(f"{_NO_UPDATE}: a number in it is too large")
            place += 1
            byte = data[place]
            value |= (byte & 0x7F) << shift
            shift += 7
        self.place = place + 1
        return value

    def string(self) -> str:
        length = self.number()
        start, self.place = self.place, self.place + length
        if self.place > len(self.data):
            raise IndexError
        return self.data[start : self.place].decode()

    def identity(self) -> Id:
        client = self.number()
        return client, self.number()


@dataclass(slots=True)
class _UpdateReader:
    source: _Bytes
    client: int = 0
    clock: int = 0
    needs: list[Id] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    left: Id | None = None
    right: Id | None = None
    bounds: list[Id] = field(default_factory=list)
    pairs: list[Id] = field(default_factory=list)


def read_update(data: bytes) -> Update:
    """Read the update of one edit. Raises `DomainError` for anything else."""
    reading = _UpdateReader(_Bytes(data))
    try:
        start = _read_structs(reading)
        deletes = _read_deletes(reading)
    except (IndexError, UnicodeDecodeError) as error:
        raise DomainError(f"{_NO_UPDATE}: it ends early or is damaged") from error
    if reading.source.place != len(data):
        raise DomainError(f"{_NO_UPDATE}: something follows it")
    update = Update(
        data,
        reading.client,
        start,
        reading.clock,
        tuple(reading.needs),
        "".join(reading.texts),
        reading.left,
        reading.right,
        deletes,
        tuple(reading.bounds),
        tuple(reading.pairs),
    )
    if update.pairs and not set(update.pairs).isdisjoint(update.edges()):
        raise DomainError(f"{_NO_UPDATE}: it cuts a character of its own in two")
    return update


def _read_structs(reading: _UpdateReader) -> int:
    source = reading.source
    clients = source.number()
    if clients > 1:
        raise DomainError(f"{_NO_UPDATE}: it holds the edits of {clients} clients, send one op for each edit")
    if not clients:
        return 0
    count = source.number()
    reading.client, start = source.identity()
    reading.clock = start
    if not count or reading.client > MAX_CLIENT:
        raise DomainError(f"{_NO_UPDATE}: its client is not a possible one")
    places = Counter[tuple[Id | None, Id | None]]()
    for _ in range(count):
        _read_struct(reading)
        if reading.clock > MAX_CLOCK:
            raise DomainError(f"{_NO_UPDATE}: a clock in it is too high")
        if count > PIECES_AT_A_PLACE:
            places[reading.left, reading.right] += 1
    if max(places.values(), default=0) > PIECES_AT_A_PLACE:
        raise DomainError(f"{_NO_UPDATE}: it puts more than {PIECES_AT_A_PLACE} pieces at one place, not one")
    return start


def _read_struct(reading: _UpdateReader) -> None:
    source = reading.source
    info = source.data[source.place]
    source.place += 1
    kind = info & 0x1F
    if info == _GC:
        length = source.number()
    elif kind in {_DELETED, _STRING} and not info & _SUB:
        reading.left = _need(reading) if info & _ORIGIN else None
        reading.right = _need(reading) if info & _RIGHT_ORIGIN else None
        if reading.left:
            reading.bounds.append((reading.left[0], reading.left[1] + 1))
        if reading.right:
            reading.bounds.append(reading.right)
        if not info & (_ORIGIN | _RIGHT_ORIGIN) and (source.number() != 1 or source.string() != ROOT):
            raise DomainError(f"{_NO_UPDATE}: it writes outside the root {ROOT!r}")
        if kind == _DELETED:
            length = source.number()
        else:
            text = source.string()
            length = utf16_length(text)
            reading.texts.append(text)
            if length > len(text):
                reading.pairs += pairs_of(text, reading.client, reading.clock)
    else:
        raise DomainError(f"{_NO_UPDATE}: it holds something other than text")
    if not length:
        raise DomainError(f"{_NO_UPDATE}: a part of it is empty")
    reading.clock += length


def _need(reading: _UpdateReader) -> Id:
    """Read an id on which the present struct builds, of its own client or another."""
    client, clock = identity = reading.source.identity()
    if client != reading.client:
        reading.needs.append(identity)
    elif clock >= reading.clock:
        raise DomainError(f"{_NO_UPDATE}: it builds on something that comes after it")
    return identity


def _read_deletes(reading: _UpdateReader) -> tuple[tuple[int, int, int], ...]:
    source, found = reading.source, []
    for _ in range(source.number()):
        client, ranges = source.identity()
        for _ in range(ranges):
            clock, length = source.identity()
            if not length or clock + length > MAX_CLOCK:
                raise DomainError(f"{_NO_UPDATE}: it deletes an impossible range")
            found.append((client, clock, length))
            if client != reading.client or clock + length > reading.clock:
                reading.needs.append((client, clock + length - 1))
    return tuple(found)


def utf16_length(text: str) -> int:
    """Count as Yjs counts: UTF-16 units, two for a character beyond U+FFFF."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le")) // 2


def pairs_of(text: str, client: int, clock: int) -> Iterator[Id]:
    """Yield the ids of the second halves of characters beyond U+FFFF, in a text that starts at `clock`."""
    for character in text:
        clock += 1
        if character > "\uffff":
            yield client, clock
            clock += 1


def pairs_in(state: bytes) -> set[Id]:
    """Return the ids of such halves in a whole document; deleted text has no such ids."""
    source, found = _Bytes(state), set[Id]()
    for _ in range(source.number()):
        reading, count = _UpdateReader(source), source.number()
        reading.client, reading.clock = source.identity()
        for _ in range(count):
            _read_struct(reading)
        found.update(reading.pairs)
    return found


class TextPiece(NamedTuple):
    """A stretch of a whole document: `length` ids of `client` from `clock` on, and their text.

    Without a `text`, it was deleted. `kind` and `neighbours` are its bytes before that.
    """

    client: int
    clock: int
    length: int
    text: str | None
    kind: int
    neighbours: bytes


def pieces_in(data: bytes) -> Iterator[TextPiece]:
    """Yield the pieces of an update or a whole document, each client's in the order of their clocks."""
    source = _Bytes(data)
    for _ in range(source.number()):
        reading, count = _UpdateReader(source), source.number()
        reading.client, reading.clock = source.identity()
        for _ in range(count):
            start, clock, known = source.place, reading.clock, len(reading.texts)
            _read_struct(reading)
            text = reading.texts[-1] if len(reading.texts) > known else None
            length = reading.clock - clock
            content = number(length) if text is None else _string(text)
            neighbours = data[start + 1 : source.place - len(content)]
            yield TextPiece(reading.client, clock, length, text, data[start], neighbours)


def with_texts(data: bytes, parts_of: Callable[[TextPiece], Iterable[str | int]]) -> bytes:
    """Write a whole document in which every piece has other contents, as long as it is, and no deletions.

    They are texts, and how much is deleted between them.
    """
    by_client: dict[int, list[TextPiece]] = {}
    for piece in pieces_in(data):
        by_client.setdefault(piece.client, []).append(piece)
    parts = [number(len(by_client))]
    for client, pieces in by_client.items():
        structs = [struct for piece in pieces for struct in _structs(piece, parts_of)]
        parts += (number(len(structs)), _client(client), number(pieces[0].clock), *structs)
    return b"".join((*parts, b"\0"))


def _structs(piece: TextPiece, parts_of: Callable[[TextPiece], Iterable[str | int]]) -> Iterator[bytes]:
    """Write the parts of a piece, each one after the first right behind the one before."""
    if piece.kind == _GC:
        yield _BYTE[_GC] + number(piece.length)
        return
    kind, neighbours, clock = piece.kind & (_ORIGIN | _RIGHT_ORIGIN), piece.neighbours, piece.clock
    for part in parts_of(piece):
        if clock > piece.clock:
            kind, neighbours = _ORIGIN | piece.kind & _RIGHT_ORIGIN, _behind(piece, clock)
        if isinstance(part, str):
            yield _BYTE[kind | _STRING] + neighbours + _string(part)
            clock += utf16_length(part)
        else:
            yield _BYTE[kind | _DELETED] + neighbours + number(part)
            clock += part


def _behind(piece: TextPiece, clock: int) -> bytes:
    """Write the neighbours of what is in a piece from a clock on."""
    right = b""
    if piece.kind & _RIGHT_ORIGIN:
        source = _Bytes(piece.neighbours)
        if piece.kind & _ORIGIN:
            source.identity()
        right = piece.neighbours[source.place :]
    return _client(piece.client) + number(clock - 1) + right


class Insertion(NamedTuple):
    """A text and its neighbours, None at the start and the end of a document."""

    left: Id | None
    right: Id | None
    text: str


def write_edit(client: int, insertions: Sequence[Insertion], deletes: Sequence[Id]) -> bytes:
    """Write the update that inserts texts, by a client that has made no edit before, and deletes ids."""
    parts = [number(bool(insertions))]
    if insertions:
        parts += (number(len(insertions)), _client(client), number(0))
    for left, right, text in insertions:
        parts += (*_head(_STRING, left, right), _string(text))
    return b"".join((*parts, *_deletions(deletes)))


def write_trace(client: int, right: Id | None) -> bytes:
    """Write the update that puts a character in and takes it away again: no earlier vector covers it."""
    return b"".join((b"\1\1", _client(client), number(0), *_head(_DELETED, None, right), number(1), b"\0"))


def _deletions(deletes: Sequence[Id]) -> Iterator[bytes]:
    by_client: dict[int, list[list[int]]] = {}
    for client, clock in sorted(deletes):
        ranges = by_client.setdefault(client, [])
        if ranges and sum(ranges[-1]) == clock:
            ranges[-1][1] += 1
        else:
            ranges.append([clock, 1])
    yield number(len(by_client))
    for client, ranges in by_client.items():
        yield from (_client(client), number(len(ranges)))
        yield from (number(part) for found in ranges for part in found)


def _head(kind: int, left: Id | None, right: Id | None) -> list[bytes]:
    """Return how an inserted piece begins: its kind, and where it is."""
    parts = [_BYTE[kind | (_ORIGIN if left else 0) | (_RIGHT_ORIGIN if right else 0)]]
    if left:
        parts += (_client(left[0]), number(left[1]))
    if right:
        parts += (_client(right[0]), number(right[1]))
    if not left and not right:
        parts += (b"\1", _string(ROOT))
    return parts


def _string(text: str) -> bytes:
    data = text.encode()
    return number(len(data)) + data


def write_insert(client: int, clock: int, left: Id | None, right: Id | None, text: str) -> bytes:
    """Write the update that inserts `text` between two neighbours."""
    parts = (b"\1\1", _client(client), number(clock), *_head(_STRING, left, right), _string(text), b"\0")
    return b"".join(parts)


def number(value: int) -> bytes:
    """Write an unsigned number, seven bits a byte, the lowest first."""
    if value < 0x80:
        return bytes((value,))
    found = bytearray()
    while value >= 0x80:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)


_client = lru_cache(maxsize=1024)(number)
_BYTE = [bytes((value,)) for value in range(256)]


def read_vector(data: bytes) -> Vector:
    """Read a state vector: client -> the clock before which all structs of this client are known."""
    source = _Bytes(data)
    try:
        vector = dict(source.identity() for _ in range(source.number()))
    except IndexError as error:
        raise DomainError("`seen` is not a Yjs state vector: it ends early") from error
    if source.place != len(data):
        raise DomainError("`seen` is not a Yjs state vector: something follows it")
    return vector


def read_id(data: bytes) -> Id:
    """Read the id at the start of some bytes."""
    return _Bytes(data).identity()


def write_vector(vector: Mapping[int, int]) -> bytes:
    """Return the bytes of a state vector: client -> how much of it is known, as Yjs has it."""
    pairs: Iterable[tuple[int, int]] = sorted(vector.items())
    return number(len(vector)) + b"".join(number(part) for pair in pairs for part in pair)


def covers(seen: Mapping[int, int], vector: Mapping[int, int]) -> bool:
    """Tell whether a replica that had `seen` had seen all of `vector`."""
    return all(seen.get(client, 0) >= clock for client, clock in vector.items())


def client_of(*seed: str) -> int:
    """Derive a client id from texts; it is the same everywhere."""
    return int(sha256_hex(NUL.join(seed).encode())[:13], 16)
