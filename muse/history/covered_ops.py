"""Finds the ops that a commit covers in the session's log, by the list that its seal names.

The list says which ops, wherever their lines are: a log that was merged has them in other places than
the log that the commit was made from.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Self

from muse.core.blocks import decode_block
from muse.core.entry import OpEntry, total_order
from muse.core.file.live_or_archived import is_archived, session_exists
from muse.core.file.log_reader import LogReader
from muse.core.file.objects import ObjectStore
from muse.core.file.session_file import SessionFile
from muse.core.op_list import decode_op_list, ids_among
from muse.disk import layout
from muse.disk.storage import LOCAL, Storage
from muse.errors import CorruptionError, raises_about
from muse.history.commit_record import CommitRecord, parents
from muse.history.list_match import ListMatch
from muse.history.seal import Seal, read_seal, root_of
from muse.history.walk import ancestors

OPEN_AT_MOST = 16
"""How many logs `SessionLogs` has open at once."""


@dataclass(frozen=True, slots=True)
class SealedCommit:
    """A commit that was made from a log. `domain` is "" if the commit has no delta."""

    commit_id: str
    parent_ids: tuple[str, ...]
    snapshot_id: str
    domain: str
    seal: Seal


@dataclass(slots=True)
class SealedCommits:
    """The sealed commits among those that were added, and the ancestry of all that were added."""

    _by_id: dict[str, SealedCommit] = field(default_factory=dict)
    _parents: dict[str, tuple[str, ...]] = field(default_factory=dict)
    _by_session: dict[str, list[SealedCommit]] = field(default_factory=lambda: defaultdict(list))

    def add(self, record: CommitRecord) -> SealedCommit | None:
        """Take in a commit, in any order, and return it if it is sealed. Little of it is kept in memory."""
        commit_id = record["commit_id"]
        parent_ids = self._parents[commit_id] = tuple(parents(record))
        seal = read_seal(record["message"])
        if seal is None or commit_id in self._by_id:
            return None
        domain = (record["structured_delta"] or {"domain": ""})["domain"]
        commit = SealedCommit(commit_id, parent_ids, record["snapshot_id"], domain, seal)
        self._by_id[commit_id] = commit
        self._by_session[seal.session_id].append(commit)
        return commit

    def __contains__(self, commit_id: str) -> bool:
        return commit_id in self._parents

    def session_ids(self) -> list[str]:
        """Return the ids of all sessions that a commit seals ops of, sorted."""
        return sorted(self._by_session)

    def of_session(self, session_id: str) -> list[SealedCommit]:
        """Return the session's commits by their cuts, lowest first."""
        found = self._by_session.get(session_id, [])
        return sorted(found, key=lambda commit: (commit.seal.cut_offset, commit.domain, commit.commit_id))

    def behind(self, commit_id: str, others: Collection[str]) -> set[str]:
        """Return those of `others` that are in the history of a commit."""
        behind = ancestors([commit_id], lambda known: self._parents.get(known, ()))
        return set(others).intersection(behind)


Run = tuple[int, int]
"""Where the first and the last entry of a group start; between them is no other entry of their domain."""


@dataclass(frozen=True, slots=True)
class Covered:
    """The entries of one commit, in the total order, and where they are in the log."""

    entries: list[OpEntry]
    runs: list[Run]


