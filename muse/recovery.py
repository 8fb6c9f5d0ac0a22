"""What history says of a session: which of its ops the branches hold, told by the seals in the commits."""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from muse.core.commit_dag import CommitDag
from muse.core.commit_record import CommitRecord
from muse.core.seal import read_seal


@dataclass(slots=True)
class SessionHistory:
    """The commits of one session that were found.

    `cuts`: for each domain, the byte of the log before which history holds its ops. `newest`: the
    commit that reaches farthest, on `branch`. `before`: the parent of the earliest one, wherever it is.
    """

    cuts: dict[str, int] = field(default_factory=dict)
    newest: CommitRecord | None = None
    branch: str = ""
    before: str | None = None
    reach: int = -1
    start: float = math.inf

    def add(self, commit: CommitRecord, branch: str, cut_offset: int) -> None:
        """Take in a commit of the session; on each branch they come newest first."""
        domain = (commit["structured_delta"] or {"domain": ""})["domain"]
        self.cuts[domain] = max(cut_offset, self.cuts.get(domain, 0))
        if cut_offset <= self.start:
            self.start, self.before = cut_offset, commit["parent_commit_id"]
        if cut_offset > self.reach:
            self.reach, self.newest, self.branch = cut_offset, commit, branch


def session_history(
    dag: CommitDag, session_id: str, tips: Mapping[str, str | None], stop: Collection[str | None]
) -> SessionHistory:
    """Search the histories of `tips` (branch -> commit) for commits of a session, each commit once.

    The search of a branch ends at a commit in `stop`: it and what is behind it were taken in before.
    """
    found = SessionHistory()
    seen: set[str] = set()
    for branch, tip in tips.items():
        if tip is None:
            continue
        for commit in dag.history(tip):
            commit_id = commit["commit_id"]
            if commit_id in stop or commit_id in seen:
                break
            seen.add(commit_id)
            seal = read_seal(commit["message"])
            if seal is not None and seal.session_id == session_id:
                found.add(commit, branch, seal.cut_offset)
    return found
