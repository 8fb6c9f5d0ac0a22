"""Checks what is stored: every hash, every name, every link. Reads only, and goes on after a fault.

It may run while others commit: they only add, so what seems to be missing is looked for again on disk
before it is reported.
"""

import contextlib
import os.path
from collections.abc import Iterator
from dataclasses import dataclass, field

from muse.checks.finding import Findings, Kind, Needed, Progress
from muse.core.content_id import is_content_id
from muse.core.file.objects import ObjectStore
from muse.disk import layout
from muse.disk.git_carry import ATTRIBUTES, trace_of_git
from muse.disk.json_file import LONGEST_FILE, is_as_written, read_json_object
from muse.disk.storage import TEMPORARY_MARK, Storage
from muse.errors import MuseError, UsageError
from muse.history.commit_record import (
    CommitRecord,
    Snapshot,
    parents,
    record_digest,
    snapshot_digest,
    state_snapshots,
)
from muse.history.dag import LONGEST_REF, CommitDag
from muse.history.repo_record import read_repo_record, repository_digest
from muse.history.seal import MergeSeal, Seal, json_digest, read_merge_seal, read_seal
from muse.history.tree import file_above_others
from muse.history.walk import links_among, reachable


@dataclass(slots=True)
class StoredReport:
    """The numbers of what is stored, and the findings. `unreachable` of it are in no branch."""

    findings: Findings = field(default_factory=Findings)
    objects: int = 0
    snapshots: int = 0
    commits: int = 0
    refs: int = 0
    unreachable: int = 0


def check_stored(root: str, storage: Storage, progress: Progress) -> StoredReport:
    """Hash again all that is stored at `root`, follow every link, and report each fault.

    Memory: one file at a time, and the ids.
    """
    check = _StoredCheck(root, storage, progress)
    check.check_repo()
    check.check_git_attributes()
    check.check_objects()
    check.check_commits()
    check.check_repo_seals()
    check.check_refs()
    check.check_head()
    check.check_commit_links()
    check.check_snapshots()
    check.count_unreachable()
    return check.report


@dataclass(slots=True)
class _Links:
    """What a commit refers to."""

    parent_ids: list[str]
    snapshot_ids: list[str]  # of its files, then of what plugins keep
    op_list: str | None


@dataclass(slots=True)
class _RepoSeal:
    """The commits that seal one state of `repo.json`: how many, which repository they name, one of them."""

    repo_ids: set[str] = field(default_factory=set)
    commit_id: str = ""
    commits: int = 0


@dataclass(slots=True)
class _SealedTimes:
    """The digests of one snapshot with its time that commits seal.

    A merge seals the time that a new snapshot gets; one that was there already kept its own. `is_open`: a
    commit names the snapshot and seals no time.
    """

    by_commits: set[str] = field(default_factory=set)
    by_merges: set[str] = field(default_factory=set)
    is_open: bool = False


def _links(record: CommitRecord) -> _Links:
    seal = read_seal(record["message"])
    snapshots = [record["snapshot_id"], *state_snapshots(record).values()]
    return _Links(parents(record), snapshots, seal.op_list if seal else None)


