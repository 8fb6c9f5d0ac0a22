"""Brings the files of a commit into the working tree, where people change files too.

The commit is made before its files are written here, so nothing is lost if one is left out. A file
that a person changed by hand is never overwritten and never removed.
"""

import contextlib
import errno
import os
import stat
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from itertools import accumulate, islice

from muse.core import content_id
from muse.core.file.objects import ObjectStore
from muse.disk import layout
from muse.disk.json_file import encode_json, read_json_object
from muse.disk.put_over import put_over, remove_version
from muse.disk.storage import LOCAL, Storage
from muse.errors import CorruptionError, StorageError, UsageError
from muse.history.tree import tree_changes

_MAY_RUN = stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH
_NEW_FILE = 0o644
_FORBIDS = {errno.EACCES, errno.EPERM}


@dataclass(frozen=True, slots=True)
class WorkingTreeUpdate:
    """The paths that were written, removed and kept, each list in order. `kept`: those changed by hand."""

    written: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)


class _PlaceState(Enum):
    """What is at the path of a file when it is not a file."""

    EMPTY = "empty"
    BLOCKED = "blocked"  # a directory, a link or a special file there, or a parent that is no directory
    FORBIDDEN = "forbidden"  # whatever it is, it may not be read


def update_working_tree(
    root: str,
    objects: ObjectStore,
    *,
    before: Mapping[str, str] | None,
    after: Mapping[str, str],
    known: Callable[[str, str], bool],
    executable: Collection[str] = (),
    was_executable: Collection[str] = (),
    came_from_here: Callable[[str, str], bool] = lambda _path, _object_id: False,
    storage: Storage = LOCAL,
) -> WorkingTreeUpdate:
    """Bring the tree at `root` from the manifest `before` (None: no files) to the manifest `after`.

    Only paths that differ between the two are looked at. A file on disk is replaced or removed if
    its bytes are those of `before`, or if `known(path, object_id)` says that history holds them.
    Files in `executable` may be run afterwards, and others that are in `was_executable` may not. Any other
    file is kept, and so is all that may not be read, or is not a plain file in plain directories. A file
    that is missing is written, unless `came_from_here(path, object_id)` says that it was in this tree before
    it was in any commit: then a person removed it since. A second run does what is left to do. A crash leaves
    each file whole, old or new.

    Raises `CorruptionError`, before anything is changed, if a path could lead out of the tree.
    """
    before = before or {}
    tree = _FilesOnDisk(root, before, after, known, storage)
    changes = tree_changes(before, after)
    changed = list(changes)
    _check_paths(changed)
    may_run = dict.fromkeys(was_executable, False) | dict.fromkeys(executable, True)
    update, notes = WorkingTreeUpdate(), _Notes(root, storage)
    notes.write(changes, done=False)
    # Removals first: where the file 'a' was, there may now be 'a/b'.
    for path in (path for path in changed if path not in after):
        _remove(tree, path, update)
    for path in (path for path in changed if path in after):
        if path not in before and came_from_here(path, after[path]) and not storage.exists(tree.file(path)):
            continue
        _write(tree, path, objects, update, may_run=may_run.get(path))
    for path in sorted(after.keys() & may_run.keys()):
        _let_run(tree, path, objects, may_run=may_run[path])
    notes.write({path: changes[path] for path in (*update.written, *update.removed)}, done=True)
    update.kept.sort()
    return update


def files_in_the_way(
    root: str,
    *,
    before: Mapping[str, str] | None,
    after: Mapping[str, str],
    known: Callable[[str, str], bool],
    storage: Storage = LOCAL,
) -> list[str]:
    """Return the files that `update_working_tree` would keep now; nothing is changed."""
    before = before or {}
    tree = _FilesOnDisk(root, before, after, known, storage)
    changed = list(tree_changes(before, after))
    _check_paths(changed)
    return sorted(path for path in changed if tree.is_kept(path, tree.place(path)))


class _Notes:
    """Notes which files an update replaces, for those who remember what was in the tree.

    Nothing is noted where nobody does. Before the update they name all that it may replace, and say so; after
    it, what it did replace.
    """

    def __init__(self, root: str, storage: Storage) -> None:
        # By name, notes are in the order of the updates.
        name = f"{time.time_ns()}-{os.getpid()}-{int.from_bytes(os.urandom(8))}.json"
        self._place = os.path.join(layout.workdir_written_directory(root), name)
        self._storage = storage
        self._is_wanted = storage.exists(layout.workdir_lock_file(root, layout.WORKDIR_OF_ROOT))

    def write(self, files: Mapping[str, str | None], *, done: bool) -> None:
        """Note what files are replaced by; None: they are removed."""
        if self._is_wanted and files:
            data = encode_json({"done": done, "files": dict(files)}, self._place)
            self._storage.write_atomically(self._place, data, sync=False)


@dataclass(frozen=True, slots=True)
class WrittenFiles:
    """What an update of the tree replaced: path -> object id, None for one that was removed.

    Unless it `is_done`, a crash cut it off, and it did so with some of the files only. `place` is where it is
    noted.
    """

    place: str
    is_done: bool
    files: Mapping[str, str | None]


def notes_of_written(root: str, storage: Storage) -> list[WrittenFiles]:
    """Return what each update noted. No update is at work meanwhile."""
    directory = layout.workdir_written_directory(root)
    found: list[WrittenFiles] = []
    if not storage.exists(directory):
        return found
    with storage.locked(layout.working_tree_lock_file(root)):
        for name, _ in storage.list_directory(directory):
            place = os.path.join(directory, name)
            with contextlib.suppress(CorruptionError, KeyError):
                note = read_json_object(place, storage)
                found.append(WrittenFiles(place, note["done"] is True, note["files"]))
    return found


