"""The checkpoint of a session is brought up to what the branches hold: after a crash, a merge, or a loss."""

import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from muse.core.coverage import OpLogCheckpoint, coverage_of
from muse.core.op_log import OpLog
from muse.errors import ConflictError, CorruptionError, MuseError, NotFoundError
from muse.history.repository import Repository
from muse.history.seal import read_seal
from muse.history.session_history import SessionHistories, SessionHistory, session_history
from muse.session.working_files import update_to_branch


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
class CaughtUp:
    """The heads that the checkpoint has taken in, whether it was behind, and the files that were kept."""

    tips: Mapping[str, str | None]
    is_behind: bool = False
    kept: tuple[str, ...] = ()


def present(tips: Mapping[str, str | None]) -> set[str]:
    """Return the commits that branches are at."""
    return {tip for tip in tips.values() if tip is not None}


class Recovery:
    """Makes the checkpoint of a session agree with history. Call it while nobody else can commit."""

    def __init__(self, repository: Repository, log: OpLog, branch: str) -> None:
        self._repository = repository
        self._log = log
        self._branch = branch
        # The branches and the checkpoint when they last agreed.
        self._agreed: tuple[Mapping[str, str | None], OpLogCheckpoint | None] | None = None

    def note_agreement(self, tips: Mapping[str, str | None], checkpoint: OpLogCheckpoint | None) -> None:
        """Remember that a checkpoint has all that these branches hold."""
        self._agreed = tips, checkpoint

    def catch_up(
        self,
        *,
        salvage: bool = False,
        found_before: SessionHistories | None = None,
        distrusts: bool = False,
    ) -> CaughtUp:
        """Bring the checkpoint up to what the branches hold, as `found_before` has it if they have not moved.

        A checkpoint that it `distrusts` is made again from the commits alone; until then it stays.
        `LostCommitError` if it rests on a commit that no branch leads to, `CorruptionError` if the log lacks
        ops that commits cover, unless `salvage`.
        """
        dag, log = self._repository.dag, self._log
        tips = dag.branches()
        try:
            checkpoint = None if distrusts else log.read_checkpoint()
            is_damaged = distrusts
        except CorruptionError:
            checkpoint, is_damaged = None, True
        if not is_damaged and self._agreed == (tips, checkpoint):
            return CaughtUp(tips)
        named = checkpoint.get("commit_id", "") if checkpoint else ""
        taken_in = {*(checkpoint.get("tips", ()) if checkpoint else ()), named} - {""}
        found = self._history(tips, taken_in, found_before)
        if (gone := taken_in - found.met) and (lost := self._lost(gone, tips)):
            raise LostCommitError(log.session_id(), lost)
        if not found.commits:
            if is_damaged:
                log.checkpoints.discard()
            self.note_agreement(tips, log.checkpoints.trusted())
            return CaughtUp(tips)
        coverage = log.checkpoints.with_commits(found.op_lists, salvage=salvage, is_trusted=not is_damaged)
        is_behind = is_damaged or coverage != log.checkpoints.coverage()
        kept: list[str] = []
        if is_behind:
            # The ref that a crash left may not be on the disk yet; the checkpoint must not run ahead of it.
            with contextlib.suppress(ConflictError):  # who moved it on has synced it
                dag.swap_head(found.branch, tips[found.branch], tips[found.branch] or "")
            before = named or found.commits[0].parent_id
            kept = update_to_branch(self._repository, self._branch, before).kept
        newest = found.commits[-1]
        log.checkpoints.adopt(coverage, newest.snapshot_id, newest.commit_id, present(tips))
        self.note_agreement(tips, log.checkpoints.trusted())
        return CaughtUp(tips, is_behind, tuple(kept))

    def _history(
        self, tips: Mapping[str, str | None], taken_in: set[str], found_before: SessionHistories | None
    ) -> SessionHistory:
        session_id = self._log.session_id()
        if found_before and found_before.tips == tips and session_id not in found_before.unnamed:
            return found_before.of(session_id)
        return session_history(self._repository.dag, session_id, tips, taken_in)

    def rebuild(self, *, salvage: bool = False) -> tuple[bool, tuple[str, ...]]:
        """Derive the checkpoint from the commits alone.

        Return whether it said something else before, and the files that were kept. See `catch_up` for what
        is raised.
        """
        before = self._log.checkpoints.trusted()
        told = coverage_of(before) if before and self._is_as_committed(before) else None
        if before and not self._log.checkpoints.fits_log():
            self._log.checkpoints.distrust()  # with it the log cannot be opened, to make another
        kept = self.catch_up(salvage=salvage, distrusts=before is not None).kept
        return before is not None and self._log.checkpoints.coverage() != told, kept

    def _is_as_committed(self, checkpoint: OpLogCheckpoint) -> bool:
        """Return whether the snapshot it names is that of its commit."""
        dag = self._repository.dag
        commit_id = checkpoint.get("commit_id", "")
        if not commit_id or not dag.has_commit(commit_id):
            return not commit_id
        return dag.read_commit(commit_id)["snapshot_id"] == checkpoint["snapshot_id"]

    def _lost(self, gone: Iterable[str], tips: Mapping[str, str | None]) -> str | None:
        """Return a commit of the session that is behind those that are `gone`, and behind no branch."""
        dag = self._repository.dag
        reached = {record["commit_id"] for record in dag.reachable(tips.values())}
        for commit_id in sorted(gone):
            try:
                for record in dag.history(commit_id, stop=reached):
                    seal = read_seal(record["message"])
                    if seal is not None and seal.session_id == self._log.session_id():
                        return record["commit_id"]
            except (NotFoundError, CorruptionError):
                return commit_id
        return None
