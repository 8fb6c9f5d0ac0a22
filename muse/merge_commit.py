"""Two lines of history become one: a commit with two parents, whose files come from the ops of both.

The files are those of the commit both lines stem from, with the ops that either line covers since
applied in the total order. Nothing else goes in: not who merges, nor when, nor in which direction. So
all replicas that merge the same two commits make the very same commit, and are done.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field

from muse.core.commit_record import CommitRecord, make_commit_record, parents
from muse.core.delta import summarize
from muse.core.entry import OpEntry, total_order
from muse.core.seal import read_seal
from muse.domain import DomainOp, StructuredDelta
from muse.errors import ConflictError, CorruptionError
from muse.plugin_state import apply_entries, read_states, write_states
from muse.repository import Repository, TreeFiles
from muse.sealed import SessionOps, op_ids_of

_BASE = re.compile(r"^Muse-Merge-Base: ([0-9a-f]{64})$", re.MULTILINE)

Changes = dict[str, str | None]
"""Path -> object id, or None for a file that went."""


@dataclass(slots=True)
class MergedTree:
    """What two lines of history came to: path -> object id, and what plugins keep beside, by domain."""

    files: dict[str, str]
    states: dict[str, dict[str, str]]
    op_count: int


@dataclass(slots=True)
class _Line:
    """The commits that one side has and the base has not: ops by session, and other tools' changes."""

    op_ids: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    changes: Changes = field(default_factory=dict)


def merge_heads(repository: Repository, branch: str, ours: str, theirs: str) -> str:
    """Return the commit that unites two heads: one of them, if it has all of the other's work, or a new one.

    The branch is not moved. Raises `ConflictError` where commits that were not made from a log changed
    the same file on both sides, `CorruptionError` where the ops of a commit are not here.
    """
    dag = repository.dag
    for old, new in ((ours, theirs), (theirs, ours)):
        if any(record["commit_id"] == old for record in dag.history(new)):
            return new
    first, second = sorted((ours, theirs))
    if is_same_work(repository, first, second):
        return first
    base = merge_base(repository, first, second)
    merged = merged_tree(repository, first, second, base)
    committed_at = max(dag.read_commit(head)["committed_at"] for head in (first, second))
    record = make_commit_record(
        repo_id=repository.repo_id,
        branch=branch,
        snapshot_id=dag.write_snapshot(merged.files, committed_at),
        message=(
            f"Merge {second[:12]} into {first[:12]}\n\nMuse-Merge-Base: {base or '0' * 64}\n"
            f"Muse-Op-Count: {merged.op_count}\n"
        ),
        committed_at=committed_at,
        parent_commit_id=first,
        parent2_commit_id=second,
        author="muse",
        structured_delta=_file_delta(repository.read_tree(first), merged.files),
        metadata=write_states(repository, merged.states, committed_at),
    )
    return dag.write_commit(record)


def is_same_work(repository: Repository, one: str, other: str) -> bool:
    """Whether what two heads do not share are merges alone: then either stands for both."""
    behind = [
        {record["commit_id"]: record for record in repository.dag.history(head)} for head in (one, other)
    ]
    apart = behind[0].keys() ^ behind[1].keys()
    return all(is_merge_of_ops((behind[0].get(name) or behind[1][name])) for name in apart)


def is_merge_of_ops(record: CommitRecord) -> bool:
    """Whether a commit was made by `merge_heads`."""
    return record["parent2_commit_id"] is not None and _BASE.search(record["message"]) is not None


def stated_base(record: CommitRecord) -> str | None:
    """Return the base that such a commit's message names."""
    found = _BASE.search(record["message"])
    return found[1] if found and found[1].strip("0") else None


def merge_base(repository: Repository, first: str, second: str) -> str | None:
    """Return the newest commit that both have behind them; where several are, the same one everywhere."""
    dag = repository.dag
    behind_first = {record["commit_id"] for record in dag.history(first)}
    common: set[str] = set()
    bases: list[CommitRecord] = []
    for record in dag.history(second):
        if record["commit_id"] in behind_first:
            common.add(record["commit_id"])
            bases.append(record)
    behind = {parent for record in bases for parent in parents(record)}
    heads = [record for record in bases if record["commit_id"] not in behind]
    newest = max(heads, key=lambda record: (record["committed_at"], record["commit_id"]), default=None)
    return newest["commit_id"] if newest else None