def _check_paths(paths: Iterable[str]) -> None:
    for path in paths:
        try:
            layout.check_tree_path(path)
        except UsageError as error:
            raise CorruptionError(f"the snapshot is not safe to write out: {error}", path=path) from error


@dataclass(frozen=True, slots=True)
class _FilesOnDisk:
    """The files under the root on disk, compared with the two manifests."""

    root: str
    before: Mapping[str, str]
    after: Mapping[str, str]
    known: Callable[[str, str], bool]
    storage: Storage
    plain: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Directories that were reached through plain directories alone: path -> device and inode."""

    def file(self, path: str) -> str:
        return os.path.join(self.root, *path.split("/"))

    def parents(self, path: str) -> Iterator[str]:
        """Return the directories above `path` within the root, the outermost first."""
        return islice(accumulate(path.split("/")[:-1], os.path.join, initial=self.root), 1, None)

    def look(self, path: str) -> os.stat_result | None:
        """Return the status of what is at a path; None if nothing is, or it may not be known."""
        try:
            return self.storage.look(self.file(path))
        except StorageError as error:
            if error.errno in _FORBIDS:
                return None
            raise

    def place(self, path: str) -> _PlaceState | str:
        """Return the object id of the file at `path`, or what is there instead. No link is followed.

        A file that is to go is gone where a directory took its place, or a file that of its directory.
        """
        try:
            return self._place(path)
        except StorageError as error:
            if error.errno in _FORBIDS:
                return _PlaceState.FORBIDDEN
            raise

    def _place(self, path: str) -> _PlaceState | str:
        is_to_go = path not in self.after
        if not self._is_plain(os.path.dirname(self.file(path))):
            for directory in self.parents(path):
                found = self.storage.look(directory)
                if found is None or (is_to_go and stat.S_ISREG(found.st_mode)):
                    return _PlaceState.EMPTY
                if not stat.S_ISDIR(found.st_mode):
                    return _PlaceState.BLOCKED
                self.plain[directory] = found.st_dev, found.st_ino
        found = self.storage.look(self.file(path))
        if found is None or (is_to_go and stat.S_ISDIR(found.st_mode)):
            return _PlaceState.EMPTY
        if not stat.S_ISREG(found.st_mode):
            return _PlaceState.BLOCKED
        return content_id.object_id(self.storage.read_bytes(self.file(path)))

    def _is_plain(self, directory: str) -> bool:
        """Return whether this is the very directory that was once reached through plain directories.

        A link that has taken the place of one above it leads to another directory.
        """
        found = self.storage.look(directory) if directory in self.plain else None
        return found is not None and self.plain[directory] == (found.st_dev, found.st_ino)

    def is_kept(self, path: str, place: _PlaceState | str) -> bool:
        """Return whether what is at `path` is neither what belongs there nor a version that history holds."""
        if place is _PlaceState.EMPTY or place == self.after.get(path):
            return False
        is_ours = isinstance(place, str) and (place == self.before.get(path) or self.known(path, place))
        return not is_ours


def _remove(tree: _FilesOnDisk, path: str, update: WorkingTreeUpdate) -> None:
    found, place = tree.look(path), tree.place(path)
    if place is _PlaceState.EMPTY:
        return
    # What a program saves at this very moment stays too.
    if tree.is_kept(path, place) or not (found and remove_version(tree.storage, tree.file(path), found)):
        update.kept.append(path)
        return
    update.removed.append(path)
    # An error means that the directory is not empty or is in use: it stays.
    with contextlib.suppress(OSError):
        for directory in reversed(list(tree.parents(path))):
            tree.storage.remove_directory(directory)


def _write(
    tree: _FilesOnDisk, path: str, objects: ObjectStore, update: WorkingTreeUpdate, *, may_run: bool | None
) -> None:
    found = tree.look(path)
    place, wanted = tree.place(path), tree.after[path]
    if place == wanted:
        return
    if tree.is_kept(path, place):
        update.kept.append(path)
        return
    content = objects.get(wanted)
    mode = None if place is _PlaceState.EMPTY else _permissions(tree, path)
    if may_run is not None:
        mode = _with_permission(_NEW_FILE if mode is None else mode, may_run=may_run)
    if put_over(tree.storage, tree.file(path), content, found, mode) is None:
        update.kept.append(path)  # a program saved it at this very moment
        return
    update.written.append(path)


def _let_run(tree: _FilesOnDisk, path: str, objects: ObjectStore, *, may_run: bool) -> None:
    """Let a file that has the right content be run or, without `may_run`, be run no more."""
    found = tree.look(path)
    if found is None or not stat.S_ISREG(found.st_mode) or bool(found.st_mode & stat.S_IXUSR) == may_run:
        return
    if tree.place(path) == tree.after[path]:
        mode = _with_permission(stat.S_IMODE(found.st_mode), may_run=may_run)
        put_over(tree.storage, tree.file(path), objects.get(tree.after[path]), found, mode)


def _with_permission(mode: int, *, may_run: bool) -> int:
    return mode | _MAY_RUN if may_run else mode & ~_MAY_RUN


def _permissions(tree: _FilesOnDisk, path: str) -> int | None:
    """Return the mode of the file that is replaced: a script stays executable."""
    found = tree.storage.look(tree.file(path))
    return None if found is None else stat.S_IMODE(found.st_mode)
