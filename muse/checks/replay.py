"""Makes every commit of a session anew from its log and its parent, and compares. Reads only.

For each sealed commit: the entries it covers, their number, ends, Merkle root and frontier; its delta
by digest; the files that its delta, and every op in order, make of the parent's. One commit's ops
are in memory at a time. A fault is never raised, always reported, and the rest is checked.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

from muse.apply.domains import apply_entries, read_states
from muse.apply.merge_heads import (
    file_delta,
    is_merge_of_ops,
    merged_tree,
    merged_work,
    stated_base,
)
from muse.checks.verify import Finding, Kind
from muse.core import content_id
from muse.core.coverage import Coverage
from muse.core.delta import collapse
from muse.core.entry import OpEntry
from muse.core.file.live_or_archived import is_archived
from muse.core.file.log_reader import collector_paused
from muse.core.op_list import decode_op_list
from muse.core.op_log import OpLog, list_sessions
from muse.disk import layout
from muse.disk.json_file import read_json_object
from muse.domain import Application, StructuredDelta
from muse.errors import CorruptionError, MuseError, NotFoundError
from muse.history.commit_record import FORMAT_VERSION, CommitRecord, parents
from muse.history.covered_ops import (
    Run,
    SealedCommit,
    SealedCommits,
    SessionOps,
    op_ids_of,
    open_session,
)
from muse.history.repo_record import repository_digest
from muse.history.repository import Repository, TreeFiles
from muse.history.seal import Seal, json_digest, position_text, root_of
from muse.history.tree import tree_changes, with_contents
from muse.plugins.registry import find_plugin

Progress = Callable[[int], None]
"""Called with how many ops are done so far."""


@dataclass(slots=True)
class Rederivation:
    """What was made anew, and what was found.

    `without_plugin`: domains whose files nobody here can make; the log and delta of their `not_made`
    commits were compared with the seals, and no more.
    """

    findings: list[Finding] = field(default_factory=list)
    commits: int = 0
    ops: int = 0
    without_plugin: set[str] = field(default_factory=set)
    not_made: int = 0


def rederive(repository: Repository, progress: Progress = lambda _done: None) -> Rederivation:
    """Make every sealed commit of `repository` anew, branch or no branch, and report each difference."""
    run = _Run(repository, progress)
    run.read_commits()
    for session_id in run.commits.session_ids():
        run.check_session(session_id)
    run.check_merges()
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
            run.check_session(session_id, files=False, checkpoint=False)
    return run.result


def check_session(repository: Repository, session_id: str) -> list[Finding]:
    """Compare the log and the checkpoint of one session with the commits; make nothing anew."""
    run = _Run(repository, lambda _done: None)
    run.read_commits()
    run.result.findings.clear()  # of the commits of others
    run.check_session(session_id, files=False)
    return run.result.findings


class _Run:
    """One run over a repository. The steps are called in the order of `rederive`."""

    def __init__(self, repository: Repository, progress: Progress) -> None:
        self.result = Rederivation()
        self.commits = SealedCommits()
        self._repository = repository
        self._progress = progress
        self._runs: dict[str, list[tuple[Run, SealedCommit]]] = {}  # domain -> where its commits' ops stand
        self._reached: set[str] | None = None
        self._merges: list[str] = []
        self._next: Run = (0, 0)  # where the last commit's ops started, and the next one's may
        self._names_its_repository = (
            True  # repo.json does: some commit seals it as it stands, or none seals it
        )

    def _found(self, kind: Kind, path: str, message: object) -> None:
        finding = Finding(path, kind, str(message))
        if finding not in self.result.findings:
            self.result.findings.append(finding)

    def read_commits(self) -> None:
        """Take in every commit that can be read; the others are named by `muse.checks.verify`."""
        sealed: set[str | None] = set()
        for commit_id in self._repository.dag.commit_ids():
            try:
                record = self._repository.dag.read_commit(commit_id)
                commit = self.commits.add(record)
                if is_merge_of_ops(record):
                    self._merges.append(commit_id)
            except MuseError as error:
                self._found("commit", self._commit_path(commit_id), error)
            else:
                sealed.add(commit.seal.repository_digest if commit else None)
        sealed.discard(None)
        try:
            digest = repository_digest(self._repository.root, self._repository.storage)
            self._names_its_repository = not sealed or digest in sealed
        except MuseError:  # `muse.checks.verify` names it
            self._names_its_repository = False

    def check_session(self, session_id: str, *, files: bool = True, checkpoint: bool = True) -> None:
        root = self._repository.root
        try:
            ops = open_session(root, session_id, self._repository.storage)
        except MuseError as error:
            self._found("session", layout.op_log_directory(root), error)
            return
        self._runs, self._next = defaultdict(list), (0, 0)
        try:
            cut = -1
            for commit in self.commits.of_session(session_id):
                start = self._next[commit.seal.cut_offset != cut]  # several at one cut share its lines
                cut = commit.seal.cut_offset
                if files:
                    self._check_commit(commit, ops, start)
                else:
                    self._check_log(commit, ops, start)
                self.result.commits += 1
                self.result.ops += commit.seal.op_count
                self._progress(self.result.ops)
            self._check_once()
            if checkpoint:
                self._check_checkpoint(session_id, ops)
        except MuseError as error:
            self._found("session", ops.path, error)
        finally:
            ops.close()

    def _check_commit(self, commit: SealedCommit, ops: SessionOps, start: int) -> None:
        path = self._commit_path(commit.commit_id)
        try:
            record = self._repository.dag.read_commit(commit.commit_id)
            self._check_fields(record, path)
            delta = self._check_delta(record, commit, path)
        except MuseError as error:
            self._found("commit", path, error)
            return
        covered = self._check_log(commit, ops, start)
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

    def _check_log(self, commit: SealedCommit, ops: SessionOps, start: int) -> list[OpEntry] | None:
        """Compare the covered entries with the seal; return them if they are those it seals."""
        seal = commit.seal
        try:
            if not ops.is_there:
                raise NotFoundError(
                    f"{ops.path} is missing: no commit of session {seal.session_id} can be made anew"
                )
            with collector_paused():
                op_ids = op_ids_of(self._repository.objects, seal)
                covered = ops.covered(op_ids, commit.domain, start=min(start, ops.end()))
        except MuseError as error:
            self._found(_kind_of(error, "session"), getattr(error, "path", "") or ops.path, error)
            return None
        if covered.runs:
            self._next = (covered.runs[0][0], covered.runs[-1][1])
            self._runs[commit.domain] += ((run, commit) for run in covered.runs)
        faults = list(_differences(covered.entries, seal))
        for fault in faults:
            self._found("session", ops.path, f"{ops.path} and commit {commit.commit_id} differ: {fault}")
        return None if faults else covered.entries

    def _check_once(self) -> None:
        """No op is covered by two commits of one line of history."""
        for located in self._runs.values():
            before: tuple[Run, SealedCommit] | None = None
            for run, commit in sorted(located, key=itemgetter(0)):
                if before and run[0] <= before[0][1] and commit is not before[1]:
                    self._check_apart(before[1], commit)
                if before is None or run[1] > before[0][1]:
                    before = run, commit

    def _check_apart(self, one: SealedCommit, other: SealedCommit) -> None:
        for ancestor, commit in ((one, other), (other, one)):
            if self.commits.is_behind(ancestor, commit):
                path = self._commit_path(commit.commit_id)
                message = f"{path} covers ops that its ancestor {ancestor.commit_id} covers already"
                self._found("commit", path, message)

    # -- the files ------------------------------------------------------------------------------

    def _check_files(
        self, record: CommitRecord, delta: StructuredDelta, covered: list[OpEntry] | None, path: str
    ) -> None:
        """Apply the delta, and every covered op, to the parent's files; both must give the snapshot."""
        domain = delta["domain"]
        try:
            parent = self._repository.read_tree(record["parent_commit_id"])
            full = None if covered is None else collapse(covered, domain)
            if find_plugin(domain) is None:
                self._compare_without_plugin(record, delta, full)
                return
            if full is None or full["ops"] != delta["ops"]:
                self._compare(record, self._apply(delta["ops"], domain, parent), path, "its delta makes")
            if covered is not None:
                self._compare(record, self._merge(covered, record, parent), path, "the ops it covers make")
        except MuseError as error:
            self._found(
                _kind_of(error), getattr(error, "path", "") or path, f"{path} cannot be made anew: {error}"
            )

    def _compare_without_plugin(
        self, record: CommitRecord, delta: StructuredDelta, full: StructuredDelta | None
    ) -> None:
        """A domain that nobody knows changes no file, and has no net: else its plugin is missing here."""
        parent = self._repository.read_tree(record["parent_commit_id"])
        if content_id.snapshot_id(parent) == record["snapshot_id"] and (
            full is None or full["ops"] == delta["ops"]
        ):
            return
        self.result.without_plugin.add(delta["domain"])
        self.result.not_made += 1

    def _apply(self, ops: Any, domain: str, parent: Mapping[str, str]) -> dict[str, str]:
        """Return the tree that the ops of a delta make of the tree `parent`."""
        plugin = find_plugin(domain)
        files = TreeFiles(self._repository, parent)
        return self._made(
            domain, parent, lambda: plugin.apply(files, ops, self._repository.objects.get) if plugin else None
        )

    def _merge(
        self, entries: list[OpEntry], record: CommitRecord, parent: Mapping[str, str]
    ) -> dict[str, str]:
        """Return the tree that logged entries make of `parent`; compare what the plugin keeps, too."""
        domain = entries[0]["domain"]
        repository = self._repository
        state = read_states(repository, record["parent_commit_id"]).get(domain, {})
        kept = read_states(repository, record["commit_id"]).get(domain, {})

        def merge() -> Application:
            files, fetch = TreeFiles(repository, parent), repository.objects.get
            made = apply_entries(domain, entries, files, fetch, TreeFiles(repository, state))
            if with_contents(state, made.state) != kept:
                raise CorruptionError(
                    f"what domain {domain!r} keeps beside the files is not what the ops it covers make"
                )
            return made

        return self._made(domain, parent, merge)

    def _made(
        self, domain: str, parent: Mapping[str, str], act: Callable[[], Application | None]
    ) -> dict[str, str]:
        try:
            made = act()
        except MuseError:
            raise
        except Exception as error:
            raise CorruptionError(f"the plugin of domain {domain!r} failed: {error!r}") from error
        return with_contents(parent, made.files if made else {})

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
        names = list(tree_changes(stored, made))
        return f": {', '.join(names[:5])}" + (" and more" if len(names) > 5 else "")

    # -- merges ---------------------------------------------------------------------------------

    def check_merges(self) -> None:
        """Merge again what was merged by its ops: the files, and what plugins keep, must be the same."""
        for commit_id in self._merges:
            path = self._commit_path(commit_id)
            try:
                self._check_merge(self._repository.dag.read_commit(commit_id), path)
            except MuseError as error:
                self._found(
                    _kind_of(error),
                    getattr(error, "path", "") or path,
                    f"{path} cannot be merged again: {error}",
                )
            self.result.commits += 1

    def _check_merge(self, record: CommitRecord, path: str) -> None:
        first, second = parents(record)
        base = self._repository.dag.common_dominator(first, second)
        if base != stated_base(record):
            self._found("commit", path, f"{path} names {stated_base(record)} as its base, it is {base}")
        missing = {entry["domain"] for entry in merged_work(self._repository, first, second, base).entries}
        missing = {domain for domain in missing if find_plugin(domain) is None}
        merged = merged_tree(self._repository, first, second, base)
        kept = {domain: state for domain, state in merged.states.items() if state}
        if content_id.snapshot_id(merged.files) != record["snapshot_id"] and missing:
            self.result.without_plugin |= missing
            self.result.not_made += 1
            return
        self._compare(record, merged.files, path, "the ops of both sides make")
        if kept != read_states(self._repository, record["commit_id"]):
            self._found("commit", path, f"{path} keeps something else beside the files than its ops make")
        delta = file_delta(self._repository.read_tree(first), merged.files)
        if record["structured_delta"] != delta:
            self._found("delta", path, f"{path} holds another delta than its merge makes: it was changed")

    # -- what history must lead to --------------------------------------------------------------

    def check_checkpoints(self) -> None:
        """Sessions that no commit speaks of may have a checkpoint all the same."""
        spoken_of = set(self.commits.session_ids())
        for session_id in list_sessions(self._repository.root, storage=self._repository.storage):
            if session_id not in spoken_of:
                self.check_session(session_id)

    def _check_checkpoint(self, session_id: str, ops: SessionOps) -> None:
        """What a checkpoint calls covered must be in commits that a branch leads to, or it is nowhere."""
        path = layout.checkpoint_file(self._repository.root, session_id)
        try:
            with OpLog(self._repository.root, session_id, storage=self._repository.storage) as log:
                checkpoint = log.read_checkpoint()
                coverage = log.checkpoints.coverage()
        except MuseError as error:
            self._found("session", path, error)
            return
        if checkpoint is None:
            return
        commit_id = checkpoint.get("commit_id", "")
        branches = layout.branches_directory(self._repository.root)
        if commit_id and commit_id not in self._reached_commits():
            self._found(
                "ref",
                branches,
                f"no branch in {branches} leads to commit {commit_id}, which holds ops of session "
                f"{session_id}: a branch was moved back or removed",
            )
            return
        snapshot_id = self._repository.dag.read_commit(commit_id)["snapshot_id"] if commit_id else ""
        if commit_id and checkpoint["snapshot_id"] != snapshot_id:
            message = f"{path} names snapshot {checkpoint['snapshot_id']}, its commit has {snapshot_id}"
            self._found("session", path, message)
        nowhere = self._counted_nowhere(session_id, ops, coverage)
        if nowhere and not commit_id:
            self._found(
                "session",
                path,
                f"{len(nowhere)} ops of session {session_id}, {min(nowhere)} for one, count as covered by a "
                "checkpoint that names no commit, and no commit has them",
            )
        elif nowhere:
            self._found(
                "ref",
                branches,
                f"{len(nowhere)} ops of session {session_id}, {min(nowhere)} for one, count as committed and "
                f"are in no commit that a branch in {branches} leads to: a branch was moved back, or "
                f"{path} was "
                f"changed; 'muse session recover {session_id}' makes them pending again",
            )

    def _counted_nowhere(self, session_id: str, ops: SessionOps, coverage: Coverage) -> set[str]:
        """Return the ids of ops that count as covered and are in no commit that a branch leads to."""
        objects, reached = self._repository.objects, self._reached_commits()
        listed = {op_id for name in coverage.op_lists for op_id in decode_op_list(objects.get(name), name)}
        runs = {
            domain: [run for run, commit in located if commit.commit_id in reached]
            for domain, located in self._runs.items()
        }
        nowhere = {entry["op_id"] for entry in ops.counted_outside(runs, coverage, listed)}
        for commit in self.commits.of_session(session_id) if nowhere else ():
            if commit.commit_id in reached:  # of a line that stands twice, the second may have been found
                nowhere.difference_update(op_ids_of(objects, commit.seal))
        return nowhere

    def _reached_commits(self) -> set[str]:
        if self._reached is None:
            self._reached = set()
            for branch in self._repository.dag.branch_names():
                try:
                    tip = self._repository.dag.head(branch)
                    for record in self._repository.dag.history(tip, stop=self._reached) if tip else ():
                        self._reached.add(record["commit_id"])
                except MuseError as error:
                    self._found(_kind_of(error), getattr(error, "path", "") or branch, error)
        return self._reached


def _differences(covered: list[OpEntry], seal: Seal) -> Iterator[str]:
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


def _kind_of(error: MuseError, otherwise: Kind = "commit") -> Kind:
    """Tell by the path what a fault met on the way is about."""
    path = getattr(error, "path", "") or ""
    for part, kind in _KINDS.items():
        if f"/{part}/" in path:
            return kind
    return otherwise


_KINDS: dict[str, Kind] = {"objects": "object", "snapshots": "snapshot", "op_log": "session", "refs": "ref"}
