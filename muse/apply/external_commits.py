"""External commits: those that were not made from a log, and their part in a merge of ops."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import accumulate

from muse.domain import MergingPlugin
from muse.errors import ConflictError
from muse.history.commit_record import CommitRecord
from muse.history.repository import Repository
from muse.history.seal import read_seal
from muse.history.tree import tree_changes, with_changes
from muse.history.walk import ancestors, children_of, links_among, parents_first
from muse.plugins.registry import find_plugin

Changes = dict[str, str | None]
"""Path -> object id, or None for a file that was removed."""


@dataclass(frozen=True, slots=True)
class ExternalChanges:
    """The changes to which the ops are applied, `before`, and those that have all ops in them, `after`."""

    before: Changes = field(default_factory=dict)
    after: Changes = field(default_factory=dict)


def external_changes(
    repository: Repository,
    heads: tuple[str, str],
    behind: Mapping[str, list[str]],
    external: Collection[str],
) -> ExternalChanges:
    """Sort the changes of the commits `external`, which are among those of two lines of history.

    `behind` has the commits of both lines with their parents. The outcome is the same for either order of the
    lines. Raises `ConflictError` for a file that others changed too, so that no order of the commit and the
    ops has the work of both once.
    """
    if not external:
        return ExternalChanges()
    changes = ExternalChanges()
    trees = [repository.read_tree(head) for head in heads]
    lines = _Lines(behind)
    for path, steps in sorted(_steps(repository, lines.order, external).items()):
        by_hand = [step for step in steps if step.is_external]
        by_ops = [step for step in steps if not step.is_external]
        last = [step for step in by_hand if not any(lines.descends(other, step) for other in by_hand)]
        strangers = [step for step in last if step.object_id != last[0].object_id]
        early = [step for step in by_ops if not _comes_after(step, by_hand, last, lines)]
        late = [step for step in by_ops if not any(lines.descends(end, step) for end in last)]
        if not strangers and not early:
            changes.before[path] = last[0].object_id
        elif not strangers and not late:
            changes.after[path] = last[0].object_id
        elif trees[0].get(path) == trees[1].get(path):
            changes.after[path] = trees[0].get(path)
        else:
            other = (strangers or late)[0]
            raise ConflictError(
                f"commit {last[0].commit_id[:12]} changed {path} and was not made from a log, and commit "
                f"{other.commit_id[:12]} changed it too: there are no ops to tell the work of the two apart; "
                f"make {path} the same on both sides, commit it there, then merge again"
            )
    return changes


def with_external(files: Mapping[str, str], changed: Changes) -> dict[str, str]:
    """Return `files` with the changes in them. `ConflictError` where a file would be in another."""
    after = with_changes(files, changed)
    for path in after if changed else ():
        for parent in accumulate(path.split("/")[:-1], "{}/{}".format):
            if parent in after:
                raise ConflictError(
                    f"one side made the file {parent}, the other {path} in a directory of this name: remove "
                    "or move one of them, commit that, then merge again"
                )
    return after


@dataclass(frozen=True, slots=True)
class _FileChange:
    """The content that a commit gave a file. With `merges`, its ops merge with what others did meanwhile."""

    commit_id: str
    object_id: str | None
    is_external: bool
    merges: bool


def _comes_after(
    step: _FileChange, by_hand: Iterable[_FileChange], last: Iterable[_FileChange], lines: "_Lines"
) -> bool:
    """Return whether ops mean the same once all that was done by hand comes before them."""
    if any(lines.descends(other, step) for other in by_hand):
        return False
    return step.merges or any(lines.descends(step, end) for end in last)


def _steps(
    repository: Repository, order: Iterable[str], external: Collection[str]
) -> dict[str, list[_FileChange]]:
    """Return all changes of the files that an external commit changed, oldest first."""
    records = {commit_id: repository.dag.read_commit(commit_id) for commit_id in external}
    paths = {path for record in records.values() for path in _changes(repository, record)}
    steps: dict[str, list[_FileChange]] = defaultdict(list)
    for commit_id in order:
        record = records.get(commit_id) or repository.dag.read_commit(commit_id)
        is_external = commit_id in records
        if is_external or read_seal(record["message"]):
            domain = (record["structured_delta"] or {"domain": ""})["domain"]
            merges = not is_external and isinstance(find_plugin(domain), MergingPlugin)
            for path, object_id in _changes(repository, record).items():
                if path in paths:
                    steps[path].append(_FileChange(commit_id, object_id, is_external, merges))
    return steps


def _changes(repository: Repository, record: CommitRecord) -> Changes:
    """Return the files that differ between a commit and its first parent."""
    before = repository.read_tree(record["parent_commit_id"])
    return tree_changes(before, repository.dag.read_snapshot(record["snapshot_id"])["manifest"])


class _Lines:
    """Answers which commits of two lines descend from which."""

    def __init__(self, behind: Mapping[str, list[str]]) -> None:
        self.order = parents_first(behind, links_among(behind))
        self._children = children_of(behind)
        self._descendants: dict[str, set[str]] = {}

    def descends(self, step: _FileChange, ancestor: _FileChange) -> bool:
        """Return whether `ancestor` is in the history of `step`, and another commit."""
        if ancestor.commit_id not in self._descendants:
            self._descendants[ancestor.commit_id] = set(ancestors([ancestor.commit_id], self._children))
        return step.commit_id in self._descendants[ancestor.commit_id]