class _StoredCheck:
    """One check. Its steps are called in the order of `check_stored`: later ones need the earlier ones."""

    def __init__(self, root: str, storage: Storage, progress: Progress) -> None:
        self.report = StoredReport()
        self._root = root
        self._storage = storage
        self._progress = progress
        self._objects = ObjectStore(root, storage)
        self._dag = CommitDag(root, storage)
        self._object_ids: set[str] = set()
        self._commits: dict[str, _Links] = {}
        self._repo_id = ""
        self._repo_seals: dict[str, _RepoSeal] = {}
        self._times: dict[str, _SealedTimes] = {}
        self._unsealed_times: dict[str, set[str]] = {}
        self._tips: set[str] = set()
        self._reached_commits: set[str] = set()
        self._reached_snapshots: set[str] = set()
        self._reached_objects: set[str] = set()
        self._snapshot_ids: set[str] = set()

    def _found(self, path: str, kind: Kind, message: object, needs: Needed | None = None) -> None:
        self.report.findings.add(path, kind, message, needs if needs and is_content_id(needs[1]) else None)

    @contextlib.contextmanager
    def _noting(self, path: str, kind: Kind) -> Iterator[None]:
        """Note the error of the block, which ends there, as a fault of `path`."""
        try:
            yield
        except MuseError as error:
            self._found(path, kind, error)

    def _names(self, directory: str, kind: Kind) -> list[tuple[str, bool]]:
        try:
            entries = self._storage.list_directory(directory)
        except MuseError as error:
            self._found(directory, kind, error)
            return []
        return [(name, is_directory) for name, is_directory in entries if TEMPORARY_MARK not in name]

    # -- what is stored -------------------------------------------------------------------------

    def check_repo(self) -> None:
        try:
            self._repo_id = read_repo_record(self._root, self._storage)["repo_id"]
        except MuseError as error:
            self._found(layout.repo_file(self._root), "repo", error)

    def check_git_attributes(self) -> None:
        path = layout.git_attributes_file(self._root)
        advice = "so git may damage what it carries: remove it, and run 'muse init' again"
        try:
            is_ours = not self._storage.exists(path) or (
                self._storage.read_bytes(path, at_most=LONGEST_REF) == ATTRIBUTES
            )
        except MuseError as error:
            self._found(path, "repo", f"{error}, {advice}")
        else:
            if not is_ours:
                self._found(path, "repo", f"{path} is not what 'muse init' writes, {advice}")

    def check_objects(self) -> None:
        for object_id, path in self._object_files():
            try:
                layout.check_digest(object_id, "object id")
                self._object_ids.add(object_id)
                self._objects.get(object_id)
            except MuseError as error:
                self._found(path, "object", error, ("object", object_id))
            self.report.objects += 1
            self._progress("object", self.report.objects)

    def _object_files(self) -> Iterator[tuple[str, str]]:
        directory = layout.objects_directory(self._root)
        for prefix, is_directory in self._names(directory, "object"):
            path = os.path.join(directory, prefix)
            if not is_directory or len(prefix) != 2:
                self._found(path, "object", f"{path} is no directory of objects: move it elsewhere")
                continue
            for name, _ in self._names(path, "object"):
                yield prefix + name, os.path.join(path, name)

    def check_commits(self) -> None:
        for commit_id, path in self._json_files(layout.commits_directory(self._root), "commit"):
            try:
                record = self._dag.read_commit(commit_id)
                self._commits[commit_id] = _links(record)
                self._check_record(record, path)
            except MuseError as error:
                self._found(path, "commit", error, ("commit", commit_id))
            self.report.commits += 1
            self._progress("commit", self.report.commits)

    def _check_record(self, record: CommitRecord, path: str) -> None:
        """Compare what the id leaves open with the seal of the commit; note what it seals of other files."""
        needs: Needed = ("commit", record["commit_id"])
        seal = read_seal(record["message"]) or read_merge_seal(record["message"])
        self._note_times(record, seal)
        if seal is None or seal.delta_digest is None:
            self._unsealed_times.setdefault(record["snapshot_id"], set()).add(record["committed_at"])
            return
        if json_digest(record["structured_delta"]) != seal.delta_digest:
            message = f"{path} holds another delta than its message seals: it was changed"
            self._found(path, "delta", message, needs)
        if isinstance(seal, Seal) and seal.repository_digest is not None:
            state = self._repo_seals.setdefault(seal.repository_digest, _RepoSeal())
            state.repo_ids.add(record["repo_id"])
            state.commit_id, state.commits = record["commit_id"], state.commits + 1
        if seal.record_digest is None:
            return
        document = read_json_object(path, self._storage)
        for key in CommitRecord.__annotations__.keys() - document.keys():
            message = f"{path} lacks {key!r}, which every commit of a session has"
            self._found(path, "commit", message, needs)
        if record_digest(document) != seal.record_digest:
            self._found(
                path,
                "commit",
                f"{path} is not what its message seals: its author, branch, metadata or another field beside "
                "the id was changed; restore it from another copy",
                needs,
            )
        else:
            self._check_form(path, "commit", needs)

    def _note_times(self, record: CommitRecord, seal: Seal | MergeSeal | None) -> None:
        """Note what a commit seals of the times of the snapshots that it names."""
        states = list(state_snapshots(record).values())
        digests = [seal.snapshot_digest if seal else None]
        digests += ((seal.state_digests if seal else None) or "").split() or [None] * len(states)
        for snapshot_id, digest in zip([record["snapshot_id"], *states], digests, strict=False):
            times = self._times.setdefault(snapshot_id, _SealedTimes())
            if digest is None:
                times.is_open = True
            else:
                (times.by_merges if isinstance(seal, MergeSeal) else times.by_commits).add(digest)

    def _check_form(self, path: str, kind: Kind, needs: Needed | None = None) -> None:
        data = self._storage.read_bytes(path, at_most=LONGEST_FILE)
        if not is_as_written(data):
            self._found(
                path,
                kind,
                f"{path} holds the right values, but no tool writes them so: a byte was changed"
                f"{trace_of_git(data)}; restore it from another copy",
                needs,
            )

    def check_repo_seals(self) -> None:
        """Compare `repo.json` with what the commits seal of it: one finding, however many commits."""
        if not self._repo_id or not self._repo_seals:
            return
        path = layout.repo_file(self._root)
        with self._noting(path, "repo"):
            self._compare_repo_seals(path)

    def _compare_repo_seals(self, path: str) -> None:
        found = repository_digest(self._root, self._storage)
        others = [state for digest, state in self._repo_seals.items() if digest != found]
        if found in self._repo_seals:  # then a commit that names another repository is what was changed
            others = [state for state in others if self._repo_id in state.repo_ids]
        if not others:
            self._check_form(path, "repo")
            return
        count = sum(state.commits for state in others)
        self._found(
            path,
            "repo",
            f"{path} is not what commits seal, {count} of them, such as {others[0].commit_id}: its id, "
            "version, time or domain was changed; restore it from another copy",
        )

    def _json_files(self, directory: str, kind: Kind) -> Iterator[tuple[str, str]]:
        for name, _ in self._names(directory, kind):
            path = os.path.join(directory, name)
            stem, extension = os.path.splitext(name)
            if extension == ".json":
                yield stem, path
            else:
                self._found(path, kind, f"{path} is no {kind}: move it elsewhere")

    def check_snapshots(self) -> None:
        """Read every snapshot once: for its hash, its objects, and what is reached through it."""
        for snapshot_id, path in self._json_files(layout.snapshots_directory(self._root), "snapshot"):
            try:
                manifest = self._dag.read_snapshot(snapshot_id)["manifest"]
            except MuseError as error:
                self._found(path, "snapshot", error, ("snapshot", snapshot_id))
            else:
                self._check_manifest(manifest, path)
                with self._noting(path, "snapshot"):
                    self._check_snapshot_seals(snapshot_id, path)
                self._snapshot_ids.add(snapshot_id)
                if snapshot_id in self._reached_snapshots:
                    self._reached_objects.update(manifest.values())
            self.report.snapshots += 1
            self._progress("snapshot", self.report.snapshots)

    def _check_snapshot_seals(self, snapshot_id: str, path: str) -> None:
        """Check the time of a tree, which its first commit gave it: a commit seals it, or has that time."""
        times = self._times.get(snapshot_id, _SealedTimes())
        if not times.by_commits and (times.is_open or not times.by_merges):
            return
        document = read_json_object(path, self._storage)
        needs: Needed = ("snapshot", snapshot_id)
        if odd := sorted(document.keys() ^ Snapshot.__annotations__.keys()):
            message = f"{path} lacks a key, or has one that no snapshot has: {', '.join(odd)}"
            self._found(path, "snapshot", message, needs)
        elif document["created_at"] in self._unsealed_times.get(snapshot_id, ()):
            return
        elif snapshot_digest(document) in times.by_commits | times.by_merges:
            self._check_form(path, "snapshot", needs)
        else:
            self._found(
                path,
                "snapshot",
                f"{path} has another time than its commits seal: restore it from another copy",
                needs,
            )

    def _check_manifest(self, manifest: dict[str, str], path: str) -> None:
        if (above := file_above_others(manifest)) is not None:
            message = f"{path} has a file {above!r} and files below it, which no directory can have"
            self._found(path, "snapshot", message)
        for name, object_id in manifest.items():
            try:
                layout.check_tree_path(name)
            except UsageError as error:
                self._found(path, "snapshot", error)
            with self._noting(path, "snapshot"):
                if object_id not in self._object_ids and not self._objects.has(object_id):
                    message = f"{path} names object {object_id} for {name!r}, which is missing"
                    self._found(path, "snapshot", message, ("object", object_id))

    # -- what leads to it -----------------------------------------------------------------------

    def check_refs(self) -> None:
        directory = layout.branches_directory(self._root)
        waiting = [""]
        while waiting:
            prefix = waiting.pop()
            for name, is_directory in self._names(os.path.join(directory, prefix), "ref"):
                if is_directory:
                    waiting.append(f"{prefix}{name}/")
                else:
                    self._check_ref(prefix + name, os.path.join(directory, prefix + name))

    def _check_ref(self, branch: str, path: str) -> None:
        try:
            tip = self._dag.head(branch)
            if tip is not None:
                self._check_line(path, "ref")
                self._tips.add(tip)
                if not self._has_commit(tip):
                    message = f"{path} points at commit {tip}, which is missing"
                    self._found(path, "ref", message, ("commit", tip))
        except MuseError as error:
            self._found(path, "ref", error)
        self.report.refs += 1
        self._progress("ref", self.report.refs)

    def _check_line(self, path: str, kind: Kind) -> None:
        """Check the white space around a line: readers accept any, and tools write only a newline."""
        data = self._storage.read_bytes(path, at_most=LONGEST_REF)
        word = data.strip()
        if data not in {word, word + b"\n", word + b"\r\n"}:
            self._found(path, kind, f"{path} has white space that no tool writes: a byte was changed")

    def check_head(self) -> None:
        path = layout.head_file(self._root)
        try:
            branch = self._dag.current_branch()
            self._check_line(path, "head")
            if not self._storage.exists(layout.branch_file(self._root, branch)):
                self._found(path, "head", f"{path} names branch {branch!r}, which is missing")
        except MuseError as error:
            self._found(path, "head", error)

    def _has_commit(self, commit_id: str) -> bool:
        return commit_id in self._commits or self._dag.has_commit(commit_id)

    def check_commit_links(self) -> None:
        for commit_id, links in self._commits.items():
            path = layout.commit_file(self._root, commit_id)
            with self._noting(path, "commit"):
                self._check_links(links, path)
        self._reach()

    def _check_links(self, links: _Links, path: str) -> None:
        for parent_id in links.parent_ids:
            if not self._has_commit(parent_id):
                message = f"{path} has parent {parent_id}, which is missing"
                self._found(path, "commit", message, ("commit", parent_id))
        for snapshot_id in links.snapshot_ids:
            if not is_content_id(snapshot_id) or not self._dag.has_snapshot(snapshot_id):
                message = f"{path} has snapshot {snapshot_id}, which is missing"
                self._found(path, "commit", message, ("snapshot", snapshot_id))
        if links.op_list and links.op_list not in self._object_ids:
            message = f"{path} names {links.op_list}, its list of ops, which is missing"
            self._found(path, "commit", message, ("object", links.op_list))

    def _reach(self) -> None:
        parents_of = {commit_id: links.parent_ids for commit_id, links in self._commits.items()}
        for commit_id in reachable(self._tips & parents_of.keys(), links_among(parents_of)):
            links = self._commits[commit_id]
            self._reached_commits.add(commit_id)
            self._reached_snapshots.update(links.snapshot_ids)
            self._reached_objects.update([links.op_list] if links.op_list else ())

    def count_unreachable(self) -> None:
        self.report.unreachable = (
            len(self._commits.keys() - self._reached_commits)
            + len(self._snapshot_ids - self._reached_snapshots)
            + len(self._object_ids - self._reached_objects)
        )
