"""Garbage is what nothing needs: what a crash left before its branch moved, and temporary files.

Kept is what a branch leads to, what the commits of an archive lead to, what a checkpoint names, each object
whose id is in any other file of ours (a log, an archive, an orphan, a proposal...), and all that is younger
than the grace period, with what that leads to. A commit shares a lock from its first object to its ref, so
what it is about to name is never removed; the grace period is for tools that do not know the lock. To put an
object that is stored makes it young, and its age is looked at again just before it is removed.
A temporary file whose writer is alive is kept, whatever the grace period, and so is an archive that
holds what its session's log does not.
"""

import os
import re
import stat
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field

from muse.apply.known_effects import KnownEffects
from muse.core.content_id import is_content_id
from muse.core.file.archive_frames import salvaged
from muse.core.file.archive_manifest import read_manifest, read_tombstone
from muse.core.file.checkpoint_store import CheckpointFile
from muse.core.file.log_reader import LogReader
from muse.core.file.objects import ObjectStore
from muse.core.file.session_file import SessionFile
from muse.core.op_log import list_sessions
from muse.disk import layout
from muse.disk.storage import LOCAL, TEMPORARY_MARK, Storage
from muse.errors import CorruptionError, MuseError, NotFoundError, StorageError, UsageError
from muse.history.commit_record import parents, state_snapshots
from muse.history.dag import CommitDag
from muse.history.garbage_lock import collecting
from muse.history.seal import read_seal
from muse.history.walk import links_among, parents_first
from muse.upkeep.archive import is_archived, is_leftover, remove_archive

GRACE_SECONDS = 3600.0

Progress = Callable[[int], None]
"""Called with how many things were looked at so far."""

_HEX_RUN = re.compile(rb"[0-9a-f]{64,}")
_ESCAPED = re.compile(rb"\\u00([0-9a-fA-F]{2})")
_LOG_NAMES = {"ops.jsonl", "ops.jsonl.zst"}
_REPEATED_BYTES = 6 * 64  # a digest whose digits are all escaped
_TEMPORARY = re.compile(rf"\..{{0,40}}{re.escape(TEMPORARY_MARK)}([0-9]+)-[0-9]+\Z", re.DOTALL)


@dataclass(slots=True)
class Collected:
    """The paths that were removed, or with `dry_run` would be, by kind, and the bytes they took.

    `kept_archives`: archives without a tombstone that hold what their sessions' logs do not.
    """

    dry_run: bool
    commits: list[str] = field(default_factory=list)
    snapshots: list[str] = field(default_factory=list)
    objects: list[str] = field(default_factory=list)
    temporary_files: list[str] = field(default_factory=list)
    archives: list[str] = field(default_factory=list)
    kept_archives: list[str] = field(default_factory=list)
    bytes_freed: int = 0

    @property
    def paths(self) -> list[str]:
        """The paths of all that was removed, or would be."""
        return self.commits + self.snapshots + self.objects + self.temporary_files + self.archives


def collect_garbage(
    root: str | os.PathLike[str],
    *,
    dry_run: bool = False,
    grace_seconds: float = GRACE_SECONDS,
    storage: Storage = LOCAL,
    progress: Progress = lambda _count: None,
) -> Collected:
    """Remove what nothing needs, and return what it was.

    Commits that are under way are waited for, a minute at most: then `CommitsUnderWayError` is raised.

    A damaged commit, snapshot, branch, log or archive raises its error before anything is removed, as it
    hides what is needed. A crash leaves some garbage for the next run, and a sound repository: what
    points is removed before what it points at.
    """
    if not grace_seconds >= 0:
        raise UsageError(f"the grace period must be 0 seconds or more, not {grace_seconds}")
    root = os.fspath(root)
    if not storage.exists(layout.repo_file(root)):
        raise NotFoundError(f"{root} is not a Muse repository: run 'muse init'")
    with (
        collecting(root, storage),
        storage.locked(layout.refs_lock_file(root)),
    ):
        collector = _Collector(root, storage, grace_seconds, Collected(dry_run), progress)
        collector.mark()
        collector.sweep()
    return collector.collected


