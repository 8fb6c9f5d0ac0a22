"""Finds the commit that covers an op, and makes the proof of it."""

from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass

from muse.core.entry import OpEntry, is_op_id
from muse.core.op_log import list_sessions
from muse.errors import MuseError, NotFoundError
from muse.history.commit_record import CommitRecord
from muse.history.covered_ops import (
    SealedCommit,
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
    make_proofs,
)
from muse.history.repository import Repository
from muse.history.revision import one_beginning_with
from muse.views.as_of import check_op_name


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

    Without `session_id` every session is searched. The first digits of an id are enough where no
    other begins so. Raises `NotFoundError` for an op that no log has,
    `NotCommittedError` for one that is pending, `CorruptionError` if log and commit differ.
    """
    root = repository.root
    sessions = [session_id] if session_id is not None else list_sessions(root, storage=repository.storage)
    if not is_op_id(op_id):
        op_id = _whole_id(repository, op_id, sessions)
    for name in sessions:
        ops = open_session(repository.root, name, repository.storage)
        try:
            if (found := ops.find(op_id)) is not None:
                return _prove(repository, name, ops, found[1])
        finally:
            ops.close()
    where = f"session {session_id!r}" if session_id else f"any session of {repository.root}"
    raise NotFoundError(f"there is no op {op_id} in {where}: see 'muse session tail'")


def _whole_id(repository: Repository, prefix: str, sessions: Iterable[str]) -> str:
    """Return the only op id of the sessions that begins so; `UsageError` if there is not one."""
    check_op_name(prefix)
    found: set[str] = set()
    for name in sessions:
        with closing(open_session(repository.root, name, repository.storage)) as ops:
            found.update(ops.ids_beginning_with(prefix))
    if (op_id := one_beginning_with(prefix, found, "ops")) is None:
        raise NotFoundError(
            f"there is no op {prefix} in any session of {repository.root}: see 'muse session tail'"
        )
    return op_id


def _prove(repository: Repository, session_id: str, ops: SessionOps, entry: OpEntry) -> Proof:
    for commit in _branch_commits(repository).of_session(session_id):
        if commit.domain != entry["domain"]:
            continue
        op_ids = op_ids_of(repository.objects, commit.seal)
        if entry["op_id"] not in op_ids:
            continue
        covered = covered_by(commit, ops, repository.objects)
        return make_proof(repository.dag.read_commit(commit.commit_id), covered, entry["op_id"])
    raise _not_committed(session_id, entry["op_id"])


def _not_committed(session_id: str, op_id: str) -> NotCommittedError:
    return NotCommittedError(
        f"op {op_id} of session {session_id!r} is in no commit yet: run 'muse commit {session_id}'",
        op_id=op_id,
    )


def _branch_commits(repository: Repository) -> SealedCommits:
    commits = SealedCommits()
    for record in repository.dag.reachable(repository.dag.branches().values()):
        commits.add(record)
    return commits


def prove_each_actor(repository: Repository, session_id: str) -> list[ActorProof]:
    """Prove the first op of each actor of a session, and check each proof as its reader would.

    Each commit and the ops that it covers are read once, however many actors there are.
    """
    found: list[ActorProof] = []
    ops = open_session(repository.root, session_id, repository.storage)
    left = {op_id: actor_id for actor_id, op_id in ops.first_of_each_actor().items()}
    try:
        for commit in _branch_commits(repository).of_session(session_id):
            op_ids = [op_id for op_id in op_ids_of(repository.objects, commit.seal) if op_id in left]
            own = {op_id: left.pop(op_id) for op_id in op_ids}
            found += _proofs_in(repository, commit, ops, own) if own else []
        faults = {op_id: str(_not_committed(session_id, op_id)) for op_id in left}
    except MuseError as error:
        faults = dict.fromkeys(left, str(error))
    finally:
        ops.close()
    found += [ActorProof(actor_id, op_id, fault=faults[op_id]) for op_id, actor_id in left.items()]
    return sorted(found, key=lambda proof: proof.actor_id)


def _proofs_in(
    repository: Repository, commit: SealedCommit, ops: SessionOps, actors: Mapping[str, str]
) -> list[ActorProof]:
    """Prove ops (op id -> actor) that one commit covers."""
    try:
        record = repository.dag.read_commit(commit.commit_id)
        covered = covered_by(commit, ops, repository.objects)
        proofs = make_proofs(record, covered, list(actors))
    except MuseError as error:
        return [ActorProof(actor_id, op_id, fault=str(error)) for op_id, actor_id in actors.items()]
    pairs = zip(proofs, actors.items(), strict=True)
    return [_checked(proof, record, actor_id, op_id) for proof, (op_id, actor_id) in pairs]


def _checked(made: Proof, record: CommitRecord, actor_id: str, op_id: str) -> ActorProof:
    try:
        proven = check_proof(decode_proof(encode_proof(made)), record)
        if (proven.actor_id, proven.op_id) != (actor_id, op_id):
            raise ProofError(f"it proves op {proven.op_id} of {proven.actor_id}", field="entry", op_id=op_id)
    except MuseError as error:
        return ActorProof(actor_id, op_id, fault=str(error))
    return ActorProof(actor_id, op_id, proven.commit_id)
