"""The commits of a git repository as commits here: message, author, time and which files may be run."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from muse.cli.replay.git_history import CommitFacts, GitHistory
from muse.cli.replay.player import ScriptPiece
from muse.cli.replay.replicas import make_change
from muse.cli.shared.commit_text import SHORT_ID
from muse.cli.shared.output import Output, count_of
from muse.session.live import LiveSession
from muse.session.text_replica import CodeReplica

_NAMED = 3


@dataclass(slots=True)
class CommitsMade:
    """The commits that were made, in order, and what of git's history is not in them."""

    commit_ids: list[str] = field(default_factory=list)
    op_count: int = 0
    merges: int = 0
    without_change: list[str] = field(default_factory=list)
    lost_permissions: tuple[str, ...] = ()


def make_commits(live: LiveSession, history: GitHistory, output: Output) -> CommitsMade:
    """Make each commit of a history again, one after the other: its ops by its author, then the commit.

    One that changes no content of a file has no ops, so it cannot be made; which files may be run, if that
    is what it changed, is in the next one.
    """
    made = CommitsMade()
    facts = {commit.step: commit for commit in history.commits}
    replicas: dict[str, CodeReplica] = {}
    with output.progress("making commits") as progress:
        for place, step in enumerate(history.script.steps):
            replica = replicas.get(step.actor_id)
            if replica is None:
                replica = replicas[step.actor_id] = CodeReplica(live, live.log, step.actor_id)
            replica.refresh()
            for change in step.changes:
                make_change(replica, change)
            _commit(live, facts.get(place), made)
            progress(len(made.commit_ids))
    last = history.commits[-1]
    if made.without_change and made.without_change[-1] == last.commit_id:
        made.lost_permissions = tuple(sorted(last.executable ^ _executable_before(history)))
    return made


def _executable_before(history: GitHistory) -> frozenset[str]:
    return history.commits[-2].executable if len(history.commits) > 1 else frozenset()


def _commit(live: LiveSession, facts: CommitFacts | None, made: CommitsMade) -> None:
    if facts is None:  # what was there before the first commit that is replayed
        outcome = live.commit("What was there before", author="muse replay")
    else:
        made.merges += facts.is_merge
        outcome = live.commit(
            facts.message or "(no message)", author=facts.author, at=facts.at, executable=facts.executable
        )
        if not outcome.commit_ids:
            made.without_change.append(facts.commit_id)
    made.commit_ids += outcome.commit_ids
    made.op_count += outcome.op_count


def tell(output: Output, live: LiveSession, history: GitHistory, made: CommitsMade) -> bool:
    """Print what was made and what is left out; return whether the files are those of git."""
    comparison = ScriptPiece(history.script).compare(live.repository)
    left_out = _left_out(history, made)
    if output.as_json:
        output.record(_record(live, history, made, left_out, comparison.different))
        return not comparison.different
    authors = Counter(commit.author for commit in history.commits)
    output.line(
        f"{count_of(len(made.commit_ids), 'commit')} of {count_of(len(authors), 'author')} with "
        f"{count_of(made.op_count, 'op')}, in {live.repository.root}, session {live.log.session_id()}"
    )
    for text in left_out:
        output.line(f"left out: {text}")
    if comparison.different:
        names = ", ".join(comparison.different[:_NAMED])
        output.line(f"NOT the same as git has it: {names}")
    else:
        rest = ", but for which may be run" if made.lost_permissions else ""
        output.line(f"{count_of(len(history.script.wanted), 'file')} exactly as git has it{rest}")
    return not comparison.different


def _record(
    live: LiveSession, history: GitHistory, made: CommitsMade, left_out: list[str], different: tuple[str, ...]
) -> dict[str, Any]:
    return {
        "session_id": live.log.session_id(),
        "repository": live.repository.root,
        "commits": len(made.commit_ids),
        "head": made.commit_ids[-1] if made.commit_ids else None,
        "ops": made.op_count,
        "files": len(history.script.wanted),
        "merges_flattened": made.merges,
        "joined_by_merges": dict(history.joined),
        "without_change": made.without_change,
        "paths_left_out": list(history.left_out),
        "left_out": left_out,
        "exact": not different,
        "different": list(different),
    }


def _left_out(history: GitHistory, made: CommitsMade) -> list[str]:
    """Say in a line each what of git's history is not here."""
    told = []
    if made.merges:
        told.append(f"the second parents of {count_of(made.merges, 'merge')}: each is one commit on one line")
    if history.joined:
        who = _some(list(history.joined))
        count = count_of(history.joined.total(), "commit")
        told.append(f"{count} that merges joined, by {who}: the author of the merge has their work")
    if made.without_change:
        some = _some([name[:SHORT_ID] for name in made.without_change])
        count = count_of(len(made.without_change), "commit")
        told.append(f"{count} without a change of a file's content: {some}")
    if made.lost_permissions:
        told.append(f"that these may be run, or no more, by the last commit: {_some(made.lost_permissions)}")
    if history.left_out:
        told.append(f"links, submodules and unusable names: {_some(history.left_out)}")
    if without := sum(not commit.message for commit in history.commits):
        told.append(f"that {count_of(without, 'commit')} had no message: a commit here has one")
    told.append("committers and their times, signatures, notes, tags and other branches")
    return told


def _some(names: "list[str] | tuple[str, ...]") -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
