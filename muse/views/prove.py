"""Finds the commit that covers an op, and makes the proof of it."""

from dataclasses import dataclass

from muse.core.entry import OpEntry, is_op_id
from muse.core.op_log import list_sessions
from muse.errors import MuseError, NotFoundError, UsageError
from muse.history.commit_record import CommitRecord
from muse.history.covered_ops import (
    SealedCommits,
    SessionOps,
    covered_by,
    op_ids_of,
    open_session,
)
from muse.history.proof import (
    Proof,
    ProofError,
    check_proof,
    decode_proof,
    encode_proof,
    make_proof,
)
from muse.history.repository import Repository


class NotCommittedError(MuseError):
    """An op is in a log, and in no commit of any branch yet."""

    def __init__(self, message: str, *, op_id: str) -> None:
        super().__init__(message)
        self.op_id = op_id


@dataclass(frozen=True, slots=True)
class ActorProof:
    """The proof of one op of an actor. `fault` says why it does not hold, "" if it does."""

    actor_id: str
    op_id: str
    commit_id: str = ""
    fault: str = ""


def prove(repository: Repository, op_id: str, session_id: str | None = None) -> Proof:
    """Return the proof that an op is in a commit of some branch.

    Without `session_id` every session is searched. Raises `NotFoundError` for an op that no log has,
    `NotCommittedError` for one that is pending, `CorruptionError` if log and commit differ.
    """
    if not is_op_id(op_id):
        raise UsageError(f"{op_id!r} is not an op id: a lower-case UUID4 is expected")
    root = repository.root
    sessions = [session_id] if session_id is not None else list_sessions(root, storage=repository.storage)
    for name in sessions:
        ops = open_session(repository.root, name, repository.storage)
        try:
            if (found := ops.find(op_id)) is not None:
                return _prove(repository, name, ops, found[1])
        finally:
            ops.close()
    where = f"session {session_id!r}" if session_id else f"any session of {repository.root}"
    raise NotFoundError(f"there is no op {op_id} in {where}: see 'muse session tail'")


def _prove(repository: Repository, session_id: str, ops: SessionOps, entry: OpEntry) -> Proof:
    for commit in _branch_commits(repository).of_session(session_id):
        if commit.domain != entry["domain"]:
            continue
        op_ids = op_ids_of(repository.objects, commit.seal)
        if entry["op_id"] not in op_ids:
            continue
        covered = covered_by(commit, ops, repository.objects)
        return make_proof(repository.dag.read_commit(commit.commit_id), covered, entry["op_id"])
    raise NotCommittedError(
        f"op {entry['op_id']} of session {session_id!r} is in no commit yet: run 'muse commit {session_id}'",
        op_id=entry["op_id"],
    )


def _branch_commits(repository: Repository) -> SealedCommits:
    commits = SealedCommits()
    for record in repository.dag.reachable(repository.dag.branches().values()):
        commits.add(record)
    return commits


def prove_each_actor(repository: Repository, session_id: str) -> list[ActorProof]:
    """Prove the first op of each actor of a session, and check each proof as its reader would."""
    ops = open_session(repository.root, session_id, repository.storage)
    try:
        chosen = ops.first_of_each_actor()
    finally:
        ops.close()
    return [_proof_of(repository, session_id, actor_id, op_id) for actor_id, op_id in sorted(chosen.items())]


def _proof_of(repository: Repository, session_id: str, actor_id: str, op_id: str) -> ActorProof:
    try:
        data = encode_proof(prove(repository, op_id, session_id))
        proof = decode_proof(data)
        record: CommitRecord = repository.dag.read_commit(proof["commit"]["commit_id"])
        proven = check_proof(proof, record)
        if (proven.actor_id, proven.op_id) != (actor_id, op_id):
            raise ProofError(f"it proves op {proven.op_id} of {proven.actor_id}", field="entry", op_id=op_id)
    except MuseError as error:
        return ActorProof(actor_id, op_id, fault=str(error))
    return ActorProof(actor_id, op_id, proven.commit_id)
