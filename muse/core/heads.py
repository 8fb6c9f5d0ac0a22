"""Heads: the ops of a log that no other rests on, by which an op names all that its author could see."""

import threading
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from operator import attrgetter

from muse.causality import HeadOps
from muse.core.appends import Appends
from muse.core.blocks import Link, link_of
from muse.core.entry import DEFAULT_LIMITS, OpEntry
from muse.core.file.checkpoint_store import CheckpointFile
from muse.core.file.log_reader import LogReader

_COMMITTED_BYTES = 1 << 22
"""How far back from the end of a log, at least, its ops are read; those that are pending always are."""
_FEW_BYTES = 1 << 16
"""So much of a log is taken in at once without a delay that anyone would notice."""
_REMEMBERED = 10_000
"""How many of the newest ops of a domain are known one by one, for authors that have not read the last."""


class _DomainHeads:
    """The heads among the ops of one domain."""

    def __init__(self) -> None:
        self.last: dict[str, Link] = {}
        self._heads = HeadOps()
        self.newest: deque[Link] = deque(maxlen=_REMEMBERED)

    def copy(self) -> "_DomainHeads":
        other = _DomainHeads()
        other.last, other._heads, other.newest = self.last.copy(), self._heads.copy(), self.newest.copy()
        return other

    def add(self, one: Link) -> None:
        """Take in an op; a line that repeats an earlier op changes nothing."""
        before = self.last.get(one.actor_id)
        if before is not None and one.lamport_ts <= before.lamport_ts:
            return  # what its actor made later rests on it
        self._heads.take(one.op_id, one.actor_id, one.parent_op_ids)
        self.last[one.actor_id] = one
        self.newest.append(one)

    def heads(self) -> Iterable[Link]:
        """Return the ops that no other rests on: each is the last of its actor."""
        return (self.last[actor] for actor in self._heads.actors.values())

    def seen_by(self, frontier: Mapping[str, int]) -> Iterable[Link]:
        """Return the newest op of each actor that the frontier reaches, without those that others name."""
        found = {
            actor: one
            for actor, stamp in frontier.items()
            if (one := self.last.get(actor)) and one.lamport_ts <= stamp
        }
        wanted = {actor for actor in frontier if actor in self.last and actor not in found}
        for one in reversed(self.newest):
            if not wanted:
                break
            if one.actor_id in wanted and one.lamport_ts <= frontier[one.actor_id]:
                found[one.actor_id] = one
                wanted.discard(one.actor_id)
        named = {parent for one in found.values() for parent in one.parent_op_ids}
        return [one for one in found.values() if one.op_id not in named]


@dataclass(frozen=True, slots=True)
class KeptHeads:
    """The heads of some domains as they were, and up to where the log was read for them."""

    domains: Mapping[str, _DomainHeads | None]
    read_to: int | None


class Heads:
    """The heads of one log, for each domain, as plugins see the ops of their own only. For several threads.

    An actor's earlier ops are behind its later ones. So the heads are the last op of each actor, without
    those that another op names. What is pending is read, and of what is committed the newest 4 MiB.
    """

    def __init__(self, appends: Appends, store: CheckpointFile, reader: LogReader) -> None:
        self._appends = appends
        self._store = store
        self._reader = reader
        self._lock = threading.Lock()
        self._domains: dict[str, _DomainHeads] = {}
        self._read_to: int | None = None

    def catch_up(self) -> None:
        """Take in what anyone appended since."""
        with self._appends.lock:
            end = self._appends.take_in()
        with self._lock:
            start = self._start(end) if self._read_to is None else self._read_to
            for one in self._reader.links(start, end) if start < end else ():
                self._add(one)
            self._read_to = max(start, end)

    def is_far_behind(self) -> bool:
        """Tell whether so much is to be taken in that it takes a while, as at the first time."""
        with self._appends.lock:
            end = self._appends.take_in()
        return end - (0 if self._read_to is None else self._read_to) > _FEW_BYTES

    def _start(self, end: int) -> int:
        """Return from where on the log is read first."""
        covered = self._store.trusted_coverage().cut.offset
        return max(0, min(covered, end - _COMMITTED_BYTES))

    def note(self, entry: OpEntry) -> None:
        """Take in an op that this process appends, before it is read in the log."""
        with self._lock:
            self._add(link_of(entry))

    def pass_over(self, start: int, end: int) -> None:
        """Note that between these bytes of the log is what was taken in already."""
        with self._lock:
            if start == self._read_to:
                self._read_to = end

    def kept(self, domains: Iterable[str]) -> KeptHeads:
        """Return the heads of some domains, to be put back if what is noted of these is not written."""
        with self._lock:
            found = {name: self._domains.get(name) for name in domains}
            return KeptHeads({name: one and one.copy() for name, one in found.items()}, self._read_to)

    def put_back(self, kept: KeptHeads) -> None:
        """Take back what was noted since; what was read in the log since is read again."""
        with self._lock:
            if self._read_to is None or kept.read_to is None:
                self._domains.clear()
                self._read_to = None
                return
            for name, domain in kept.domains.items():
                if domain is None:
                    self._domains.pop(name, None)
                else:
                    self._domains[name] = domain
            self._read_to = min(self._read_to, kept.read_to)

    def forget(self) -> None:
        """Read the log again: what was noted may not be in it."""
        with self._lock:
            self._domains.clear()
            self._read_to = None

    def _add(self, one: Link) -> None:
        domain = self._domains.get(one.domain)
        if domain is None:
            domain = self._domains[one.domain] = _DomainHeads()
        domain.add(one)

    def names(self, domain: str) -> list[str]:
        """Return the ids of the heads, at most so many as an op may have parents, the newest."""
        with self._lock:
            known = self._domains.get(domain)
            return [] if known is None else _newest(known.heads())

    def seen_by(self, domain: str, frontier: Mapping[str, int]) -> list[str]:
        """Return the ids of the heads of an author that has read of each actor up to a stamp.

        Of an actor whose ops up to that stamp are behind the 10,000 newest, nothing is named.
        """
        with self._lock:
            known = self._domains.get(domain)
            return [] if known is None else _newest(known.seen_by(frontier))


def _newest(found: Iterable[Link]) -> list[str]:
    ordered = sorted(found, key=attrgetter("lamport_ts", "op_id"))
    return [one.op_id for one in islice(ordered, max(0, len(ordered) - DEFAULT_LIMITS.parents), None)]
