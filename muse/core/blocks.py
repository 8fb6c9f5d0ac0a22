"""Blocks of a log: many whole lines, encoded and decoded at once. Pure."""

import marshal
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import accumulate, chain, compress
from operator import not_
from typing import Annotated, Any, cast

import msgspec
import orjson

from muse.core import compiled
from muse.core.damage import OP_ID, Damage, pieces_of
from muse.core.entry import (
    DEFAULT_LIMITS,
    MAX_LAMPORT,
    Limits,
    OpEntry,
    are_op_ids,
    are_plain_entries,
    check_causes,
    check_entry,
)
from muse.core.line import (
    FRAME_LENGTH,
    FRAMED_DECODER,
    JSON_OPTIONS,
    LINE_DECODER,
    PREFIX,
    UNDECODABLE,
    FramedEntry,
    check_encodable,
    encode_any_line,
)
from muse.core.strict_json import ATOMS, count_containers
from muse.disk.crc import crc32
from muse.errors import InvalidEntryError

_FRAME_OF = b',"crc":"%08x"}'.__mod__
_LINE_END_OF = b',"crc":"%08x"}\n'.__mod__
_types_of = partial(map, type)


def encode_lines(entries: list[OpEntry], limits: Limits = DEFAULT_LIMITS) -> bytes:
    """Return the lines of `entries`, as `encode_line` makes them, at half the cost a line."""
    encoded = compiled.encode_entries(entries, limits)
    return encode_any_lines(entries, limits) if encoded is None else encoded[0]


def checked_lines(entries: list[OpEntry], limits: Limits = DEFAULT_LIMITS) -> compiled.Encoded:
    """Return the lines of `entries`, and what is in them; `InvalidEntryError` for one that may not enter."""
    encoded = compiled.encode_entries(entries, limits)
    if encoded is not None:
        return encoded
    if not are_plain_entries(entries, limits):
        for entry in entries:
            check_entry(entry, limits)
    lines = encode_any_lines(entries, limits)
    return (
        lines,
        [entry["op_id"] for entry in entries],
        [entry["lamport_ts"] for entry in entries],
        [len(line) + 1 for line in lines.split(b"\n")[:-1]],
        any(entry["parent_op_ids"] for entry in entries),
    )


def encode_any_lines(entries: list[OpEntry], limits: Limits) -> bytes:
    """Return the lines of `entries`, whatever is in their ops."""
    try:
        covered = [orjson.dumps(entry, None, JSON_OPTIONS)[:-1] for entry in entries]
        domain_ops: list[Any] = [entry["domain_op"] for entry in entries]
        values: Iterator[Any] = map(dict.values, domain_ops)
        is_flat = list(map(ATOMS.issuperset, map(_types_of, values)))
        is_plain = all(is_flat) or _are_plain(list(compress(domain_ops, map(not_, is_flat))), limits)
        is_plain = is_plain and b"\n".join(covered).count(PREFIX) == len(covered)  # or a key gets an escape
    except (TypeError, ValueError, RecursionError):
        is_plain = False
    if not is_plain or max(map(len, covered), default=0) >= limits.entry_bytes - FRAME_LENGTH:
        return b"".join([encode_any_line(entry, limits) for entry in entries])
    ends = map(_LINE_END_OF, map(crc32, covered))
    return b"".join(chain.from_iterable(zip(covered, ends, strict=True)))


def _are_plain(ops: list[Any], limits: Limits) -> bool:
    """Tell whether JSON gives back exactly these ops, which hold containers, and none nests deeply.

    `marshal` writes values of the very types that it gives back, and no subclass of them: so equal bytes mean
    no tuple, no NaN, no member of an enumeration.
    """
    texts = [orjson.dumps(op, None, JSON_OPTIONS) for op in ops]
    all_of_them = b"[" + b",".join(texts) + b"]"
    return max(
        text.count(b"{") + text.count(b"[") for text in texts
    ) <= limits.nesting_depth and marshal.dumps(orjson.loads(all_of_them), 0) == marshal.dumps(ops, 0)


