"""All that `muse verify` finds is mended from another replica, as far as that has it.

The logs come first, as a commit is only taken in with the ops that it seals; then what is stored, branches
and HEAD. Checkpoints are made again from the commits. At the end all is verified, and history replayed.
"""

import os.path
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from operator import ne

from muse.checks.finding import Finding
from muse.checks.sealed_ops import SealedOpsCheck
from muse.checks.verify import Report, verify_repository
from muse.core.file.live_or_archived import is_archived
from muse.core.file.session_file import SessionFile
from muse.core.op_log import OpLog, list_sessions
from muse.core.orphan_file import OrphanFile
from muse.disk import layout
from muse.disk.aside import keep_aside
from muse.disk.storage import LOCAL, Storage
from muse.errors import CorruptionError, MuseError, NotFoundError, UsageError
from muse.history.commit_record import CommitRecord, parents
from muse.history.dag import CommitDag
from muse.history.repo_record import (
    RepoRecord,
    digest_of_record,
    make_repo_record,
    read_repo_record,
    write_repo_record,
)
from muse.history.seal import read_seal
from muse.history.walk import reachable
from muse.replication.bodies import restore_bodies
from muse.replication.local_peer import LocalPeer
from muse.replication.mend import Mended, Mender, clear_damage, distrust_checkpoint
from muse.replication.peer import IDS_AT_MOST, Identity, Peer
from muse.replication.sync import SessionSync, check_same_repository, sync_session
from muse.upkeep.garbage import digests_in


@dataclass(frozen=True, slots=True)
class Repaired:
    """The outcome: what was mended, what came in for each session, and what is not sound even so.

    `failed` says why something could not be had from the other side.
    """

    mended: tuple[Mended, ...]
    sessions: tuple[SessionSync, ...]
    failed: tuple[str, ...]
    report: Report

    @property
    def is_sound(self) -> bool:
        """Whether the replica has no fault any more."""
        return self.report.is_sound and all(session.is_sound for session in self.sessions)


def repair_from(
    root: str,
    peer: Peer,
    storage: Storage = LOCAL,
    *,
    progress: Callable[[int], None] = lambda _done: None,
) -> Repaired:
    """Mend the replica at `root` from `peer`; nothing is sent there.

    Damaged bytes are kept, each file under `.muse/damaged` and those of a log beside it. What was done before
    an error stays, and the next call goes on. `UsageError` where the two are not of one repository.
    """
    mended = _mend_repo_file(root, peer.identity(), storage)
    with LocalPeer(root, storage) as own:
        check_same_repository(own, peer)
        sessions = []
        check = SealedOpsCheck(own.repository)
        check.read_commits()
        for session_id in sorted({*own.sessions(), *peer.sessions()}):
            mended += _clear_orphans(root, session_id, storage)
            mended += restore_bodies(own, peer, session_id, check)
            if distrust_checkpoint(own, session_id):
                mended.append(Mended("checkpoint", session_id))
            sessions.append(sync_session(own, peer, session_id, send=False))
            mended += clear_damage(own, session_id)
            progress(len(sessions))
        mender = Mender(own, peer)
        with own.receiving():
            _mend_objects_of_ops(mender, peer)
        while _mend_found(mender, peer, verify_repository(root, storage)):
            pass  # what comes may name what is lacking too
        own.settle()
        report = verify_repository(root, storage, replay=True)
        while _mend_found(mender, peer, report):
            own.settle()
            report = verify_repository(root, storage, replay=True)
        mended += mender.mended
    brought = [Mended("ops", f"{one.received} of {one.session_id}") for one in sessions if one.received]
    return Repaired((*mended, *brought), tuple(sessions), tuple(mender.failed.values()), report)


# -- repo.json ------------------------------------------------------------------------------------


def _mend_repo_file(root: str, identity: Identity, storage: Storage) -> list[Mended]:
    """Write `repo.json` again if the one here is not what commits seal, and that of the other side is."""
    sealed = set(_sealed_digests(CommitDag(root, storage)))
    found: RepoRecord | None = None
    with suppress(NotFoundError, CorruptionError):
        found = read_repo_record(root, storage)
    if found is not None and (not sealed or digest_of_record(found) in sealed):
        return []
    record = make_repo_record(
        repo_id=identity.repo_id, created_at=identity.created_at, domain=identity.domain
    )
    path = layout.repo_file(root)
    if digest_of_record(record) not in sealed:
        if found is not None:
            return []
        raise UsageError(
            f"{path} is lost or damaged, and no commit here proves that the other side is a replica of this "
            "repository: put the file back, or make a new replica with 'muse clone'"
        )
    aside = keep_aside(root, path, storage)
    write_repo_record(root, record, storage)
    return [Mended("repo", path, aside)]


def _sealed_digests(dag: CommitDag) -> Iterator[str]:
    for record in _readable(dag):
        seal = read_seal(record["message"])
        if seal is not None and seal.repository_digest is not None:
            yield seal.repository_digest


def _readable(dag: CommitDag) -> Iterator[CommitRecord]:
    for commit_id in dag.commit_ids():
        with suppress(MuseError):
            yield dag.read_commit(commit_id)


# -- logs -----------------------------------------------------------------------------------------


def _clear_orphans(root: str, session_id: str, storage: Storage) -> list[Mended]:
    """Move the damage among the orphans of a live log aside: their senders still have them."""
    if is_archived(root, session_id, storage=storage):
        return []
    orphans = OrphanFile(layout.orphans_file(root, session_id), storage)
    if orphans.is_there() and orphans.faults():
        good = [line for _, line in orphans.read().values()]
        aside = keep_aside(root, orphans.path, storage)
        orphans.write(good)
        return [Mended("orphans", session_id, aside)]
    return []


