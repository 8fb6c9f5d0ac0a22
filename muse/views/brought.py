"""Which entries each commit of a line of history brought, in one domain."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import NamedTuple

from muse.apply.domains import stated_rules
from muse.apply.merge_heads import entries_of, is_merge_of_ops, merged_work, stated_base
from muse.core.entry import OpEntry
from muse.history.commit_record import CommitRecord, parents
from muse.history.covered_ops import SealedCommit, SealedCommits, SessionOps, covered_by
from muse.history.repository import Repository


@dataclass(frozen=True, slots=True)
class LineCommit:
    """A commit on the way back, and the one that it is compared with."""

    commit_id: str
    parent_id: str | None
    record: CommitRecord
    sealed: SealedCommit | None
    is_merge: bool


class BroughtEntry(NamedTuple):
    """An entry, and the commit and session in which it came in."""

    entry: OpEntry
    commit_id: str
    session_id: str


def line_of(repository: Repository, commit_id: str | None) -> Iterator[LineCommit]:
    """Yield a commit and those that it goes back to: first parents, and beyond a merge of ops its base."""
    cursor = commit_id
    while cursor:
        record = repository.dag.read_commit(cursor)
        is_merge = is_merge_of_ops(record)
        parent_id = stated_base(record) if is_merge else record["parent_commit_id"]
        yield LineCommit(cursor, parent_id, record, SealedCommits().add(record), is_merge)
        cursor = parent_id


def brought_by(repository: Repository, commit: LineCommit, domain: str) -> list[BroughtEntry] | None:
    """Return the entries of a domain that a commit brought, in the order of their effect.

    None where the commit was not made from them, or their log is not here. Raises `CorruptionError` where the
    log is not what the commit seals.
    """
    if commit.is_merge:
        first, second = parents(commit.record)
        merged = merged_work(repository, first, second, commit.parent_id)
        entries = entries_of(merged, domain, stated_rules(commit.record["message"]))
        return [BroughtEntry(entry, *merged.came_in[entry["op_id"]]) for entry in entries]
    if commit.sealed is None or commit.sealed.domain != domain:
        return None
    session_id = commit.sealed.seal.session_id
    with closing(SessionOps(repository.root, session_id, repository.storage)) as ops:
        covered = covered_by(commit.sealed, ops, repository.objects) if ops.is_there else None
    if covered is None:
        return None
    return [BroughtEntry(entry, commit.commit_id, session_id) for entry in covered]
