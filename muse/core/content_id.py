"""The only hashing of the package: every id that names content by its bytes. Pure.

The formulas are those of the Muse repository format: lower-case hex SHA-256, NUL (U+0000) between
the parts.
"""

import hashlib
from collections.abc import Iterable, Mapping

NUL = "\0"


def sha256_hex(data: bytes) -> str:
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
