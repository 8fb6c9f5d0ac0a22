"""Checks archives: manifest against receipt, compressed file, log and seals against manifest. Streams."""

from collections.abc import Callable, Iterator
from contextlib import closing

from muse.core import layout
from muse.core.archive import check_leftover_log
from muse.core.archive_file import ArchiveFile
from muse.core.archive_record import ArchiveManifest, CoveringCommit, read_manifest, read_receipt
from muse.core.archive_survey import log_facts, pending_ops
from muse.core.checkpoint import decode_checkpoint
from muse.core.commit_dag import CommitDag
from muse.core.log_reader import LogReader
from muse.core.seal import read_seal
from muse.core.session_file import SessionFile, is_archived
from muse.core.storage import Storage
from muse.errors import CorruptionError, MuseError

Fault = tuple[str, str]
"""The path of a file and what is wrong with it."""


def archive_names(root: str, storage: Storage) -> list[str]:
    """Return the ids of all sessions that have an archive or a receipt, sorted."""
    found = {
        name
        for name, is_directory in storage.list_directory(layout.op_log_directory(root))
        if is_directory and layout.is_session_id(name) and is_archived(root, name, storage=storage)
    }
    for name, is_directory in storage.list_directory(layout.archives_directory(root)):
        if is_directory and layout.is_session_id(name):
            found.add(name)
    return sorted(found)


def archive_faults(root: str, session_id: str, storage: Storage) -> Iterator[Fault]:
    """Yield every fault of one session's archive; none if the session is live, and it a crash's leftover."""
    if not is_archived(root, session_id, storage=storage):
        if not storage.is_file(layout.ops_file(root, session_id)):
            path = layout.receipt_file(root, session_id)
            yield path, f"{path} is missing, and so is the log: 'muse session restore' brings both back"
        return
    try:
        receipt = read_receipt(root, session_id, storage)
    except MuseError as error:
        yield layout.receipt_file(root, session_id), str(error)
        receipt = None
    try:
        manifest = read_manifest(root, session_id, storage, receipt)
    except MuseError as error:
        yield layout.manifest_file(root, session_id), str(error)
        return
    path = layout.archived_ops_file(root, session_id)
    faults = list(_reported(path, lambda: _check_file(path, manifest, storage)))
    yield from faults
    path = layout.manifest_file(root, session_id)
    if receipt is not None and not faults:
        yield from _reported(path, lambda: _check_log(root, session_id, manifest, storage))
        said = (receipt["log_sha256"], receipt["entry_count"])
        if said != (manifest["log"]["sha256"], manifest["log"]["entry_count"]):
            path = layout.receipt_file(root, session_id)
            yield path, f"{path} says something else of the log than its manifest does"
    yield from _reported(path, lambda: _check_checkpoint(session_id, manifest, path))
    for commit in manifest["commits"]:
        yield from _reported(path, lambda one=commit: _check_commit(root, manifest, one, path, storage))  # type: ignore[misc]
    path = layout.ops_file(root, session_id)
    yield from _reported(path, lambda: check_leftover_log(root, session_id, manifest, storage))


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


def _check_log(root: str, session_id: str, manifest: ArchiveManifest, storage: Storage) -> None:
    """Count and hash the entries again; every fact of the manifest must come out."""
    stated = manifest["log"]
    path = layout.manifest_file(root, session_id)
    with (
        closing(SessionFile(root, session_id, storage)) as file,
        closing(LogReader(file, layout.op_index_file(root, session_id), storage)) as reader,
    ):
        found = log_facts(reader, file.end())
        different = [name for name, value in found.items() if stated[name] != value]  # type: ignore[literal-required]
        if different:
            raise CorruptionError(f"{path} is not what its log says, in: {', '.join(different)}", path=path)
        commits = [(commit, _domain_of(root, commit, storage)) for commit in manifest["commits"]]
        abandoned = pending_ops(
            root, session_id, file, reader, commits=commits, abandon=True, storage=storage
        )
    if manifest["abandoned"] != abandoned:
        raise CorruptionError(f"{path} names other ops as abandoned than its log has", path=path)


def _domain_of(root: str, commit: CoveringCommit, storage: Storage) -> str:
    delta = CommitDag(root, storage).read_commit(commit["commit_id"])["structured_delta"]
    return delta["domain"] if delta else ""


def _check_checkpoint(session_id: str, manifest: ArchiveManifest, path: str) -> None:
    if manifest["checkpoint"] is not None:
        decode_checkpoint(manifest["checkpoint"].encode(), session_id, path)


def _check_commit(
    root: str, manifest: ArchiveManifest, commit: CoveringCommit, path: str, storage: Storage
) -> None:
    """The commit's seal, which its id holds fast, must say of the log what the manifest says."""
    commit_id = commit["commit_id"]
    seal = read_seal(CommitDag(root, storage).read_commit(commit_id)["message"])
    stated = (manifest["session_id"], commit["cut_offset"], commit["op_count"], commit["root"])
    if seal is None or (seal.session_id, seal.cut_offset, seal.op_count, seal.root) != stated:
        raise CorruptionError(f"{path} differs from the seal of commit {commit_id}", path=path)
    if seal.cut_offset > manifest["log"]["size_bytes"]:
        raise CorruptionError(f"{path} is of a log that is shorter than commit {commit_id} covers", path=path)