class _Collector:
    """One run: `mark` finds what is needed, `sweep` removes the rest. Memory: the ids."""

    def __init__(
        self, root: str, storage: Storage, grace_seconds: float, collected: Collected, progress: Progress
    ) -> None:
        self.collected = collected
        self._root = root
        self._storage = storage
        self._young = time.time() - grace_seconds  # what was changed after this is kept
        self._progress = progress
        self._dag = CommitDag(root, storage)
        self._commits: set[str] = set()
        self._snapshots: set[str] = set()
        self._objects: set[str] = set()
        self._unneeded: set[str] = set()

    # -- mark -----------------------------------------------------------------------------------

    def mark(self) -> None:
        """Find every commit, snapshot and object that something needs."""
        tips = set(filter(None, self._dag.branches().values()))
        for session_id in list_sessions(self._root, storage=self._storage):
            self._mark_session(session_id, tips)
        stored = self._stored(layout.commits_directory(self._root))
        tips.update(commit_id for commit_id, path in stored.items() if self._is_young(path))
        for record in self._dag.reachable(tips):
            self._commits.add(record["commit_id"])
            self._snapshots.update((record["snapshot_id"], *state_snapshots(record).values()))
            if (seal := read_seal(record["message"])) is not None:
                self._objects.add(seal.op_list)
            self._progress(len(self._commits))
        stored = self._stored(layout.snapshots_directory(self._root))
        self._snapshots.update(snapshot_id for snapshot_id, path in stored.items() if self._is_young(path))
        for snapshot_id in self._snapshots:
            if snapshot_id in stored:
                self._objects.update(self._dag.read_snapshot(snapshot_id)["manifest"].values())
        self._unneeded = set(ObjectStore(self._root, self._storage).ids()) - self._objects
        self._keep_named()

    def _mark_session(self, session_id: str, tips: set[str]) -> None:
        """Keep what the commits of an archive and the checkpoint name."""
        if is_archived(self._root, session_id, storage=self._storage):
            tombstone = read_tombstone(self._root, session_id, self._storage)
            manifest = read_manifest(self._root, session_id, self._storage, tombstone)
            tips.update(commit["commit_id"] for commit in manifest["commits"])
        checkpoint = None
        # It is a cache: what a damaged one named is found in history, or in the log.
        with closing(SessionFile(self._root, session_id, self._storage)) as file, suppress(CorruptionError):
            checkpoint = self._checkpoint(session_id, file, self._reader(session_id, file)).read()
        if checkpoint is not None:
            self._snapshots.add(checkpoint["snapshot_id"])
            self._objects.update(checkpoint.get("op_lists", ()))
            commit_id = checkpoint.get("commit_id", "")
            if commit_id and self._dag.has_commit(commit_id):
                tips.add(commit_id)

    def _reader(self, session_id: str, file: SessionFile) -> LogReader:
        return LogReader(file, layout.op_index_file(self._root, session_id), self._storage)

    def _checkpoint(self, session_id: str, file: SessionFile, reader: LogReader) -> CheckpointFile:
        path = layout.checkpoint_file(self._root, session_id)
        return CheckpointFile(path, session_id, self._storage, file, reader)

    def _keep_named(self) -> None:
        """Keep all that looks like an id in a file that is not content: a replay or a later op may need it.

        The logs come last: an op leaves the orphans, or a proposal is accepted, once it is in a log.
        """
        for path in self._naming_files():
            self._keep_named_in(self._storage.blocks_of(path, _REPEATED_BYTES))
        for session_id in list_sessions(self._root, storage=self._storage):
            self._keep_named_in_log(session_id)

    def _keep_named_in(self, blocks: Iterable[bytes]) -> None:
        for data in blocks if self._unneeded else ():
            self._unneeded.difference_update(digests_in(data))

    def _keep_named_in_log(self, session_id: str) -> None:
        was_archived = None
        while was_archived is not (now := is_archived(self._root, session_id, storage=self._storage)):
            was_archived = now
            with closing(SessionFile(self._root, session_id, self._storage)) as file:
                self._keep_named_in(data for _, data in file.blocks(0, file.end()))
        if not was_archived:
            path = layout.archived_ops_file(self._root, session_id)  # a tombstone may have been lost
            self._keep_named_in(salvaged(path, self._storage))

    def _naming_files(self) -> Iterator[str]:
        """Yield our files but the logs, the objects, the snapshots, and the commits that nothing needs."""
        stores = (layout.objects_directory, layout.snapshots_directory, layout.commits_directory)
        apart = {directory(self._root) for directory in stores}
        for commit_id in self._commits:
            yield layout.commit_file(self._root, commit_id)
        for path in self._files_below(layout.muse_directory(self._root), apart):
            if os.path.basename(path) not in _LOG_NAMES and self._storage.is_file(path):
                yield path  # no tool of ours reads through a link, or from a pipe

    def _files_below(self, directory: str, apart: Collection[str] = ()) -> Iterator[str]:
        waiting = [directory]
        while waiting:
            inner = waiting.pop()
            for name, is_directory in self._storage.list_directory(inner):
                path = os.path.join(inner, name)
                if not is_directory:
                    yield path
                elif path not in apart:
                    waiting.append(path)

    def _is_young(self, path: str) -> bool:
        """Return whether a regular file was changed after the grace period began."""
        status = self._storage.look(path)
        return status is not None and stat.S_ISREG(status.st_mode) and status.st_mtime > self._young

    # -- what is stored -------------------------------------------------------------------------

    def _stored(self, directory: str) -> dict[str, str]:
        """Return id -> path of the JSON files in a directory; other files are left alone."""
        found = {}
        for name, _ in self._storage.list_directory(directory):
            stem, extension = os.path.splitext(name)
            if extension == ".json" and is_content_id(stem):
                found[stem] = os.path.join(directory, name)
        return found

    # -- sweep ----------------------------------------------------------------------------------

    def sweep(self) -> None:
        """Remove the rest: children before parents, and commits, then snapshots, then objects."""
        for path in self._unneeded_commits():
            self._remove(path, self.collected.commits)
        for snapshot_id, path in self._stored(layout.snapshots_directory(self._root)).items():
            if snapshot_id not in self._snapshots:
                self._remove(path, self.collected.snapshots)
        for object_id in sorted(self._unneeded):
            path = layout.object_file(self._root, object_id)
            with self._storage.locked(layout.objects_lock_file(self._root)):
                if not self._is_young(path):
                    self._remove(path, self.collected.objects)
        if not self.collected.dry_run:
            self._forget_effects()
        self._remove_leftover_archives()
        for path in list(self._temporary_files()):
            if not self._is_young(path) and not self._is_being_written(path):
                self._remove(path, self.collected.temporary_files)

    def _forget_effects(self) -> None:
        """Forget what had no effect in commits that are not there any more."""
        for session_id in list_sessions(self._root, storage=self._storage):
            known = KnownEffects(self._root, session_id, self._storage)
            known.read()
            known.forget_all_but(self._commits)

    def _unneeded_commits(self) -> list[str]:
        """Return the files of unneeded commits, each after those that name it as parent."""
        stored = self._stored(layout.commits_directory(self._root))
        unneeded = {commit_id: self._parents_of(commit_id) for commit_id in stored.keys() - self._commits}
        ordered = parents_first(sorted(unneeded), links_among(unneeded))
        return [stored[commit_id] for commit_id in reversed(ordered)]

    def _parents_of(self, commit_id: str) -> set[str]:
        try:
            return set(parents(self._dag.read_commit(commit_id)))
        except (CorruptionError, NotFoundError, StorageError):
            return set()  # damaged, and nothing needs it

    def _remove(self, path: str, removed: list[str]) -> None:
        size = self._storage.file_size(path)
        if size is None:
            return
        if not self.collected.dry_run:
            self._storage.remove(path)
        removed.append(path)
        self.collected.bytes_freed += size
        self._progress(len(removed))

    def _remove_leftover_archives(self) -> None:
        """Remove what a crash left of an archive, where the live log has all that the archive has."""
        directory = layout.archives_directory(self._root)
        for session_id, is_directory in self._storage.list_directory(directory):
            if is_directory and layout.is_session_id(session_id) and self._has_live_log(session_id):
                with self._storage.locked(
                    layout.session_lock_file(self._root, session_id), wait=False
                ) as taken:
                    if taken and self._has_live_log(session_id):  # nobody archives or restores it now
                        self._remove_leftover_archive(session_id)

    def _has_live_log(self, session_id: str) -> bool:
        return not is_archived(self._root, session_id, storage=self._storage) and self._storage.is_file(
            layout.ops_file(self._root, session_id)
        )

    def _remove_leftover_archive(self, session_id: str) -> None:
        directory = layout.archive_directory(self._root, session_id)
        paths = [os.path.join(directory, name) for name, _ in self._storage.list_directory(directory)]
        if not is_leftover(self._root, session_id, self._storage):
            self.collected.kept_archives.append(directory)
            return
        if any(map(self._is_young, paths)):
            return
        for path in paths:
            self.collected.bytes_freed += self._storage.file_size(path) or 0
            self.collected.archives.append(path)
        if not self.collected.dry_run:
            remove_archive(self._root, session_id, self._storage)

    # -- temporary files ------------------------------------------------------------------------

    def _temporary_files(self) -> Iterator[str]:
        """Yield the temporary files under `.muse` and in the directories of the tree's files."""
        for path in self._files_below(layout.muse_directory(self._root)):
            if _TEMPORARY.match(os.path.basename(path)):
                yield path
        for directory in self._tree_directories():
            for name, is_directory in self._storage.list_directory(directory):
                if not is_directory and _TEMPORARY.match(name):
                    yield os.path.join(directory, name)

    def _is_being_written(self, path: str) -> bool:
        """Return whether the process that the temporary file's name holds is alive: it may rename it yet."""
        name = _TEMPORARY.match(os.path.basename(path))
        return name is not None and self._storage.is_running(int(name[1]))

    def _tree_directories(self) -> list[str]:
        """Return the directories of the files that the current branch has."""
        head = self._dag.head(self._dag.current_branch())
        if head is None:
            return []
        manifest = self._dag.read_snapshot(self._dag.read_commit(head)["snapshot_id"])["manifest"]
        inner = {os.path.dirname(path) for path in manifest} | {""}
        return [path for name in sorted(inner) if self._is_inside(path := os.path.join(self._root, name))]

    def _is_inside(self, path: str) -> bool:
        try:
            return self._storage.is_directory(path)
        except MuseError:
            return False


def digests_in(data: bytes) -> Iterator[str]:
    """Yield every 64 hex digits in a row, also within a longer row: one too many does no harm."""
    if b"\\u00" in data:  # JSON may escape any character
        data = _ESCAPED.sub(lambda escaped: bytes.fromhex(escaped[1].decode()), data)
    for run in _HEX_RUN.findall(data):
        text = run.decode()
        for start in range(len(text) - 63):
            yield text[start : start + 64]
