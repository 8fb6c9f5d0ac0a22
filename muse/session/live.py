"""A live session: edits go to the log at once, commits carry them into history, once each.

The way of a commit: cut the log; collapse each domain at that cut; let its plugin apply the ops to
the parent's files; store objects, snapshot and commit; swap the branch ref, which is the only commit
point; bring the working tree up to date; write the checkpoint. A crash anywhere leaves zero or one
commit of these ops, and the next `commit` or `recover` goes on from there.
"""

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from muse.apply.domains import apply_entries, read_states, write_states
from muse.apply.net import net_delta
from muse.core.coverage import Cut, OpLogCheckpoint, coverage_of
from muse.core.delta import collapse
from muse.core.entry import OpEntry
from muse.core.file.log_reader import collector_paused
from muse.core.op_list import encode_op_list
from muse.core.op_log import Durability, OpLog
from muse.core.timestamp import now_text
from muse.disk import layout
from muse.disk.resource import Resource
from muse.disk.storage import LOCAL, Storage
from muse.domain import Application, DomainOp, IgnoredOp, StructuredDelta
from muse.errors import ConflictError, CorruptionError, MuseError, NotFoundError, PluginError, StorageError
from muse.history.commit_record import CommitRecord, make_commit_record, seal_commit, snapshot_digest
from muse.history.garbage_lock import uncollected
from muse.history.repo_record import repository_digest
from muse.history.repository import Repository, TreeFiles
from muse.history.seal import make_seal, read_seal
from muse.history.session_history import session_history
from muse.history.signing import Signer
from muse.history.working_tree import WorkingTreeUpdate, update_working_tree

_COMMIT_ATTEMPTS = 1000


@dataclass(frozen=True, slots=True)
class CommitOutcome:
    """What a commit came to. `commit_ids` is empty when nothing was pending.

    One commit for each domain, in the order made. `ignored` are ops that could not take effect.
    `written`, `removed` and `kept` are files of the working tree, `kept` those left as they are
    because they were changed by hand.
    """

    commit_ids: tuple[str, ...] = ()
    op_count: int = 0
    summary: str = "no ops"
    ignored: tuple[IgnoredOp, ...] = ()
    written: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()

    @property
    def commit_id(self) -> str | None:
        """The newest commit, or None."""
        return self.commit_ids[-1] if self.commit_ids else None

    def as_record(self) -> dict[str, Any]:
        """Return the outcome as JSON has it."""
        return {
            "commit_ids": list(self.commit_ids),
            "op_count": self.op_count,
            "summary": self.summary,
            "ignored": [
                {"index": op.index, "address": op.address, "reason": op.reason} for op in self.ignored
            ],
            "written": list(self.written),
            "removed": list(self.removed),
            "kept": list(self.kept),
        }


class HandEditedError(MuseError):
    """The commit stands, but files changed by hand since were left as they are. `paths` names them."""

    def __init__(self, outcome: CommitOutcome) -> None:
        files = ", ".join(outcome.kept)
        super().__init__(
            f"commit {outcome.commit_id} is made, but these files were changed by hand since, or are no "
            f"plain files, and stay as they are: {files}; save yours elsewhere, then 'muse checkout --force'"
        )
        self.paths = outcome.kept
        self.outcome = outcome


class LostCommitError(MuseError):
    """A session's checkpoint rests on a commit that no branch leads to."""

    def __init__(self, session_id: str, commit_id: str) -> None:
        super().__init__(
            f"no branch leads to commit {commit_id}, which holds ops of session {session_id!r}: a branch was "
            f"moved back or removed; put it back, or 'muse session recover {session_id}' makes those ops "
            "pending again"
        )
        self.commit_id = commit_id


@dataclass(frozen=True, slots=True)
class _Staged:
    """Commits that are stored but not yet in the branch."""

    commit_ids: tuple[str, ...]
    snapshot_id: str
    manifest: Mapping[str, str]
    deltas: tuple[StructuredDelta, ...]
    ignored: tuple[IgnoredOp, ...]


