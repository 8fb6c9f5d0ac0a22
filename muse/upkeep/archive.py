"""Packed logs: a session's log becomes a zstd file with a manifest, and a tombstone takes its place.

A session is archived exactly while its tombstone is there. So the rename that makes `receipt.json` is the
commit point of an archive, and its removal that of a restore. Before the one and after the other, the
log in `ops.jsonl` counts and the archive beside it is rubbish; in between it is the other way round.
What a crash leaves is finished by the next `archive_session` or `restore_session`, and the log is never
removed before its archive was read back whole.
"""

import hashlib
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass

from muse.core.entry import OpEntry
from muse.core.file.archive_frames import ArchiveFile, Progress, silent, write_archive
from muse.core.file.archive_manifest import (
    ArchiveManifest,
    encode_manifest,
    encode_tombstone,
    make_tombstone,
    read_manifest,
    read_tombstone,
)
from muse.core.file.live_or_archived import check_session_exists, is_archived
from muse.core.file.log_file import LogFile, doubt_path
from muse.core.file.log_reader import LogReader
from muse.core.file.session_file import SessionFile
from muse.core.timestamp import now_text
from muse.disk import layout
from muse.disk.storage import LOCAL, READ_BLOCK_BYTES, Storage
from muse.disk.system_calls import translated
from muse.errors import ConflictError, CorruptionError, MuseError, NotFoundError
from muse.upkeep.survey import (
    Abandon,
    check_in_history,
    check_orphans,
    covering_commits,
    log_facts,
    pending_ops,
)

__all__ = [
    "ArchiveOutcome",
    "archive_session",
    "is_archived",
    "recover_checkpoint",
    "restore_session",
    "session_entries",
    "session_reader",
]


@dataclass(frozen=True, slots=True)
class ArchiveOutcome:
    """The outcome of archiving or restoring. `was_done` if there was nothing to do but finish."""

    session_id: str
    manifest: ArchiveManifest | None
    was_done: bool = False


def session_entries(
    root: str | os.PathLike[str],
    session_id: str,
    *,
    start: int = 0,
    stop: int | None = None,
    salvage: bool = False,
    storage: Storage = LOCAL,
) -> Iterator[tuple[int, OpEntry]]:
    """Yield (offset, entry) for each op of a live or archived log, in the order of the log.

    `start` and `stop` are byte offsets where lines start. Memory is bounded. Raises `CorruptionError`
    at damage that may hide an op, unless `salvage`, and where an archive is not what was archived.
    """
    with session_reader(root, session_id, storage) as (reader, end):
        yield from reader.distinct(start, end if stop is None else stop, salvage=salvage)


@contextmanager
def session_reader(
    root: str | os.PathLike[str], session_id: str, storage: Storage = LOCAL
) -> Iterator[tuple[LogReader, int]]:
    """Open a live or archived log while the block runs; give its reader, and the byte it ends at."""
    root = os.fspath(root)
    _check_known(root, session_id, storage)
    with (
        closing(SessionFile(root, session_id, storage)) as file,
        closing(LogReader(file, layout.op_index_file(root, session_id), storage)) as reader,
    ):
        yield reader, file.end()


def _check_known(root: str, session_id: str, storage: Storage) -> None:
    if not storage.exists(layout.manifest_file(root, session_id)):  # an archive that lost its receipt counts
        check_session_exists(root, session_id, storage=storage)


@contextmanager
def _locked(root: str, session_id: str, storage: Storage) -> Iterator[None]:
    """Keep out all others that archive, restore, append ready entries or write the checkpoint."""
    _check_known(root, session_id, storage)
    storage.make_directories(layout.session_directory(root, session_id), sync=True)
    with storage.locked(layout.session_lock_file(root, session_id), wait=False) as taken:
        if not taken:
            raise ConflictError(f"session {session_id!r} is in use by another process: try again later")
        yield


# -- archive -------------------------------------------------------------------------------------


