"""The commits of a repository, with their snapshots and branches, in the Muse repository format.

Data comes before pointer: a snapshot is durable before its commit, a commit before its branch. The
branch ref is the only commit point; everything written before it is unreachable until it moves.
"""

import itertools
import os.path
import re
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from contextlib import suppress

from muse.core import content_id
from muse.disk import layout
from muse.disk.git_carry import trace_of_git, write_attributes
from muse.disk.json_file import encode_json, read_json_object
from muse.disk.storage import LOCAL, TEMPORARY_MARK, Storage
from muse.errors import ConflictError, CorruptionError, NotFoundError, UsageError, raises_about
from muse.history import revision, walk
from muse.history.commit_record import (
    CommitRecord,
    Snapshot,
    make_commit_record,
    make_snapshot,
    parents,
    parse_commit,
    parse_snapshot,
)

__all__ = ["CommitDag", "CommitRecord", "Snapshot", "make_commit_record"]

LONGEST_REF = 1 << 16
"""So many bytes a file with one line may have: the name of a branch, or of a commit."""

# Older Muse tools write HEAD without the "ref: ".
_HEAD = re.compile(r"(?:ref: *)?refs/heads/(.+)\Z")


class CommitDag:
    """The commit DAG of the repository at `root`.

    Each id that is read from disk is checked against the content that it names, so a reader gets what
    was written. A fault of a stored file is a `CorruptionError`, a file that is not there a `NotFoundError`.
    """

    def __init__(self, root: str, storage: Storage = LOCAL) -> None:
        self._root = root
        self._storage = storage

    # -- snapshots ------------------------------------------------------------------------------

    def write_snapshot(self, manifest: Mapping[str, str], created_at: str) -> str:
        """Store the tree `manifest` (path -> object id) and return its id, durable on return.

        The same tree has the same id: if it is there already, it stays as it was. Raises `UsageError` for
        a path outside the tree, and for a text that is not an object id.
        """
        for path, object_id in manifest.items():
            layout.check_tree_path(path)
            layout.check_digest(object_id, "object id")
        snapshot = make_snapshot(manifest, created_at)
        snapshot_id = snapshot["snapshot_id"]
        data = encode_json(snapshot, "the snapshot")
        path = layout.snapshot_file(self._root, snapshot_id)
        if not self._is_stored(snapshot_id):
            # Commits seal the time of a tree: of two writers of the same tree, the time of the first stays.
            with self._storage.locked(layout.refs_lock_file(self._root)):
                if not self._is_stored(snapshot_id):
                    self._storage.write_atomically(path, data)
                    return snapshot_id
        self._storage.make_durable(path)
        return snapshot_id

    def _is_stored(self, snapshot_id: str) -> bool:
        """Return whether a snapshot is there and whole. A damaged one is mended by writing it again."""
        with suppress(NotFoundError, CorruptionError):
            self.read_snapshot(snapshot_id)
            return True
        return False

    @raises_about("snapshot")
    def read_snapshot(self, snapshot_id: str) -> Snapshot:
        """Return a snapshot whose manifest hashes to `snapshot_id`."""
        path = layout.snapshot_file(self._root, snapshot_id)
        snapshot = parse_snapshot(self._read(path, f"snapshot {snapshot_id}"), path)
        _check_name(snapshot["snapshot_id"], snapshot_id, path)
        return snapshot

    # -- commits --------------------------------------------------------------------------------

    def path_of(self, commit_id: str) -> str:
        """Return the file of a commit, whether it is stored or not."""
        return layout.commit_file(self._root, commit_id)

    def write_commit(self, record: CommitRecord) -> str:
        """Store `record` and return its id, durable on return. No branch points at it yet.

        A commit that is stored already stays as it is, with the notes that other tools added since.
        Raises `NotFoundError` if its snapshot or a parent is not stored, `UsageError` if the
        record does not match its id, `ConflictError` if another author or delta has the id.
        """
        path = self.path_of(record["commit_id"])
        data = encode_json(record, "the commit")
        try:
            parse_commit(record, path)
        except CorruptionError as error:
            raise UsageError(f"the commit cannot be stored: {error}") from error
        self._check_ancestry(record)
        with suppress(NotFoundError, CorruptionError):
            _check_same(self.read_commit(record["commit_id"]), record)
            self._storage.make_durable(path)
            return record["commit_id"]
        self._storage.write_atomically(path, data)
        return record["commit_id"]

    def _check_ancestry(self, record: CommitRecord) -> None:
        if not self.has_snapshot(record["snapshot_id"]):
            raise NotFoundError(f"snapshot {record['snapshot_id']} is not stored: write it before its commit")
        for parent_id in parents(record):
            if not self.has_commit(parent_id):
                raise NotFoundError(f"parent commit {parent_id} is not stored: write it before its child")

    @raises_about("commit")
    def read_commit(self, commit_id: str) -> CommitRecord:
        """Return a commit whose parents, snapshot, message and time hash to `commit_id`."""
        path = self.path_of(commit_id)
        record = parse_commit(self._read(path, f"commit {commit_id}"), path)
        _check_name(record["commit_id"], commit_id, path)
        return record

    def has_commit(self, commit_id: str) -> bool:
        return self._storage.file_size(self.path_of(commit_id)) is not None

    def has_snapshot(self, snapshot_id: str) -> bool:
        """Tell whether the snapshot is stored; its content is not checked."""
        return self._storage.file_size(layout.snapshot_file(self._root, snapshot_id)) is not None

    def commit_ids(self) -> Iterator[str]:
        """Yield the id of every stored commit, reachable or not, by the names of the files."""
        for name, _ in self._storage.list_directory(layout.commits_directory(self._root)):
            stem, extension = os.path.splitext(name)
            if extension == ".json" and content_id.is_content_id(stem):
                yield stem

    def _read(self, path: str, what: str) -> dict[str, object]:
        try:
            return read_json_object(path, self._storage)
        except NotFoundError as error:
            raise NotFoundError(f"{what} is not in this repository: {path} is missing") from error

    def history(self, commit_id: str, *, stop: Container[object] = ()) -> Iterator[CommitRecord]:
        """Yield `commit_id` and all its ancestors, newest first, each once. Each is read when its turn comes.

        A commit in `stop` is left out, and so is what is reached through such commits alone.

        The line of first parents comes first, down to its root; then, from the newest merge to the
        oldest, the line of its second parent as far as it is new. The order is the same everywhere.
        """
        reader = self._reader(commit_id)
        return map(reader.record, walk.first_lines(commit_id, reader.parents, stop))

    def children_first(self, commit_id: str) -> Iterator[CommitRecord]:
        """Yield `commit_id` and all its ancestors, each once and before its parents.

        Of several that could come next, the newest does. Up to the first merge each commit is read when
        its turn comes; there all the others are. The order is the same everywhere.
        """
        reader = self._reader(commit_id)
        return map(reader.record, walk.children_first(commit_id, reader.parents, reader.rank))

    def reachable(self, tips: Iterable[str | None]) -> Iterator[CommitRecord]:
        """Yield every commit that `tips` lead to, each once, in no promised order."""
        starts = [tip for tip in tips if tip is not None]
        reader = self._reader(*starts)
        return map(reader.record, walk.reachable(starts, reader.parents))

    def descends(self, commit_id: str, ancestor: str) -> bool:
        """Return whether `ancestor` is `commit_id` or in its history."""
        return any(record["commit_id"] == ancestor for record in self.history(commit_id))

    def common_dominator(self, first: str, second: str) -> str | None:
        """Return the newest commit that is on every way back from either commit, or None.

        No op that is in its history is concurrent with an op that came later. So all later ops can be
        applied to its files.
        """
        return walk.common_dominator((first, second), self._reader(first, second).parents)

    def dominators(self) -> walk.Dominators:
        """Return what answers the same for many pairs, and reads each commit once."""
        return walk.Dominators(self._reader().parents)

    def _reader(self, *starts: str) -> "_CommitReader":
        return _CommitReader(lambda commit_id: self._read_behind(commit_id, starts))

    @raises_about("commit")
    def _read_behind(self, commit_id: str, starts: Container[str]) -> CommitRecord:
        """Return a commit in the history of `starts`; `CorruptionError` if one behind them is missing."""
        try:
            return self.read_commit(commit_id)
        except NotFoundError as error:
            if commit_id in starts:
                raise
            path = self.path_of(commit_id)
            raise CorruptionError(
                f"the history is broken: {path} is missing, and it is the parent of a stored commit; "
                "restore it from another copy",
                path=path,
            ) from error

    # -- branches -------------------------------------------------------------------------------

    def current_branch(self) -> str:
        """Return the branch that HEAD names."""
        path = layout.head_file(self._root)
        try:
            text = self._storage.read_bytes(path, at_most=LONGEST_REF).decode().strip()
        except NotFoundError as error:
            raise CorruptionError(
                f"{path} is missing: write 'ref: refs/heads/main' into it", path=path
            ) from error
        except UnicodeDecodeError as error:
            raise CorruptionError(
                f"{path} is not text: write 'ref: refs/heads/main' into it", path=path
            ) from error
        found = _HEAD.match(text)
        if not found:
            raise CorruptionError(
                f"{path} holds {text[:80]!r} where 'ref: refs/heads/<branch>' is expected", path=path
            )
        with suppress(UsageError):
            return layout.check_branch(found[1])
        raise CorruptionError(
            f"{path} names {found[1][:80]!r}, not a branch name: write 'ref: refs/heads/main' into it",
            path=path,
        )

    def set_current_branch(self, branch: str) -> None:
        """Let HEAD name `branch`, from now on and after a crash."""
        self._storage.write_atomically(layout.head_file(self._root), f"ref: refs/heads/{branch}\n".encode())

    @raises_about("ref")
    def head(self, branch: str) -> str | None:
        """Return the commit id of `branch`, or None if it has no commit yet or does not exist."""
        path = layout.branch_file(self._root, branch)
        if self._storage.is_directory(path):  # 'take' where there are branches 'take/1' and 'take/2'
            return None
        try:
            text = self._storage.read_bytes(path, at_most=LONGEST_REF).strip()
        except NotFoundError:
            return None
        commit_id = text.decode("ascii", "replace")
        if commit_id and not content_id.is_content_id(commit_id):
            raise CorruptionError(
                f"{path} holds {commit_id[:80]!r} instead of a commit id{trace_of_git(text)}; "
                "restore it from another copy",
                path=path,
            )
        return commit_id or None

    def branch_names(self) -> Iterator[str]:
        """Yield the name of every branch, with or without commits, sorted within each directory."""
        waiting = [""]
        while waiting:
            prefix = waiting.pop()
            directory = os.path.join(layout.branches_directory(self._root), prefix)
            for name, is_directory in self._storage.list_directory(directory):
                if is_directory:
                    waiting.append(f"{prefix}{name}/")
                elif TEMPORARY_MARK not in name and layout.is_branch(prefix + name):
                    yield prefix + name

    def branches(self) -> dict[str, str | None]:
        """Return the commit id of every branch, sorted by name; None for a branch without a commit."""
        return {name: self.head(name) for name in sorted(self.branch_names())}

    def swap_head(self, branch: str, expected: str | None, new: str) -> None:
        """Move `branch` from `expected` (None: no commit yet) to the stored commit `new`.

        If another writer moved the branch since `expected` was read, `ConflictError` is raised and nothing
        is changed. On return the branch is durable at `new`; after an error or a crash it is at
        one of the two. A move from `new` to `new` makes durable what a crash left in doubt.
        """
        if not self.has_commit(new):
            raise NotFoundError(f"commit {new} is not stored: write it before a branch points at it")
        path = layout.branch_file(self._root, branch)
        with self._storage.locked(layout.refs_lock_file(self._root)):
            found = self.head(branch)
            if found != expected:
                raise ConflictError(
                    f"branch {branch!r} moved: it was expected at {expected or 'no commit'} and is at "
                    f"{found or 'no commit'}; read it again, and commit on top of that"
                )
            self._check_room(branch)
            write_attributes(self._root, self._storage)  # a repository of an earlier version has none
            self._storage.write_atomically(path, new.encode())

    def create_branch(self, branch: str, commit_id: str) -> None:
        """Make a branch at a stored commit; `UsageError` if there is a branch of that name, or it is HEAD."""
        layout.check_branch(branch)
        if branch.upper() == "HEAD":
            raise UsageError(f"{branch!r} names the commit that you are at: choose another name")
        if self.has_branch(branch):
            raise UsageError(f"branch {branch!r} exists already: choose another name")
        self.swap_head(branch, None, commit_id)

    def delete_branch(self, branch: str, expected: str | None) -> None:
        """Remove a branch that is at `expected`; its commits stay stored. It is gone after a crash too.

        `ConflictError` if it is elsewhere, `NotFoundError` if it does not exist, `UsageError` if HEAD
        names it.
        """
        path = layout.branch_file(self._root, branch)
        with self._storage.locked(layout.refs_lock_file(self._root)):
            if not self.has_branch(branch):
                raise NotFoundError(f"there is no branch {branch!r}: see 'muse branch list'")
            if branch == self.current_branch():
                raise UsageError(f"branch {branch!r} is the one that HEAD names: switch to another one first")
            if self.head(branch) != expected:
                raise ConflictError(f"branch {branch!r} moved: look at it again before you delete it")
            self._storage.remove(path)
            self._storage.sync_directory(os.path.dirname(path))
            # An empty directory 'take' would be in the way of a branch 'take'. An error: it is not empty.
            with suppress(OSError):
                for depth in range(branch.count("/"), 0, -1):
                    above = "/".join(branch.split("/")[:depth])
                    self._storage.remove_directory(layout.branch_file(self._root, above))

    def _check_room(self, branch: str) -> None:
        """Refuse a branch whose file would be at the place of a directory: 'take' beside 'take/2'."""
        if self._storage.is_directory(layout.branch_file(self._root, branch)):
            raise UsageError(f"branch {branch!r} cannot be made: there are branches below {branch!r}/")
        parts = branch.split("/")
        for above in itertools.accumulate(parts[:-1], "{}/{}".format):
            if self._storage.file_size(layout.branch_file(self._root, above)) is not None:
                raise UsageError(f"branch {branch!r} cannot be made: {above!r} is a branch")

    # -- names ----------------------------------------------------------------------------------

    def has_branch(self, branch: str) -> bool:
        """Return whether the branch exists, with or without commits."""
        return self._storage.file_size(layout.branch_file(self._root, branch)) is not None

    def resolve(self, text: str) -> str:
        """Return the commit id that `text` names: see `muse.history.revision`."""
        return revision.resolve(self, text)


class _CommitReader:
    """Reads the commits of one walk; remembers the last one, as a walk asks for it once more."""

    def __init__(self, read: Callable[[str], CommitRecord]) -> None:
        self._read = read
        self._last: CommitRecord | None = None

    def record(self, commit_id: str) -> CommitRecord:
        if self._last is None or self._last["commit_id"] != commit_id:
            self._last = self._read(commit_id)
        return self._last

    def parents(self, commit_id: str) -> list[str]:
        return parents(self.record(commit_id))

    def rank(self, commit_id: str) -> tuple[str, str]:
        return self.record(commit_id)["committed_at"], commit_id


def _check_name(stated: str, name: str, path: str) -> None:
    if stated != name:
        raise CorruptionError(
            f"{path} holds {stated}: its name and its content differ; restore it from another copy", path=path
        )


def _check_same(stored: CommitRecord, record: CommitRecord) -> None:
    """Refuse another author or delta under the same id, which covers neither of them."""
    if stored["author"] != record["author"] or stored["structured_delta"] != record["structured_delta"]:
        raise ConflictError(
            f"commit {record['commit_id']} is stored with another author or delta: "
            "commit again, at another time"
        )