@dataclass(frozen=True, slots=True)
class _CaughtUp:
    """The branches whose histories the checkpoint has taken in; whether it was behind; the files kept."""

    tips: Mapping[str, str | None]
    is_behind: bool = False
    kept: tuple[str, ...] = ()


def _present(tips: Mapping[str, str | None]) -> set[str]:
    return {tip for tip in tips.values() if tip is not None}


class LiveSession(Resource):
    """One session of a repository: its log, and its way into the branch. A context manager.

    Many processes may edit one session, and any may commit: whoever comes second cuts again.
    `branch` is by default the one HEAD names. With a `signer`, every commit is signed. With `salvage`, a
    log that lacks ops that commits cover is opened all the same.
    """

    def __init__(
        self,
        repo_root: str | os.PathLike[str],
        session_id: str,
        *,
        branch: str | None = None,
        author: str = "",
        durability: Durability = "os",
        signer: Signer | None = None,
        salvage: bool = False,
        storage: Storage = LOCAL,
    ) -> None:
        self.repository = Repository.open(os.fspath(repo_root), storage)
        self._repository_digest = repository_digest(self.repository.root, storage)
        self.log = OpLog(self.repository.root, session_id, durability=durability, storage=storage)
        self.branch = self.repository.dag.current_branch() if branch is None else layout.check_branch(branch)
        self.author = author
        self._signer = signer
        self._salvage = salvage
        self._storage = storage
        # The branches and the checkpoint when they last agreed.
        self._seen: tuple[Mapping[str, str | None], OpLogCheckpoint | None] | None = None
        try:
            self._healed = self._heal()
        except BaseException:
            self.log.close()
            raise

    def edit(
        self,
        actor_id: str,
        domain: str,
        op: DomainOp | Mapping[str, Any],
        *,
        parent_op_ids: Sequence[str] = (),
        intent_id: str = "",
        reservation_id: str = "",
    ) -> OpEntry:
        """Append one edit to the log; see `OpLog.record`."""
        return self.log.record(
            actor_id,
            domain,
            op,
            parent_op_ids=parent_op_ids,
            intent_id=intent_id,
            reservation_id=reservation_id,
        )

    # -- commit ---------------------------------------------------------------------------------

    def commit(
        self, message: str, *, author: str | None = None, salvage: bool = False, full: bool = False
    ) -> CommitOutcome:
        """Carry all pending ops into the branch: one commit for each domain, one update of the ref.

        The delta stored is the net of the ops, or with `full` every op; the seal covers them all.
        Each op gets into history once, whoever else commits. Nothing pending: nothing is made, and
        the outcome says so. Raises `CorruptionError` if the log is damaged where an op may be lost
        (unless `salvage`: the good ops go), `PluginError` if a plugin fails, `StorageError` if the
        disk does: then the branch is unchanged and the ops stay pending, or it says that the commit is
        made. `HandEditedError` comes after the commit, about files of the working tree.
        """
        # One committer of a session at a time; those of other sessions meet at the ref.
        with self._committing() as there_is_a_log:
            for _ in range(_COMMIT_ATTEMPTS):
                tips = self._catch_up().tips
                if not there_is_a_log:
                    return CommitOutcome()
                self.log.orphans.release()
                head = tips.get(self.branch)  # a newer one may hold ops that were not taken in
                cut = self.log.cut()
                entries = self.log.replay_since_checkpoint(until=cut, salvage=salvage)
                if not entries:
                    return CommitOutcome()
                self.log.sync()
                by = self.author if author is None else author
                with collector_paused():
                    staged = self._stage(entries, cut, head, message, by, full=full)
                try:
                    self.repository.dag.swap_head(self.branch, head, staged.commit_ids[-1])
                except ConflictError:
                    continue  # another committer was first: cut again on the new head
                try:
                    return self._finish(staged, entries, cut, tips)
                except StorageError as error:
                    raise StorageError(
                        f"commit {staged.commit_ids[-1]} is made, but {error}; the next commit or "
                        "'muse session recover' does what is left",
                        path=error.path,
                        errno=error.errno,
                    ) from error
        raise ConflictError(f"branch {self.branch!r} moved at each of {_COMMIT_ATTEMPTS} attempts: try again")

    @contextlib.contextmanager
    def _committing(self) -> Iterator[bool]:
        """Keep other committers and the collector out while the block runs.

        False, with nobody kept out, where there is no log yet: nothing is made for it, not even a lock, and
        what another process appends meanwhile is for the next commit.
        """
        directory = layout.session_directory(self.repository.root, self.log.session_id())
        if not self._storage.exists(directory):
            yield False
            return
        path = layout.session_commit_lock_file(self.repository.root, self.log.session_id())
        # What is stored for a commit is nobody's until the ref names it: no garbage is collected meanwhile.
        with self._storage.locked(path), uncollected(self.repository.root, self._storage):
            yield True

    def _stage(
        self,
        entries: list[OpEntry],
        cut: Cut,
        head: str | None,
        message: str,
        author: str,
        *,
        full: bool,
    ) -> _Staged:
        """Store the objects, snapshots and commits of `entries`; the branch does not name them yet."""
        manifest = self.repository.read_tree(head)
        states = read_states(self.repository, head)
        frontier = self.log.checkpoints.frontier_after(entries)
        committed_at = now_text()
        commit_ids: list[str] = []
        deltas, ignored = [], []
        for domain in sorted({entry["domain"] for entry in entries}):
            own = [entry for entry in entries if entry["domain"] == domain]
            files = TreeFiles(self.repository, manifest)
            application = self._apply(domain, own, files, TreeFiles(self.repository, states.get(domain, {})))
            delta = collapse(own, domain)
            manifest = self._store_files(manifest, application.files)
            if not full:
                delta = net_delta(delta, files, application, self.repository.objects.get)
            if application.state:
                states[domain] = self._store_files(states.get(domain, {}), application.state)
            self.repository.objects.put(encode_op_list(entry["op_id"] for entry in own))
            snapshot_id = self.repository.dag.write_snapshot(manifest, committed_at)
            record = make_commit_record(
                repo_id=self.repository.repo_id,
                branch=self.branch,
                snapshot_id=snapshot_id,
                message=message,
                committed_at=committed_at,
                parent_commit_id=commit_ids[-1] if commit_ids else head,
                author=author,
                structured_delta=delta,
                metadata=write_states(self.repository, states, committed_at),
            )
            seal = replace(
                make_seal(self.log.session_id(), cut.offset, own, frontier, delta),
                # A tree that was there already kept its time.
                snapshot_digest=snapshot_digest(self.repository.dag.read_snapshot(snapshot_id)),
                repository_digest=self._repository_digest,
                signer_key_id=self._signer.key_id if self._signer else None,
            )
            record = seal_commit(record, seal)
            if self._signer is not None:
                record = self._signer.sign(record)
            commit_ids.append(self.repository.dag.write_commit(record))
            deltas.append(delta)
            ignored.extend(application.ignored)
        return _Staged(tuple(commit_ids), record["snapshot_id"], manifest, tuple(deltas), tuple(ignored))

    def _apply(
        self, domain: str, entries: list[OpEntry], files: Mapping[str, bytes], state: Mapping[str, bytes]
    ) -> Application:
        try:
            application = apply_entries(domain, entries, files, self.repository.objects.get, state)
            _check_application(application)
        except (CorruptionError, StorageError):
            raise
        except Exception as error:
            raise PluginError(
                f"the plugin of domain {domain!r} failed: {error or error!r}; nothing is committed, "
                f"the ops stay in the log of session {self.log.session_id()!r}"
            ) from error
        return application

    def _store_files(
        self, manifest: Mapping[str, str], changed: Mapping[str, bytes | None]
    ) -> dict[str, str]:
        after = dict(manifest)
        for path, content in changed.items():
            if content is None:
                after.pop(path, None)
            else:
                after[path] = self.repository.objects.put(content)
        return after

    def _finish(
        self, staged: _Staged, entries: list[OpEntry], cut: Cut, tips: Mapping[str, str | None]
    ) -> CommitOutcome:
        """After the ref names the commits: the working tree, then the checkpoint."""
        newest = staged.commit_ids[-1]
        update = self._update_working_tree(self.repository.read_tree(tips.get(self.branch)))
        tips = {**tips, self.branch: newest}
        checkpoint = self.log.checkpoint(staged.snapshot_id, commit_id=newest, until=cut, tips=_present(tips))
        self._seen = tips, checkpoint
        outcome = CommitOutcome(
            commit_ids=staged.commit_ids,
            op_count=len(entries),
            summary="; ".join(f"{delta['domain']}: {delta['summary']}" for delta in staged.deltas),
            ignored=staged.ignored,
            written=tuple(update.written),
            removed=tuple(update.removed),
            kept=tuple(update.kept),
        )
        if outcome.kept:
            raise HandEditedError(outcome)
        return outcome

    def _update_working_tree(self, before: Mapping[str, str]) -> WorkingTreeUpdate:
        """Bring the files from `before` to the branch's head, which another committer may have moved on."""
        with self._storage.locked(layout.working_tree_lock_file(self.repository.root)):
            head = self.repository.dag.head(self.branch)
            if head is None or self.branch != self.repository.dag.current_branch():
                return WorkingTreeUpdate()
            return update_working_tree(
                self.repository.root,
                self.repository.objects,
                before=before,
                after=self.repository.read_tree(head),
                known=History(self.repository, head).has,
                storage=self._storage,
            )

    # -- recovery -------------------------------------------------------------------------------

    def recover(self, *, salvage: bool = False) -> bool:
        """Make checkpoint and working tree agree with history; True if the checkpoint was rebuilt.

        The commits are the truth and the checkpoint a cache of them: one that is missing, damaged,
        of another session, or that says anything else, is made anew (a lost or damaged one when the
        session is opened). `CorruptionError` if the log lacks ops that commits cover, unless `salvage`:
        they count as covered, here or not. Raises `HandEditedError` about files that were left as they are.
        """
        with self._committing():
            before = self.log.checkpoints.trusted()
            told = coverage_of(before) if before and self._is_as_committed(before) else None
            tips = self.repository.dag.branches()
            if before and (before.get("commit_id") or self._has_commits(tips)):
                self.log.checkpoints.distrust()  # what it says is told by the commits, or by nobody
            kept = self._catch_up(salvage=salvage).kept
            rebuilt = before is not None and self.log.checkpoints.coverage() != told
        rebuilt, self._healed = rebuilt or self._healed, False
        if kept:
            raise HandEditedError(CommitOutcome((self.repository.dag.head(self.branch) or "",), kept=kept))
        return rebuilt

    def _has_commits(self, tips: Mapping[str, str | None]) -> bool:
        return bool(session_history(self.repository.dag, self.log.session_id(), tips).commits)

    def _is_as_committed(self, checkpoint: OpLogCheckpoint) -> bool:
        """Whether the snapshot it names is that of its commit."""
        commit_id = checkpoint.get("commit_id", "")
        if not commit_id or not self.repository.dag.has_commit(commit_id):
            return not commit_id
        return self.repository.dag.read_commit(commit_id)["snapshot_id"] == checkpoint["snapshot_id"]

    def _heal(self) -> bool:
        """Bring a checkpoint that is lost, damaged or behind up to history. Needs a log to be there.

        `CorruptionError` if the log is not the one that history was made from: shorter, or an older copy.
        """
        if not self._storage.exists(layout.ops_file(self.repository.root, self.log.session_id())):
            return False
        self.log.orphans.release()
        with self._committing(), contextlib.suppress(LostCommitError):  # edits go on; a commit says it
            return self._catch_up(salvage=self._salvage).is_behind
        return False

    def _catch_up(self, *, salvage: bool = False) -> "_CaughtUp":
        """Bring the checkpoint up to what the branches hold."""
        dag, session_id = self.repository.dag, self.log.session_id()
        tips = dag.branches()
        try:
            checkpoint = self.log.read_checkpoint()
            damaged = False
        except CorruptionError:
            checkpoint, damaged = None, True
        if not damaged and self._seen == (tips, checkpoint):
            return _CaughtUp(tips)
        named = checkpoint.get("commit_id", "") if checkpoint else ""
        taken_in = {*(checkpoint.get("tips", ()) if checkpoint else ()), named} - {""}
        found = session_history(dag, session_id, tips, taken_in)
        if (gone := taken_in - found.met) and (lost := self._lost(gone, tips)):
            raise LostCommitError(session_id, lost)
        if not found.commits:
            if damaged:
                self.log.checkpoints.discard()
            self._seen = tips, self.log.checkpoints.trusted()
            return _CaughtUp(tips)
        coverage = self.log.checkpoints.with_commits(found.op_lists, salvage=salvage)
        is_behind = damaged or coverage != self.log.checkpoints.coverage()
        kept: list[str] = []
        if is_behind:
            # The ref that a crash left may not be on the disk yet; the checkpoint must not run ahead of it.
            with contextlib.suppress(ConflictError):  # it moved on, and was synced by who moved it
                dag.swap_head(found.branch, tips[found.branch], tips[found.branch] or "")
            kept = self._update_working_tree(
                self.repository.read_tree(named or found.commits[0].parent_id)
            ).kept
        newest = found.commits[-1]
        self.log.checkpoints.adopt(coverage, newest.snapshot_id, newest.commit_id, _present(tips))
        self._seen = tips, self.log.checkpoints.trusted()
        return _CaughtUp(tips, is_behind, tuple(kept))

    def _lost(self, gone: Iterable[str], tips: Mapping[str, str | None]) -> str | None:
        """Return a commit of the session that is behind those that are `gone`, and behind no branch."""
        dag = self.repository.dag
        reached = {record["commit_id"] for record in dag.reachable(tips.values())}
        for commit_id in sorted(gone):
            try:
                for record in dag.history(commit_id, stop=reached):
                    seal = read_seal(record["message"])
                    if seal is not None and seal.session_id == self.log.session_id():
                        return record["commit_id"]
            except (NotFoundError, CorruptionError):
                return commit_id
        return None

    # -- lifetime -------------------------------------------------------------------------------

    def close(self) -> None:
        """Release the log. Pending ops stay in it."""
        self.log.close()


def _check_application(application: Application) -> None:
    """Raise `TypeError` or `UsageError` if a plugin gave what is no outcome, or a path out of the tree."""
    if not isinstance(application, Application):
        raise TypeError(f"it gave {type(application).__name__}, not an Application")
    for path, content in application.files.items():
        layout.check_tree_path(path)
        if content is not None and not isinstance(content, bytes):
            raise TypeError(f"it gave {type(content).__name__} for {path}, not bytes")


class History:
    """Which versions of which files a commit and its ancestors hold; read as far back as needed."""

    def __init__(self, repository: Repository, commit_id: str) -> None:
        self._repository = repository
        self._commits: Iterable[CommitRecord] = repository.dag.history(commit_id)
        self._seen: set[tuple[str, str]] = set()

    def has(self, path: str, object_id: str) -> bool:
        """Whether some commit holds the file `path` with this content."""
        version = (path, object_id)
        while version not in self._seen:
            commit = next(iter(self._commits), None)
            if commit is None:
                return False
            manifest = self._repository.dag.read_snapshot(commit["snapshot_id"])["manifest"]
            self._seen.update(manifest.items())
        return True
