"""A survey gathers the facts of a log when it is archived; checks of the archive use it again. Streams."""

from collections.abc import Collection, Container, Iterable, Iterator
from typing import TypedDict

from muse.core.coverage import NOTHING, Coverage
from muse.core.entry import DEFAULT_LIMITS, OpEntry
from muse.core.file.archive_manifest import AbandonedOps, CoveringCommit
from muse.core.file.checkpoint_store import CheckpointFile
from muse.core.file.log_file import LogFile
from muse.core.file.log_reader import LogReader
from muse.core.file.objects import ObjectStore
from muse.core.orphan_file import OrphanFile
from muse.core.uncommitted import PendingOps
from muse.disk import layout
from muse.disk.storage import Storage
from muse.errors import UsageError
from muse.history.dag import CommitDag
from muse.history.merkle import root_hash
from muse.history.seal import leaf_of, read_seal

NAMED_OPS = 1000
"""A manifest names so many abandoned ops one by one; beyond that, their number and root."""

Abandon = bool | Collection[str]
"""Whether pending ops may be abandoned, or the ids of those that may."""

_SHOWN = 3


class SurveyedFacts(TypedDict):
    """The facts of a log that its entries give."""

    entry_count: int
    first_lamport_ts: int
    last_lamport_ts: int
    frontier: dict[str, int]
    root: str


def log_facts(reader: LogReader, stop: int) -> SurveyedFacts:
    """Survey the log up to byte `stop`; raise `CorruptionError` at damage that may hide an op."""
    facts: SurveyedFacts = {
        "entry_count": 0,
        "first_lamport_ts": 0,
        "last_lamport_ts": 0,
        "frontier": {},
        "root": "",
    }
    facts["root"] = root_hash(_counted(reader.distinct(0, stop), facts)).hex()
    facts["frontier"] = dict(sorted(facts["frontier"].items()))
    return facts


def _counted(located: Iterable[tuple[int, OpEntry]], facts: SurveyedFacts) -> Iterator[bytes]:
    """Yield the leaf of each entry, and take it into `facts`."""
    frontier = facts["frontier"]
    for _, entry in located:
        stamp, actor = entry["lamport_ts"], entry["actor_id"]
        first = facts["first_lamport_ts"]
        facts["first_lamport_ts"] = min(first, stamp) if first else stamp
        facts["last_lamport_ts"] = max(facts["last_lamport_ts"], stamp)
        facts["entry_count"] += 1
        frontier[actor] = max(frontier.get(actor, 0), stamp)
        yield leaf_of(entry)


def covering_commits(root: str, session_id: str, storage: Storage) -> list[CoveringCommit]:
    """Return the commits of a session that the branches lead to, in the order of their cuts."""
    dag = CommitDag(root, storage)
    found: list[CoveringCommit] = []
    for record in dag.reachable(dag.branches().values()):
        seal = read_seal(record["message"])
        if seal is not None and seal.session_id == session_id:
            found.append(
                {
                    "commit_id": record["commit_id"],
                    "cut_offset": seal.cut_offset,
                    "op_count": seal.op_count,
                    "root": seal.root,
                }
            )
    return sorted(found, key=lambda one: (one["cut_offset"], one["commit_id"]))


def check_in_history(
    root: str, session_id: str, log_file: LogFile, reader: LogReader, storage: Storage
) -> None:
    """Raise `UsageError` if the commit that the session's checkpoint rests on is in no branch."""
    path = layout.checkpoint_file(root, session_id)
    checkpoint = CheckpointFile(path, session_id, storage, log_file, reader).read()
    commit_id = checkpoint.get("commit_id", "") if checkpoint else ""
    dag = CommitDag(root, storage)
    if commit_id and all(
        record["commit_id"] != commit_id for record in dag.reachable(dag.branches().values())
    ):
        raise UsageError(
            f"no branch leads to commit {commit_id}, which has ops of session {session_id!r}: put the "
            f"branch back, or 'muse session recover {session_id}' makes those ops pending again"
        )


def pending_ops(
    root: str,
    session_id: str,
    log_file: LogFile,
    reader: LogReader,
    commits: Iterable[CoveringCommit],
    *,
    abandon: Abandon,
    storage: Storage,
) -> AbandonedOps:
    """Say which ops none of `commits` covers; raise `UsageError` if they may not be abandoned.

    A checkpoint counts only where it names no commit, as for a log without a repository.
    """
    checkpoint = CheckpointFile(
        layout.checkpoint_file(root, session_id), session_id, storage, log_file, reader
    )
    pending = PendingOps(reader, checkpoint, ObjectStore(root, storage), DEFAULT_LIMITS)
    named = checkpoint.read()
    before = NOTHING if named and named.get("commit_id") else checkpoint.coverage()
    coverage = pending.adopted(before, _op_lists(root, commits, storage), log_file.end())
    listed = pending.listed(coverage)
    op_ids: list[str] = []
    count, kept = 0, 0

    def leaves() -> Iterator[bytes]:
        nonlocal count, kept
        for entry in pending_entries(reader, coverage, listed, log_file.end()):
            count += 1
            if not (abandon is True or (not isinstance(abandon, bool) and entry["op_id"] in abandon)):
                kept += 1
            if len(op_ids) <= NAMED_OPS:
                op_ids.append(entry["op_id"])
            yield leaf_of(entry)

    merkle_root = root_hash(leaves()).hex()
    if kept:
        shown = ", ".join(op_ids[:_SHOWN]) + ("..." if count > _SHOWN else "")
        raise UsageError(
            f"session {session_id!r} has {count} pending ops ({shown}): commit them, or abandon each with "
            "--abandon OP_ID, or all with --abandon-pending; if they are in history already, 'muse session "
            f"recover {session_id}' finds them there"
        )
    return {"op_count": count, "root": merkle_root, "op_ids": op_ids if count <= NAMED_OPS else []}


def check_orphans(root: str, session_id: str, *, abandon: Abandon, storage: Storage) -> None:
    """Raise `UsageError` if there are orphans that may not be abandoned; abandoned ones stay there."""
    orphans = OrphanFile(layout.orphans_file(root, session_id), storage).read()
    kept = [] if abandon is True else sorted(orphans.keys() - set(abandon or ()))
    if kept:
        shown = ", ".join(kept[:_SHOWN]) + ("..." if len(kept) > _SHOWN else "")
        raise UsageError(
            f"session {session_id!r} has {len(kept)} entries whose parents are not here ({shown}): 'muse "
            "session merge' or 'sync' brings the parents; or abandon each with --abandon OP_ID, or all "
            "with --abandon-pending, and they wait on beside the archive"
        )


def _op_lists(root: str, commits: Iterable[CoveringCommit], storage: Storage) -> Iterator[str]:
    dag = CommitDag(root, storage)
    for commit in commits:
        seal = read_seal(dag.read_commit(commit["commit_id"])["message"])
        if seal is not None:
            yield seal.op_list


def pending_entries(
    reader: LogReader, coverage: Coverage, listed: Container[str], stop: int
) -> Iterator[OpEntry]:
    """Yield each op whose first line nothing covers. Only the tail is read, in bounded memory."""
    for offset, entry in reader.distinct(coverage.cut.offset, stop):
        if entry["op_id"] in listed or not coverage.is_pending(entry["domain"], offset):
            continue
        # A line that repeats a covered op: only a stamp within its actor's frontier can.
        if entry["lamport_ts"] <= coverage.frontier.get(entry["actor_id"], 0):
            first = reader.find(entry["op_id"], offset)
            if first is not None and first < offset and not coverage.is_pending(entry["domain"], first):
                continue
        yield entry
