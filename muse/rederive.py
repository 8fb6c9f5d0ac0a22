"""Makes every commit of a session anew from its log and its parent, and compares. Reads only.

For each sealed commit: the entries it covers, their number, ends, Merkle root and frontier; its delta
by digest; the files that its delta, and every op in order, make of the parent's. One commit's ops
are in memory at a time. A fault is never raised, always reported, and the rest is checked.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from muse.core import content_id, layout
from muse.core.commit_record import FORMAT_VERSION, CommitRecord
from muse.core.delta import collapse
from muse.core.entry import OpEntry, total_order
from muse.core.json_file import read_json_object
from muse.core.log_reader import collector_paused
from muse.core.op_log import OpLog
from muse.core.repo_record import repository_digest
from muse.core.seal import Seal, json_digest, position_text, root_of
from muse.core.session_file import is_archived
from muse.core.verify import Finding, Kind
from muse.domain import Application, StructuredDelta
from muse.errors import CorruptionError, MuseError, NotFoundError
from muse.plugins.registry import find_plugin
from muse.repository import Repository
from muse.sealed import (
    SealedCommit,
    SealedCommits,
    SessionOps,
    commit_ids,
    entries_of,
    open_session,
    session_ids,
)
from muse.session import TreeFiles

Progress = Callable[[int], None]
"""Called with how many ops are done so far."""


@dataclass(slots=True)
class Rederivation:
    """What was made anew, and what was found."""

    findings: list[Finding] = field(default_factory=list)
    commits: int = 0
    ops: int = 0


def rederive(repository: Repository, progress: Progress = lambda _done: None) -> Rederivation:
    """Make every sealed commit of `repository` anew, branch or no branch, and report each difference."""
    run = _Run(repository, progress)
    run.read_commits()
    for session_id in run.commits.session_ids():
        run.check_session(session_id)
    run.check_checkpoints()
    return run.result


def check_archived_logs(repository: Repository) -> Rederivation:
    """Compare the ops of every archived session with what the commits seal of them; make nothing anew."""
    run = _Run(repository, lambda _done: None)
    run.read_commits()
    for session_id in run.commits.session_ids():
        if layout.is_session_id(session_id) and is_archived(
            repository.root, session_id, storage=repository.storage
        ):
            run.check_session(session_id, logs_only=True)
    return run.result


@dataclass(frozen=True, slots=True)
class _Range:
    """Some lines of a log: where they start and end, their entries, and the frontier after them."""

    start: int
    stop: int
    entries: list[OpEntry]
    frontier: dict[str, int]


class _Run:
    """One run over a repository. The steps are called in the order of `rederive`."""

    def __init__(self, repository: Repository, progress: Progress) -> None:
        self.result = Rederivation()
        self.commits = SealedCommits()
        self._repository = repository
        self._progress = progress
        self._range: _Range | None = None
        self._names_its_repository = (
            True  # repo.json does: some commit seals it as it stands, or none seals it
        )

    def _found(self, kind: Kind, path: str, message: object) -> None:
        finding = Finding(path, kind, str(message))
        if finding not in self.result.findings:
            self.result.findings.append(finding)

    def read_commits(self) -> None:
        """Take in every commit that can be read; the others are named by `muse.core.verify`."""
        sealed: set[str | None] = set()
        for commit_id in commit_ids(self._repository.root, self._repository.storage):
            try:
                commit = self.commits.add(self._repository.dag.read_commit(commit_id))
            except MuseError as error:
                self._found("commit", self._commit_path(commit_id), error)
            else:
                sealed.add(commit.seal.repository_digest if commit else None)
        sealed.discard(None)
        try:
            digest = repository_digest(self._repository.root, self._repository.storage)
            self._names_its_repository = not sealed or digest in sealed
        except MuseError:  # `muse.core.verify` names it
            self._names_its_repository = False

    def check_session(self, session_id: str, *, logs_only: bool = False) -> None:
        root = self._repository.root
        try:
            ops = open_session(root, session_id, self._repository.storage)
        except MuseError as error:
            self._found("session", layout.op_log_directory(root), error)
            return
        self._range = None
        try:
            for commit in self.commits.of_session(session_id):
                if logs_only:
                    self._check_log(commit, ops)
                else:
                    self._check_commit(commit, ops)
                self.result.commits += 1
                self.result.ops += commit.seal.op_count
                self._progress(self.result.ops)
        finally:
            ops.close()

    def _check_commit(self, commit: SealedCommit, ops: SessionOps) -> None:
        path = self._commit_path(commit.commit_id)
        if (other := self.commits.overlapped(commit)) is not None:
            self._found(
                "commit", path, f"{path} covers ops that its ancestor {other.commit_id} covers already"
            )
        try:
            record = self._repository.dag.read_commit(commit.commit_id)
            self._check_fields(record, path)
            delta = self._check_delta(record, commit, path)
        except MuseError as error:
            self._found("commit", path, error)
            return
        covered = self._check_log(commit, ops)
        if delta is not None:
            self._check_files(record, delta, covered, path)

    def _commit_path(self, commit_id: str) -> str:
        return layout.commit_file(self._repository.root, commit_id)

    def _check_fields(self, record: CommitRecord, path: str) -> None:
        """Compare what the id does not seal with what it must be; the seal and a signature cover the rest."""
        stored = read_json_object(path, self._repository.storage)
        delta: Mapping[str, Any] = record["structured_delta"] or {}
        expected = {
            **({"repo_id": self._repository.repo_id} if self._names_its_repository else {}),
            "sem_ver_bump": delta.get("sem_ver_bump", "none"),
            "breaking_changes": delta.get("breaking_changes", []),
            "format_version": FORMAT_VERSION,
        }
        for key in CommitRecord.__annotations__:
            if key not in stored:
                self._found("commit", path, f"{path} lacks {key!r}, which every commit of a session has")
            elif key in expected and stored[key] != expected[key]:
                self._found(
                    "commit",
                    path,
                    f"{path} has {stored[key]!r} as {key!r} where {expected[key]!r} is expected",
                )

    # -- the delta ------------------------------------------------------------------------------

    def _check_delta(self, record: CommitRecord, commit: SealedCommit, path: str) -> StructuredDelta | None:
        delta = record["structured_delta"]
        if delta is None:
            self._found("delta", path, f"{path} seals {commit.seal.op_count} ops and holds no delta")
            return None
        digest = json_digest(delta)
        if digest != commit.seal.delta_digest:
            self._found(
                "delta",
                path,
                f"{path} holds a delta whose digest is {digest}, its message seals "
                f"{commit.seal.delta_digest}: the delta was changed",
            )
        return delta

    # -- the log --------------------------------------------------------------------------------

    def _check_log(self, commit: SealedCommit, ops: SessionOps) -> list[OpEntry] | None:
        """Compare the covered entries with the seal; return them if they are those it seals."""
        seal = commit.seal
        try:
            if not ops.is_there:
                raise NotFoundError(
                    f"{ops.path} is missing: no commit of session {seal.session_id} can be made anew"
                )
            if (end := ops.end()) < seal.cut_offset:
                raise CorruptionError(
                    f"{ops.path} has {end} bytes, commit {commit.commit_id} covers {seal.cut_offset}: the "
                    "log was cut or is an older copy"
                )
            faults: list[str] = []
            for start in self.commits.starts(commit):
                entries, frontier = self._read(ops, start, seal.cut_offset)
                covered = sorted(entries_of(entries, commit.domain), key=total_order)
                different = list(_differences(covered, frontier, seal))
                if not different:
                    return covered
                faults = faults or different
        except MuseError as error:
            self._found("session", ops.path, error)
            return None
        for fault in faults:
            self._found("session", ops.path, f"{ops.path} and commit {commit.commit_id} differ: {fault}")
        return None

    def _read(self, ops: SessionOps, start: int, stop: int) -> tuple[list[OpEntry], dict[str, int]]:
        """Read a range; the one before is kept, for the commits of several domains at one cut."""
        known = self._range
        if known is None or (known.start, known.stop) != (start, stop):
            self._range = None
            with collector_paused():
                entries = ops.between(start, stop)
            self._range = known = _Range(start, stop, entries, ops.frontier(stop))
        return known.entries, known.frontier

    # -- the files ------------------------------------------------------------------------------

    def _check_files(
        self, record: CommitRecord, delta: StructuredDelta, covered: list[OpEntry] | None, path: str
    ) -> None:
        """Apply the delta, and every covered op, to the parent's files; both must give the snapshot."""
        domain = delta["domain"]
        try:
            parent = self._repository.read_tree(record["parent_commit_id"])
            plugin = find_plugin(domain)
            full = None if covered is None else collapse(covered, domain)
            self._compare(record, self._apply(delta["ops"], domain, parent), path, "its delta makes")
            if full is None or full["ops"] == delta["ops"]:
                return
            if plugin is None:
                self._found(
                    "delta", path, f"{path} holds other ops than those it covers, in a domain without plugin"
                )
            else:
                made = self._apply(full["ops"], domain, parent)
                self._compare(record, made, path, "the ops it covers make")
        except MuseError as error:
            self._found(
                _kind_of(error), getattr(error, "path", "") or path, f"{path} cannot be made anew: {error}"
            )

    def _apply(self, ops: Any, domain: str, parent: Mapping[str, str]) -> dict[str, str]:
        """Return the tree that `ops` make of the tree `parent`."""
        plugin = find_plugin(domain)
        if plugin is None:
            return dict(parent)
        try:
            made = plugin.apply(TreeFiles(self._repository, parent), ops, self._repository.objects.get)
        except MuseError:
            raise
        except Exception as error:
            raise CorruptionError(f"the plugin of domain {domain!r} failed: {error!r}") from error
        return apply_to_tree(parent, made)

    def _compare(self, record: CommitRecord, made: Mapping[str, str], path: str, what: str) -> None:
        snapshot_id = content_id.snapshot_id(made)
        if snapshot_id != record["snapshot_id"]:
            names = self._different_names(record["snapshot_id"], made)
            self._found(
                "snapshot",
                path,
                f"{path} has snapshot {record['snapshot_id']}, but {what} {snapshot_id} of the parent's "
                f"files{names}",
            )

    def _different_names(self, snapshot_id: str, made: Mapping[str, str]) -> str:
        try:
            stored = self._repository.dag.read_snapshot(snapshot_id)["manifest"]
        except MuseError:
            return ""
        names = sorted(name for name in stored.keys() | made.keys() if stored.get(name) != made.get(name))
        return f": {', '.join(names[:5])}" + (" and more" if len(names) > 5 else "")

    # -- what history must lead to --------------------------------------------------------------

    def check_checkpoints(self) -> None:
        """A commit that a checkpoint rests on must be in some branch, or its ops are nowhere."""
        reached: set[str] | None = None
        for session_id in session_ids(self._repository.root, self._repository.storage):
            try:
                with OpLog(self._repository.root, session_id, storage=self._repository.storage) as log:
                    checkpoint = log.read_checkpoint()
            except MuseError as error:
                path = layout.checkpoint_file(self._repository.root, session_id)
                self._found("session", path, error)
                continue
            commit_id = checkpoint.get("commit_id", "") if checkpoint else ""
            if not commit_id:
                continue
            if reached is None or commit_id not in reached:
                reached = set(self._reached())
            if commit_id not in reached:
                path = layout.branches_directory(self._repository.root)
                self._found(
                    "ref",
                    path,
                    f"no branch in {path} leads to commit {commit_id}, which holds ops of session "
                    f"{session_id}: a branch was moved back or removed",
                )

    def _reached(self) -> Iterator[str]:
        for branch in self._repository.dag.branch_names():
            try:
                tip = self._repository.dag.head(branch)
                for record in self._repository.dag.history(tip) if tip else ():
                    yield record["commit_id"]
            except MuseError as error:
                self._found(_kind_of(error), getattr(error, "path", "") or branch, error)


