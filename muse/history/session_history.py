"""Finds the ops of a session that the branches hold, by the seals in the commits."""

import re
from collections.abc import Container, Mapping
from dataclasses import dataclass, field

from muse.errors import CorruptionError
from muse.history.commit_record import parents
from muse.history.dag import CommitDag
from muse.history.seal import read_seal
from muse.history.walk import links_among, parents_first

_SESSION = re.compile(r"^Muse-Session: (.+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class SessionCommit:
    """A commit made from a session's log; `op_list` is the object that lists the ops it covers."""

    commit_id: str
    parent_id: str | None
    snapshot_id: str
    op_list: str


@dataclass(slots=True)
class SessionHistory:
    """The commits of one session that were found, each after those in its own history.

    `branch` leads to some of them. `met`: the commits at which the search stopped. `is_one_line`: the search
    met no fork and no merge, so each of the commits is in the history of the next.
    """

    commits: list[SessionCommit] = field(default_factory=list)
    branch: str = ""
    met: set[str] = field(default_factory=set)
    is_one_line: bool = False

    @property
    def op_lists(self) -> list[str]:
        """The names of the lists of ops that the commits seal, in the order of the commits."""
        return [commit.op_list for commit in self.commits]


def session_history(
    dag: CommitDag, session_id: str, tips: Mapping[str, str | None], stop: Container[object] = ()
) -> SessionHistory:
    """Search the histories of `tips` (branch -> commit) for commits of a session, each commit once.

    No search goes past a commit in `stop`: it and its history were taken in before. If several
    branches lead to commits of the session, the first of `tips` is named. Raises `CorruptionError` at a
    commit of the session that does not name its ops.
    """
    result = SessionHistory()
    behind: dict[str, list[str]] = {}
    edge = _Edge(stop, behind, result.met)
    found: dict[str, SessionCommit] = {}
    for branch, tip in tips.items():
        if tip is None:
            continue
        for record in dag.history(tip, stop=edge):
            commit_id = record["commit_id"]
            behind[commit_id] = parents(record)
            seal = read_seal(record["message"])
            if seal is None and f"\nMuse-Session: {session_id}\n" in record["message"]:
                raise CorruptionError(
                    f"commit {commit_id} was made from session {session_id!r} by an earlier version and does "
                    "not name its ops: go on in a new session"
                )
            if seal is not None and seal.session_id == session_id:
                before, snapshot_id = record["parent_commit_id"], record["snapshot_id"]
                found[commit_id] = SessionCommit(commit_id, before, snapshot_id, seal.op_list)
                result.branch = result.branch or branch
    ordered = parents_first(behind, links_among(behind))
    result.commits = [found[commit_id] for commit_id in ordered if commit_id in found]
    result.is_one_line = _is_one_line(behind)
    return result


def _is_one_line(behind: Mapping[str, list[str]]) -> bool:
    """Tell whether commits, with their parents, follow one another: one has no parent, none has two."""
    named = [parent for own in behind.values() for parent in own]
    return len(set(named)) == len(named) == len(behind) - 1 and all(len(own) < 2 for own in behind.values())


@dataclass(slots=True)
class SessionHistories:
    """The histories of all sessions that `tips` (branch -> commit) hold, found in one walk.

    `unnamed` are the sessions with a commit of an earlier version, which does not name its ops.
    """

    tips: Mapping[str, str | None]
    unnamed: set[str] = field(default_factory=set)
    _met: set[str] = field(default_factory=set)
    _by_session: dict[str, SessionHistory] = field(default_factory=dict)

    def of(self, session_id: str) -> SessionHistory:
        """Return the history of one session, as `session_history` does that stops nowhere."""
        return self._by_session.get(session_id) or SessionHistory(met=self._met)

    def add(self, commit: SessionCommit, session_id: str, branch: str) -> None:
        """Take in a commit, after those in its own history."""
        found = self._by_session.setdefault(session_id, SessionHistory(branch=branch, met=self._met))
        found.commits.append(commit)


def session_histories(dag: CommitDag, tips: Mapping[str, str | None]) -> SessionHistories:
    """Search the histories of `tips` for the commits of all sessions, each commit read once."""
    behind: dict[str, list[str]] = {}
    sealed: dict[str, tuple[SessionCommit, str, str]] = {}
    unnamed: set[str] = set()
    for branch, tip in tips.items():
        for record in dag.history(tip, stop=behind) if tip is not None else ():
            commit_id = record["commit_id"]
            behind[commit_id] = parents(record)
            seal = read_seal(record["message"])
            if seal is not None:
                before, snapshot_id = record["parent_commit_id"], record["snapshot_id"]
                commit = SessionCommit(commit_id, before, snapshot_id, seal.op_list)
                sealed[commit_id] = commit, seal.session_id, branch
            elif (named := _SESSION.search(record["message"])) is not None:
                unnamed.add(named[1])
    found = SessionHistories(tips, unnamed, set(behind))
    for commit_id in parents_first(behind, links_among(behind)):
        if commit_id in sealed:
            found.add(*sealed[commit_id])
    return found


@dataclass(frozen=True, slots=True)
class _Edge:
    """The commits at which a search stops: those in `stop`, noted in `met`, and those it has seen."""

    stop: Container[object]
    seen: Container[object]
    met: set[str]

    def __contains__(self, commit_id: object) -> bool:
        if commit_id in self.stop:
            self.met.add(str(commit_id))
            return True
        return commit_id in self.seen
