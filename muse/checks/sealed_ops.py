"""Compares the logs and checkpoints of sessions with what the commits seal of them. Reads only.

Of each sealed commit: the entries it covers, their number, the first and the last, and their Merkle root. Of
each checkpoint: whether the commits that branches lead to hold what it counts as covered. One
commit's ops are in memory at a time. A fault is never raised, always reported, and the rest is checked.
"""

from collections.abc import Callable, Iterator

from muse.apply.merge_heads import is_merge_of_ops
from muse.checks.finding import Findings
from muse.checks.once import covered_twice
from muse.core.coverage import Coverage
from muse.core.entry import OpEntry
from muse.core.file.live_or_archived import is_archived
from muse.core.file.log_reader import collector_paused
from muse.core.op_list import decode_op_list
from muse.core.op_log import OpLog
from muse.disk import layout
from muse.errors import MuseError, NotFoundError
from muse.history.covered_ops import (
    Run,
    SealedCommit,
    SealedCommits,
    SessionOps,
    op_ids_of,
    open_session,
)
from muse.history.repo_record import repository_digest
from muse.history.repository import Repository
from muse.history.seal import Seal, position_text, root_of

AfterCommit = Callable[[SealedCommit, "list[OpEntry] | None"], None]
"""Called with each commit of a session, and its entries if the log holds those that it seals."""


def check_archived_logs(repository: Repository) -> Findings:
    """Compare the ops of every archived session with what the commits seal of them."""
    check = SealedOpsCheck(repository)
    check.read_commits()
    for session_id in check.commits.session_ids():
        if layout.is_session_id(session_id) and is_archived(
            repository.root, session_id, storage=repository.storage
        ):
            check.check_session(session_id, checkpoint=False)
    return check.findings


def check_session(repository: Repository, session_id: str) -> Findings:
    """Compare the log and the checkpoint of one session with the commits."""
    check = SealedOpsCheck(repository)
    check.read_commits()
    check.findings.clear()  # of the commits of others
    check.check_session(session_id)
    return check.findings


def _ignore(_commit: SealedCommit, _covered: list[OpEntry] | None) -> None:
    pass