class SessionOps:
    """The entries of one session's log by their places, each once. Damaged lines are left out.

    An archived log is read where it is.
    """

    def __init__(self, root: str, session_id: str, storage: Storage = LOCAL) -> None:
        archived = is_archived(root, session_id, storage=storage)
        self.path = (layout.archived_ops_file if archived else layout.ops_file)(root, session_id)
        self.is_there = session_exists(root, session_id, storage=storage)
        self._file = SessionFile(root, session_id, storage)
        self._reader = LogReader(self._file, layout.op_index_file(root, session_id), storage)

    def end(self) -> int:
        """Return the length of the log in bytes."""
        return self._file.end()

    @raises_about("session")
    def covered(self, op_ids: Collection[str], domain: str | None = None, *, start: int = 0) -> Covered:
        """Return the entries of those ids that are in the log. Damaged lines are left out.

        The search begins at byte `start`, where a line starts. From the end of the log it goes on at its
        beginning, until all are found.
        """
        wanted = set(op_ids)
        found: list[OpEntry] = []
        runs: list[Run] = []
        for first, stop in ((start, self._file.end()), (0, start)):
            run: Run | None = None
            for offset, entry in self._reader.scan(first, stop, salvage=True):
                if entry["op_id"] in wanted:
                    wanted.discard(entry["op_id"])
                    found.append(entry)
                    run = (run[0] if run else offset, offset)
                    if not wanted:
                        break
                elif run and entry["domain"] == (domain or entry["domain"]):
                    runs.append(run)
                    run = None
            runs += [run] if run else []
            if not wanted:
                break
        found.sort(key=total_order)
        return Covered(found, runs)

    def outside(self, op_lists: Collection[str], objects: ObjectStore) -> Iterator[tuple[int, OpEntry]]:
        """Yield each op once that is in none of those lists: where its first line starts, and the entry."""
        match = ListMatch(decode_op_list(objects.get(name), name) for name in op_lists)
        found: dict[str, tuple[int, OpEntry]] = {}
        for offset, entry in self._reader.chosen(self._file.end(), match.choose, salvage=True):
            found.setdefault(entry["op_id"], (offset, entry))
        for name in op_lists if found else ():
            for op_id in ids_among(objects.get(name), found, name):
                del found[op_id]  # the log has its line twice
        yield from found.values()

    def find(self, op_id: str) -> tuple[int, OpEntry] | None:
        """Return where an op's first line starts, and the entry, or None if the log does not have it.

        Reads the log up to that line. A block that does not hold the id is not decoded.
        """
        needle = op_id.encode()
        for offset, data in self._file.blocks(0, self._file.end()):
            if needle not in data:
                continue
            block = decode_block(data, offset)
            for start, entry in zip(block.starts, block.entries, strict=True):
                if entry["op_id"] == op_id:
                    return start, entry
        return None

    def ids_beginning_with(self, prefix: str) -> set[str]:
        """Return the ids of the ops that begin so."""
        positions = self._reader.positions(0, self._file.end())
        return {position.op_id for position in positions if position.op_id.startswith(prefix)}

    def first_of_each_actor(self) -> dict[str, str]:
        """Return actor -> the id of its first op."""
        found: dict[str, str] = {}
        for position in self._reader.positions(0, self._file.end()):
            found.setdefault(position.actor_id, position.op_id)
        return found

    def close(self) -> None:
        """Close the log and its index."""
        self._reader.close()
        self._file.close()


class SessionLogs:
    """The logs of a repository, each opened once for many questions, a few at a time.

    `begins` has, for each commit that is known, where its entries begin in the log.
    """

    def __init__(self, root: str, storage: Storage = LOCAL) -> None:
        self.begins: dict[str, int] = {}
        self._root = root
        self._storage = storage
        self._open: dict[str, SessionOps] = {}  # the one that was asked last is the last one

    def covered(self, session_id: str, op_ids: Collection[str], commit_ids: Collection[str]) -> list[OpEntry]:
        """Return the entries of those ids that a session's log has; `commit_ids` brought them."""
        ops = self._open.pop(session_id, None) or SessionOps(self._root, session_id, self._storage)
        self._open[session_id] = ops
        if len(self._open) > OPEN_AT_MOST:
            self._open.pop(next(iter(self._open))).close()
        start = min((self.begins.get(name, 0) for name in commit_ids), default=0)
        return ops.covered(op_ids, start=min(start, ops.end())).entries

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for ops in self._open.values():
            ops.close()
        self._open.clear()


@raises_about("object")
def op_ids_of(objects: ObjectStore, seal: Seal) -> list[str]:
    """Return the ids of the ops that a commit covers, in the total order."""
    return decode_op_list(objects.get(seal.op_list), seal.op_list)


@raises_about("session")
def covered_by(commit: SealedCommit, ops: SessionOps, objects: ObjectStore) -> list[OpEntry]:
    """Return the entries that `commit` covers, in the total order.

    `CorruptionError` if they do not hash to the sealed root: the log was cut or changed.
    """
    entries = ops.covered(op_ids_of(objects, commit.seal), commit.domain).entries
    if root_of(entries) == commit.seal.root:
        return entries
    raise CorruptionError(
        f"{ops.path} and commit {commit.commit_id} differ: the ops there do not hash to the sealed root; "
        "see 'muse verify --replay'",
        path=ops.path,
    )


def open_session(root: str, session_id: str, storage: Storage = LOCAL) -> SessionOps:
    """Open the ops of a session for reading, live or archived; `UsageError` for a bad session id."""
    return SessionOps(root, layout.check_session_id(session_id), storage)