def _mend_objects_of_ops(mender: Mender, peer: Peer) -> None:
    """Bring the objects that ops name: a replay of the log needs them."""
    own = mender.own
    for session_id in list_sessions(own.repository.root, storage=own.storage):
        file = SessionFile(own.repository.root, session_id, own.storage)
        try:
            for _, data in file.blocks(0, file.end()):
                missing = own.lacks("object", sorted(set(digests_in(data))))
                for start in range(0, len(missing), IDS_AT_MOST):
                    some = missing[start : start + IDS_AT_MOST]
                    absent = set(peer.lacks("object", some))
                    for object_id in some:
                        if object_id not in absent:
                            mender.mend("object", object_id)
        finally:
            file.close()


# -- what is stored -------------------------------------------------------------------------------


def _mend_found(mender: Mender, peer: Peer, report: Report) -> bool:
    """Mend what a report tells, and return whether anything was."""
    with mender.own.receiving():
        mended = [_mend_finding(mender, peer, finding) for finding in report.findings]
    return any(mended)


def _mend_finding(mender: Mender, peer: Peer, finding: Finding) -> bool:
    """Mend what a finding is about; return whether anything was mended."""
    if finding.needs is not None:
        is_mended = mender.mend(*finding.needs)
        if finding.kind == "ref" and not is_mended:
            return _mend_changed_branch(mender, finding.path, finding.needs[1])
        return is_mended
    if finding.kind == "ref":
        return _mend_branch(mender, peer, finding.path)
    if finding.kind == "head":
        return _mend_head(mender, peer, finding.path)
    if finding.kind == "workdir" and not finding.path.endswith(".json"):  # a record makes that again
        aside = keep_aside(mender.own.repository.root, finding.path, mender.own.storage)
        mender.mended.append(Mended("workdir", finding.path, aside))
        return bool(aside)
    return False


def _mend_branch(mender: Mender, peer: Peer, path: str) -> bool:
    """Let a lost or damaged branch name the newest commit here that no branch has, or the other side's head.

    Of several such commits, the one whose history a checkpoint here names counts; if that leaves
    not just one, nothing is done.
    """
    own, root = mender.own, mender.own.repository.root
    dag, branch = own.repository.dag, os.path.relpath(path, layout.branches_directory(root))
    theirs = peer.branches().get(branch)
    if theirs is None or not _is_unreadable(dag, branch) or not _has(mender, theirs):
        return False
    links = {record["commit_id"]: parents(record) for record in _readable(dag)}
    newest = _newest_on_no_branch(dag, links, theirs)
    if len(newest) > 1:
        named = _named_by_checkpoints(own)
        newest = {tip for tip in newest if not named.isdisjoint(_history(links, [tip]))}
    elif not newest:
        newest = {theirs}
    if len(newest) != 1:
        return False
    aside = keep_aside(root, path, own.storage)
    dag.swap_head(branch, None, newest.pop())
    mender.mended.append(Mended("ref", branch, aside))
    return True


def _mend_changed_branch(mender: Mender, path: str, wrong_id: str) -> bool:
    """Let a branch name the commit here whose id differs in one digit from that of one that is nowhere.

    Ids are hashes: two that differ so little are one, and a changed byte.
    """
    own = mender.own
    dag, branch = own.repository.dag, os.path.relpath(path, layout.branches_directory(own.repository.root))
    near = [one for one in dag.commit_ids() if sum(map(ne, one, wrong_id)) == 1]
    if len(near) != 1 or dag.has_commit(wrong_id) or dag.head(branch) != wrong_id:
        return False
    aside = keep_aside(own.repository.root, path, own.storage)
    dag.swap_head(branch, None, near.pop())
    mender.failed.pop(("commit", wrong_id), None)
    mender.mended.append(Mended("ref", branch, aside))
    return True


def _newest_on_no_branch(dag: CommitDag, links: Mapping[str, Sequence[str]], theirs: str) -> set[str]:
    """Return the commits without a child that neither `theirs` nor a branch here leads to."""
    heads = {theirs}
    for name in dag.branch_names():
        with suppress(MuseError):
            heads.update(filter(None, [dag.head(name)]))
    return set(links) - set(chain.from_iterable(links.values())) - set(_history(links, heads))


def _history(links: Mapping[str, Sequence[str]], heads: Iterable[str]) -> Iterator[str]:
    return reachable(heads, lambda commit_id: links.get(commit_id, ()))


def _named_by_checkpoints(own: LocalPeer) -> set[str]:
    """Return the commits that the checkpoints here name."""
    root, named = own.repository.root, set()
    for session_id in own.sessions():
        with suppress(MuseError), OpLog(root, session_id, storage=own.storage) as log:
            if checkpoint := log.read_checkpoint():
                named.add(checkpoint.get("commit_id", ""))
    return named


def _is_unreadable(dag: CommitDag, branch: str) -> bool:
    """Return whether a branch names no commit."""
    try:
        return dag.head(branch) is None
    except CorruptionError:
        return True


def _has(mender: Mender, commit_id: str) -> bool:
    return not mender.lacks("commit", [commit_id]) or mender.mend("commit", commit_id)


def _mend_head(mender: Mender, peer: Peer, path: str) -> bool:
    """Bring the branch again that HEAD names, or let HEAD name that of the other side, if it is here."""
    own = mender.own
    with suppress(CorruptionError):
        branch = own.repository.dag.current_branch()
        return _mend_branch(mender, peer, layout.branch_file(own.repository.root, branch))
    branch = peer.identity().branch
    if branch not in set(own.repository.dag.branch_names()):
        return False
    aside = keep_aside(own.repository.root, path, own.storage)
    own.repository.dag.set_current_branch(branch)
    mender.mended.append(Mended("head", branch, aside))
    return True
