"""A live session: edits go to the log at once, commits carry them into history, once each.

The way of a commit: cut the log; collapse each domain at that cut; let its plugin apply the ops to
the parent's files; store objects, snapshot and commit; swap the branch ref, which is the only commit
point; bring the working tree up to date; write the checkpoint. A crash anywhere leaves zero or one
commit of these ops, and the next `commit` or `recover` goes on from there.
"""

import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from muse.core import layout
from muse.core.checkpoint import Cut, OpLogCheckpoint
from muse.core.commit_record import CommitRecord, make_commit_record
from muse.core.delta import collapse
from muse.core.entry import OpEntry
from muse.core.op_log import Durability, OpLog
from muse.core.seal import Seal, add_trailers, make_seal, read_seal
from muse.core.storage import LOCAL, Storage
from muse.core.timestamp import now_text
from muse.core.working_tree import WorkingTreeUpdate, update_working_tree
from muse.domain import Application, DomainOp, IgnoredOp, StructuredDelta
from muse.errors import ConflictError, CorruptionError, DomainError, MuseError
from muse.plugins.registry import find_plugin
from muse.repository import Repository

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


class HandEditedError(MuseError):
    """The commit stands, but files changed by hand since were left as they are. `paths` names them."""

    def __init__(self, outcome: CommitOutcome) -> None:
        files = ", ".join(outcome.kept)
        super().__init__(
            f"commit {outcome.commit_id} is made, but changed by hand since and left as they are: {files}; "
            "save your version under another name, then run 'muse checkout --force'"
        )
        self.paths = outcome.kept
        self.outcome = outcome


@dataclass(frozen=True, slots=True)
class _Staged:
    """Commits that are stored but not yet in the branch."""

    commit_ids: tuple[str, ...]
    snapshot_id: str
    manifest: Mapping[str, str]
    deltas: tuple[StructuredDelta, ...]
    ignored: tuple[IgnoredOp, ...]


