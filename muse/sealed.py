"""Which ops a commit covers: what the seals in the commits say, found again in the sessions' logs.

A commit covers the entries of its domain whose lines stand between the session's cut before it and
its own. The cut before it is the highest one below its own among the commits of that session in its
history; where a session went on from another branch, the highest below its own of all commits.
"""

import os.path
import re
from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from muse.core import layout
from muse.core.commit_record import CommitRecord, parents
from muse.core.entry import OpEntry, total_order
from muse.core.log_reader import LogReader
from muse.core.op_log import list_sessions
from muse.core.record import decode_block
from muse.core.seal import Seal, read_seal, root_of
from muse.core.session_file import SessionFile, is_archived
from muse.core.storage import LOCAL, TEMPORARY_MARK, Storage
from muse.errors import CorruptionError

_DIGEST = re.compile(r"[0-9a-f]{64}\Z")


@dataclass(frozen=True, slots=True)
class SealedCommit:
    """A commit that was made from a log. `domain` is "" if it has no delta to say it."""

    commit_id: str
    parent_ids: tuple[str, ...]
    snapshot_id: str
    domain: str
    seal: Seal


@dataclass(slots=True)
class SealedCommits:
    """The sealed commits among those that were added, and how all of them descend from one another."""

    _by_id: dict[str, SealedCommit] = field(default_factory=dict)
    _parents: dict[str, tuple[str, ...]] = field(default_factory=dict)
    _by_session: dict[str, list[SealedCommit]] = field(default_factory=lambda: defaultdict(list))
    # (session, "" or domain) -> the cuts of its commits, rising
    _cuts: dict[tuple[str, str], list[int]] = field(default_factory=lambda: defaultdict(list))

    def add(self, record: CommitRecord) -> SealedCommit | None:
        """Take in a commit, in any order; what is kept of it is small. Returns it if it is sealed."""
        commit_id = record["commit_id"]
        parent_ids = self._parents[commit_id] = tuple(parents(record))
        seal = read_seal(record["message"])
        if seal is None or commit_id in self._by_id:
            return None
        domain = (record["structured_delta"] or {"domain": ""})["domain"]
        commit = SealedCommit(commit_id, parent_ids, record["snapshot_id"], domain, seal)
        self._by_id[commit_id] = commit
        self._by_session[seal.session_id].append(commit)
        for name in {"", domain}:
            insort(self._cuts[seal.session_id, name], seal.cut_offset)
        return commit

    def __contains__(self, commit_id: str) -> bool:
        return commit_id in self._parents

    def session_ids(self) -> list[str]:
        return sorted(self._by_session)

    def of_session(self, session_id: str) -> list[SealedCommit]:
        """Return the session's commits by their cuts, lowest first."""
        found = self._by_session.get(session_id, [])
        return sorted(
            found, key=lambda commit: (commit.seal.cut_offset, self.starts(commit)[0], commit.domain)
        )

    def starts(self, commit: SealedCommit) -> list[int]:
        """Return where the lines that `commit` covers may start, the likeliest place first.

        The commit before it may have left out its domain, as one of several made at one cut does.
        """
        cut = commit.seal.cut_offset
        before = [other for other in self._ancestors(commit) if other.seal.cut_offset < cut]
        same = [other for other in before if other.domain == commit.domain]
        found = [max((other.seal.cut_offset for other in group), default=0) for group in (before, same)]
        for key in ((commit.seal.session_id, ""), (commit.seal.session_id, commit.domain)):
            cuts = self._cuts[key]
            place = bisect_left(cuts, cut)
            found.append(cuts[place - 1] if place else 0)
        return list(dict.fromkeys(found))

    def overlapped(self, commit: SealedCommit) -> SealedCommit | None:
        """Return an ancestor that covers what `commit` covers; there is none in a sound history."""
        cut = commit.seal.cut_offset
        for other in self._ancestors(commit):
            reach = other.seal.cut_offset
            if reach > cut or (reach == cut and other.domain == commit.domain):
                return other
        return None

    def _ancestors(self, commit: SealedCommit) -> Iterator[SealedCommit]:
        """Yield the session's commits before `commit`, back to the nearest ones with a lower cut."""
        seen: set[str] = set()
        waiting = list(commit.parent_ids)
        while waiting:
            commit_id = waiting.pop()
            if commit_id in seen:
                continue
            seen.add(commit_id)
            found = self._by_id.get(commit_id)
            if found is not None and found.seal.session_id == commit.seal.session_id:
                yield found
                if found.seal.cut_offset < commit.seal.cut_offset:
                    continue
            waiting.extend(self._parents.get(commit_id, ()))