def merged_tree(repository: Repository, first: str, second: str, base: str | None) -> MergedTree:
    """Return the files of `base` with all that either line brought since."""
    known = {record["commit_id"] for record in repository.dag.history(base)} if base else set()
    lines = [_line(repository, head, known) for head in (first, second)]
    files = _with_changes(repository.read_tree(base), *(line.changes for line in lines))
    states = read_states(repository, base)
    op_ids: dict[str, set[str]] = defaultdict(set)
    for line in lines:
        for session_id, ids in line.op_ids.items():
            op_ids[session_id] |= ids
    before = _covered(repository, known)
    entries = [
        entry
        for session_id, ids in sorted(op_ids.items())
        for entry in _entries(repository, session_id, ids - before.get(session_id, set()))
    ]
    by_domain: dict[str, list[OpEntry]] = defaultdict(list)
    for entry in sorted(entries, key=total_order):
        by_domain[entry["domain"]].append(entry)
    for domain, own in sorted(by_domain.items()):
        state = TreeFiles(repository, states.get(domain, {}))
        made = apply_entries(domain, own, TreeFiles(repository, files), repository.objects.get, state)
        files = _stored(repository, files, made.files)
        if made.state:
            states[domain] = _stored(repository, states.get(domain, {}), made.state)
    return MergedTree(files, states, len(entries))


def _line(repository: Repository, head: str, known: set[str]) -> _Line:
    line = _Line()
    for record in repository.dag.history(head, stop=known):
        seal = read_seal(record["message"])
        if seal is not None:
            line.op_ids[seal.session_id].update(op_ids_of(repository.objects, seal))
        elif not is_merge_of_ops(record):
            for path, object_id in _changes(repository, record).items():
                line.changes.setdefault(path, object_id)  # newest first
    return line


def _covered(repository: Repository, commit_ids: Iterable[str]) -> dict[str, set[str]]:
    """Return the ops that those commits cover, by session."""
    found: dict[str, set[str]] = defaultdict(set)
    for commit_id in commit_ids:
        seal = read_seal(repository.dag.read_commit(commit_id)["message"])
        if seal is not None:
            found[seal.session_id].update(op_ids_of(repository.objects, seal))
    return found


def _changes(repository: Repository, record: CommitRecord) -> Changes:
    """Return what a commit of another tool did to its first parent's files."""
    before = repository.read_tree(record["parent_commit_id"])
    after = repository.dag.read_snapshot(record["snapshot_id"])["manifest"]
    return {
        path: after.get(path) for path in before.keys() | after.keys() if before.get(path) != after.get(path)
    }


def _with_changes(files: Mapping[str, str], one: Changes, other: Changes) -> dict[str, str]:
    both = sorted(path for path in one.keys() & other.keys() if one[path] != other[path])
    if both:
        raise ConflictError(
            f"both sides changed {', '.join(both[:5])} in commits that were not made from a log, so there are "
            "no ops to merge: make one side's change through a session, then merge again"
        )
    after: Changes = {**files, **one, **other}
    return {path: object_id for path, object_id in after.items() if object_id is not None}


def _entries(repository: Repository, session_id: str, op_ids: set[str]) -> list[OpEntry]:
    if not op_ids:
        return []
    with closing(SessionOps(repository.root, session_id, repository.storage)) as ops:
        entries = ops.covered(op_ids).entries
    if len(entries) < len(op_ids):
        raise CorruptionError(
            f"the log of session {session_id!r} lacks {len(op_ids) - len(entries)} ops that commits cover: "
            "bring them with 'muse session sync'"
        )
    return entries


def _stored(
    repository: Repository, files: Mapping[str, str], changed: Mapping[str, bytes | None]
) -> dict[str, str]:
    after = dict(files)
    for path, content in changed.items():
        if content is None:
            after.pop(path, None)
        else:
            after[path] = repository.objects.put(content)
    return after


def _file_delta(before: Mapping[str, str], after: Mapping[str, str]) -> StructuredDelta:
    """Say file by file what the merge brought its first parent."""
    ops: list[DomainOp] = []
    for path in sorted(before.keys() | after.keys()):
        old, new = before.get(path), after.get(path)
        if old is None and new is not None:
            ops.append(
                {
                    "op": "insert",
                    "address": path,
                    "position": None,
                    "content_id": new,
                    "content_summary": path,
                }
            )
        elif new is None and old is not None:
            ops.append(
                {
                    "op": "delete",
                    "address": path,
                    "position": None,
                    "content_id": old,
                    "content_summary": path,
                }
            )
        elif old is not None and new is not None and old != new:
            ops.append(
                {
                    "op": "replace",
                    "address": path,
                    "position": None,
                    "old_content_id": old,
                    "new_content_id": new,
                    "old_summary": path,
                    "new_summary": path,
                }
            )
    return {"domain": "files", "ops": ops, "summary": summarize(ops)}