def archive_session(
    root: str | os.PathLike[str],
    session_id: str,
    *,
    abandon_pending: Abandon = False,
    storage: Storage = LOCAL,
    progress: Progress = silent,
) -> ArchiveOutcome:
    """Pack a session's log into its archive, and leave a tombstone in its place.

    Ops that no commit covers are refused unless `abandon_pending` is True or names every one of them;
    the manifest says which they were, and they are pending again once the log is restored. So are
    orphans, which wait on beside the tombstone. Raises `ConflictError` while a writer lives, `UsageError`
    for pending ops, `CorruptionError` for a damaged log or a checkpoint that cannot be trusted,
    `StorageError` if the disk refuses: then the log is as it was. An archived session stays as it is, and
    what a crash left beside it is removed. Beside an archive of another log than the live one nothing is
    done: `ConflictError`.
    """
    root = os.fspath(root)
    with _locked(root, session_id, storage):
        if is_archived(root, session_id, storage=storage):
            return ArchiveOutcome(session_id, _finish_archiving(root, session_id, storage), was_done=True)
        with _without_writer(root, session_id, storage) as log_file:
            check_leftover_archive(root, session_id, storage)
            try:
                manifest = _pack(
                    root, session_id, log_file, storage, abandon=abandon_pending, progress=progress
                )
                _read_back(root, session_id, manifest, storage)
                if log_file.end() != manifest["log"]["size_bytes"]:  # by a tool that takes no locks
                    raise ConflictError(
                        f"{log_file.path} grew while it was archived: end its writer, then try again"
                    )
            except MuseError:
                with suppress(MuseError):  # it only takes room
                    remove_archive(root, session_id, storage)
                raise
            _leave_tombstone(root, session_id, manifest, storage)
            _remove_log(root, session_id, storage)
    return ArchiveOutcome(session_id, manifest)


@contextmanager
def _without_writer(root: str, session_id: str, storage: Storage) -> Iterator[LogFile]:
    """Hold the lock that every writer shares from when it opens the log until it closes it."""
    path = layout.ops_file(root, session_id)
    if not storage.is_file(path):
        raise CorruptionError(
            f"{path} is missing, and so is its tombstone: 'muse session restore {session_id}' brings the log "
            "back",
            path=path,
        )
    with translated(path, "open"):
        descriptor = storage.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        with translated(path, "lock"):
            taken = storage.lock(descriptor, wait=False)
        if not taken:
            raise ConflictError(f"session {session_id!r} has a live writer: end it, then archive the session")
        with closing(LogFile(path, storage)) as log_file:
            yield log_file
    finally:
        storage.unlock(descriptor)
        storage.close(descriptor)


def _pack(
    root: str, session_id: str, log_file: LogFile, storage: Storage, *, abandon: Abandon, progress: Progress
) -> ArchiveManifest:
    """Write the archive and its manifest. A crash leaves the live log, and files the next run replaces."""
    size = log_file.end()
    with closing(LogReader(log_file, layout.op_index_file(root, session_id), storage)) as reader:
        check_in_history(root, session_id, log_file, reader, storage)
        check_orphans(root, session_id, abandon=abandon, storage=storage)
        facts = log_facts(reader, size)
        commits = covering_commits(root, session_id, storage)
        abandoned = pending_ops(root, session_id, log_file, reader, commits, abandon=abandon, storage=storage)
    path = layout.archived_ops_file(root, session_id)
    archive, log_digest = write_archive(path, log_file.read, size, storage, progress)
    manifest: ArchiveManifest = {
        "format_version": 1,
        "session_id": session_id,
        "archived_at": now_text(),
        "log": {**facts, "sha256": log_digest, "size_bytes": size},
        "archive": archive,
        "commits": commits,
        "abandoned": abandoned,
        "checkpoint": _checkpoint_text(root, session_id, storage),
    }
    storage.write_atomically(layout.manifest_file(root, session_id), encode_manifest(manifest))
    return manifest


def _checkpoint_text(root: str, session_id: str, storage: Storage) -> str | None:
    try:
        return storage.read_bytes(layout.checkpoint_file(root, session_id)).decode()
    except NotFoundError:
        return None


def _read_back(root: str, session_id: str, manifest: ArchiveManifest, storage: Storage) -> None:
    """Read what was written, as a restore would: nothing is removed that does not come back."""
    read_manifest(root, session_id, storage, make_tombstone(manifest))
    path = layout.archived_ops_file(root, session_id)
    with closing(ArchiveFile(path, manifest, storage)) as archive:
        archive.check_bytes()
        for _ in archive.chunks():
            pass


