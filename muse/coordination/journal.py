"""The lines of the coordination journal: each names a record, and the one below it has a crc of that. Pure.

An earlier version skips the line of the crc, and writes none. A killed writer leaves the start of its
lines; the next one begins with a line end.
"""

import re
from collections.abc import Iterator

from muse.core.entry import is_op_id
from muse.disk.crc import crc32

KINDS = ("reservations", "renewals", "releases", "intents")
"""The kinds of record, in the order in which they are read."""

COMPANIONS = {"reservations": "grants", "intents": "authors"}
"""The kind that says whose a record is, and is written before it."""

_KINDS = (*KINDS, *COMPANIONS.values())
_CRC = re.compile("crc [0-9a-f]{8}")
_TORN_CRC = re.compile("c|cr|crc|crc [0-9a-f]{0,7}")
_TORN_ID = re.compile("[0-9a-f-]{0,35}")


def lines_of(kind: str, own: str) -> str:
    """Return the lines that name the record with the id `own`; what a crash tore ends at the first."""
    return f"\n{kind} {own}\n{_crc_of(f'{kind} {own}')}\n"


def damages_in(data: bytes) -> Iterator[tuple[int, str]]:
    """Yield the offset and the text of each line of a journal that no writer writes, and no crash leaves."""
    lines = data.decode("latin-1").split("\n")
    offset, named = 0, ""
    for number, line in enumerate(lines):
        is_cut = number + 1 == len(lines) or lines[number + 1] != ""  # the next writer's line follows at once
        if line.startswith("crc") and _CRC.fullmatch(line):
            is_sound = bool(named) and line == _crc_of(named)
        else:
            is_sound = not line or _names(line) or (is_cut and _is_torn(line, has_record=bool(named)))
        if not is_sound:
            yield offset, line
        named = line if _names(line) else ""
        offset += len(line) + 1


def _crc_of(line: str) -> str:
    return f"crc {crc32(line.encode()):08x}"


def _names(line: str) -> bool:
    kind, _, own = line.partition(" ")
    return kind in _KINDS and is_op_id(own)


def _is_torn(line: str, *, has_record: bool) -> bool:
    """Return whether a line is the start of one that names a record or, after such a one, of its crc."""
    if has_record and _TORN_CRC.fullmatch(line):
        return True
    kind, space, own = line.partition(" ")
    if space:
        return kind in _KINDS and _TORN_ID.fullmatch(own) is not None
    return any(one.startswith(kind) for one in _KINDS)
