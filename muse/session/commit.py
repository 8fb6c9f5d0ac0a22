"""How pending ops become commits: they are applied domain by domain, and what comes of them is stored."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from muse.apply.domain_order import in_domain_order
from muse.apply.domains import apply_entries, read_states, rules_text, without_effect, write_states
from muse.apply.known_effects import Known
from muse.apply.net import net_delta
from muse.core.coverage import Cut
from muse.core.delta import collapse
from muse.core.entry import OpEntry
from muse.core.op_list import encode_op_list
from muse.core.op_log import OpLog
from muse.core.other_sessions import reason
from muse.core.timestamp import now_text
from muse.disk import layout
from muse.domain import Application, IgnoredOp, StructuredDelta
from muse.errors import CorruptionError, MuseError, PluginError, StorageError
from muse.history.commit_record import (
    CommitRecord,
    executable_metadata,
    executable_paths,
    make_commit_record,
    seal_commit,
    snapshot_digest,
    state_digests,
    state_snapshots,
)
from muse.history.repo_record import canonical_time, repository_digest
from muse.history.repository import Repository, TreeFiles
from muse.history.seal import Seal, make_seal
from muse.history.signing import Signer
from muse.history.tree import with_contents


@dataclass(frozen=True, slots=True)
class CommitOutcome:
    """The commits that were made, mostly one for each domain; none if nothing was pending.

    `ignored` are ops that could not take effect. `left_out` are ops that another session has in history:
    op id -> that session; none of them takes effect twice. `written`, `removed` and `kept` are files of the
    working tree; those in `kept` were changed by hand and are left as they are.
    """

    commit_ids: tuple[str, ...] = ()
    op_count: int = 0
    summary: str = "no ops"
    ignored: tuple[IgnoredOp, ...] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)
    written: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()

    @property
    def commit_id(self) -> str | None:
        """The newest commit, if one was made."""
        return self.commit_ids[-1] if self.commit_ids else None

    def as_record(self) -> dict[str, Any]:
        """Return the outcome as JSON has it."""
        return {
            "commit_ids": list(self.commit_ids),
            "op_count": self.op_count,
            "summary": self.summary,
            "ignored": [
                {"index": op.index, "op_id": op.op_id, "address": op.address, "reason": op.reason}
                for op in self.ignored
            ],
            "left_out": [
                {"op_id": op_id, "reason": reason(holder)} for op_id, holder in self.left_out.items()
            ],
            "written": list(self.written),
            "removed": list(self.removed),
            "kept": list(self.kept),
        }


class HandEditedError(MuseError):
    """The commit is made, but files that were changed by hand are left as they are. `paths` names them."""

    def __init__(self, outcome: CommitOutcome) -> None:
        files = ", ".join(outcome.kept)
        super().__init__(
            f"commit {outcome.commit_id} is made, but these files were changed by hand since, or are not "
            f"plain files that may be read, and stay as they are: {files}; 'muse record' takes in what you "
            "changed, 'muse checkout --force' gives it up"
        )
        self.paths = outcome.kept
        self.outcome = outcome


@dataclass(frozen=True, slots=True)
class StagedCommits:
    """Commits that are stored, but that no branch names yet. `effects`: what had none in each of them."""

    commit_ids: tuple[str, ...]
    snapshot_id: str
    deltas: tuple[StructuredDelta, ...]
    effects: tuple[Known, ...]

    @property
    def newest(self) -> str:
        """The commit that the branch is to name."""
        return self.commit_ids[-1]

    @property
    def summary(self) -> str:
        """The changes of each domain, for people."""
        return "; ".join(f"{delta['domain']}: {delta['summary']}" for delta in self.deltas)

    @property
    def ignored(self) -> tuple[IgnoredOp, ...]:
        """The ops of all of them that had no effect."""
        return tuple(op for _, _, ignored in self.effects for op in ignored)


class CommitWriter:
    """Stores the objects, snapshots and commits of a session's ops for one branch."""

    def __init__(self, repository: Repository, log: OpLog, branch: str, signer: Signer | None) -> None:
        self._repository = repository
        self._log = log
        self._branch = branch
        self._signer = signer
        self._repository_digest = repository_digest(repository.root, repository.storage)

    def stage(
        self,
        entries: list[OpEntry],
        cut: Cut,
        head: str | None,
        message: str,
        author: str,
        *,
        full: bool,
        at: str | None = None,
        executable: Collection[str] | None = None,
    ) -> StagedCommits:
        """Store what becomes of `entries` after the commit `head`; the branch does not name it yet.

        `at`: its time, by default now. `executable`: the files that may be run, by default those of `head`.
        """
        repository = self._repository
        if executable is None:
            executable = () if head is None else executable_paths(repository.dag.read_commit(head))
        manifest = repository.read_tree(head)
        states = read_states(repository, head)
        frontier = self._log.checkpoints.frontier_after(entries)
        committed_at = now_text() if at is None else canonical_time(at)
        commit_ids: list[str] = []
        deltas, effects = [], []
        for domain, own in in_domain_order(entries):
            files = TreeFiles(repository, manifest)
            application = self._apply(domain, own, files, TreeFiles(repository, states.get(domain, {})))
            delta = collapse(own, domain)
            manifest = with_contents(manifest, application.files, repository.objects.put)
            if not full:
                delta = net_delta(delta, files, application, repository.objects.get)
            if application.state:
                old = states.get(domain, {})
                states[domain] = with_contents(old, application.state, repository.objects.put)
            repository.objects.put(encode_op_list(entry["op_id"] for entry in own))
            snapshot_id = repository.dag.write_snapshot(manifest, committed_at)
            record = make_commit_record(
                repo_id=repository.repo_id,
                branch=self._branch,
                snapshot_id=snapshot_id,
                message=message,
                committed_at=committed_at,
                parent_commit_id=commit_ids[-1] if commit_ids else head,
                author=author,
                structured_delta=delta,
                metadata={
                    **write_states(repository, states, committed_at),
                    **executable_metadata(manifest.keys() & set(executable)),
                },
            )
            seal = make_seal(self._log.session_id(), cut.offset, own, frontier, delta)
            commit_ids.append(repository.dag.write_commit(self._sealed(record, seal, domain)))
            deltas.append(delta)
            ignored = without_effect(domain, own, application, any_domain=repository.any_domain)
            effects.append((commit_ids[-1], domain, ignored))
        return StagedCommits(tuple(commit_ids), record["snapshot_id"], tuple(deltas), tuple(effects))

    def _sealed(self, record: CommitRecord, seal: Seal, domain: str) -> CommitRecord:
        """Return a commit of one domain with its seal, which covers its snapshots too, and its signature."""
        dag = self._repository.dag
        seal = replace(
            seal,
            # A tree that was there already kept its time.
            snapshot_digest=snapshot_digest(dag.read_snapshot(record["snapshot_id"])),
            repository_digest=self._repository_digest,
            signer_key_id=self._signer.key_id if self._signer else None,
            state_digests=state_digests(map(dag.read_snapshot, state_snapshots(record).values())),
            rules=rules_text([domain]),
        )
        record = seal_commit(record, seal)
        return record if self._signer is None else self._signer.sign(record)

    def _apply(
        self, domain: str, entries: list[OpEntry], files: Mapping[str, bytes], state: Mapping[str, bytes]
    ) -> Application:
        try:
            application = apply_entries(domain, entries, files, self._repository.objects.get, state)
            _check_application(application)
        except (CorruptionError, StorageError):
            raise
        except Exception as error:
            raise PluginError(
                f"the plugin of domain {domain!r} failed: {str(error) or repr(error)}; nothing is committed, "
                f"the ops stay in the log of session {self._log.session_id()!r}"
            ) from error
        return application


def _check_application(application: Application) -> None:
    """Raise `TypeError` or `UsageError` if a plugin gave a wrong outcome, or a path out of the tree."""
    if not isinstance(application, Application):
        raise TypeError(f"it gave {type(application).__name__}, not an Application")
    for path, content in application.files.items():
        layout.check_tree_path(path)
        if content is not None and not isinstance(content, bytes):
            raise TypeError(f"it gave {type(content).__name__} for {path}, not bytes")
