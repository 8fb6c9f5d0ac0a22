"""Bytes that are no entry: which are torn, which are corrupt, and the good lines among them. Pure."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import orjson

from muse.core.entry import OpEntry
from muse.core.line import FRAME, PREFIX, decode_line, frame_holds
from muse.core.strict_json import is_cut_short
from muse.disk.git_carry import MARK
from muse.errors import InvalidEntryError

_FRAME_START = re.compile(rb',"crc":"([0-9a-f]{0,8}|[0-9a-f]{8}")\Z')
OP_ID = re.compile(rb'\{"op_id":"([0-9a-f-]{36})"')
_RESYNC_ATTEMPTS = 4096
_GLUED_PIECES = 64


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


def pieces_of(line: bytes, offset: int) -> Iterator[tuple[int, OpEntry] | Damage]:
    """Yield the entries that one line holds, and the damage between them."""
    line = line.removesuffix(b"\r")
    if not line.strip(b" "):
        return  # an empty line, or damage that a repair has blanked
    reason = ""
    try:
        yield offset, decode_line(line)
    except InvalidEntryError as error:
        reason = "a mark that git left in a merge" if MARK.fullmatch(line) else str(error)
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


def _resynchronize(line: bytes) -> Iterator[tuple[int, int, OpEntry]]:
    """Find the good lines inside a bad one: from a fixed prefix to a crc that holds."""
    ends = [match.end() for match in FRAME.finditer(line)]
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
    """Tell whether `fragment` is the start of a line and no more: what a killed write or power cut leaves.

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
    return is_cut_short(content)


def _is_json(content: bytes) -> bool:
    try:
        orjson.loads(content)
    except orjson.JSONDecodeError:
        return False
    return True


def _readable_op_id(bad: bytes) -> str:
    found = OP_ID.search(bad)
    return found.group(1).decode() if found else ""
