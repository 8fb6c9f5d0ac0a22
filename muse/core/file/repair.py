"""A damaged log is repaired in place: bad bytes go to a side file, and blanks take their place.

Nothing moves: offsets in checkpoints, commits and indexes stay right, and writers may go on meanwhile,
since only bytes of finished lines change. A crash half-way leaves the side file and some of the damage;
running it again does the rest.
"""

import base64
from dataclasses import dataclass

import orjson

from muse.core.damage import Damage
from muse.core.file.log_file import LogFile
from muse.core.file.log_reader import LogReader
from muse.disk.storage import Storage


@dataclass(frozen=True, slots=True)
class Repair:
    """The damage that was found, and the file that its bytes were moved to ("" without damage)."""

    damages: tuple[Damage, ...]
    side_file: str


def repair_log(log_file: LogFile, reader: LogReader, storage: Storage) -> Repair:
    """Move the bytes of all damage to a side file and blank them, so that the log reads without error.

    The side file holds one JSON object a damage: offset, line, kind, reason, op id, and the bytes in
    base64. It is durable before a byte of the log changes. Good lines beside the damage are kept.
    """
    damages = tuple(reader.damages(unfinished=False))  # the last line may be under way
    if not damages:
        return Repair((), "")
    side_file = _free_name(log_file.path, storage)
    lines = [_side_line(damage, log_file.read(damage.offset, damage.length)) for damage in damages]
    storage.write_atomically(side_file, b"".join(lines))
    log_file.blank([(damage.offset, damage.length) for damage in damages])
    reader.forget_ids()
    return Repair(damages, side_file)


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
