"""Makes merges again: each has to be what the two commits that it merges make, and nothing else. Reads only.

No actor vouches for such a merge, and none needs to: all that it holds follows from commits that are checked
on their own, and from the ops that they seal.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from muse.apply.domains import read_states
from muse.apply.merge_heads import (
    MergedTree,
    MergedWork,
    file_delta,
    is_merge_of_ops,
    merge_record,
    merged_tree,
    merged_work,
    stated_base,
)
from muse.checks.finding import Kind
from muse.core import content_id
from muse.errors import CorruptionError, MuseError
from muse.history.commit_record import CommitRecord, parents
from muse.history.covered_ops import SessionLogs
from muse.history.repository import Repository
from muse.history.seal import read_merge_seal, read_seal, root_of
from muse.history.signing import SIGNED_FIELDS
from muse.history.tree import tree_changes
from muse.history.walk import Dominators
from muse.plugins.registry import find_plugin

_NAMES_SHOWN = 5
_SIGNER = {"signer_key_id"}
_NEW_IN_SEALED_MERGES = {"commit_id", "message"}


@dataclass(frozen=True, slots=True)
class MadeAgain:
    """A merge as its parents make it. `without_plugin`: domains of its ops whose plugin is not here."""

    base: str | None
    work: MergedWork
    merged: MergedTree
    without_plugin: frozenset[str]


class MergeCheck:
    """Makes merges of one repository again. For all of them together, each commit is read once."""

    def __init__(self, repository: Repository, dominators: Dominators | None = None) -> None:
        self._repository = repository
        self._dominators = dominators or repository.dag.dominators()

    def make_again(self, record: CommitRecord, logs: SessionLogs | None = None) -> MadeAgain:
        """Merge again what a merge merged, by its rules; `CorruptionError` if an op is not here."""
        first, second = parents(record)
        base = self._dominators.common((first, second))
        work = merged_work(self._repository, first, second, base, logs)
        missing = {entry["domain"] for entry in work.entries if find_plugin(entry["domain"]) is None}
        return MadeAgain(base, work, merged_tree(self._repository, work, made=record), frozenset(missing))

    def is_told(self, record: CommitRecord, again: MadeAgain) -> bool:
        """Return whether it can be told here what the files of a merge are."""
        return not again.without_plugin or content_id.snapshot_id(again.merged.files) == record["snapshot_id"]

    def differences(self, record: CommitRecord, again: MadeAgain) -> Iterator[tuple[Kind, str]]:
        """Say in what a merge is not what its parents make, as far as that can be told here.

        Yields the kind of each fault, and what to say of the commit's file.
        """
        if again.base != stated_base(record):
            yield "commit", f"names {stated_base(record)} as its base, it is {again.base}"
        if not self.is_told(record, again):
            return
        files = again.merged.files
        made = content_id.snapshot_id(files)
        if made != record["snapshot_id"]:
            names = self._different_names(record["snapshot_id"], again)
            what = f"has snapshot {record['snapshot_id']}, but the ops of both sides make {made}"
            yield "snapshot", f"{what} of the parent's files{names}"
        kept = {domain: state for domain, state in again.merged.states.items() if state}
        if kept != read_states(self._repository, record["commit_id"]):
            yield "commit", "keeps something else beside the files than its ops make"
        if record["structured_delta"] != file_delta(self._repository.read_tree(again.work.heads[0]), files):
            yield "delta", "holds another delta than its merge makes: it was changed"

    def _different_names(self, snapshot_id: str, again: MadeAgain) -> str:
        try:
            stored = self._repository.dag.read_snapshot(snapshot_id)["manifest"]
        except MuseError:
            return ""
        return named(list(tree_changes(stored, again.merged.files)))

    def follows_from_parents(self, record: CommitRecord) -> bool:
        """Return whether a commit is a merge, and making it again gives the same, byte for byte.

        A merge whose plugin is not installed here, or whose ops are not here as they are sealed, is not.
        """
        if not is_merge_of_ops(record):
            return False
        try:
            again = self.make_again(record)
            self._check_ops(again.work)
            made = merge_record(self._repository, record["branch"], again.work, again.merged)
        except MuseError:
            return False
        seal = read_merge_seal(record["message"])
        left_open = _SIGNER if seal and seal.record_digest else _SIGNER | _NEW_IN_SEALED_MERGES
        return (
            again.work.heads == tuple(sorted(again.work.heads))
            and stated_base(record) == again.base
            and all(made[name] == record[name] for name in SIGNED_FIELDS if name not in left_open)  # type: ignore[literal-required]
        )

    def _check_ops(self, work: MergedWork) -> None:
        """Raise `CorruptionError` unless the ops of both sides are those that their commits seal."""
        by_id = {entry["op_id"]: entry for entry in work.entries}
        for commit_id, op_ids in work.brought.items():
            seal = read_seal(self._repository.dag.read_commit(commit_id)["message"])
            if seal is None or root_of(by_id[op_id] for op_id in op_ids) != seal.root:
                path = self._repository.dag.path_of(commit_id)
                raise CorruptionError(f"{path} seals other ops than the log holds", path=path)


def named(paths: list[str]) -> str:
    """Return the first of some file names, for the end of a message."""
    return f": {', '.join(paths[:_NAMES_SHOWN])}" + (" and more" if len(paths) > _NAMES_SHOWN else "")
