"""One entry is one line of bytes.

A line is the entry's nine keys as JSON, then `,"crc":"` + the CRC-32 of all bytes before it in 8
lower-case hex digits + `"}` and a newline. `docs/log_format.md` is the truth about these bytes.
"""

import re
from typing import Annotated, Any, NoReturn, TypedDict, cast

import msgspec
import orjson

from muse.core import compiled
from muse.core.entry import (
    DEFAULT_LIMITS,
    ENTRY_FIELDS,
    MAX_LAMPORT,
    Limits,
    OpEntry,
    check_entry,
    check_op_is_object,
)
from muse.core.strict_json import ATOMS, count_containers, parse_strictly, unstorable
from muse.disk.crc import crc32
from muse.errors import InvalidEntryError

PREFIX = b'{"op_id":"'
"""Every line our writers make starts with these bytes; a reader looks for them inside a bad line."""

FRAME_LENGTH = len(b',"crc":"00000000"}')
FRAME = re.compile(rb',"crc":"[0-9a-f]{8}"\}')

JSON_OPTIONS = (
    orjson.OPT_PASSTHROUGH_SUBCLASS | orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME
)

UNDECODABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What the decoders raise where a line is not what they decode."""


# -- writing ------------------------------------------------------------------------------------


def encode_line(entry: OpEntry, limits: Limits = DEFAULT_LIMITS) -> bytes:
    """Return the line of `entry`; see `encode_any_line`."""
    line = compiled.encode_line(entry, limits)
    return encode_any_line(entry, limits) if line is None else line


def encode_any_line(entry: OpEntry, limits: Limits = DEFAULT_LIMITS) -> bytes:
    """Return the line of `entry`, newline included.

    The entry's fields must have been checked. Raises `InvalidEntryError` for anything in
    `domain_op` that JSON would change: NaN, bytes, dates, sets, tuples, lone surrogates, keys that
    are not strings, integers past 64 bits; and for an entry beyond `limits`.
    """
    try:
        body = orjson.dumps(entry, None, JSON_OPTIONS)
    except TypeError as error:
        _refuse(entry, str(error))
    if body.find(PREFIX, 1) > 0:
        body = entry_json(entry)
    covered = body[:-1]
    domain_op: Any = entry["domain_op"]
    if type(domain_op) is not dict:
        check_op_is_object(domain_op)
    # The usual case, an op without containers, is decided without a frame of Python for each value.
    flat = ATOMS.issuperset(map(type, domain_op.values()))
    containers = 1 if flat else count_containers(domain_op)
    line = b'%b,"crc":"%08x"}\n' % (covered, crc32(covered))
    if len(line) > limits.entry_bytes or not 0 < containers <= limits.nesting_depth:
        _check_limits(entry, len(line), containers, limits)
    return line


def entry_json(entry: OpEntry) -> bytes:
    """Return the JSON of an entry: the bytes of its line without the crc.

    The prefix is at the start and nowhere else: an object inside the op that starts alike has
    its key written with an escape, which JSON readers undo. Or the tail of a torn line could be an
    op that somebody put inside another.
    """
    body = orjson.dumps(entry, None, JSON_OPTIONS)
    if body.find(PREFIX, 1) > 0:
        return PREFIX + body[len(PREFIX) :].replace(PREFIX, b'{"\\u006fp_id":"')
    return body


def frame(body: bytes) -> bytes:
    """Add crc and newline to one JSON object."""
    covered = body[:-1]
    return b'%b,"crc":"%08x"}\n' % (covered, crc32(covered))


def frame_holds(line: bytes) -> bool:
    """Tell whether `line` (without newline) ends with a crc that its other bytes have."""
    return line[-FRAME_LENGTH:] == b',"crc":"%08x"}' % crc32(line[:-FRAME_LENGTH])


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


def _refuse(entry: OpEntry, reason: str) -> NoReturn:
    place, value = unstorable(entry["domain_op"], "domain_op") or ("", reason)
    message = f"{place}: {value} cannot be stored as JSON unchanged" if place else reason
    raise InvalidEntryError(f"{message}; nothing was written", field=place.partition(".")[0])


# -- reading ------------------------------------------------------------------------------------


class _LineFields(TypedDict):
    """The entry of a good line, checked; the crc and keys of later versions are dropped."""

    op_id: Annotated[str, msgspec.Meta(min_length=36, max_length=36)]
    actor_id: Annotated[str, msgspec.Meta(min_length=1)]
    lamport_ts: Annotated[int, msgspec.Meta(ge=1, le=MAX_LAMPORT)]
    parent_op_ids: list[str]
    domain: str
    domain_op: dict[str, Any]
    created_at: str
    intent_id: str
    reservation_id: str


LINE_DECODER = msgspec.json.Decoder(_LineFields)


def decode_line(line: bytes) -> OpEntry:
    """Decode one line without its newline; `InvalidEntryError` says what is wrong with it.

    A line with a crc must match it. One without is read as other tools write it, strictly: the nine
    fields and no other, no duplicate key, no NaN.
    """
    if FRAME.match(line, len(line) - FRAME_LENGTH):
        if not frame_holds(line):
            raise InvalidEntryError("the crc does not match the line's bytes", field="crc")
        try:
            entry = cast("OpEntry", LINE_DECODER.decode(line))
            check_encodable(entry)
        except (*UNDECODABLE, orjson.JSONEncodeError):
            raise InvalidEntryError(f"the crc holds, but it is no entry: {_fault_in(line)}") from None
        return entry
    entry = parse_strictly(line)
    check_entry(entry)
    return cast("OpEntry", entry)


def check_encodable(value: Any) -> None:
    """Raise `orjson.JSONEncodeError` for what JSON of ours cannot hold some levels deep, as commits have it.

    An op that could be read and not written could be neither committed nor handed on.
    """
    orjson.dumps([[[[[[[[[[[[value]]]]]]]]]]]])


def _fault_in(line: bytes) -> str:
    """Return what is wrong with JSON that does not decode to an entry."""
    try:
        found = parse_strictly(line)
        is_object = isinstance(found, dict)
        check_entry({key: found[key] for key in ENTRY_FIELDS if key in found} if is_object else found)
        check_encodable(found)
    except InvalidEntryError as error:
        return str(error)
    except orjson.JSONEncodeError:
        return "it nests too deeply"
    return "its fields are not those of an entry"


class FramedEntry(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """The fields of a framed line, the op as JSON."""

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


FRAMED_DECODER = msgspec.json.Decoder(FramedEntry)


def read_framed(line: bytes) -> FramedEntry:
    """Read a line that `encode_line` made."""
    return FRAMED_DECODER.decode(line)