class _Stamp(msgspec.Struct, gc=False):
    lamport_ts: Annotated[int, msgspec.Meta(ge=1, le=MAX_LAMPORT)]


class Position(msgspec.Struct, gc=False):
    """The place of an entry, and what coverage and the index need to know of it."""

    op_id: str
    actor_id: str
    lamport_ts: Annotated[int, msgspec.Meta(ge=1, le=MAX_LAMPORT)]
    domain: str
    offset: int = 0


class Link(msgspec.Struct, gc=False):
    """An op as far as it rests on others, and others on it."""

    op_id: str
    actor_id: str
    lamport_ts: Annotated[int, msgspec.Meta(ge=1, le=MAX_LAMPORT)]
    parent_op_ids: list[str]
    domain: str


_LINK_DECODER = msgspec.json.Decoder(Link)
_STAMP_DECODER = msgspec.json.Decoder(_Stamp)
_POSITION_DECODER = msgspec.json.Decoder(Position)


@dataclass(slots=True)
class Block:
    """Some whole lines, decoded: `entries[i]` starts at byte `starts[i]` of the log."""

    entries: list[OpEntry] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    damages: list[Damage] = field(default_factory=list)


def decode_block(data: bytes, offset: int) -> Block:
    """Decode whole lines (`data` ends with a newline) that start at byte `offset` of the log.

    Every crc is checked. Bad bytes come back as `damages`; entries found inside bad lines are
    among the entries, in the order of the file.
    """
    usual = compiled.decode_block(data, offset)
    return decode_any_block(data, offset) if usual is None else Block(*usual)


def decode_any_block(data: bytes, offset: int) -> Block:
    """Decode whole lines as `decode_block` does, whatever they hold."""
    lines = data.split(b"\n")
    lines.pop()
    if not frames_hold(lines):
        return _decode_carefully(lines, offset)
    try:
        entries = cast("list[OpEntry]", LINE_DECODER.decode_lines(data))
        check_encodable(entries)
    except (*UNDECODABLE, orjson.JSONEncodeError):
        return _decode_carefully(lines, offset)
    starts = list(accumulate(map(len, lines[:-1]), _add_line, initial=offset))
    return Block(entries, starts)


def _decode_carefully(lines: list[bytes], offset: int) -> Block:
    block = Block()
    for line in lines:
        for piece in pieces_of(line, offset):
            if isinstance(piece, Damage):
                block.damages.append(piece)
            else:
                block.starts.append(piece[0])
                block.entries.append(piece[1])
        offset += len(line) + 1
    return block


def split_framed(data: bytes) -> list[bytes] | None:
    """Return whole lines without their newlines, if each starts as ours do and its crc holds; else None.

    What is between is not looked at: it is what its writer wrote. `op_id_of` names each line.
    """
    lines = data.split(b"\n")
    lines.pop()
    return lines if all(map(OP_ID.match, lines)) and frames_hold(lines) else None


def split_prefixed(data: bytes) -> list[bytes] | None:
    """Return whole lines without their newlines, if each starts as ours do and none holds two; else None.

    Nothing else is looked at, crcs neither: see `frames_hold`. `op_ids_of` names the lines.
    """
    lines = data.split(b"\n")
    lines.pop()
    each_starts_so = data.startswith(PREFIX) and data.count(b"\n" + PREFIX) == len(lines) - 1
    return lines if each_starts_so and data.count(PREFIX) == len(lines) else None


def frames_hold(lines: list[bytes]) -> bool:
    """Tell whether every line ends with a crc that its other bytes have."""
    usual = compiled.frames_hold(lines)
    if usual is not None:
        return usual
    covered = [line[:-FRAME_LENGTH] for line in lines]
    return [line[-FRAME_LENGTH:] for line in lines] == list(map(_FRAME_OF, map(crc32, covered)))


def op_ids_of(lines: list[bytes]) -> list[str]:
    """Return the op ids in lines that `split_prefixed` gave."""
    return [line[10:46].decode("latin-1") for line in lines]


def op_id_of(line: bytes) -> bytes:
    """Return the op id in a line that `split_framed` gave."""
    return line[len(PREFIX) : len(PREFIX) + 36]


