"""What history says of a session: which of its ops the branches hold, told by the seals in the commits."""

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field

from muse.core.commit_dag import CommitDag
from muse.core.commit_record import parents
from muse.core.seal import read_seal


@dataclass(frozen=True, slots=True)
class SessionCommit:
    """A commit made from a session's log; `op_list` is the object that lists the ops it covers."""

    commit_id: str
    parent_id: str | None
    snapshot_id: str
    op_list: str


@dataclass(slots=True)
class SessionHistory:
    """The commits of one session that were found, each behind those in its own history.

    `branch` leads to some of them.
    """

    commits: list[SessionCommit] = field(default_factory=list)
    branch: str = ""

    @property
    def op_lists(self) -> list[str]:
        return [commit.op_list for commit in self.commits]


def session_history(
    dag: CommitDag, session_id: str, tips: Mapping[str, str | None], stop: Container[str | None]
) -> SessionHistory:
    """Search the histories of `tips` (branch -> commit) for commits of a session, each commit once.

    No search goes past a commit in `stop`: it and what is behind it were taken in before. Where
    several branches lead to such commits, the first of `tips` is named.
    """
    result = SessionHistory()
    behind: dict[str, list[str]] = {}
    found: dict[str, SessionCommit] = {}
    for branch, tip in tips.items():
        if tip is None:
            continue
        for record in dag.history(tip, stop=_Either(stop, behind)):
            commit_id = record["commit_id"]
            behind[commit_id] = parents(record)
            seal = read_seal(record["message"])
            if seal is not None and seal.session_id == session_id:
                before, snapshot_id = record["parent_commit_id"], record["snapshot_id"]
                found[commit_id] = SessionCommit(commit_id, before, snapshot_id, seal.op_list)
                result.branch = result.branch or branch
    result.commits = [found[commit_id] for commit_id in _oldest_first(behind) if commit_id in found]
    return result


def _oldest_first(behind: Mapping[str, Iterable[str]]) -> list[str]:
    """Order commits so that each comes after its parents, those of its first parent first."""
    ordered: dict[str, None] = {}
    for start in behind:
        waiting = [(start, False)]
        while waiting:
            commit_id, are_parents_done = waiting.pop()
            if are_parents_done:
                ordered.setdefault(commit_id)
            elif commit_id in behind and commit_id not in ordered:
                waiting.append((commit_id, True))
                waiting += [(parent, False) for parent in reversed(list(behind[commit_id]))]
    return list(ordered)


@dataclass(frozen=True, slots=True)
class _Either:
    """What is in one container or the other."""

    one: Container[str | None]
    other: Container[str | None]

    def __contains__(self, item: object) -> bool:
        return item in self.one or item in self.other
