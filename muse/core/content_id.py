"""The only hashing of the package: every id that names content by its bytes. Pure.

The formulas are those of the Muse repository format: lower-case hex SHA-256, NUL (U+0000) between
the parts.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import TypeGuard

NUL = "\0"
CONTENT_ID_PATTERN = "[0-9a-f]{64}"

_CONTENT_ID = re.compile(CONTENT_ID_PATTERN)


def is_content_id(value: object) -> TypeGuard[str]:
    """Return whether `value` is a text of 64 lower-case hex digits, as all these ids are."""
    return isinstance(value, str) and _CONTENT_ID.fullmatch(value) is not None


def sha256_hex(data: bytes) -> str:
    """Return the SHA-256 of some bytes as 64 hex digits."""
    return hashlib.sha256(data).hexdigest()


def object_id(content: bytes) -> str:
    """Name a blob by its bytes."""
    return sha256_hex(content)


def snapshot_id(manifest: Mapping[str, str]) -> str:
    """Name a tree: the sorted `path NUL object_id` pairs, joined by NUL."""
    pairs = sorted(f"{path}{NUL}{content}" for path, content in manifest.items())
    return sha256_hex(NUL.join(pairs).encode())


def commit_id(parent_ids: Iterable[str], snapshot: str, message: str, committed_at: str) -> str:
    """Name a commit: its sorted parents, snapshot, message and time, joined by NUL."""
    parts = [NUL.join(sorted(parent_ids)), snapshot, message, committed_at]
    return sha256_hex(NUL.join(parts).encode())


def note_id(pitch: int, velocity: int, start_tick: int, duration_ticks: int, channel: int) -> str:
    """Name a note's content: `pitch:velocity:start_tick:duration_ticks:channel` in decimal."""
    return sha256_hex(f"{pitch}:{velocity}:{start_tick}:{duration_ticks}:{channel}".encode())
