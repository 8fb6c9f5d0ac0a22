"""The manifest of an archive, and the tombstone that takes the place of the log; both read without trust."""

from itertools import pairwise
from typing import Annotated, Any, Literal, TypedDict, TypeVar

import msgspec

from muse.core.content_id import CONTENT_ID_PATTERN, sha256_hex
from muse.core.coverage import Count
from muse.disk import layout
from muse.disk.json_file import encode_json
from muse.disk.storage import Storage
from muse.errors import CorruptionError, NotFoundError

FRAME_BYTES = 1 << 22
"""Of the log, in each frame but the last: what is held in memory at once, and read for one entry."""

Digest = Annotated[str, msgspec.Meta(pattern=f"^{CONTENT_ID_PATTERN}$")]
_Record = TypeVar("_Record")


class LogFacts(TypedDict):
    """The facts of an archived log. `root` is the Merkle root over its ops, each once, in the log's order."""

    sha256: Digest
    size_bytes: Count
    entry_count: Count
    first_lamport_ts: Count
    last_lamport_ts: Count
    frontier: dict[str, Count]
    root: Digest


class ArchiveFacts(TypedDict):
    """The facts of the compressed file. `frames`: where each zstd frame starts, of `frame_bytes` of log."""

    sha256: Digest
    size_bytes: Count
    frame_bytes: Annotated[int, msgspec.Meta(ge=1, le=FRAME_BYTES)]
    frames: Annotated[list[Count], msgspec.Meta(min_length=1)]


class CoveringCommit(TypedDict):
    """A commit that was made from this log, with the facts in its seal."""

    commit_id: Digest
    cut_offset: Count
    op_count: Count
    root: Digest


class AbandonedOps(TypedDict):
    """Ops that no commit covered. `op_ids` names them if they are not too many; `root` is over all."""

    op_count: Count
    root: Digest
    op_ids: list[str]


class ArchiveManifest(TypedDict):
    """All facts of an archived session. `checkpoint` is the text of its file, or None."""

    format_version: Literal[1]
    session_id: str
    archived_at: str
    log: LogFacts
    archive: ArchiveFacts
    commits: list[CoveringCommit]
    abandoned: AbandonedOps
    checkpoint: str | None


class Tombstone(TypedDict):
    """The file that takes the place of an archived log: it names its manifest and the log by digest."""

    format_version: Literal[1]
    session_id: str
    archived_at: str
    manifest_sha256: Digest
    log_sha256: Digest
    entry_count: Count


def make_tombstone(manifest: ArchiveManifest) -> Tombstone:
    """Make the tombstone that vouches, by a hash, for a manifest."""
    return {
        "format_version": 1,
        "session_id": manifest["session_id"],
        "archived_at": manifest["archived_at"],
        "manifest_sha256": sha256_hex(encode_manifest(manifest)),
        "log_sha256": manifest["log"]["sha256"],
        "entry_count": manifest["log"]["entry_count"],
    }


def encode_manifest(manifest: ArchiveManifest) -> bytes:
    """Return the bytes of a manifest's file, as `encode_json` writes them."""
    return encode_json(manifest, "the archive's manifest")


def encode_tombstone(tombstone: Tombstone) -> bytes:
    """Return the bytes of a tombstone's file, as `encode_json` writes them."""
    return encode_json(tombstone, "the tombstone")


def read_tombstone(root: str, session_id: str, storage: Storage) -> Tombstone:
    """Return a session's tombstone.

    Raises `NotFoundError` if it does not exist, `CorruptionError` if it is damaged or another session's.
    """
    path = layout.tombstone_file(root, session_id)
    advice = "move it aside and restore the session: the manifest of its archive is enough"
    tombstone = _parse(storage.read_bytes(path), Tombstone, path, advice)
    _check_session(tombstone["session_id"], session_id, path)
    return tombstone


def read_manifest(
    root: str, session_id: str, storage: Storage, tombstone: Tombstone | None
) -> ArchiveManifest:
    """Return the manifest of a session's archive, the one that `tombstone` names (None: it is lost).

    Raises `CorruptionError` if it is missing, damaged, or not the one that the tombstone names.
    """
    path = layout.manifest_file(root, session_id)
    advice = "restore it from another copy"
    try:
        data = storage.read_bytes(path)
    except NotFoundError as error:
        raise CorruptionError(
            f"{path} is missing, though session {session_id!r} is archived: {advice}", path=path
        ) from error
    if tombstone is not None and sha256_hex(data) != tombstone["manifest_sha256"]:
        raise CorruptionError(f"{path} is not the manifest that its tombstone names: {advice}", path=path)
    manifest = _parse(data, ArchiveManifest, path, advice)
    _check_session(manifest["session_id"], session_id, path)
    _check_frames(manifest, path)
    return manifest


def _parse(data: bytes, kind: type[_Record], path: str, advice: str) -> _Record:
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise CorruptionError(f"{path} is damaged: {error}; {advice}", path=path) from error


def _check_session(stated: str, session_id: str, path: str) -> None:
    if stated != session_id:
        raise CorruptionError(
            f"{path} belongs to session {stated!r}, not {session_id!r}: put back the right file", path=path
        )


def _check_frames(manifest: ArchiveManifest, path: str) -> None:
    """Raise `CorruptionError` unless the table of frames leads through the whole file."""
    facts: Any = manifest["archive"]
    bounds = [*facts["frames"], facts["size_bytes"]]
    rising = bounds[0] == 0 and all(low < high for low, high in pairwise(bounds))
    size = manifest["log"]["size_bytes"]
    needed = max(1, -(-size // facts["frame_bytes"]))
    if not rising or len(facts["frames"]) != needed:
        raise CorruptionError(
            f"{path} is damaged: its table of frames does not fit the archive; restore it from another copy",
            path=path,
        )
