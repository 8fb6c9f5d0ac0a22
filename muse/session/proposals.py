"""Proposals: ops that are set aside until somebody decides, kept durably beside the log.

One line for each proposal and each decision, framed by a crc as the log's lines are. An op enters the log
before its acceptance is noted, so a proposal whose op is in the log is accepted, noted or not.
"""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, NoReturn

import msgspec
import orjson

from muse.core.line import frame, frame_holds
from muse.disk.storage import Storage
from muse.disk.system_calls import translated
from muse.errors import CorruptionError, StorageError
from muse.session.receipt import Kind

State = Literal["open", "accepted", "rejected"]

PAGE_PROPOSALS = 1_000
"""How many proposals a page of them has at most."""

_PAGE_BYTES = 1 << 20
_NULS = b"\0" * 8


@dataclass(frozen=True, slots=True)
class Proposal:
    """An op that is set aside. Its id is that of its op; `entry` has the nine fields.

    In a draft, `lamport_ts` is null: it is stamped when it enters the log. `kind` and `reason` say why it was
    set aside. The last three fields are "" until somebody has decided.
    """

    entry: dict[str, Any]
    kind: Kind
    reason: str
    run_id: str
    proposed_at: str
    state: State = "open"
    decided_by: str = ""
    decided_at: str = ""
    decision_reason: str = ""

    @property
    def proposal_id(self) -> str:
        """The id of its op."""
        return str(self.entry["op_id"])

    def to_json(self) -> dict[str, Any]:
        """Return the proposal as JSON has it."""
        facts = {one.name: getattr(self, one.name) for one in fields(self)}  # a deep copy would cost seconds
        return {"proposal_id": self.proposal_id, **facts}


class _ProposalLine(msgspec.Struct):
    """A line of the file: a proposal (`entry`) or a decision."""

    proposal_id: str
    state: State
    actor_id: str
    at: str
    reason: str = ""
    kind: Kind = ""
    run_id: str = ""
    entry: dict[str, Any] | None = None


_DECODER = msgspec.json.Decoder(_ProposalLine)


class ProposalCounts:
    """How many proposals there are of a kind, and their bytes: in all and of each actor."""

    def __init__(self) -> None:
        self.count = self.size = 0
        self.counts: Counter[str] = Counter()
        self.sizes: Counter[str] = Counter()

    def add(self, actor_id: str, size: int, count: int = 1) -> None:
        """Count one more or, with `count` -1 and a negative size, one less."""
        self.count += count
        self.size += size
        self.counts[actor_id] += count
        self.sizes[actor_id] += size
        if not self.counts[actor_id]:
            del self.counts[actor_id], self.sizes[actor_id]

    def copy(self) -> "ProposalCounts":
        """Return another one with the same numbers."""
        other = ProposalCounts()
        other.count, other.size = self.count, self.size
        other.counts, other.sizes = self.counts.copy(), self.sizes.copy()
        return other


