"""Two lines of history become one: a commit with two parents, whose files come from the ops of both.

The files are those of the commit at which both lines begin, with the ops that either line covers since
applied in the order of `muse.apply.op_order`. Nothing else goes in: not who merges, nor when, nor in which
direction. So all replicas that merge the same two commits make the very same commit, and are done.
"""

from collections import defaultdict
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass

from muse.apply.domains import (
    apply_entries,
    fetch_at,
    read_states,
    rules_of,
    stated_rules,
    text_of_rules,
    write_states,
)
from muse.apply.external_commits import external_changes, with_external
from muse.apply.op_order import ORDER_OF_COMMITS, ORDER_RULE, TOTAL_ORDER, in_order_of_commits
from muse.core import content_id
from muse.core.delta import summarize
from muse.core.entry import OpEntry, total_order
from muse.domain import DomainOp, MergingPlugin, StructuredDelta
from muse.errors import CorruptionError, DomainError
from muse.history.commit_record import (
    STATE_KEY,
    CommitRecord,
    executable_metadata,
    executable_paths,
    make_commit_record,
    make_snapshot,
    parents,
    seal_merge,
    snapshot_digest,
    state_digests,
)
from muse.history.covered_ops import SessionLogs, op_ids_of
from muse.history.repository import Repository, TreeFiles
from muse.history.seal import MergeSeal, json_digest, read_merge_seal, read_seal
from muse.history.signing import Signer
from muse.history.tree import tree_changes, with_contents
from muse.plugins.registry import find_plugin


@dataclass(slots=True)
class MergedTree:
    """The files of two lines of history together, and what plugins keep beside them; nothing is stored.

    `files` has path -> object id, `states` the same for each domain, and `contents` object id -> bytes of
    what the ops made. `rules` are those by which they did, by domain, and that of the order of the ops.
    """

    files: dict[str, str]
    states: dict[str, dict[str, str]]
    op_count: int
    contents: dict[str, bytes]
    rules: dict[str, int]


@dataclass(slots=True)
class MergedWork:
    """The ops and commits of two lines of history, which end at `heads`, since `base`, at which both begin.

    `entries` has the ops in the total order, each once; `came_in` the commit and session of each, by op id;
    `brought` the op ids of each commit. `behind` has the commits with their parents; `external` those that
    were not made from a log.
    """

    heads: tuple[str, str]
    base: str | None
    entries: list[OpEntry]
    came_in: dict[str, tuple[str, str]]
    brought: dict[str, list[str]]
    behind: dict[str, list[str]]
    external: list[str]


def merge_heads(
    repository: Repository, branch: str, ours: str, theirs: str, signer: Signer | None = None
) -> str:
    """Return the commit that unites two heads.

    It is one of them, if that has all of the other's work, or a new one, with a signature beside it if there
    is a `signer`.
    The branch is not moved. Raises `ConflictError` where commits that were not made from a log changed
    the same file on both sides, `CorruptionError` where the ops of a commit are not here.
    """
    dag = repository.dag
    for old, new in ((ours, theirs), (theirs, ours)):
        if dag.descends(new, old):
            return new
    first, second = sorted((ours, theirs))
    if is_same_work(repository, first, second):
        return max(first, second, key=lambda head: _rank(repository, head))
    work = merged_work(repository, first, second, dag.common_dominator(first, second))
    merged = merged_tree(repository, work)
    record = merge_record(repository, branch, work, merged)
    repository.objects.put_many(merged.contents.values())
    dag.write_snapshot(merged.files, record["committed_at"])
    write_states(repository, merged.states, record["committed_at"])
    return dag.write_commit(record if signer is None else signer.sign(record))


def merge_record(repository: Repository, branch: str, work: "MergedWork", merged: MergedTree) -> CommitRecord:
    """Return the commit of a merge: the same wherever, and by whatever actor, the two heads are merged."""
    (first, second), base = work.heads, work.base
    text = text_of_rules(merged.rules)
    joined = [repository.dag.read_commit(head) for head in work.heads]
    committed_at = max(record["committed_at"] for record in joined)
    may_run = merged.files.keys() & frozenset[str]().union(*map(executable_paths, joined))
    files = make_snapshot(merged.files, committed_at)
    states = {
        domain: make_snapshot(state, committed_at) for domain, state in sorted(merged.states.items()) if state
    }
    record = make_commit_record(
        repo_id=repository.repo_id,
        branch=branch,
        snapshot_id=files["snapshot_id"],
        message=(
            f"Merge {second[:12]} into {first[:12]}\n\nMuse-Merge-Base: {base or '0' * 64}\n"
            f"Muse-Op-Count: {merged.op_count}\n" + (f"Muse-Rules: {text}\n" if text else "")
        ),
        committed_at=committed_at,
        parent_commit_id=first,
        parent2_commit_id=second,
        author="muse",
        structured_delta=file_delta(repository.read_tree(first), merged.files),
        metadata={
            **{f"{STATE_KEY}{domain}": state["snapshot_id"] for domain, state in states.items()},
            **executable_metadata(may_run),
        },
    )
    seal = MergeSeal(
        base,
        delta_digest=json_digest(record["structured_delta"]),
        snapshot_digest=snapshot_digest(files),
        state_digests=state_digests(states.values()),
    )
    return seal_merge(record, seal)


