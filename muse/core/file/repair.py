"""A damaged log is repaired in place: bad bytes go to a side file, and blanks take their place.

Nothing moves: offsets in checkpoints, commits and indexes stay right, and writers may go on meanwhile,
since only bytes of finished lines change. A crash half-way leaves the side file and some of the damage;
running it again does the rest.
"""

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import orjson

from muse.core.damage import Damage
from muse.core.entry import OpEntry
from muse.core.file.log_file import LogFile
from muse.core.file.log_reader import LogReader
from muse.core.file.op_places import line_of
from muse.core.line import FRAME, FRAME_LENGTH, PREFIX
from muse.disk.storage import Storage

_HEAD_LENGTH = len(PREFIX) + 36
_SHORTEST_LINE = 128  # every entry takes more
_Likeness = tuple[bytes, bytes, bytes]


@dataclass(frozen=True, slots=True)
class Repair:
    """The damage that was found, and the file that its bytes were moved to ("" without damage)."""

    damages: tuple[Damage, ...]
    side_file: str


def repair_log(
    log_file: LogFile,
    reader: LogReader,
    storage: Storage,
    *,
    only_replaced: bool = False,
    other_bodies: Mapping[str, OpEntry] | None = None,
) -> Repair:
    """Move the bytes of all damage to a side file and blank them, so that the log reads without error.

    With `only_replaced`, damage stays that may hide an op which the log does not have. `other_bodies` are the
    right bodies of ops, by op id: a line that gives one of them another body is taken out too.
    The side file holds one JSON object a damage: offset, line, kind, reason, op id, and the bytes in
    base64. It is durable before a byte of the log changes. Good lines beside the damage are kept.
    """
    damages = tuple(reader.damages(unfinished=False))  # the last line may be under way
    if only_replaced:
        damages = _replaced(damages, log_file, reader)
    damages += tuple(_wrong_bodies(log_file, reader, other_bodies or {}))
    if not damages:
        return Repair((), "")
    side_file = _free_name(log_file.path, storage)
    lines = [_side_line(damage, log_file.read(damage.offset, damage.length)) for damage in damages]
    storage.write_atomically(side_file, b"".join(lines))
    log_file.blank([(damage.offset, damage.length) for damage in damages])
    reader.forget_ids()
    return Repair(damages, side_file)


def _wrong_bodies(log_file: LogFile, reader: LogReader, bodies: Mapping[str, OpEntry]) -> Iterator[Damage]:
    """Yield the lines of ops that have another body than they should, as damage."""
    for offset, entry in reader.scan(0, log_file.end(), salvage=True) if bodies else ():
        if bodies.get(entry["op_id"], entry) != entry:
            length = reader.line_at(offset)[1] - offset
            reason = "the line gives the op another body than a commit names"
            yield Damage(offset, length, "corrupt", reason, entry["op_id"], reader.line_number(offset))


def _replaced(damages: tuple[Damage, ...], log_file: LogFile, reader: LogReader) -> tuple[Damage, ...]:
    """Return the damage that hides no op, and that whose line the log has a good copy of."""
    sought: dict[Damage, set[_Likeness]] = {}
    for damage in damages:
        if damage.kind == "corrupt" and (damage.op_id or damage.length >= _SHORTEST_LINE):
            bad = log_file.read(damage.offset, damage.length)
            is_framed = FRAME.fullmatch(bad[-FRAME_LENGTH:]) is not None
            sought[damage] = _likenesses(bad, by_id=not is_framed)
    wanted = set().union(*sought.values())
    found: set[_Likeness] = set()
    if wanted:
        for _, entry in reader.scan(0, log_file.end(), salvage=True):
            found |= wanted & _likenesses(line_of(entry), by_id=True)
    return tuple(damage for damage in damages if damage not in sought or sought[damage] & found)


def _likenesses(line: bytes, *, by_id: bool) -> set[_Likeness]:
    """Return what a line has in common with itself after one part was damaged: id, content or crc.

    The op id alone does not tell: damage may make one id of another. `by_id` adds it: for lines without crc.
    """
    op_id, content, crc = line[:_HEAD_LENGTH], line[_HEAD_LENGTH:-FRAME_LENGTH], line[-FRAME_LENGTH:]
    likenesses = {(op_id, content, b""), (op_id, b"", crc), (b"", content, crc)}
    return likenesses | {(op_id, b"", b"")} if by_id else likenesses


def _free_name(path: str, storage: Storage) -> str:
    number = 1
    while storage.exists(name := f"{path.removesuffix('.jsonl')}.damaged-{number}.jsonl"):
        number += 1
    return name


def _side_line(damage: Damage, data: bytes) -> bytes:
    facts = {
        "offset": damage.offset,
        "line": damage.line,
        "kind": damage.kind,
        "reason": damage.reason,
        "op_id": damage.op_id,
        "bytes": base64.b64encode(data).decode(),
    }
    return orjson.dumps(facts, option=orjson.OPT_APPEND_NEWLINE)
