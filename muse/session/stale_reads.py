"""Stale reads: the newer ops of others that an author had not read."""

import threading
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from muse.core.address import MOST_STEPS, AddressMap, addresses_of, parts_of
from muse.core.entry import MAX_LAMPORT, OpEntry
from muse.core.op_log import OpLog

TOUCHES_HELD = 200_000
"""The number of touches after which older ones are remembered by fewer steps of their addresses."""

_COARSE_STEPS = 3


class Touch(NamedTuple):
    """An op at one of the addresses that it touches."""

    lamport_ts: int
    op_id: str
    actor_id: str
    address: str


class Touches:
    """The last touch of each address by each actor, of one log. For several threads.

    Memory is bounded, and an answer costs the same however long the log is. What was touched long ago is
    remembered by the first steps of its address, by fewer and fewer of them: the rare author that has not
    even read that is told of ops beside the address, too, but no op is ever missed.
    """

    def __init__(self, log: OpLog, *, touches_held: int = TOUCHES_HELD) -> None:
        self._log = log
        self._touches_held = touches_held
        self._lock = threading.Lock()
        self._young = _Generation()
        self._old = _Generation()
        self._ancient = _Generation(_COARSE_STEPS)
        self._read_to = 0

    def __len__(self) -> int:
        """Return how many touches are kept."""
        return sum(map(len, self._generations()))

    def _generations(self) -> Iterable["_Generation"]:
        return self._ancient, self._old, self._young

    def catch_up(self) -> None:
        """Take in what anyone appended since."""
        end = self._log.cut().offset  # before the lock: whoever has both takes the log's first
        with self._lock:
            if end <= self._read_to:
                return
            for entry in self._log.scan(self._read_to, end):
                for one in _touches_of(entry, entry["lamport_ts"]):
                    self._young.add(one)
                if len(self._young) >= self._touches_held:
                    self._grow_old()
            self._read_to = end

    def _grow_old(self) -> None:
        self._ancient.take_in(self._old)
        while self._ancient.depth and len(self._ancient) > self._touches_held:
            finer, self._ancient = self._ancient, _Generation(self._ancient.depth - 1)
            self._ancient.take_in(finer)
        self._young, self._old = _Generation(), self._young

    def unread(
        self,
        addresses: Iterable[str],
        actor_id: str,
        seen: Mapping[str, int],
        arriving: "Arriving | None" = None,
    ) -> list[Touch]:
        """Return ops of others on `addresses`, above or below, that are newer than what was `seen` of them.

        The newest op of each actor, in the order of their stamps; ops that are `arriving` count too.
        """
        wanted = tuple(addresses)
        newest: dict[str, Touch] = {}
        with self._lock:
            for generation in (*self._generations(), *([] if arriving is None else [arriving])):
                for one in generation.touching(wanted):
                    if one.actor_id != actor_id and one.lamport_ts > seen.get(one.actor_id, 0):
                        newest[one.actor_id] = max(one, newest.get(one.actor_id, one))
        return sorted(newest.values())


class _Generation:
    """Touches of some stretch of the log, told apart by the first `depth` steps of their addresses."""

    def __init__(self, depth: int = MOST_STEPS) -> None:
        self.depth = depth
        self.last: AddressMap[Touch] = AddressMap()
        self._held = 0

    def __len__(self) -> int:
        """Return how many touches are kept: a deep one, or one on many addresses, counts more than once."""
        return self._held

    def add(self, one: Touch) -> None:
        """Add a touch, if it is the newest of its actor there."""
        for places in self.last.places(self._cut(one.address)):
            self._held += one.actor_id not in places
            places[one.actor_id] = max(one, places.get(one.actor_id, one))

    def take_in(self, finer: "_Generation") -> None:
        """Add the touches of a generation that tells more steps apart."""
        for one in finer.last.coarsely(self.depth):
            self.add(one)

    def touching(self, addresses: Iterable[str]) -> Iterator[Touch]:
        """Yield the touches at, above and below `addresses`."""
        return (one for address in addresses for one in self.last.touching(self._cut(address)))

    def _cut(self, address: str) -> str:
        return address if self.depth == MOST_STEPS else "/".join(parts_of(address)[: self.depth])


class Arriving(_Generation):
    """Touches of ops that are about to enter the log, in their order.

    An op that has no stamp yet counts as unread, whatever others have read, and as newer than all before it:
    its touch has a stamp that no op can have.
    """

    def __init__(self) -> None:
        super().__init__()
        self._expected = 0

    def expect(self, entry: OpEntry, *, is_stamped: bool) -> None:
        """Add the touches of the op that comes next."""
        self._expected += 1
        for one in _touches_of(entry, entry["lamport_ts"] if is_stamped else MAX_LAMPORT + self._expected):
            self.add(one)


def _touches_of(entry: OpEntry, stamp: int) -> Iterable[Touch]:
    op_id, actor_id = entry["op_id"], entry["actor_id"]
    return (Touch(stamp, op_id, actor_id, address) for address in addresses_of(entry["domain_op"]))