class SessionOps:
    """The entries of one session's log by their places, each once; damage is passed over.

    An archived log is read where it is.
    """

    def __init__(self, root: str, session_id: str, storage: Storage = LOCAL) -> None:
        archived = is_archived(root, session_id, storage=storage)
        self.path = (layout.archived_ops_file if archived else layout.ops_file)(root, session_id)
        self.is_there = archived or storage.exists(self.path)
        self._file = SessionFile(root, session_id, storage)
        self._reader = LogReader(self._file, layout.op_index_file(root, session_id), storage)
        self._frontier: dict[str, int] = {}
        self._frontier_at = 0

    def end(self) -> int:
        """Return the length of the log in bytes."""
        return self._file.end()

    def frontier(self, offset: int) -> dict[str, int]:
        """Return each actor's highest stamp before byte `offset`. Quick where offsets only rise."""
        if offset < self._frontier_at:
            self._frontier, self._frontier_at = {}, 0
        frontier = self._frontier
        for position in self._reader.positions(self._frontier_at, offset):
            frontier[position.actor_id] = max(frontier.get(position.actor_id, 0), position.lamport_ts)
        self._frontier_at = offset
        return dict(frontier)

    def between(self, start: int, stop: int) -> list[OpEntry]:
        """Return the entries whose first lines stand between two bytes, in the order of the file."""
        frontier = self.frontier(start)
        found: dict[str, OpEntry] = {}
        for offset, entry in self._reader.scan(start, stop, salvage=True):
            # A line repeats an earlier op only if its stamp is within its actor's frontier.
            repeats = entry["lamport_ts"] <= frontier.get(entry["actor_id"], 0) and self._is_before(
                entry["op_id"], offset, start
            )
            if not repeats:
                found.setdefault(entry["op_id"], entry)
        return list(found.values())

    def _is_before(self, op_id: str, offset: int, start: int) -> bool:
        first = self._reader.find(op_id, offset)
        return first is not None and first < start

    def find(self, op_id: str) -> tuple[int, OpEntry] | None:
        """Return where an op's first line starts, and the entry; None if the log does not have it.

        Reads the log up to there, without decoding what does not hold the id.
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

    def first_of_each_actor(self) -> dict[str, str]:
        """Return actor -> the id of its first op."""
        found: dict[str, str] = {}
        for position in self._reader.positions(0, self._file.end()):
            found.setdefault(position.actor_id, position.op_id)
        return found

    def close(self) -> None:
        self._reader.close()
        self._file.close()


def covered_by(commit: SealedCommit, commits: SealedCommits, ops: SessionOps) -> list[OpEntry]:
    """Return the entries that `commit` covers, in the total order: those whose root it seals.

    `CorruptionError` if the log does not hold them: it was cut or changed.
    """
    cut = commit.seal.cut_offset
    for start in commits.starts(commit) if cut <= ops.end() else ():
        entries = sorted(entries_of(ops.between(start, cut), commit.domain), key=total_order)
        if root_of(entries) == commit.seal.root:
            return entries
    raise CorruptionError(
        f"{ops.path} and commit {commit.commit_id} differ: the ops there do not hash to the sealed root; "
        "see 'muse verify --replay'",
        path=ops.path,
    )


def entries_of(entries: Iterable[OpEntry], domain: str) -> list[OpEntry]:
    return [entry for entry in entries if entry["domain"] == domain]


def open_session(root: str, session_id: str, storage: Storage = LOCAL) -> SessionOps:
    """Open the ops of a session for reading, live or archived; `UsageError` for a bad session id."""
    return SessionOps(root, layout.check_session_id(session_id), storage)


def session_ids(root: str, storage: Storage = LOCAL) -> list[str]:
    """Name every session whose ops are here, live or archived, sorted."""
    names = storage.list_directory(layout.op_log_directory(root))
    archived = (
        name
        for name, is_directory in names
        if is_directory and layout.is_session_id(name) and is_archived(root, name, storage=storage)
    )
    return sorted({*list_sessions(root, storage=storage), *archived})


def commit_ids(root: str, storage: Storage = LOCAL) -> Iterator[str]:
    """Yield the id of every stored commit, reachable or not, by the names of the files."""
    for name, _ in storage.list_directory(layout.commits_directory(root)):
        stem, extension = os.path.splitext(name)
        if extension == ".json" and TEMPORARY_MARK not in name and _DIGEST.match(stem):
            yield stem
