"""Makes every commit of a session again from its log and its parent, and compares. Reads only.

For each sealed commit: what `muse.checks.sealed_ops` compares; its delta by digest; and the files that
its delta, and every op in order, make of the parent's. One commit's ops
are in memory at a time. A fault is never raised, always reported, and the rest is checked.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from muse.apply.domains import (
    apply_entries,
    fetch_at,
    handed_on_states,
    plugin_by_rules,
    read_states,
    stated_rules,
    stated_states,
)
from muse.checks.finding import Findings, Needed
from muse.checks.merges import MergeCheck, named
from muse.checks.sealed_ops import SealedOpsCheck
from muse.checks.sessions import sessions_of
from muse.core import content_id
from muse.core.delta import collapse
from muse.core.entry import OpEntry
from muse.disk.json_file import read_json_object
from muse.domain import Application, MergingPlugin, StructuredDelta
from muse.errors import CorruptionError, MuseError
from muse.history.commit_record import FORMAT_VERSION, CommitRecord
from muse.history.covered_ops import SealedCommit, SessionLogs
from muse.history.repository import Repository, TreeFiles
from muse.history.seal import json_digest
from muse.history.tree import tree_changes, with_contents
from muse.plugins.registry import find_plugin


@dataclass(slots=True)
class ReplayReport:
    """What was made again, and what was found.

    `without_plugin`: domains whose files cannot be made here; only the log and the delta of their `not_made`
    commits were compared with the seals.
    """

    findings: Findings = field(default_factory=Findings)
    commits: int = 0
    ops: int = 0
    without_plugin: set[str] = field(default_factory=set)
    not_made: int = 0


def replay_commits(
    repository: Repository, progress: Callable[[int], None] = lambda _done: None
) -> ReplayReport:
    """Make every sealed commit again, whether a branch leads to it or not, and report each difference.

    `progress` is called with the number of ops that are done.
    """
    replay = _Replay(repository, progress)
    replay.ops.read_commits()
    for session_id in replay.ops.commits.session_ids():
        replay.check_session(session_id)
    replay.ops.check_sessions_apart()
    replay.check_merges()
    replay.check_other_checkpoints()
    return replay.report


class _Replay:
    """One replay. Its steps are called in the order of `replay_commits`."""

    def __init__(self, repository: Repository, progress: Callable[[int], None]) -> None:
        self.ops = SealedOpsCheck(repository)
        self.report = ReplayReport(self.ops.findings)
        self._repository = repository
        self._merges = MergeCheck(repository)
        self._progress = progress

    def check_session(self, session_id: str) -> None:
        self.ops.check_session(session_id, self._check_commit)

    def _check_commit(self, commit: SealedCommit, covered: list[OpEntry] | None) -> None:
        path = self._repository.dag.path_of(commit.commit_id)
        try:
            record = self._repository.dag.read_commit(commit.commit_id)
            self._check_fields(record, path)
            delta = self._check_delta(record, commit, path)
            if delta is not None:
                self._check_files(record, delta, covered, path)
        except MuseError as error:
            self.report.findings.add_error(error, path, "commit")
        self.report.commits += 1
        self.report.ops += commit.seal.op_count
        self._progress(self.report.ops)

    def _check_fields(self, record: CommitRecord, path: str) -> None:
        """Compare the fields that neither id nor seal covers with what they must be."""
        stored = read_json_object(path, self._repository.storage)
        delta: Mapping[str, Any] = record["structured_delta"] or {}
        expected = {
            **({"repo_id": self._repository.repo_id} if self.ops.repo_file_is_sealed else {}),
            "sem_ver_bump": delta.get("sem_ver_bump", "none"),
            "breaking_changes": delta.get("breaking_changes", []),
            "format_version": FORMAT_VERSION,
        }
        for key in CommitRecord.__annotations__:
            if key not in stored:
                message = f"{path} lacks {key!r}, which every commit of a session has"
                self.report.findings.add(path, "commit", message, ("commit", record["commit_id"]))
            elif key in expected and stored[key] != expected[key]:
                self.report.findings.add(
                    path,
                    "commit",
                    f"{path} has {stored[key]!r} as {key!r} where {expected[key]!r} is expected",
                    ("commit", record["commit_id"]),
                )

    # -- the delta ------------------------------------------------------------------------------

    def _check_delta(self, record: CommitRecord, commit: SealedCommit, path: str) -> StructuredDelta | None:
        delta = record["structured_delta"]
        if delta is None:
            self.report.findings.add(
                path, "delta", f"{path} seals {commit.seal.op_count} ops and holds no delta"
            )
            return None
        digest = json_digest(delta)
        if digest != commit.seal.delta_digest:
            self.report.findings.add(
                path,
                "delta",
                f"{path} holds a delta whose digest is {digest}, its message seals "
                f"{commit.seal.delta_digest}: the delta was changed",
            )
        return delta

    # -- the files ------------------------------------------------------------------------------

    def _check_files(
        self, record: CommitRecord, delta: StructuredDelta, covered: list[OpEntry] | None, path: str
    ) -> None:
        """Apply the delta, and every covered op, to the parent's files; both must give the snapshot."""
        domain = delta["domain"]
        self._check_other_states(record, domain, path)
        try:
            parent = self._repository.read_tree(record["parent_commit_id"])
            full = None if covered is None else collapse(covered, domain)
            if find_plugin(domain) is None:
                self._compare_without_plugin(record, parent, delta, full)
                return
            if full is None or full["ops"] != delta["ops"]:
                self._compare(record, self._apply(delta["ops"], record, parent), path, "its delta makes")
            if covered is not None:
                self._compare(record, self._merge(covered, record, parent), path, "the ops it covers make")
        except MuseError as error:
            self.report.findings.add_error(error, path, "commit", f"{path} cannot be made again: {error}")

    def _check_other_states(self, record: CommitRecord, domain: str, path: str) -> None:
        """Compare what the plugins of other domains keep with what the parent commit hands on."""
        kept = stated_states(record)
        expected = handed_on_states(self._repository, record["parent_commit_id"])
        if wrong := sorted({other for other, _ in kept.items() ^ expected.items()} - {domain}):
            self.report.findings.add(
                path,
                "commit",
                f"{path} has other data of domain {', '.join(wrong)} beside its files than its parent, and "
                "no op of it: the metadata was not made by Muse",
            )

    def _compare_without_plugin(
        self,
        record: CommitRecord,
        parent: Mapping[str, str],
        delta: StructuredDelta,
        full: StructuredDelta | None,
    ) -> None:
        """Note that the plugin of a domain is missing, if its ops changed a file or have a net."""
        if content_id.snapshot_id(parent) == record["snapshot_id"] and (
            full is None or full["ops"] == delta["ops"]
        ):
            return
        self.report.without_plugin.add(delta["domain"])
        self.report.not_made += 1

    def _apply(self, ops: Any, record: CommitRecord, parent: Mapping[str, str]) -> dict[str, str]:
        """Return the tree that the ops of a delta make of the tree `parent`, by the rules of its commit."""
        domain = (record["structured_delta"] or {"domain": ""})["domain"]
        plugin = plugin_by_rules(domain, stated_rules(record["message"]))
        is_of_ops = not isinstance(plugin, MergingPlugin)  # or the delta is the difference of the files
        repository = self._repository
        fetch = fetch_at(repository, record["commit_id"], domain) if is_of_ops else repository.objects.get
        files = TreeFiles(self._repository, parent)
        return self._made(domain, parent, lambda: plugin.apply(files, ops, fetch) if plugin else None)

    def _merge(
        self, entries: list[OpEntry], record: CommitRecord, parent: Mapping[str, str]
    ) -> dict[str, str]:
        """Return the tree that logged entries make of `parent`; compare what the plugin keeps, too."""
        domain = entries[0]["domain"]
        repository = self._repository
        state = read_states(repository, record["parent_commit_id"]).get(domain, {})
        kept = read_states(repository, record["commit_id"]).get(domain, {})

        def merge() -> Application:
            files, fetch = TreeFiles(repository, parent), fetch_at(repository, record["commit_id"], domain)
            rules = stated_rules(record["message"])
            made = apply_entries(domain, entries, files, fetch, TreeFiles(repository, state), rules=rules)
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
            self.report.findings.add(
                path,
                "snapshot",
                f"{path} has snapshot {record['snapshot_id']}, but {what} {snapshot_id} of the parent's "
                f"files{names}",
            )

    def _different_names(self, snapshot_id: str, made: Mapping[str, str]) -> str:
        try:
            stored = self._repository.dag.read_snapshot(snapshot_id)["manifest"]
        except MuseError:
            return ""
        return named(list(tree_changes(stored, made)))

    # -- merges ---------------------------------------------------------------------------------

    def check_merges(self) -> None:
        """Merge again what was merged by its ops: the files, and what plugins keep, must be the same."""
        with SessionLogs(self._repository.root, self._repository.storage) as logs:
            logs.begins = self.ops.begins
            for commit_id in self.ops.merges:
                path = self._repository.dag.path_of(commit_id)
                try:
                    self._check_merge(self._repository.dag.read_commit(commit_id), logs, path)
                except MuseError as error:
                    message = f"{path} cannot be merged again: {error}"
                    self.report.findings.add_error(error, path, "commit", message)
                self.report.commits += 1

    def _check_merge(self, record: CommitRecord, logs: SessionLogs, path: str) -> None:
        again = self._merges.make_again(record, logs)
        if not self._merges.is_told(record, again):
            self.report.without_plugin |= again.without_plugin
            self.report.not_made += 1
        for kind, difference in self._merges.differences(record, again):
            needs: Needed | None = ("commit", record["commit_id"]) if kind == "delta" else None
            self.report.findings.add(path, kind, f"{path} {difference}", needs)

    # -- sessions without commits -----------------------------------------------------------------

    def check_other_checkpoints(self) -> None:
        """Check the checkpoints of the sessions that no commit names."""
        named = set(self.ops.commits.session_ids())
        findings = self.report.findings
        for session_id in sessions_of(self._repository.root, self._repository.storage, findings):
            if session_id not in named:
                self.check_session(session_id)
