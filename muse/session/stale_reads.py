"""Which newer ops of others an author had not read: the last touch of each address by each actor."""

import threading
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from muse.core.address import MOST_STEPS, AddressMap, addresses_of, parts_of
from muse.core.entry import MAX_LAMPORT, OpEntry
from muse.core.op_log import OpLog

TOUCHES_HELD = 200_000
"""How many touches are held in memory twice over, before the older half is remembered more coarsely."""

_COARSE_STEPS = 3


class Touch(NamedTuple):
    """An op at an address it touches."""

    lamport_ts: int
    op_id: str
    actor_id: str
    address: str


class Touches:
    """The last touch of each address by each actor, of one log. For several threads.

    Memory is bounded, and an answer costs the same however long the log is. What was touched long ago is
    remembered by the first steps of its address, by ever fewer of them: the rare author who has not even read
    that is told of ops beside the address, too, but none is ever missed.
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
        """How many touches are held."""
        return sum(map(len, self._generations()))

    def _generations(self) -> Iterable["_Generation"]:
        return self._ancient, self._old, self._young

    def catch_up(self) -> None:
        """Take in what was appended since, by whomever."""
        with self._lock:
            end = self._log.cut().offset
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
        """Return ops of others on `addresses`, above or below, that exceed what was `seen` of their actors.

        Of each actor the newest, in the order of their stamps; those that are `arriving` too.
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
        """How many touches are held: one that is deep down, or on many addresses, counts so often."""
        return self._held

    def add(self, one: Touch) -> None:
        for places in self.last.places(self._cut(one.address)):
            self._held += one.actor_id not in places
            places[one.actor_id] = max(one, places.get(one.actor_id, one))

    def take_in(self, finer: "_Generation") -> None:
        for one in finer.last.coarsely(self.depth):
            self.add(one)

    def touching(self, addresses: Iterable[str]) -> Iterator[Touch]:
        return (one for address in addresses for one in self.last.touching(self._cut(address)))

    def _cut(self, address: str) -> str:
        return address if self.depth == MOST_STEPS else "/".join(parts_of(address)[: self.depth])


class Arriving(_Generation):
    """Touches of ops that are about to enter the log, in their order.

    One that has no stamp yet counts as unread, whatever its readers say, and as newer than all before it:
    its touch has a stamp that no op can have.
    """

    def __init__(self) -> None:
        super().__init__()
        self._expected = 0

    def expect(self, entry: OpEntry, *, is_stamped: bool) -> None:
        self._expected += 1
        for one in _touches_of(entry, entry["lamport_ts"] if is_stamped else MAX_LAMPORT + self._expected):
            self.add(one)


def _touches_of(entry: OpEntry, stamp: int) -> Iterable[Touch]:
    op_id, actor_id = entry["op_id"], entry["actor_id"]
    return (Touch(stamp, op_id, actor_id, address) for address in addresses_of(entry["domain_op"]))