def _leave_tombstone(root: str, session_id: str, manifest: ArchiveManifest, storage: Storage) -> None:
    """Write the tombstone: the commit point. A crash before its rename leaves the session live."""
    path = layout.tombstone_file(root, session_id)
    # A crash may have left these directories made but their names not durable: the tombstone's would be.
    for directory in (layout.archives_directory(root), layout.muse_directory(root)):
        storage.sync_directory(directory)
    try:
        storage.write_atomically(path, encode_tombstone(make_tombstone(manifest)))
    except MuseError:
        # Its name may not be durable: the log is still whole, so the session stays live.
        with suppress(MuseError):
            storage.remove(path)
            storage.sync_directory(os.path.dirname(path))
        raise


def _remove_log(root: str, session_id: str, storage: Storage) -> None:
    """Remove what the archive holds. A crash in between leaves some of it, which nobody reads."""
    ops = layout.ops_file(root, session_id)
    caches = layout.op_index_file(root, session_id), layout.items_sum_file(root, session_id)
    older = layout.older_op_index_files(layout.session_directory(root, session_id))
    # What is in doubt is in the archive, synced again.
    for path in (ops, doubt_path(ops), *caches, *older):
        if storage.exists(path):
            storage.remove(path)
    storage.sync_directory(layout.session_directory(root, session_id))


def _finish_archiving(root: str, session_id: str, storage: Storage) -> ArchiveManifest:
    """Do what a crash after the commit point left undone."""
    storage.make_durable(layout.tombstone_file(root, session_id))
    manifest = read_manifest(root, session_id, storage, read_tombstone(root, session_id, storage))
    check_leftover_log(root, session_id, manifest, storage)
    if storage.exists(layout.ops_file(root, session_id)):
        _read_back(root, session_id, manifest, storage)
    _remove_log(root, session_id, storage)
    return manifest


def check_leftover_log(root: str, session_id: str, manifest: ArchiveManifest, storage: Storage) -> None:
    """Raise `ConflictError` if a log beside the tombstone holds what the archive does not."""
    path = layout.ops_file(root, session_id)
    size = storage.file_size(path)
    if not size:  # missing, or made by a writer that was refused before it wrote
        return
    facts = manifest["log"]
    if size != facts["size_bytes"] or _log_digest(path, storage) != facts["sha256"]:
        raise ConflictError(
            f"{path} is beside the tombstone of an archived session, and is not what was archived: a program "
            "ignored the tombstone; move the file aside, restore the session, then append its entries"
        )


def is_leftover(root: str, session_id: str, storage: Storage) -> bool:
    """Return whether a crash left this archive without tombstone: unfinished, or the live log's start.

    False too for one whose manifest cannot be read: it may hold what nothing else holds.
    """
    if not storage.exists(layout.manifest_file(root, session_id)):
        return True  # a crash in the middle of archiving, when the log was still there
    try:
        facts = read_manifest(root, session_id, storage, None)["log"]
    except CorruptionError:
        return False
    path = layout.ops_file(root, session_id)
    return _log_digest(path, storage, facts["size_bytes"]) == facts["sha256"]


def check_leftover_archive(root: str, session_id: str, storage: Storage) -> None:
    """Raise `ConflictError` if an archive without a tombstone holds what the live log does not."""
    if not is_leftover(root, session_id, storage):
        raise ConflictError(
            f"{layout.archive_directory(root, session_id)} holds what {layout.ops_file(root, session_id)} "
            "does not, and no tombstone says which counts: move the log aside, run 'muse session restore "
            f"{session_id}', then append the log's entries; or move the archive aside"
        )


def _log_digest(path: str, storage: Storage, size: int | None = None) -> str:
    """Return the SHA-256 of a log, or of its first `size` bytes."""
    digest, offset = hashlib.sha256(), 0
    with closing(LogFile(path, storage)) as log_file:
        end = log_file.end() if size is None else size
        while data := log_file.read(offset, min(READ_BLOCK_BYTES, end - offset)):
            digest.update(data)
            offset += len(data)
    return digest.hexdigest()