class ProposalFile:
    """The proposals of one session, at `path`. Its caller holds the session's lock."""

    def __init__(self, path: str, storage: Storage) -> None:
        self._path = path
        self._storage = storage
        self._found: dict[str, Proposal] = {}
        self._names_synced = False
        self._open = ProposalCounts()
        self._ever = ProposalCounts()
        self._sizes: dict[str, int] = {}
        self._read_to = 0
        self._line_number = 0

    def all(self) -> Mapping[str, Proposal]:
        """Return all proposals by id, in the order they came.

        `CorruptionError` where a line is not what was written: an op may be lost. The rest of a line that a
        crash cut off, and that nobody was told of, is passed over.
        """
        size = self._storage.file_size(self._path) or 0
        if size < self._read_to:
            raise CorruptionError(
                f"{self._path} became shorter: it has {size} bytes, and {self._read_to} were read before; "
                "put the whole file back",
                path=self._path,
                offset=size,
            )
        if size > self._read_to:
            self._take_in(self._read(self._read_to, size))
        return self._found

    def after(self, earlier: Proposal | None, at_most: int) -> tuple[list[Proposal], bool]:
        """Return the next of what was read, `at_most` and a mebibyte of them, and whether that is all."""
        found = iter(self._found.values())
        if earlier is not None:
            next(one for one in found if one.proposal_id == earlier.proposal_id)
        page: list[Proposal] = []
        size = 0
        for one in found:
            size += self._sizes[one.proposal_id]
            if page and (len(page) >= at_most or size > _PAGE_BYTES):
                return page, False
            page.append(one)
        return page, True

    def size_of(self, proposal_id: str) -> int:
        """Return how many bytes the line of a proposal has."""
        return self._sizes[proposal_id]

    @property
    def open(self) -> ProposalCounts:
        """The open proposals among those that were read."""
        return self._open

    @property
    def ever(self) -> ProposalCounts:
        """All proposals that were read, decided or not; the bytes of decisions count as their authors'."""
        return self._ever

    def add(self, proposals: Sequence[Proposal]) -> None:
        """Set ops aside; on return they are on the disk."""
        lines = [
            _ProposalLine(
                one.proposal_id,
                "open",
                one.entry["actor_id"],
                one.proposed_at,
                one.reason,
                one.kind,
                one.run_id,
                one.entry,
            )
            for one in proposals
        ]
        self._append(lines)

    def decide(self, proposal_id: str, state: State, actor_id: str, at: str, reason: str = "") -> Proposal:
        """Note a decision; on return it is on the disk."""
        self._append([_ProposalLine(proposal_id, state, actor_id, at, reason)])
        return self._found[proposal_id]

    # -- bytes ----------------------------------------------------------------------------------

    def _append(self, lines: Sequence[_ProposalLine]) -> None:
        data = b"".join(frame(orjson.dumps(msgspec.structs.asdict(line))) for line in lines)
        self.all()
        with translated(self._path, "open"):
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW
            descriptor = self._storage.open(self._path, flags)
        try:
            with translated(self._path, "append to"):
                # What is behind the last whole line was never acknowledged, and nobody else is at work.
                self._storage.truncate(descriptor, self._read_to)
                try:
                    self._storage.write_all(descriptor, data)
                    self._storage.sync_data(descriptor)
                    self._sync_names()
                except (OSError, StorageError):
                    # A second sync could not be believed: what is in doubt goes, to be written again.
                    self._storage.truncate(descriptor, self._read_to)
                    raise
        finally:
            self._storage.close(descriptor)
        self.all()

    def _sync_names(self) -> None:
        if not self._names_synced:
            directory = os.path.dirname(self._path)
            self._storage.sync_directory(directory)
            self._storage.sync_directory(os.path.dirname(directory))
            self._names_synced = True

    def _read(self, start: int, end: int) -> bytes:
        with translated(self._path, "read"):
            descriptor = self._storage.open(self._path, os.O_RDONLY | os.O_NOFOLLOW)
            try:
                return self._storage.pread(descriptor, end - start, start)
            finally:
                self._storage.close(descriptor)

    def _take_in(self, data: bytes) -> None:
        *lines, torn = data.split(b"\n")
        for line in lines:
            if frame_holds(line):
                self._take(self._decoded(line), len(line))
            elif _NULS not in line:  # those are what a power cut left of a line nobody was told of
                self._raise_damaged()
            self._read_to += len(line) + 1
            self._line_number += 1
        if frame_holds(torn[:-1]):  # a whole line, and something else where its newline was
            self._raise_damaged()

    def _decoded(self, line: bytes) -> _ProposalLine:
        try:
            return _DECODER.decode(line)
        except msgspec.MsgspecError as error:
            raise CorruptionError(
                f"{self._path} has no proposal in line {self._line_number + 1}: {error}; a newer version may "
                "have written it",
                path=self._path,
                offset=self._read_to,
            ) from error

    def _raise_damaged(self) -> NoReturn:
        raise CorruptionError(
            f"{self._path} is damaged in line {self._line_number + 1}: an op that was set aside may be lost; "
            "put the line right, or remove it and have its op sent again",
            path=self._path,
            offset=self._read_to,
        )

    def _take(self, line: _ProposalLine, size: int) -> None:
        known = self._found.get(line.proposal_id)
        if known is None and line.entry is not None:
            found = Proposal(line.entry, line.kind, line.reason, line.run_id, line.at)
            self._found[line.proposal_id] = found
            self._sizes[line.proposal_id] = size
            self._open.add(line.entry["actor_id"], size)
            self._ever.add(line.entry["actor_id"], size)
        elif known is not None and line.entry is None:
            self._ever.add(known.entry["actor_id"], size, 0)
            self._found[line.proposal_id] = replace(
                known,
                state=line.state,
                decided_by=line.actor_id,
                decided_at=line.at,
                decision_reason=line.reason,
            )
            if known.state == "open":
                self._open.add(known.entry["actor_id"], -self._sizes[line.proposal_id], -1)