class SealedOpsCheck:
    """One check of a repository: `read_commits` comes first, then any sessions.

    `merges` are the commits that were merged by their ops; `repo_file_is_sealed` is false
    where commits seal a `repo.json`, and none of them the one that is here. `begins` has, for each commit
    that was checked, where the first of its entries starts in the log.
    """

    def __init__(self, repository: Repository) -> None:
        self.findings = Findings()
        self.commits = SealedCommits()
        self.merges: list[str] = []
        self.begins: dict[str, int] = {}
        self.repo_file_is_sealed = True
        self._repository = repository
        self._reached: set[str] | None = None
        self._next: Run = (0, 0)  # where the last commit's ops started, and the next one's may

    def read_commits(self) -> None:
        """Read every stored commit, and report those that cannot be read."""
        sealed: set[str | None] = set()
        directory = layout.commits_directory(self._repository.root)
        for commit_id in self.findings.each_of(self._repository.dag.commit_ids, directory, "commit"):
            try:
                record = self._repository.dag.read_commit(commit_id)
                commit = self.commits.add(record)
                if is_merge_of_ops(record):
                    self.merges.append(commit_id)
            except MuseError as error:
                self.findings.add(self._repository.dag.path_of(commit_id), "commit", error)
            else:
                sealed.add(commit.seal.repository_digest if commit else None)
        sealed.discard(None)
        try:
            digest = repository_digest(self._repository.root, self._repository.storage)
            self.repo_file_is_sealed = not sealed or digest in sealed
        except MuseError:  # `muse.checks.stored` names it
            self.repo_file_is_sealed = False

    def check_session(
        self, session_id: str, after: AfterCommit = _ignore, *, checkpoint: bool = True
    ) -> None:
        """Check each sealed commit of a session against its log, and then the checkpoint."""
        root = self._repository.root
        try:
            ops = open_session(root, session_id, self._repository.storage)
        except MuseError as error:
            self.findings.add(layout.op_log_directory(root), "session", error)
            return
        self._next = (0, 0)
        try:
            cut = -1
            for commit in self.commits.of_session(session_id):
                start = self._next[commit.seal.cut_offset != cut]  # several at one cut share its lines
                cut = commit.seal.cut_offset
                after(commit, self._check_log(commit, ops, start))
            self._check_once(session_id)
            if checkpoint:
                self._check_checkpoint(session_id, ops)
        except MuseError as error:
            self.findings.add(ops.path, "session", error)
        finally:
            ops.close()

    def _check_log(self, commit: SealedCommit, ops: SessionOps, start: int) -> list[OpEntry] | None:
        """Compare the covered entries with the seal; return them if they are those it seals."""
        seal = commit.seal
        try:
            if not ops.is_there:
                raise NotFoundError(
                    f"{ops.path} is missing: no commit of session {seal.session_id} can be made again"
                )
            with collector_paused():
                op_ids = op_ids_of(self._repository.objects, seal)
                covered = ops.covered(op_ids, commit.domain, start=min(start, ops.end()))
        except MuseError as error:
            self.findings.add_error(error, ops.path, "session")
            return None
        if covered.runs:
            self.begins[commit.commit_id] = min(first for first, _ in covered.runs)
            self._next = (covered.runs[0][0], covered.runs[-1][1])
        faults = list(_differences(covered.entries, seal))
        for fault in faults:
            self.findings.add(
                ops.path, "session", f"{ops.path} and commit {commit.commit_id} differ: {fault}"
            )
        return None if faults else covered.entries

    def _check_once(self, session_id: str) -> None:
        """Check that no two commits of one line of history cover the same op of a session."""
        self._report_twice(self.commits.of_session(session_id))

    def check_sessions_apart(self) -> None:
        """Check that no op of one session is covered by a later commit of another session too."""
        if len(self.commits.session_ids()) < 2:
            return
        of_all = [commit for name in self.commits.session_ids() for commit in self.commits.of_session(name)]
        self._report_twice(of_all, of_two_sessions=True)

    def _report_twice(self, among: list[SealedCommit], *, of_two_sessions: bool = False) -> None:
        for ancestor, commit in covered_twice(self._repository.objects, self.commits, among):
            sessions = ancestor.seal.session_id, commit.seal.session_id
            if (sessions[0] != sessions[1]) == of_two_sessions:
                path = self._repository.dag.path_of(commit.commit_id)
                where = f", as session {sessions[0]!r} holds them too" if of_two_sessions else ""
                message = f"{path} covers ops that its ancestor {ancestor.commit_id} covers already{where}"
                self.findings.add(path, "commit", message)

    def _check_checkpoint(self, session_id: str, ops: SessionOps) -> None:
        """Check that commits of a branch hold what the checkpoint calls covered."""
        path = layout.checkpoint_file(self._repository.root, session_id)
        try:
            with OpLog(self._repository.root, session_id, storage=self._repository.storage) as log:
                checkpoint = log.read_checkpoint()
                coverage = log.checkpoints.coverage()
        except MuseError as error:
            self.findings.add(path, "session", error)
            return
        if checkpoint is None:
            return
        commit_id = checkpoint.get("commit_id", "")
        branches = layout.branches_directory(self._repository.root)
        if commit_id and commit_id not in self._reached_commits():
            self.findings.add(
                branches,
                "ref",
                f"no branch in {branches} leads to commit {commit_id}, which holds ops of session "
                f"{session_id}: a branch was moved back or removed",
            )
            return
        snapshot_id = self._repository.dag.read_commit(commit_id)["snapshot_id"] if commit_id else ""
        if commit_id and checkpoint["snapshot_id"] != snapshot_id:
            message = f"{path} names snapshot {checkpoint['snapshot_id']}, its commit has {snapshot_id}"
            self.findings.add(path, "session", message)
        nowhere = self._counted_nowhere(session_id, ops, coverage)
        if nowhere and not commit_id:
            self.findings.add(
                path,
                "session",
                f"{len(nowhere)} ops of session {session_id}, {min(nowhere)} for one, count as covered by a "
                "checkpoint that names no commit, and no commit has them",
            )
        elif nowhere:
            self.findings.add(
                branches,
                "ref",
                f"{len(nowhere)} ops of session {session_id}, {min(nowhere)} for one, count as committed and "
                f"are in no commit that a branch in {branches} leads to: a branch was moved back, or "
                f"{path} was "
                f"changed; 'muse session recover {session_id}' makes them pending again",
            )

    def _counted_nowhere(self, session_id: str, ops: SessionOps, coverage: Coverage) -> set[str]:
        """Return the ids of ops that count as covered and are in no commit that a branch leads to."""
        objects, reached = self._repository.objects, self._reached_commits()
        listed = {op_id for name in coverage.op_lists for op_id in decode_op_list(objects.get(name), name)}
        commits = self.commits.of_session(session_id)
        op_lists = dict.fromkeys(commit.seal.op_list for commit in commits if commit.commit_id in reached)
        nowhere = {
            entry["op_id"]
            for offset, entry in ops.outside(op_lists, objects)
            if entry["op_id"] in listed or not coverage.is_pending(entry["domain"], offset)
        }
        for name in self.commits.session_ids():  # an op may be in history by way of another session
            for commit in self.commits.of_session(name) if nowhere else ():
                if commit.commit_id in reached:
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
                    self.findings.add_error(error, branch, "ref")
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