def _add_line(start: int, length: int) -> int:
    return start + length + 1


class Head(msgspec.Struct, gc=False):
    """The op id and the stamp of a line."""

    op_id: str
    lamport_ts: Annotated[int, msgspec.Meta(ge=1, le=MAX_LAMPORT)]


_HEAD_DECODER = msgspec.json.Decoder(Head)


def decode_heads(data: bytes) -> list[Head] | None:
    """Decode op ids and stamps of whole lines, crc unchecked; None if any line is unusual."""
    try:
        return _HEAD_DECODER.decode_lines(data)
    except UNDECODABLE:
        return None


def decode_framed(
    op_ids: list[str], lines: list[bytes], limits: Limits = DEFAULT_LIMITS
) -> list[FramedEntry] | None:
    """Decode lines that `split_prefixed` gave and whose crcs hold, if `encode_line` makes their ops so too.

    `op_ids` is what `op_ids_of` says of them. All has been checked then that `check_entry` and
    `encode_line` check. None where a line is unlike that.
    """
    try:
        found = FRAMED_DECODER.decode_lines(b"\n".join(lines))
        text = b"[" + b",".join([one.domain_op for one in found]) + b"]"
        domain_ops = orjson.loads(text)
        if orjson.dumps(domain_ops) != text:
            return None
        for one in found:
            if one.parent_op_ids:
                check_causes(one.op_id, one.parent_op_ids, limits)
    except (*UNDECODABLE, orjson.JSONDecodeError, orjson.JSONEncodeError, InvalidEntryError):
        return None
    texts = {one.actor_id for one in found}.union(
        [one.domain for one in found],
        [one.created_at for one in found],
        [one.intent_id for one in found],
        [one.reservation_id for one in found],
    )
    containers = text.count(b"{") + text.count(b"[") - len(lines)
    is_plain = (
        [one.op_id for one in found] == op_ids  # or the key is there twice
        and are_op_ids(op_ids)
        and max(map(len, texts)) <= limits.text_length
        and max(map(len, lines)) < limits.entry_bytes
        and set(map(type, domain_ops)) == {dict}
        and (
            containers <= limits.nesting_depth
            or max(map(count_containers, domain_ops)) <= limits.nesting_depth
        )
    )
    return found if is_plain else None


def decode_stamps(data: bytes) -> list[int] | None:
    """Decode only the Lamport stamps of whole lines, crc unchecked; None if any line is unusual."""
    try:
        return [line.lamport_ts for line in _STAMP_DECODER.decode_lines(data)]
    except UNDECODABLE:
        return None


def decode_links(data: bytes, offset: int) -> list[Link]:
    """Decode what the entries of whole lines rest on, at a third of their cost. Every crc is checked."""
    lines = data.split(b"\n")
    lines.pop()
    try:
        links = _LINK_DECODER.decode_lines(data) if frames_hold(lines) else []
    except UNDECODABLE:
        links = []
    return (
        links
        if len(links) == len(lines)
        else [link_of(entry) for entry in decode_block(data, offset).entries]
    )


def link_of(entry: OpEntry) -> Link:
    """Return what an entry rests on."""
    return Link(
        entry["op_id"], entry["actor_id"], entry["lamport_ts"], entry["parent_op_ids"], entry["domain"]
    )


def decode_positions(data: bytes, offset: int) -> list[Position]:
    """Decode where the entries of whole lines are. Every crc is checked: a damaged line has no entry."""
    lines = data.split(b"\n")
    lines.pop()
    try:
        positions = _POSITION_DECODER.decode_lines(data) if frames_hold(lines) else []
    except UNDECODABLE:
        positions = []
    if len(positions) != len(lines):
        block = decode_block(data, offset)
        return [
            Position(entry["op_id"], entry["actor_id"], entry["lamport_ts"], entry["domain"], start)
            for start, entry in zip(block.starts, block.entries, strict=True)
        ]
    for position, line in zip(positions, lines, strict=True):
        position.offset = offset
        offset += len(line) + 1
    return positions
