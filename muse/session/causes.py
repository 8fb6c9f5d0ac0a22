"""The ops of a session that a reader of a branch has seen."""

from contextlib import closing

from muse.causality import heads_of
from muse.core.entry import OpEntry
from muse.history.commit_record import CommitRecord, parents
from muse.history.covered_ops import SessionOps, op_ids_of
from muse.history.repository import Repository
from muse.history.seal import Seal, read_seal
from muse.history.walk import reachable

_OPS = 10_000


def committed_heads(repository: Repository, session_id: str, domain: str, commit_id: str | None) -> list[str]:
    """Return the ids of ops behind a commit from which all of the domain's ops behind it follow.

    They are in the session's log: of each actor the last op, unless another names it as a parent. Only
    the newest ops are looked at, 10,000 on each line of history, so that cost does not grow with the log.
    """
    wanted: list[str] = []
    starts: list[int] = []
    left = {commit_id: _OPS}  # how many ops are looked at from a commit on
    behind: dict[str, list[str]] = {}
    for name in reachable([commit_id] if commit_id else [], behind.__getitem__):
        record = repository.dag.read_commit(name)
        behind[name] = parents(record)
        further = left[name]
        seal = seal_of(record, session_id, domain)
        if seal is not None and not further:
            starts.append(seal.cut_offset)  # what is wanted is behind it, if it is of this log
            behind[name] = []
        elif seal is not None:
            wanted += op_ids_of(repository.objects, seal)[-further:]
            further = max(further - seal.op_count, 0)
        for parent in behind[name]:
            left.setdefault(parent, further)
    return heads_of(_entries(repository, session_id, wanted, min(starts, default=0))) if wanted else []


def _entries(repository: Repository, session_id: str, op_ids: list[str], start: int) -> list[OpEntry]:
    with closing(SessionOps(repository.root, session_id, repository.storage)) as ops:
        found = ops.covered(op_ids, start=min(start, ops.end())).entries
        return found if len(found) == len(op_ids) or not start else ops.covered(op_ids).entries


def seal_of(record: CommitRecord, session_id: str, domain: str) -> Seal | None:
    """Return the seal of a commit made from the session's ops of the domain."""
    seal, delta = read_seal(record["message"]), record["structured_delta"]
    is_own = seal is not None and seal.session_id == session_id
    return seal if is_own and delta is not None and delta["domain"] == domain else None