def apply_to_tree(tree: Mapping[str, str], application: Application) -> dict[str, str]:
    """Return `tree` (path -> object id) with the files of `application` in their places."""
    after = dict(tree)
    for path, content in application.files.items():
        if content is None:
            after.pop(path, None)
        else:
            after[path] = content_id.object_id(content)
    return after


def _differences(covered: list[OpEntry], frontier: Mapping[str, int], seal: Seal) -> Iterator[str]:
    """Say in what `covered`, in the total order, is not what `seal` seals."""
    if len(covered) != seal.op_count:
        yield f"the log holds {len(covered)} ops there, the commit seals {seal.op_count}"
    for name, stated, place in (("first", seal.first, 0), ("last", seal.last, -1)):
        found = position_text(covered[place]) if covered else "nothing"
        if found != stated:
            yield f"the {name} op there is {found}, the commit seals {stated}"
    root = root_of(covered)
    if root != seal.root:
        yield f"the Merkle root of the ops is {root}, the commit seals {seal.root}"
    digest = json_digest(frontier)
    if digest != seal.frontier_digest:
        yield f"the digest of the frontier is {digest}, the commit seals {seal.frontier_digest}"


def _kind_of(error: MuseError) -> Kind:
    """Tell by the path what a fault met on the way is about."""
    path = getattr(error, "path", "") or ""
    for part, kind in _KINDS.items():
        if f"/{part}/" in path:
            return kind
    return "commit"


_KINDS: dict[str, Kind] = {"objects": "object", "snapshots": "snapshot", "op_log": "session", "refs": "ref"}