def is_same_work(repository: Repository, one: str, other: str) -> bool:
    """Return whether two heads differ by merges only: then either has the work of both."""
    behind = [
        {record["commit_id"]: record for record in repository.dag.history(head)} for head in (one, other)
    ]
    apart = behind[0].keys() ^ behind[1].keys()
    return all(is_merge_of_ops(behind[0].get(name) or behind[1][name]) for name in apart)


def is_merge_of_ops(record: CommitRecord) -> bool:
    """Return whether a commit was made by `merge_heads`."""
    return record["parent2_commit_id"] is not None and read_merge_seal(record["message"]) is not None


def stated_base(record: CommitRecord) -> str | None:
    """Return the base that such a commit's message names."""
    seal = read_merge_seal(record["message"])
    return seal.base if seal else None


def _rank(repository: Repository, head: str) -> tuple[int, str]:
    """Return a rank that is the same everywhere, and above those of all heads in its history."""
    return sum(1 for _ in repository.dag.history(head)), head


def merged_tree(repository: Repository, work: MergedWork, made: CommitRecord | None = None) -> MergedTree:
    """Return the files at which two lines of history begin with all that either brought since.

    With the merge that was `made` of them, it is made again: by its rules, with the objects that it found.
    """
    changes = external_changes(repository, work.heads, work.behind, work.external)
    files = with_external(repository.read_tree(work.base), changes.before)
    states = read_states(repository, work.base)
    contents: dict[str, bytes] = {}

    def note(content: bytes) -> str:
        object_id = content_id.object_id(content)
        contents[object_id] = content
        return object_id

    stated = stated_rules(made["message"]) if made else None
    domains = sorted({entry["domain"] for entry in work.entries})
    rules = rules_of(domains)
    for domain in domains:
        own = entries_of(work, domain, stated)
        if own != entries_of(work, domain, {}):
            rules[ORDER_RULE] = ORDER_OF_COMMITS
        state = TreeFiles(repository, states.get(domain, {}))
        before = TreeFiles(repository, files, contents)
        fetch = fetch_at(repository, made["commit_id"], domain) if made else repository.objects.get
        applied = apply_entries(domain, own, before, fetch, state, rules=stated)
        files = with_contents(files, applied.files, note)
        if applied.state:
            states[domain] = with_contents(states.get(domain, {}), applied.state, note)
    files = with_external(files, changes.after)
    return MergedTree(files, states, len(work.entries), contents, rules if stated is None else stated)


def merged_work(
    repository: Repository, first: str, second: str, base: str | None, logs: SessionLogs | None = None
) -> MergedWork:
    """Gather what either line brought since `base`. `CorruptionError` if the ops of a commit are not here.

    All that is older is in the history of `base`: it is not read. Many calls may share `logs`.
    """
    came_in: dict[str, tuple[str, str]] = {}
    sessions: dict[str, dict[str, list[str]]] = defaultdict(dict)  # session -> commit -> its ops
    behind: dict[str, list[str]] = {}
    external: list[str] = []
    for head in (first, second):
        for record in repository.dag.history(head, stop={base, *behind}):
            behind[record["commit_id"]] = parents(record)
            seal = read_seal(record["message"])
            if seal is not None:
                op_ids = op_ids_of(repository.objects, seal)
                sessions[seal.session_id][record["commit_id"]] = op_ids
                came_in |= dict.fromkeys(op_ids, (record["commit_id"], seal.session_id))
            elif not is_merge_of_ops(record):
                external.append(record["commit_id"])
    with nullcontext(logs) if logs else SessionLogs(repository.root, repository.storage) as opened:
        entries = [entry for name, own in sessions.items() for entry in _entries(opened, name, own)]
    brought = {name: op_ids for own in sessions.values() for name, op_ids in own.items()}
    # What two sessions brought, one on each line, takes effect once.
    ordered = sorted({entry["op_id"]: entry for entry in entries}.values(), key=total_order)
    return MergedWork((first, second), base, ordered, came_in, brought, behind, external)


def entries_of(work: MergedWork, domain: str, rules: Mapping[str, int] | None = None) -> list[OpEntry]:
    """Return the ops of a domain in the order in which a merge applies them, by the rules that it states.

    Merging domains get the total order: to them it makes no difference when an op comes.
    """
    own = [entry for entry in work.entries if entry["domain"] == domain]
    rule = ORDER_OF_COMMITS if rules is None else rules.get(ORDER_RULE, TOTAL_ORDER)
    if rule > ORDER_OF_COMMITS:
        raise DomainError(
            f"the order of the ops is that of rule {rule}, and only those up to {ORDER_OF_COMMITS} are known "
            "here: install a newer version"
        )
    if rule == TOTAL_ORDER or isinstance(find_plugin(domain), MergingPlugin):
        return own
    return in_order_of_commits(own, work.brought, work.behind)


def _entries(logs: SessionLogs, session_id: str, commits: Mapping[str, list[str]]) -> list[OpEntry]:
    op_ids = {op_id for own in commits.values() for op_id in own}
    entries = logs.covered(session_id, op_ids, commits)
    if len(entries) < len(op_ids):
        raise CorruptionError(
            f"the log of session {session_id!r} lacks {len(op_ids) - len(entries)} ops that commits cover: "
            "bring them with 'muse session sync'"
        )
    return entries


def file_delta(before: Mapping[str, str], after: Mapping[str, str]) -> StructuredDelta:
    """Say file by file what the merge brought its first parent."""
    ops: list[DomainOp] = []
    for path, new in tree_changes(before, after).items():
        old = before.get(path)
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
