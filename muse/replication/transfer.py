"""Commits, from one replica to another: pull, push, clone.

The ops go first, then objects, snapshots and commits, each checked by its hash before it is written,
parents before children; the branch last. So whatever cuts a transfer short, nothing of it is to be
seen, and the next one does what was left.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from muse.apply.merge_heads import merge_heads
from muse.disk import layout
from muse.disk.storage import LOCAL, Storage
from muse.errors import ConflictError, NotFoundError, UsageError
from muse.history.repository import Repository
from muse.history.signing import Signer
from muse.replication.history_copy import copy_history
from muse.replication.local_peer import LocalPeer
from muse.replication.mend import Mended, Mender, clear_damage, distrust_checkpoint, mend_history
from muse.replication.peer import Peer
from muse.replication.sync import SessionSync, sync_session, sync_sessions
from muse.session.working_files import update_to_branch

_ATTEMPTS = 100
_REASONS_SHOWN = 3

Result = Literal["up to date", "ahead", "fast-forward", "merged"]


@dataclass(frozen=True, slots=True)
class Transfer:
    """The outcome of a pull or a push: the branch's commit before and after, and the commits copied.

    `result` "ahead": the side that receives has commits that the other lacks, and nothing was moved.
    `kept` are files of the working tree that were changed by hand, and left so.
    """

    branch: str
    before: str | None
    after: str | None
    result: Result
    commits: int = 0
    kept: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Exchange:
    """The outcome for each session, then for each branch; `mended` was lost or damaged here, and is whole."""

    sessions: tuple[SessionSync, ...]
    transfers: tuple[Transfer, ...] = ()
    mended: tuple[Mended, ...] = ()


def pull(own: LocalPeer, peer: Peer, branch: str | None = None, *, signer: Signer | None = None) -> Exchange:
    """Bring the ops of all sessions, and what `branch` (default: HEAD's) has there, to this side.

    Where both sides have commits of their own, they are merged; with a `signer`, the merge is signed. What is
    lost or damaged here of the branch or of its ops, and whole there, is mended: see `muse.replication.mend`.
    `NotFoundError` if the branch has no commit there; `ConflictError`, and the branch stays, if the ops of a
    commit did not come in, or cannot be merged, or a merge there is not what it merges, or if the branch is
    moved here again and again meanwhile.
    """
    branch = own.identity().branch if branch is None else layout.check_branch(branch)
    theirs = peer.branches().get(branch)  # before the ops, so that all that it covers are among them
    sessions = tuple(_mended_session(own, peer, found) for found in sync_sessions(own, peer, send=False))
    if theirs is None:
        raise NotFoundError(
            f"branch {branch!r} has no commit there: give another with --branch, or push first"
        )
    mended = [one for name in sorted(own.damaged_sessions) for one in clear_damage(own, name)]
    with own.receiving():
        mender = Mender(own, peer)
        tips = {own.repository.dag.head(branch), None if own.lacks("commit", [theirs]) else theirs}
        mend_history(mender, filter(None, tips))
        commits = _copy(peer, own, theirs, sessions)
        own.check_merges(theirs, own.repository.dag.head(branch))
        for _ in range(_ATTEMPTS):
            ours = own.repository.dag.head(branch)
            after, result = _joined(own.repository, branch, ours, theirs, signer)
            try:
                kept = own.move(branch, ours, after) if after != ours else []
            except ConflictError:
                continue  # a commit was made here meanwhile: join with that
            break
        else:
            raise ConflictError(f"branch {branch!r} moved at each of {_ATTEMPTS} attempts: try again")
        if after == ours:
            own.settle()
    transfer = Transfer(branch, ours, after, result, commits, tuple(kept))
    sessions = _after_history(own, peer, sessions, send=False) if commits else sessions
    return Exchange(sessions, (transfer,), (*mended, *mender.mended))


def _mended_session(own: LocalPeer, peer: Peer, outcome: SessionSync) -> SessionSync:
    """Bring a session again whose log lost what its checkpoint covers."""
    if outcome.faults and distrust_checkpoint(own, outcome.session_id):
        return sync_session(own, peer, outcome.session_id, send=False)
    return outcome


def _after_history(
    own: LocalPeer, peer: Peer, outcomes: Iterable[SessionSync], *, send: bool = True, receive: bool = True
) -> tuple[SessionSync, ...]:
    """Look again at the sessions that kept ops out: commits that were copied may have brought them."""
    looked: list[SessionSync] = []
    for first in outcomes:
        if first.is_sound and not first.orphans:
            looked.append(first)
            continue
        again = sync_session(own, peer, first.session_id, send=send, receive=receive)
        sent, received = first.sent + again.sent, first.received + again.received
        known = max(first.known, again.known)
        looked.append(replace(again, sent=sent, received=received, known=known))
    return tuple(looked)


def _joined(
    repository: Repository, branch: str, ours: str | None, theirs: str, signer: Signer | None
) -> tuple[str, Result]:
    """Return the one of two commits that descends from the other, else their merge."""
    if ours == theirs:
        return theirs, "up to date"
    if ours is None or repository.dag.descends(theirs, ours):
        return theirs, "fast-forward"
    if repository.dag.descends(ours, theirs):
        return ours, "ahead"
    return merge_heads(repository, branch, ours, theirs, signer), "merged"


def push(own: LocalPeer, peer: Peer, branch: str | None = None) -> Exchange:
    """Bring the ops of all sessions, and what `branch` (default: HEAD's) has here, to the other side.

    `NotFoundError` if the branch has no commit here; `ConflictError`, and the branch stays, if the other
    side has commits that this one lacks, or does not take in the ops of a commit.
    """
    branch = own.identity().branch if branch is None else layout.check_branch(branch)
    dag = own.repository.dag
    ours = dag.head(branch)
    if ours is None:
        raise NotFoundError(f"branch {branch!r} has no commit here: make one with 'muse commit'")
    sessions = tuple(sync_sessions(own, peer, receive=False))
    theirs = peer.branches().get(branch)
    if theirs == ours:
        kept = peer.advance(branch, ours, ours)  # a push that was cut short may have left its files
        return Exchange(sessions, (Transfer(branch, theirs, ours, "up to date", kept=tuple(kept)),))
    if theirs is not None and not (dag.has_commit(theirs) and dag.descends(ours, theirs)):
        raise ConflictError(f"branch {branch!r} has commits there that are not here: run 'muse pull' first")
    with peer.receiving():
        commits = _copy(own, peer, ours, sessions)
        kept = peer.advance(branch, theirs, ours)
    sessions = _after_history(own, peer, sessions, receive=False) if commits else sessions
    return Exchange(sessions, (Transfer(branch, theirs, ours, "fast-forward", commits, tuple(kept)),))


def clone(peer: Peer, root: str, storage: Storage = LOCAL) -> Exchange:
    """Make a replica of a repository at `root`, with all sessions and branches; go on with one begun.

    `UsageError` if something else is at `root`; `ConflictError` if the ops of a commit did not come in.
    """
    identity, heads = peer.identity(), peer.branches()
    _check_free(root, identity.repo_id, storage)
    Repository.init(
        root, now=identity.created_at, domain=identity.domain, repo_id=identity.repo_id, storage=storage
    )
    with LocalPeer(root, storage) as own:
        sessions = tuple(sync_sessions(own, peer, send=False))
        own.repository.dag.set_current_branch(identity.branch)
        made = []
        for branch, head in heads.items():
            before = own.repository.dag.head(branch)
            if head is None:
                continue
            with own.receiving():
                commits = _copy(peer, own, head, sessions)
                kept = own.advance(branch, before, head)
                if before == head:  # a clone that was cut short may have left its files
                    kept = update_to_branch(own.repository, branch, None).kept
            made.append(Transfer(branch, before, head, "fast-forward", commits, tuple(kept)))
        sessions = _after_history(own, peer, sessions, send=False) if made else sessions
    return Exchange(sessions, tuple(made))


def _check_free(root: str, repo_id: str, storage: Storage) -> None:
    """Raise `UsageError` unless there is nothing at `root`, or what a clone that was cut short has left."""
    if storage.exists(layout.repo_file(root)):
        if Repository.open(root, storage).repo_id != repo_id:
            raise UsageError(f"{root} is another repository: name a new directory")
    elif storage.exists(root):
        names = storage.list_directory(root) if storage.is_directory(root) else [("", False)]
        if names not in ([], [(layout.MUSE_DIRECTORY, True)]):
            raise UsageError(f"{root} is in the way: name a new directory, or an empty one")


def _copy(source: Peer, target: Peer, tip: str, sessions: Iterable[SessionSync]) -> int:
    """Copy the history of `tip`; an error tells the reasons why ops were kept out, too."""
    try:
        return copy_history(source, target, tip, target.cover)
    except ConflictError as error:
        found = [
            f"{session.session_id}: {reason}"
            for session in sessions
            for reason in (
                *session.faults,
                *(f"op {each.op_id}: {each.reason}" for each in session.reasons),
                *_waiting(session),
            )
        ]
        raise ConflictError("; ".join([str(error), *found[:_REASONS_SHOWN]])) from error


def _waiting(session: SessionSync) -> list[str]:
    """Say how many ops of a session wait for their parents, if any do."""
    return [f"{session.orphans} wait for parents that are on neither side"] if session.orphans else []
