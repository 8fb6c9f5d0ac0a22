"""Finds the commit that a text names: HEAD, a branch, an id or its beginning, and steps back from there.

The names are those of git: `HEAD~2` is two steps back along the first parents, `HEAD^2` the second parent.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from muse.core.content_id import is_content_id
from muse.disk import layout
from muse.errors import NotFoundError, UsageError
from muse.history.commit_record import CommitRecord, parents

PREFIX_LENGTH = 4  # hex digits an abbreviated commit id needs
CANDIDATES_SHOWN = 10

_PREFIX = re.compile(rf"[0-9a-f]{{{PREFIX_LENGTH},63}}\Z")
_STEPS = re.compile(r"(?:[~^][0-9]{0,6})*\Z")
_STEP = re.compile(r"([~^])([0-9]*)")
_CANDIDATE_LENGTH = 16


class Commits(Protocol):
    """What a revision is looked up in: branches, and commits by their ids."""

    def current_branch(self) -> str:
        """Return the branch that HEAD names."""
        ...

    def has_branch(self, branch: str) -> bool:
        """Tell whether there is a branch of this name."""
        ...

    def head(self, branch: str) -> str | None:
        """Return the commit at which a branch is; None if it has no commit."""
        ...

    def has_commit(self, commit_id: str) -> bool:
        """Tell whether the commit is stored; its content is not checked."""
        ...

    def commit_ids(self) -> Iterator[str]:
        """Iterate over the ids of all commits that are stored."""
        ...

    def read_commit(self, commit_id: str) -> CommitRecord:
        """Return a commit, checked against its id."""
        ...


def resolve(commits: Commits, text: str) -> str:
    """Return the commit id that `text` names.

    It begins with "HEAD", a full commit id, a branch, or the first 4 or more digits of an id, tried in this
    order. Steps may follow: `~N` goes N first parents back, `^N` to the Nth parent; without a number N is 1.
    Raises `NotFoundError` if it names nothing, `UsageError` if it names several commits.
    """
    name = re.split(r"[~^]", text, maxsplit=1)[0]
    steps = text[len(name) :]
    if not _STEPS.match(steps):
        raise NotFoundError(
            f"{text!r} names no commit or branch here: a name is followed by steps such as ~2 or ^2"
        )
    commit_id = _named(commits, name, text)
    for kind, number in _STEP.findall(steps):
        commit_id = _step(commits, commit_id, kind, int(number or 1), text)
    return commit_id


def one_beginning_with(prefix: str, ids: Iterable[str], what: str) -> str | None:
    """Return the only one of `ids` that begins so, None if there is not one.

    `UsageError` lists the candidates where there are several; `what` calls them, "commits" for example.
    """
    found = sorted({name for name in ids if name.startswith(prefix)})
    if len(found) > 1:
        length = max(_CANDIDATE_LENGTH, len(prefix) + PREFIX_LENGTH)
        shown = candidates_text([name[:length] for name in found])
        raise UsageError(f"{prefix!r} names {len(found)} {what}: {shown}; give more digits")
    return found[0] if found else None


def candidates_text(names: Sequence[str]) -> str:
    """List the first names that could be meant, and how many more there are."""
    more = f" and {len(names) - CANDIDATES_SHOWN} more" if len(names) > CANDIDATES_SHOWN else ""
    return ", ".join(names[:CANDIDATES_SHOWN]) + more


def _named(commits: Commits, name: str, text: str) -> str:
    if name == "HEAD":
        return _tip(commits, commits.current_branch())
    if is_content_id(name):
        if commits.has_commit(name):
            return name
        raise NotFoundError(f"commit {name} is not in this repository: see 'muse log'")
    if layout.is_branch(name) and commits.has_branch(name):
        return _tip(commits, name)
    found = one_beginning_with(name, commits.commit_ids(), "commits") if _PREFIX.match(name) else None
    if found is None:
        raise NotFoundError(
            f"{text!r} names no commit or branch here: give a branch, 'HEAD', or at least "
            f"{PREFIX_LENGTH} digits of a commit id"
        )
    return found


def _tip(commits: Commits, branch: str) -> str:
    commit_id = commits.head(branch)
    if commit_id is None:
        raise NotFoundError(f"branch {branch!r} has no commit yet: make one first")
    return commit_id


def _step(commits: Commits, commit_id: str, kind: str, number: int, text: str) -> str:
    """Go `number` first parents back (`~`), or to that parent (`^`; 0 is the commit itself)."""
    for count in range(number if kind == "~" else min(number, 1)):
        found = parents(commits.read_commit(commit_id))
        place = 0 if kind == "~" else number - 1
        if place >= len(found):
            has = f"{len(found)} parent{'s' * (len(found) != 1)}" if found else "no parent: it is the first"
            taken = f", {count} step{'s' * (count != 1)} back," if kind == "~" and count else ""
            raise NotFoundError(f"{text!r} names no commit: {commit_id[:12]}{taken} has {has}")
        commit_id = found[place]
    return commit_id
