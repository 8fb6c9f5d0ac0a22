"""A live session: edits go to the log at once, commits carry them into history, once each.

The way of a commit: cut the log; collapse each domain at that cut; let its plugin apply the ops to
the parent's files; store objects, snapshot and commit; swap the branch ref, which is the only commit
point; bring the working tree up to date; write the checkpoint. A crash anywhere leaves zero or one
commit of these ops, and the next `heal`, `commit` or `recover` goes on from there.
"""

import contextlib
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from muse.apply.domains import check_domain_is_known
from muse.apply.known_effects import KnownEffects
from muse.core.coverage import Cut
from muse.core.entry import OpEntry
from muse.core.file.log_reader import collector_paused
from muse.core.op_log import Durability, OpLog
from muse.core.session_directory import names_of_sessions
from muse.disk import layout
from muse.disk.resource import Resource
from muse.disk.storage import LOCAL, Storage
from muse.domain import DomainOp
from muse.errors import ConflictError, StorageError
from muse.history.garbage_lock import uncollected
from muse.history.line_ops import held_by_others
from muse.history.repository import Repository
from muse.history.session_history import SessionHistories
from muse.history.signing import Signer
from muse.session.commit import CommitOutcome, CommitWriter, HandEditedError, StagedCommits
from muse.session.recovery import LostCommitError, Recovery, present
from muse.session.working_files import update_to_branch

_COMMIT_ATTEMPTS = 1000


