"""An entry <-> one line of bytes: the crc, and finding good lines inside bad ones. Pure.

A line is the entry's nine keys as JSON, then `,"crc":"` + the CRC-32 of all bytes before it in 8
lower-case hex digits + `"}` and a newline. `docs/log_format.md` is the truth about these bytes.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import accumulate, chain
from typing import Annotated, Any, Literal, NoReturn, TypedDict, cast

import msgspec
import orjson

from muse.core.entry import (
    DEFAULT_LIMITS,
    MAX_LAMPORT,
    Limits,
    OpEntry,
    are_op_ids,
    check_causes,
    check_entry,
)
from muse.disk.crc import crc32
from muse.errors import InvalidEntryError

PREFIX = b'{"op_id":"'
"""Every line our writers make starts with these bytes; a reader looks for them inside a bad line."""

FRAME_LENGTH = len(b',"crc":"00000000"}')
_FRAME_OF = b',"crc":"%08x"}'.__mod__
_LINE_END_OF = b',"crc":"%08x"}\n'.__mod__
_types_of = partial(map, type)
_FRAME = re.compile(rb',"crc":"[0-9a-f]{8}"\}')
_FRAME_START = re.compile(rb',"crc":"([0-9a-f]{0,8}|[0-9a-f]{8}")\Z')
_OP_ID = re.compile(rb'\{"op_id":"([0-9a-f-]{36})"')
_RESYNC_ATTEMPTS = 4096
_GLUED_PIECES = 64

_OPTIONS = (
    orjson.OPT_PASSTHROUGH_SUBCLASS | orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME
)
_ATOMS = frozenset({str, int, bool, type(None)})


# -- writing ------------------------------------------------------------------------------------


def encode_line(entry: OpEntry, limits: Limits = DEFAULT_LIMITS) -> bytes:
    """Return the line of `entry`, newline included.

    The entry's fields must have been checked. Raises `InvalidEntryError` for anything in
    `domain_op` that JSON would change: NaN, bytes, dates, sets, tuples, lone surrogates, keys that
    are not strings, integers past 64 bits; and for an entry beyond `limits`.
    """
    try:
        body = orjson.dumps(entry, None, _OPTIONS)
    except TypeError as error:
        _refuse(entry, str(error))
    if body.find(PREFIX, 1) > 0:
        body = entry_json(entry)
    covered = body[:-1]
    domain_op: Any = entry["domain_op"]
    if type(domain_op) is not dict:
        raise InvalidEntryError(
            f"domain_op must be an object, not {type(domain_op).__name__}", field="domain_op"
        )
    # The usual case, an op without containers, is decided without a frame of Python for each value.
    flat = _ATOMS.issuperset(map(type, domain_op.values()))
    containers = 1 if flat else _count_containers(domain_op)
    line = b'%b,"crc":"%08x"}\n' % (covered, crc32(covered))
    if len(line) > limits.entry_bytes or not 0 < containers <= limits.nesting_depth:
        _check_limits(entry, len(line), containers, limits)
    return line


def encode_lines(entries: list[OpEntry], limits: Limits = DEFAULT_LIMITS) -> bytes:
    """Return the lines of `entries`, as `encode_line` makes them, at half the cost a line."""
    try:
        covered = [orjson.dumps(entry, None, _OPTIONS)[:-1] for entry in entries]
        # Ops that are plain and hold no container: nothing in them can start as a line does.
        domain_ops: list[Any] = [entry["domain_op"] for entry in entries]
        values: Iterator[Any] = map(dict.values, domain_ops)
        flat = all(map(_ATOMS.issuperset, map(_types_of, values)))
    except TypeError:
        flat = False
    if not flat or max(map(len, covered), default=0) >= limits.entry_bytes - FRAME_LENGTH:
        return b"".join([encode_line(entry, limits) for entry in entries])
    ends = map(_LINE_END_OF, map(crc32, covered))
    return b"".join(chain.from_iterable(zip(covered, ends, strict=True)))


def entry_json(entry: OpEntry) -> bytes:
    """Return the JSON of an entry: the bytes of its line without the crc.

    The prefix stands at the start and nowhere else: an object inside the op that starts alike has
    its key written with an escape, which JSON readers undo. Or the tail of a torn line could be an
    op that somebody put inside another.
    """
    body = orjson.dumps(entry, None, _OPTIONS)
    if body.find(PREFIX, 1) > 0:
        return PREFIX + body[len(PREFIX) :].replace(PREFIX, b'{"\\u006fp_id":"')
    return body


def _check_limits(entry: OpEntry, size: int, containers: int, limits: Limits) -> None:
    if containers <= 0:
        _refuse(entry, "a value JSON cannot hold")
    if size > limits.entry_bytes:
        raise InvalidEntryError(
            f"the entry takes {size} bytes: at most {limits.entry_bytes} are allowed; "
            "store large content as an object and name it by its id",
            field="domain_op",
        )
    if containers > limits.nesting_depth:
        _check_depth(entry, limits)


def frame(body: bytes) -> bytes:
    """Add crc and newline to one JSON object."""
    covered = body[:-1]
    return b'%b,"crc":"%08x"}\n' % (covered, crc32(covered))


def frame_holds(line: bytes) -> bool:
    """Whether `line` (without newline) ends with a crc that its other bytes have."""
    return line[-FRAME_LENGTH:] == b',"crc":"%08x"}' % crc32(line[:-FRAME_LENGTH])


def _count_containers(value: Any) -> int:
    """Count the dicts and lists in and with `value`; -1 if JSON would not give back exactly `value`.

    JSON gives back dicts, lists, str, int, finite float, bool and None, and no subclass of them.
    """
    pending = [value]
    for container in pending:  # grows while it is walked
        kind = type(container)
        if kind is dict:
            items = container.values()
        elif kind is list:
            items = container
        else:
            return -1
        if _ATOMS.issuperset(map(type, items)):
            continue
        for item in items:
            kind = type(item)
            if kind is dict or kind is list:
                pending.append(item)
            elif kind not in _ATOMS and (kind is not float or item - item != 0):
                return -1
    return len(pending)


def _refuse(entry: OpEntry, reason: str) -> NoReturn:
    place, value = _unstorable(entry["domain_op"], "domain_op") or ("", reason)
    message = f"{place}: {value} cannot be stored as JSON unchanged" if place else reason
    raise InvalidEntryError(f"{message}; nothing was written", field=place.partition(".")[0])


def _unstorable(value: Any, place: str, depth: int = 0) -> tuple[str, str] | None:
    """Find the first value JSON would change: where it is, and what."""
    if depth > 200:
        return place, "nesting this deep"
    if isinstance(value, dict) and type(value) is dict:
        for key, item in value.items():
            if not isinstance(key, str) or _has_surrogate(key):
                return place, f"the key {key!r}"
            if found := _unstorable(item, f"{place}.{key}", depth + 1):
                return found
        return None
    if type(value) is list:
        found_in = (_unstorable(item, f"{place}[{index}]", depth + 1) for index, item in enumerate(value))
        return next(filter(None, found_in), None)
    if type(value) is int:
        return None if -(2**63) <= value < 2**64 else (place, "an integer past 64 bits")
    if type(value) is str:
        return (place, "a lone surrogate") if _has_surrogate(value) else None
    return None if _count_containers([value]) >= 0 else (place, f"{type(value).__name__} {str(value)[:40]}")


def _has_surrogate(text: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in text)


def _check_depth(entry: OpEntry, limits: Limits) -> None:
    level: list[Any] = [entry["domain_op"]]
    depth = 0
    while level:
        containers = [item for item in level if type(item) in {dict, list}]
        depth += bool(containers)
        if depth > limits.nesting_depth:
            raise InvalidEntryError(
                f"domain_op nests deeper than {limits.nesting_depth} levels", field="domain_op"
            )
        level = [
            item
            for container in containers
            for item in (container.values() if type(container) is dict else container)
        ]


# -- reading ------------------------------------------------------------------------------------


class _Line(TypedDict):
    """What a good line decodes to: an OpEntry, checked; the crc and keys of later versions are dropped."""

    op_id: Annotated[str, msgspec.Meta(min_length=36, max_length=36)]
    actor_id: Annotated[str, msgspec.Meta(min_length=1)]
    lamport_ts: Annotated[int, msgspec.Meta(ge=1, le=MAX_LAMPORT)]
    parent_op_ids: list[str]
    domain: str
    domain_op: dict[str, Any]
    created_at: str
    intent_id: str
    reservation_id: str


class _Stamp(msgspec.Struct, gc=False):
    lamport_ts: Annotated[int, msgspec.Meta(ge=1, le=MAX_LAMPORT)]


class Position(msgspec.Struct, gc=False):
    """Where an entry stands, and what coverage and the index need to know of it."""

    op_id: str
    actor_id: str
    lamport_ts: Annotated[int, msgspec.Meta(ge=1, le=MAX_LAMPORT)]
    domain: str
    offset: int = 0


_UNDECODABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
_LINE_DECODER = msgspec.json.Decoder(_Line)
_STAMP_DECODER = msgspec.json.Decoder(_Stamp)
_POSITION_DECODER = msgspec.json.Decoder(Position)


class LeanEntry(msgspec.Struct, gc=False, frozen=True):
    """An entry in less than half the memory of a dict: the op stays JSON until it is asked for."""

    op_id: str
    actor_id: str
    lamport_ts: int
    parent_op_ids: tuple[str, ...]
    domain: str
    op_json: bytes
    created_at: str
    intent_id: str
    reservation_id: str

    def domain_op(self) -> dict[str, Any]:
        """Decode the op, anew at each call."""
        return cast("dict[str, Any]", orjson.loads(self.op_json))


@dataclass(frozen=True, slots=True)
class Damage:
    """Bytes in a log that are no entry.

    `kind` "torn": the start of a line whose writer died, or NULs that a power cut left; it was
    never acknowledged as durable, and nothing is lost by passing over it. `kind` "corrupt": bytes
    that are not what was written, or were written by something else; an op may be lost.
    `op_id` is "" when it cannot be read; `line` counts from 1, 0 where nobody counted.
    """

    offset: int
    length: int
    kind: Literal["torn", "corrupt"]
    reason: str
    op_id: str = ""
    line: int = 0


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
    lines = data.split(b"\n")
    lines.pop()
    frames = [line[-FRAME_LENGTH:] for line in lines]
    if frames != list(map(_FRAME_OF, map(crc32, [line[:-FRAME_LENGTH] for line in lines]))):
        return _decode_carefully(lines, offset)
    try:
        entries = cast("list[OpEntry]", _LINE_DECODER.decode_lines(data))
    except _UNDECODABLE:
        return _decode_carefully(lines, offset)
    starts = list(accumulate(map(len, lines[:-1]), _add_line, initial=offset))
    return Block(entries, starts)


def split_framed(data: bytes) -> list[bytes] | None:
    """Return whole lines without their newlines, if each starts as ours do and its crc holds; else None.

    What stands between is not looked at: it is what its writer wrote. `op_id_of` names each line.
    """
    lines = data.split(b"\n")
    lines.pop()
    if not all(map(_OP_ID.match, lines)):
        return None
    frames = [line[-FRAME_LENGTH:] for line in lines]
    if frames != list(map(_FRAME_OF, map(crc32, [line[:-FRAME_LENGTH] for line in lines]))):
        return None
    return lines


def split_prefixed(data: bytes) -> list[bytes] | None:
    """Return whole lines without their newlines, if each starts as ours do and none holds two; else None.

    Nothing else is looked at, crcs neither: see `frames_hold`. `op_ids_of` names the lines.
    """
    lines = data.split(b"\n")
    lines.pop()
    each_starts_so = data.startswith(PREFIX) and data.count(b"\n" + PREFIX) == len(lines) - 1
    return lines if each_starts_so and data.count(PREFIX) == len(lines) else None


def frames_hold(lines: list[bytes]) -> bool:
    """Whether every line ends with a crc that its other bytes have."""
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


def lean_order(entry: LeanEntry) -> tuple[int, str, str]:
    """Sort key of the total order, as `muse.core.entry.total_order`."""
    return (entry.lamport_ts, entry.actor_id, entry.op_id)


class _LeanLine(msgspec.Struct, gc=False):
    op_id: str
    actor_id: str
    lamport_ts: int
    parent_op_ids: tuple[str, ...]
    domain: str
    domain_op: msgspec.Raw
    created_at: str
    intent_id: str
    reservation_id: str


_LEAN_DECODER = msgspec.json.Decoder(_LeanLine)


def decode_lean(data: bytes, shared: dict[str, str]) -> list[LeanEntry]:
    """Decode whole lines whose crcs were checked. Texts that recur are kept once, in `shared`."""
    keep = shared.setdefault
    return [
        LeanEntry(
            line.op_id,
            keep(line.actor_id, line.actor_id),
            line.lamport_ts,
            line.parent_op_ids,
            keep(line.domain, line.domain),
            bytes(line.domain_op),  # a copy: the raw view would keep the whole block alive
            keep(line.created_at, line.created_at),
            keep(line.intent_id, line.intent_id),
            keep(line.reservation_id, line.reservation_id),
        )
        for line in _LEAN_DECODER.decode_lines(data)
    ]


def lean(entry: OpEntry, shared: dict[str, str]) -> LeanEntry:
    """Return one entry in its lean form."""
    [found] = decode_lean(entry_json(entry), shared)
    return found


class Head(msgspec.Struct, gc=False):
    """Which op a line holds, and its stamp."""

    op_id: str
    lamport_ts: Annotated[int, msgspec.Meta(ge=1, le=MAX_LAMPORT)]


class FramedEntry(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """What a framed line holds, its op as JSON."""

    op_id: str
    actor_id: Annotated[str, msgspec.Meta(min_length=1)]
    lamport_ts: Annotated[int, msgspec.Meta(ge=1, le=MAX_LAMPORT)]
    parent_op_ids: list[str]
    domain: Annotated[str, msgspec.Meta(min_length=1)]
    domain_op: msgspec.Raw
    created_at: str
    intent_id: str
    reservation_id: str
    crc: str


_HEAD_DECODER = msgspec.json.Decoder(Head)
_FRAMED_DECODER = msgspec.json.Decoder(FramedEntry)


def decode_heads(data: bytes) -> list[Head] | None:
    """Decode op ids and stamps of whole lines, crc unchecked; None if any line is unusual."""
    try:
        return _HEAD_DECODER.decode_lines(data)
    except _UNDECODABLE:
        return None


def decode_framed(
    op_ids: list[str], lines: list[bytes], limits: Limits = DEFAULT_LIMITS
) -> list[FramedEntry] | None:
    """Decode lines that `split_prefixed` gave and whose crcs hold, if `encode_line` makes their ops so too.

    `op_ids` is what `op_ids_of` says of them. All has been checked then that `check_entry` and
    `encode_line` check. None where a line is unlike that.
    """
    try:
        found = _FRAMED_DECODER.decode_lines(b"\n".join(lines))
        text = b"[" + b",".join([one.domain_op for one in found]) + b"]"
        domain_ops = orjson.loads(text)
        if orjson.dumps(domain_ops) != text:
            return None
        for one in found:
            if one.parent_op_ids:
                check_causes(one.op_id, one.parent_op_ids, limits)
    except (*_UNDECODABLE, orjson.JSONDecodeError, orjson.JSONEncodeError, InvalidEntryError):
        return None
    texts = {one.actor_id for one in found}.union(
        [one.domain for one in found],
        [one.created_at for one in found],
        [one.intent_id for one in found],
        [one.reservation_id for one in found],
    )
    containers = text.count(b"{") + text.count(b"[") - len(lines)
    is_plain = (
        [one.op_id for one in found] == op_ids  # or the key stands there twice
        and are_op_ids(op_ids)
        and max(map(len, texts)) <= limits.text_length
        and max(map(len, lines)) < limits.entry_bytes
        and set(map(type, domain_ops)) == {dict}
        and (
            containers <= limits.nesting_depth
            or max(map(_count_containers, domain_ops)) <= limits.nesting_depth
        )
    )
    return found if is_plain else None


def read_framed(line: bytes) -> FramedEntry:
    """Read a line that `encode_line` made."""
    return _FRAMED_DECODER.decode(line)


def decode_stamps(data: bytes) -> list[int] | None:
    """Decode only the Lamport stamps of whole lines, crc unchecked; None if any line is unusual."""
    try:
        return [line.lamport_ts for line in _STAMP_DECODER.decode_lines(data)]
    except _UNDECODABLE:
        return None


def decode_positions(data: bytes, offset: int) -> list[Position]:
    """Decode where the entries of whole lines stand. Crcs are checked only where a line is unusual."""
    try:
        positions = _POSITION_DECODER.decode_lines(data)
    except _UNDECODABLE:
        positions = []
    lines = data.split(b"\n")
    if len(positions) != len(lines) - 1:
        block = decode_block(data, offset)
        return [
            Position(entry["op_id"], entry["actor_id"], entry["lamport_ts"], entry["domain"], start)
            for start, entry in zip(block.starts, block.entries, strict=True)
        ]
    for position, line in zip(positions, lines, strict=False):
        position.offset = offset
        offset += len(line) + 1
    return positions


def _decode_carefully(lines: list[bytes], offset: int) -> Block:
    block = Block()
    for line in lines:
        for piece in _pieces(line, offset):
            if isinstance(piece, Damage):
                block.damages.append(piece)
            else:
                block.starts.append(piece[0])
                block.entries.append(piece[1])
        offset += len(line) + 1
    return block


def _pieces(line: bytes, offset: int) -> Iterator[tuple[int, OpEntry] | Damage]:
    """Split one line into the entries it holds and the damage between them."""
    line = line.removesuffix(b"\r")
    if not line.strip(b" "):
        return  # an empty line, or damage that a repair has blanked
    reason = ""
    try:
        yield offset, decode_line(line)
    except InvalidEntryError as error:
        reason = str(error)
    else:
        return
    done = 0
    for start, end, entry in _resynchronize(line):
        if start > done:
            yield from _damages(line[done:start], offset + done, reason)
        yield offset + start, entry
        done = end
    if done < len(line):
        yield from _damages(line[done:], offset + done, reason)


def decode_line(line: bytes) -> OpEntry:
    """Decode one line without its newline; `InvalidEntryError` says what is wrong with it.

    A line with a crc must match it. One without is read as other tools write it, strictly: the nine
    fields and no other, no duplicate key, no NaN.
    """
    if _FRAME.match(line, len(line) - FRAME_LENGTH):
        if not frame_holds(line):
            raise InvalidEntryError("the crc does not match the line's bytes", field="crc")
        try:
            return cast("OpEntry", _LINE_DECODER.decode(line))
        except _UNDECODABLE as error:
            raise InvalidEntryError(f"the crc holds, but it is no entry: {error}") from None
    entry = parse_strictly(line)
    check_entry(entry)
    return cast("OpEntry", entry)


def parse_strictly(line: bytes) -> Any:
    """Parse JSON that someone else wrote; `InvalidEntryError` for what parsers let pass in silence.

    Refused: duplicate keys (most parsers keep the last), NaN and Infinity, numbers too large for a
    float, integers past 64 bits, lone surrogates, a byte order mark, encodings other than UTF-8.
    """
    try:
        text = line.decode("utf-8")
        value = json.loads(
            text,
            object_pairs_hook=_unique_keys,
            parse_constant=_refuse_constant,
            parse_int=_bounded_integer,
            parse_float=_finite_float,
        )
    except UnicodeDecodeError as error:
        raise InvalidEntryError(f"not UTF-8 (byte {error.start}): write the file as UTF-8") from None
    except RecursionError:
        raise InvalidEntryError("it nests too deeply") from None
    except json.JSONDecodeError as error:
        hint = " (it starts with a byte order mark: remove it)" if line.startswith(b"\xef\xbb\xbf") else ""
        raise InvalidEntryError(f"not JSON: {error.msg} at character {error.pos + 1}{hint}") from None
    if "\\u" in text and (found := _unstorable(value, "value")):
        raise InvalidEntryError(f"{found[0]}: {found[1]} is not allowed")
    return value


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise InvalidEntryError(f"the key {twice!r} stands twice in one object")
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise InvalidEntryError(f"{name} is not allowed: JSON has no such number")


def _bounded_integer(digits: str) -> int:
    if len(digits) > 20 or not -(2**63) <= int(digits) < 2**64:
        raise InvalidEntryError(f"an integer of {len(digits)} digits is past 64 bits")
    return int(digits)


def _finite_float(digits: str) -> float:
    value = float(digits)
    if value - value != 0:
        raise InvalidEntryError(f"the number {digits[:40]} is too large")
    return value


def _resynchronize(line: bytes) -> Iterator[tuple[int, int, OpEntry]]:
    """Find the good lines inside a bad one: from a fixed prefix to a crc that holds."""
    ends = [match.end() for match in _FRAME.finditer(line)]
    attempts = 0
    position = line.find(PREFIX)
    while position >= 0 and attempts < _RESYNC_ATTEMPTS:
        following = -1
        for end in ends:
            if end <= position:
                continue
            attempts += 1
            entry = _framed_entry(line[position:end])
            if entry is not None:
                yield position, end, entry
                following = end
                break
            if attempts >= _RESYNC_ATTEMPTS:
                break
        position = line.find(PREFIX, max(following, position + 1))


def _framed_entry(candidate: bytes) -> OpEntry | None:
    if not frame_holds(candidate):
        return None
    try:
        return decode_line(candidate)
    except InvalidEntryError:
        return None


def _damages(bad: bytes, offset: int, reason: str) -> Iterator[Damage]:
    """Name the bad bytes: each torn start of a line on its own, anything else as corrupt."""
    pieces = _torn_pieces(bad)
    if not pieces:
        yield Damage(offset, len(bad), "corrupt", reason, _readable_op_id(bad))
    for start, piece in pieces:
        yield Damage(offset + start, len(piece), "torn", "a write that was cut short", _readable_op_id(piece))


def _torn_pieces(bad: bytes) -> list[tuple[int, bytes]]:
    """Split bytes that are nothing but starts of lines, glued to one another; empty if they are not."""
    pieces: list[tuple[int, bytes]] = []
    end = len(bad)
    for _ in range(_GLUED_PIECES):
        if is_torn(bad[:end]):
            return [(0, bad[:end]), *reversed(pieces)]
        starts = (bad.rfind(b"{", 0, end), bad.rfind(PREFIX, 0, end))
        start = next((start for start in starts if start > 0 and is_torn(bad[start:end])), 0)
        if start == 0:
            return []
        pieces.append((start, bad[start:end]))
        end = start
    return []


def is_torn(fragment: bytes) -> bool:
    """Whether `fragment` is the start of a line and no more: what a killed write or power cut leaves.

    A whole line with a flipped bit is never taken for one: it is JSON that goes wrong in the
    middle, or whose crc is complete.
    """
    content = fragment.rstrip(b"\0")
    if not content:
        return True
    if len(content) <= len(PREFIX):
        return PREFIX.startswith(content)
    if not content.startswith(PREFIX):
        return False
    framing = content.rfind(b',"crc":"')
    # A key of the op may be called like that too: the line's own comes when all else is complete.
    if framing >= 0 and not _FRAME_START.match(content, framing) and _is_json(content[:framing] + b"}"):
        return False
    return _is_truncated_json(content)


def _is_json(content: bytes) -> bool:
    try:
        orjson.loads(content)
    except orjson.JSONDecodeError:
        return False
    return True


def _is_truncated_json(content: bytes) -> bool:
    for cut in range(min(4, len(content))):  # the write may have ended inside a character
        try:
            orjson.loads(content[: len(content) - cut])
        except orjson.JSONDecodeError as error:
            if "unexpected end of data" in str(error):
                return True
            if content[len(content) - cut - 1] < 0x80:
                return False
        else:
            return False
    return False


def _readable_op_id(bad: bytes) -> str:
    found = _OP_ID.search(bad)
    return found.group(1).decode() if found else ""
