"""File ids: the names that files have while they are edited live, and where a commit says they are. Pure."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from muse.core.content_id import NUL, sha256_hex

DOMAIN = "code"

Stamp = tuple[int, str, str]
"""The place of an entry in the total order."""

INDEX = "index"
"""The part of the domain's state that has the placements."""

FRESH_DIGITS = 32
"""How long the id of a file is that an op makes; that of a file of the tree has 64 digits."""

_LIVES = 100
"""So often may one content come back to one path, and be known by its id elsewhere."""


@dataclass(slots=True)
class Placement:
    """The path that a file was given last, and where the tree shows it: None for a removed one."""

    stamp: Stamp
    path: str
    shown: str | None = None


def id_of_made(op_id: str) -> str:
    """Return the id of the file that a raw op makes."""
    return op_id.replace("-", "")


def ids_of(path: str, base: str) -> Iterator[str]:
    """Yield the ids of a file of the tree: the next one where it was removed and came back from outside."""
    file_id = path
    while True:
        file_id = sha256_hex(f"{file_id}{NUL}{base}".encode())
        yield file_id


def is_id_of(file_id: str, path: str, base: str) -> bool:
    """Return whether an id is one of those of a file of the tree."""
    return len(file_id) > FRESH_DIGITS and file_id in islice(ids_of(path, base), _LIVES)


def read_index(state: Mapping[str, bytes]) -> dict[str, Placement]:
    """Return the placements that a commit left, by file id."""
    document = json.loads(state[INDEX]) if INDEX in state else {}
    return {
        file_id: Placement(read_stamp(stamp), path, shown)
        for file_id, (stamp, path, shown) in document.items()
    }


def read_stamp(parts: Any) -> Stamp:
    """Return a stamp as JSON has it."""
    lamport, actor_id, op_id = parts
    return lamport, actor_id, op_id