class LiveSession(Resource):
    """One session of a repository: its log, and its way into the branch. A context manager.

    Many processes may edit one session, and any may commit: the one that comes second cuts again. Making one
    of these writes nothing; the first `edit` or `commit` calls `heal`. `branch` is by default the one HEAD
    names. With a `signer`, every commit is signed. With `salvage`, a log that lacks ops that commits cover is
    worked on all the same. Edits of a domain that no plugin knows are refused, unless the repository or
    `any_domain` lets them in. A `log` that is open already is used, and closed with the session.
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
        any_domain: bool = False,
        storage: Storage = LOCAL,
        log: OpLog | None = None,
    ) -> None:
        self.repository = Repository.open(os.fspath(repo_root), storage)
        self.log = log or OpLog(self.repository.root, session_id, durability=durability, storage=storage)
        self.branch = self.repository.dag.current_branch() if branch is None else layout.check_branch(branch)
        self.author = author
        self._writer = CommitWriter(self.repository, self.log, self.branch, signer)
        self._recovery = Recovery(self.repository, self.log, self.branch)
        self._salvage = salvage
        self._any_domain = any_domain or self.repository.any_domain
        self._known_domains: set[str] = set()
        self._is_healed = False
        self._was_behind = False

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
        """Append one edit to the log; see `OpLog.record`. `DomainError` for a domain that is refused here."""
        if domain not in self._known_domains:
            if not self._any_domain:
                check_domain_is_known(domain)
            self._known_domains.add(domain)
        if not self._is_healed:
            self.heal()
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
        self,
        message: str,
        *,
        author: str | None = None,
        salvage: bool = False,
        full: bool = False,
        at: str | None = None,
        executable: Collection[str] | None = None,
    ) -> CommitOutcome:
        """Carry all pending ops into the branch: one commit for each domain, one update of the ref.

        The delta stored is the net of the ops, or with `full` every op; the seal covers them all. Each op
        gets into history once, even if others commit too; one that another session has there is left out, and
        named in the outcome. If nothing is pending, nothing is made, and the outcome says so. `at` is the
        time of the commit in ISO 8601, by default now; `executable` are the files that may be run, by default
        those of the commit before.

        Raises `CorruptionError` if the log is damaged where an op may be lost (unless `salvage`: the good ops
        go), `PluginError` if a plugin fails, `StorageError` if the disk does: then the branch is unchanged
        and the ops stay pending, or it says that the commit is made. `HandEditedError` comes after the
        commit, about files of the working tree.
        """
        self.heal()
        # One committer of a session at a time; those of other sessions meet at the ref.
        with self._committing() as there_is_a_log:
            for _ in range(_COMMIT_ATTEMPTS):
                tips = self._recovery.catch_up().tips
                if not there_is_a_log:
                    return CommitOutcome()
                self.log.orphans.release()
                head = tips.get(self.branch)  # a newer one may hold ops that were not taken in
                cut = self.log.cut()
                entries = self.log.replay_since_checkpoint(until=cut, salvage=salvage)
                left_out = self._held_by_others(head, entries)
                entries = [entry for entry in entries if entry["op_id"] not in left_out]
                if not entries:
                    return self._count_as_covered(left_out, head, cut, tips)
                self.log.sync()
                by = self.author if author is None else author
                with collector_paused():
                    staged = self._writer.stage(
                        entries, cut, head, message, by, full=full, at=at, executable=executable
                    )
                try:
                    self.repository.dag.swap_head(self.branch, head, staged.newest)
                except ConflictError:
                    continue  # another committer was first: cut again on the new head
                try:
                    return self._finish(staged, len(entries), left_out, cut, tips)
                except StorageError as error:
                    raise StorageError(
                        f"commit {staged.newest} is made, but {error}; the next commit or "
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
        if not self.repository.storage.exists(directory):
            yield False
            return
        path = layout.session_commit_lock_file(self.repository.root, self.log.session_id())
        # What is stored for a commit is nobody's until the ref names it: no garbage is collected meanwhile.
        with self.repository.storage.locked(path), uncollected(self.repository.root, self.repository.storage):
            yield True

    def _held_by_others(self, head: str | None, entries: Sequence[OpEntry]) -> dict[str, str]:
        """Return those of the ops that another session has in the history of `head`: op id -> session."""
        root, session_id = self.repository.root, self.log.session_id()
        if not entries or names_of_sessions(root, storage=self.repository.storage) == [session_id]:
            return {}
        op_ids = [entry["op_id"] for entry in entries]
        return held_by_others(self.repository.dag, self.repository.objects, head, session_id, op_ids)

    def _count_as_covered(
        self, left_out: Mapping[str, str], head: str | None, cut: Cut, tips: Mapping[str, str | None]
    ) -> CommitOutcome:
        """Count ops as committed that all are in history by way of other sessions: nothing is to be made."""
        if left_out and head is not None:
            snapshot_id = self.repository.dag.read_commit(head)["snapshot_id"]
            checkpoint = self.log.checkpoint(snapshot_id, commit_id=head, until=cut, tips=present(tips))
            self._recovery.note_agreement(tips, checkpoint)
        return CommitOutcome(left_out=left_out)

    def _finish(
        self,
        staged: StagedCommits,
        op_count: int,
        left_out: Mapping[str, str],
        cut: Cut,
        tips: Mapping[str, str | None],
    ) -> CommitOutcome:
        """Bring the working tree, then the checkpoint, up to commits that the branch names."""
        before, session_id = tips.get(self.branch), self.log.session_id()
        KnownEffects(self.repository.root, session_id, self.repository.storage).keep(staged.effects)
        update = update_to_branch(self.repository, self.branch, before, session_id=session_id)
        tips = {**tips, self.branch: staged.newest}
        checkpoint = self.log.checkpoint(
            staged.snapshot_id, commit_id=staged.newest, until=cut, tips=present(tips)
        )
        self._recovery.note_agreement(tips, checkpoint)
        outcome = CommitOutcome(
            commit_ids=staged.commit_ids,
            op_count=op_count,
            summary=staged.summary,
            ignored=staged.ignored,
            left_out=left_out,
            written=tuple(update.written),
            removed=tuple(update.removed),
            kept=tuple(update.kept),
        )
        if outcome.kept:
            raise HandEditedError(outcome)
        return outcome

    # -- recovery -------------------------------------------------------------------------------

    def heal(self, found_before: SessionHistories | None = None) -> None:
        """Bring a checkpoint that is lost, damaged or behind up to history, once in the life of the session.

        What a crash left is finished so, and orphans whose parents have come enter the log. Call it before
        appending to `log` itself. `CorruptionError` if the log is not the one that history was made from: it
        is shorter, or an older copy. With `found_before`, history is not searched again unless it moved.
        """
        self._heal(salvage=self._salvage, found_before=found_before)

    def _heal(self, *, salvage: bool, found_before: SessionHistories | None = None) -> None:
        if self._is_healed:
            return
        if self.repository.storage.exists(layout.ops_file(self.repository.root, self.log.session_id())):
            self.log.orphans.release()
            with self._committing(), contextlib.suppress(LostCommitError):  # edits go on; a commit says it
                self._was_behind = self._recovery.catch_up(
                    salvage=salvage, found_before=found_before
                ).is_behind
        self._is_healed = True

    def recover(self, *, salvage: bool = False) -> bool:
        """Make checkpoint and working tree agree with history; return whether the checkpoint was rebuilt.

        The commits are the truth and the checkpoint a cache of them: one that is missing, damaged, of another
        session, or that says anything else, is made again. `CorruptionError` if the log lacks ops that
        commits cover, unless `salvage`: they count as covered, here or not. Raises `HandEditedError` about
        files that were left as they are.
        """
        self._heal(salvage=salvage or self._salvage)
        with self._committing():
            is_other, kept = self._recovery.rebuild(salvage=salvage)
        is_rebuilt, self._was_behind = is_other or self._was_behind, False
        if kept:
            raise HandEditedError(CommitOutcome((self.repository.dag.head(self.branch) or "",), kept=kept))
        return is_rebuilt

    # -- lifetime -------------------------------------------------------------------------------

    def close(self) -> None:
        """Release the log. Pending ops stay in it."""
        self.log.close()