# -- restore -------------------------------------------------------------------------------------


def restore_session(
    root: str | os.PathLike[str],
    session_id: str,
    *,
    storage: Storage = LOCAL,
    progress: Progress = silent,
) -> ArchiveOutcome:
    """Bring an archived session's log back, the same bytes, and its checkpoint; remove the archive.

    Raises `CorruptionError` if archive, manifest or tombstone is damaged, `ConflictError` if the log there
    was not archived, `StorageError` if the disk refuses: then the archive is as it was.
    A live session stays as it is, and what a crash left of an archive is removed; `ConflictError` if that
    holds more than the log.
    """
    root = os.fspath(root)
    with _locked(root, session_id, storage):
        archived = is_archived(root, session_id, storage=storage)
        if not archived and storage.exists(layout.ops_file(root, session_id)):
            # A crash after the commit point: its removal of the tombstone may not be on the disk yet.
            storage.sync_directory(layout.session_directory(root, session_id))
            check_leftover_archive(root, session_id, storage)
            remove_archive(root, session_id, storage)
            return ArchiveOutcome(session_id, None, was_done=True)
        tombstone = read_tombstone(root, session_id, storage) if archived else None
        manifest = read_manifest(root, session_id, storage, tombstone)
        check_leftover_log(root, session_id, manifest, storage)
        _write_log(root, session_id, manifest, storage, progress)
        # The commit point. A crash before it leaves the session archived, one after it live.
        storage.remove(layout.tombstone_file(root, session_id))
        storage.sync_directory(layout.session_directory(root, session_id))
        remove_archive(root, session_id, storage)
    return ArchiveOutcome(session_id, manifest)


def _write_log(
    root: str, session_id: str, manifest: ArchiveManifest, storage: Storage, progress: Progress
) -> None:
    """Write log and checkpoint, durable and read back. A crash leaves them beside the tombstone, unread."""
    path = layout.ops_file(root, session_id)
    archived = layout.archived_ops_file(root, session_id)
    try:
        with closing(ArchiveFile(archived, manifest, storage)) as archive:
            archive.check_bytes()
            with storage.replacing(path) as write:
                done = 0
                for data in archive.chunks():
                    write(data)
                    done += len(data)
                    progress(done)
        if _log_digest(path, storage) != manifest["log"]["sha256"]:
            raise CorruptionError(f"{path} does not hold what was written to it: check the disk", path=path)
        if (checkpoint := manifest["checkpoint"]) is not None:
            storage.write_atomically(layout.checkpoint_file(root, session_id), checkpoint.encode())
    except MuseError:
        if is_archived(root, session_id, storage=storage):
            with suppress(MuseError):  # it only takes room
                storage.remove(path)
        raise


def recover_checkpoint(root: str | os.PathLike[str], session_id: str, *, storage: Storage = LOCAL) -> bool:
    """Give an archived session the checkpoint of its manifest; return whether that changed anything.

    Raises `NotFoundError` if it is not archived, `CorruptionError` if manifest or tombstone is damaged.
    """
    root = os.fspath(root)
    path = layout.checkpoint_file(root, session_id)
    with _locked(root, session_id, storage):
        tombstone = read_tombstone(root, session_id, storage)
        checkpoint = read_manifest(root, session_id, storage, tombstone)["checkpoint"]
        if checkpoint is None or _is_content(path, checkpoint.encode(), storage):
            return False
        storage.write_atomically(path, checkpoint.encode())
    return True


def _is_content(path: str, data: bytes, storage: Storage) -> bool:
    return storage.exists(path) and storage.read_bytes(path) == data


def remove_archive(root: str, session_id: str, storage: Storage) -> list[str]:
    """Remove the archive of a live session; return its files. A crash in between leaves some of it."""
    directory = layout.archive_directory(root, session_id)
    paths = [os.path.join(directory, name) for name, _ in storage.list_directory(directory)]
    for path in paths:
        storage.remove(path)
    if storage.exists(directory):
        with translated(directory, "remove"):
            storage.remove_directory(directory)
        storage.sync_directory(layout.archives_directory(root))
    return paths