class LiveSession:
    """One session of a repository: its log, and its way into the branch. A context manager.

    Many processes may edit one session, and any may commit: whoever comes second cuts again.
    `branch` is by default the one HEAD names.
    """

    def __init__(
        self,
        repo_root: str | os.PathLike[str],
        session_id: str,
        *,
        branch: str | None = None,
        author: str = "",
        durability: Durability = "os",
        storage: Storage = LOCAL,
    ) -> None:
        self.repository = Repository.open(os.fspath(repo_root), storage)
        self.log = OpLog(self.repository.root, session_id, durability=durability, storage=storage)
        self.branch = branch or self.repository.dag.current_branch()
        self.author = author
        self._storage = storage
        self._searched = False  # whether history was, for commits of this session, up to the known head
        self._known_head: str | None = None

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

    def commit(self, message: str, *, author: str | None = None, salvage: bool = False) -> CommitOutcome:
        """Carry all pending ops into the branch: one commit for each domain, one update of the ref.

        Each op gets into history once, whoever else commits. Nothing pending: nothing is made, and
        the outcome says so. Raises `CorruptionError` if the log is damaged where an op may be lost
        (unless `salvage`: the good ops go), `DomainError` if a plugin fails, `StorageError` if the
        disk does: then the branch is unchanged and the ops stay pending. `HandEditedError` comes
        after the commit, about files of the working tree.
        """
        for _ in range(_COMMIT_ATTEMPTS):
            head = self._catch_up()
            cut = self.log.cut()
            self.log.sync()
            entries = self.log.replay_since_checkpoint(until=cut, salvage=salvage)
            if not entries:
                return CommitOutcome()
            staged = self._stage(entries, cut, head, message, self.author if author is None else author)
            try:
                self.repository.dag.swap_head(self.branch, head, staged.commit_ids[-1])
            except ConflictError:
                continue  # another committer was first: cut again on the new head
            return self._finish(staged, entries, cut, head)
        raise ConflictError(f"branch {self.branch!r} moved at each of {_COMMIT_ATTEMPTS} attempts: try again")

    def _stage(
        self, entries: list[OpEntry], cut: Cut, head: str | None, message: str, author: str
    ) -> _Staged:
        """Store the objects, snapshots and commits of `entries`; the branch does not name them yet."""
        manifest = self.repository.read_tree(head)
        frontier = self.log.frontier_after(entries)
        committed_at = now_text()
        commit_ids: list[str] = []
        deltas, ignored = [], []
        for domain in sorted({entry["domain"] for entry in entries}):
            delta = collapse(entries, domain)
            application = self._apply(delta, manifest)
            manifest = self._store_files(manifest, application)
            own = [entry for entry in entries if entry["domain"] == domain]
            seal = make_seal(self.log.session_id(), cut.offset, own, frontier, delta)
            record = make_commit_record(
                repo_id=self.repository.repo_id,
                branch=self.branch,
                snapshot_id=self.repository.dag.write_snapshot(manifest, committed_at),
                message=add_trailers(message, seal),
                committed_at=committed_at,
                parent_commit_id=commit_ids[-1] if commit_ids else head,
                author=author,
                structured_delta=delta,
            )
            commit_ids.append(self.repository.dag.write_commit(record))
            deltas.append(delta)
            ignored.extend(application.ignored)
        return _Staged(tuple(commit_ids), record["snapshot_id"], manifest, tuple(deltas), tuple(ignored))

    def _apply(self, delta: StructuredDelta, manifest: Mapping[str, str]) -> Application:
        plugin = find_plugin(delta["domain"])
        if plugin is None:
            return Application({})
        files = TreeFiles(self.repository, manifest)
        try:
            return plugin.apply(files, delta["ops"], self.repository.objects.get)
        except MuseError:
            raise
        except Exception as error:
            raise DomainError(
                f"the plugin of domain {delta['domain']!r} failed: {error!r}; nothing was committed, "
                "the ops stay in the log"
            ) from error

    def _store_files(self, manifest: Mapping[str, str], application: Application) -> dict[str, str]:
        after = dict(manifest)
        for path, content in application.files.items():
            if content is None:
                after.pop(path, None)
            else:
                after[path] = self.repository.objects.put(content)
        return after

    def _finish(self, staged: _Staged, entries: list[OpEntry], cut: Cut, head: str | None) -> CommitOutcome:
        """After the ref names the commits: the working tree, then the checkpoint."""
        newest = staged.commit_ids[-1]
        update = self._update_working_tree(self.repository.read_tree(head))
        self.log.checkpoint(staged.snapshot_id, commit_id=newest, until=cut)
        self._known_head = newest
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

    def recover(self) -> bool:
        """Make checkpoint and working tree agree with history; True if the checkpoint was rebuilt.

        The commits are the truth and the checkpoint a cache of them: one that is missing, damaged,
        of another session, or older than the branch's newest commit of this session is made anew.
        """
        self._searched = False
        return self._rebuild_if_behind(self.repository.dag.head(self.branch))

    def _catch_up(self) -> str | None:
        """Return the branch's head, with the checkpoint brought up to it."""
        head = self.repository.dag.head(self.branch)
        if head != self._known_head or not self._searched:
            self._rebuild_if_behind(head)
        return head

    def _rebuild_if_behind(self, head: str | None) -> bool:
        try:
            checkpoint = self.log.read_checkpoint()
        except CorruptionError:
            checkpoint = None
        newest = self._newest_commit(head, checkpoint)
        self._known_head, self._searched = head, True
        if newest is None:
            if checkpoint is None:
                self.log.discard_checkpoint()
            return False
        branch, commit, seal = newest
        if checkpoint is not None and self.log.covered_until() >= seal.cut_offset:
            return False
        # The ref that a crash left may not be on the disk yet; the checkpoint must not run ahead of it.
        tip = self.repository.dag.head(branch)
        if tip is not None:
            self.repository.dag.swap_head(branch, tip, tip)
        self.log.rebuild_checkpoint(commit["snapshot_id"], commit["commit_id"], seal.cut_offset)
        self._update_working_tree({})
        return True

    def _newest_commit(
        self, head: str | None, checkpoint: OpLogCheckpoint | None
    ) -> tuple[str, CommitRecord, Seal] | None:
        """Find the commit that covers most of this session, in this branch; without a checkpoint, in all.

        History is searched down to the commit the checkpoint names, or to where it was searched before.
        """
        stop: set[str | None] = {self._known_head} if self._searched else set()
        if checkpoint is not None:
            stop.add(checkpoint.get("commit_id"))
        heads = {self.branch: head}
        if checkpoint is None:
            heads |= self.repository.dag.branches()
        found = [
            (branch, *newest)
            for branch, tip in heads.items()
            if tip is not None and (newest := self._newest_in_history(tip, stop))
        ]
        return max(found, key=lambda item: item[2].cut_offset, default=None)

    def _newest_in_history(self, tip: str, stop: Collection[str | None]) -> tuple[CommitRecord, Seal] | None:
        for commit in self.repository.dag.history(tip):
            seal = read_seal(commit["message"])
            if seal is not None and seal.session_id == self.log.session_id():
                return commit, seal
            if commit["commit_id"] in stop:
                return None
        return None

    # -- lifetime -------------------------------------------------------------------------------

    def close(self) -> None:
        """Release the log. Pending ops stay in it."""
        self.log.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class TreeFiles(Mapping[str, bytes]):
    """The files of a manifest, each read and checked when it is first asked for."""

    def __init__(self, repository: Repository, manifest: Mapping[str, str]) -> None:
        self._repository = repository
        self._manifest = manifest
        self._read: dict[str, bytes] = {}

    def __getitem__(self, path: str) -> bytes:
        if path not in self._read:
            self._read[path] = self._repository.objects.get(self._manifest[path])
        return self._read[path]

    def __iter__(self) -> Iterator[str]:
        return iter(self._manifest)

    def __len__(self) -> int:
        return len(self._manifest)

    def __contains__(self, path: object) -> bool:
        return path in self._manifest


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
