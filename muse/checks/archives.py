"""Checks archives: compressed file, log and seals against the manifest, the manifest against its tombstone.

Streams. Where manifest and tombstone differ, the one at fault is that which the rest contradicts.
"""

from collections.abc import Callable, Iterator
from contextlib import closing

from muse.checks.finding import Findings, Progress
from muse.checks.sessions import sessions_of
from muse.core.content_id import sha256_hex
from muse.core.coverage import decode_checkpoint
from muse.core.file.archive_frames import ArchiveFile
from muse.core.file.archive_manifest import (
    ArchiveManifest,
    CoveringCommit,
    Tombstone,
    encode_manifest,
    encode_tombstone,
    make_tombstone,
    read_manifest,
    read_tombstone,
)
from muse.core.file.live_or_archived import is_archived
from muse.core.file.log_reader import LogReader
from muse.core.file.session_file import SessionFile
from muse.disk import layout
from muse.disk.storage import Storage
from muse.errors import CorruptionError, MuseError
from muse.history.dag import CommitDag
from muse.history.seal import read_seal
from muse.upkeep.archive import check_leftover_archive, check_leftover_log
from muse.upkeep.survey import log_facts, pending_ops

Fault = tuple[str, str]
"""The path of a file and what is wrong with it."""


def check_archives(root: str, storage: Storage, progress: Progress) -> tuple[int, Findings]:
    """Check every archive of a repository; return their number, and the findings."""
    findings = Findings()
    names = _archive_names(root, storage, findings)
    for count, session_id in enumerate(names, 1):
        try:
            for path, message in _archive_faults(root, session_id, storage):
                findings.add(path, "archive", message)
        except MuseError as error:
            findings.add(layout.archive_directory(root, session_id), "archive", error)
        progress("archive", count)
    return len(names), findings


def _archive_names(root: str, storage: Storage, findings: Findings) -> list[str]:
    """Return the ids of all sessions that have an archive or a tombstone, sorted."""
    found = set(sessions_of(root, storage, findings, is_archived))
    with findings.noting(layout.archives_directory(root), "archive"):
        for name, is_directory in storage.list_directory(layout.archives_directory(root)):
            if is_directory and layout.is_session_id(name):
                found.add(name)
    return sorted(found)


def _archive_faults(root: str, session_id: str, storage: Storage) -> Iterator[Fault]:
    """Yield every fault of one session's archive; none if the session is live, and has all it has."""
    if not is_archived(root, session_id, storage=storage):
        if not storage.is_file(layout.ops_file(root, session_id)):
            path = layout.tombstone_file(root, session_id)
            yield path, f"{path} is missing, and so is the log: 'muse session restore' brings both back"
        else:
            directory = layout.archive_directory(root, session_id)
            yield from _reported(directory, lambda: check_leftover_archive(root, session_id, storage))
        return
    tombstone: Tombstone | None = None
    try:
        tombstone = read_tombstone(root, session_id, storage)
    except MuseError as error:
        yield layout.tombstone_file(root, session_id), str(error)
    path = layout.manifest_file(root, session_id)
    try:
        manifest = read_manifest(root, session_id, storage, None)
    except MuseError as error:
        yield path, str(error)
        return
    faults = list(_manifest_faults(root, session_id, manifest, storage))
    data = storage.read_bytes(path)
    # Where the tombstone names another manifest, and all else confirms this one, the tombstone is wrong.
    is_confirmed = not faults and data == encode_manifest(manifest)
    if tombstone is None:
        yield from faults
    elif tombstone["manifest_sha256"] != sha256_hex(data) and not (
        is_confirmed and _different(tombstone, manifest) == ["manifest_sha256"]
    ):
        yield path, f"{path} is not the manifest that its tombstone names: restore it from another copy"
        return
    else:
        yield from faults
        yield from _tombstone_faults(layout.tombstone_file(root, session_id), tombstone, manifest, storage)
    path = layout.ops_file(root, session_id)
    yield from _reported(path, lambda: check_leftover_log(root, session_id, manifest, storage))


def _manifest_faults(
    root: str, session_id: str, manifest: ArchiveManifest, storage: Storage
) -> Iterator[Fault]:
    """Compare the manifest with all that it tells of."""
    path = layout.archived_ops_file(root, session_id)
    faults = list(_reported(path, lambda: _check_file(path, manifest, storage)))
    yield from faults
    stated = layout.manifest_file(root, session_id)
    if not faults:
        yield from _reported(stated, lambda: _check_log(root, session_id, manifest, storage))
    yield from _reported(stated, lambda: _check_checkpoint(session_id, manifest, stated))
    for commit in manifest["commits"]:
        yield from _reported(stated, lambda one=commit: _check_commit(root, manifest, one, stated, storage))  # type: ignore[misc]


def _different(tombstone: Tombstone, manifest: ArchiveManifest) -> list[str]:
    """Name the fields in which a tombstone differs from the one that `manifest` gets."""
    return [name for name, value in make_tombstone(manifest).items() if dict(tombstone)[name] != value]


def _tombstone_faults(
    path: str, tombstone: Tombstone, manifest: ArchiveManifest, storage: Storage
) -> Iterator[Fault]:
    if different := _different(tombstone, manifest):
        advice = "restore it from another copy, or move it aside and restore the session"
        yield path, f"{path} differs from its manifest in {', '.join(different)}: {advice}"
    elif storage.read_bytes(path) != encode_tombstone(make_tombstone(manifest)):
        yield path, f"{path} holds the right values, but no tool writes them so: a byte was changed"


def _reported(path: str, check: Callable[[], None]) -> Iterator[Fault]:
    try:
        check()
    except MuseError as error:
        yield getattr(error, "path", "") or path, str(error)


def _check_file(path: str, manifest: ArchiveManifest, storage: Storage) -> None:
    with closing(ArchiveFile(path, manifest, storage)) as archive:
        archive.check_bytes()
        for _ in archive.chunks():
            pass


class _ArchivedLog(SessionFile):
    """An archived log as its manifest says it is, whatever its tombstone says of that."""

    def __init__(self, root: str, session_id: str, storage: Storage, manifest: ArchiveManifest) -> None:
        super().__init__(root, session_id, storage)
        self._archive = ArchiveFile(layout.archived_ops_file(root, session_id), manifest, storage)


def _check_log(root: str, session_id: str, manifest: ArchiveManifest, storage: Storage) -> None:
    """Count and hash the entries again, and compare with each fact of the manifest."""
    stated = manifest["log"]
    path = layout.manifest_file(root, session_id)
    with (
        closing(_ArchivedLog(root, session_id, storage, manifest)) as file,
        closing(LogReader(file, layout.op_index_file(root, session_id), storage)) as reader,
    ):
        found = log_facts(reader, file.end())
        different = [name for name, value in found.items() if stated[name] != value]  # type: ignore[literal-required]
        if different:
            raise CorruptionError(f"{path} is not what its log says, in: {', '.join(different)}", path=path)
        commits = manifest["commits"]
        abandoned = pending_ops(root, session_id, file, reader, commits, abandon=True, storage=storage)
    if manifest["abandoned"] != abandoned:
        raise CorruptionError(f"{path} names other ops as abandoned than its log has", path=path)


def _check_checkpoint(session_id: str, manifest: ArchiveManifest, path: str) -> None:
    if manifest["checkpoint"] is not None:
        decode_checkpoint(manifest["checkpoint"].encode(), session_id, path)


def _check_commit(
    root: str, manifest: ArchiveManifest, commit: CoveringCommit, path: str, storage: Storage
) -> None:
    """Compare the manifest with the seal of a commit, which the id of the commit covers."""
    commit_id = commit["commit_id"]
    seal = read_seal(CommitDag(root, storage).read_commit(commit_id)["message"])
    stated = (manifest["session_id"], commit["cut_offset"], commit["op_count"], commit["root"])
    if seal is None or (seal.session_id, seal.cut_offset, seal.op_count, seal.root) != stated:
        raise CorruptionError(f"{path} differs from the seal of commit {commit_id}", path=path)
    if seal.cut_offset > manifest["log"]["size_bytes"]:
        raise CorruptionError(f"{path} is of a log that is shorter than commit {commit_id} covers", path=path)
