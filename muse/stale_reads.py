"""Which newer ops of others an author had not read: the last touch of each address by each actor."""

import threading
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from muse.core.address import AddressMap, addresses_of, touch
from muse.core.entry import OpEntry
from muse.core.op_log import OpLog

TOUCHES_HELD = 200_000
"""How many touches are held in memory twice over, before the older half is forgotten."""


class Touch(NamedTuple):
    """An op at an address it touches."""

    lamport_ts: int
    op_id: str
    actor_id: str
    address: str


class Touches:
    """The last touch of each address by each actor, of one log. For several threads.

    Memory is bounded: what was touched long ago is forgotten, and the log is read again for the rare
    author who has not even read that.
    """

    def __init__(self, log: OpLog, *, touches_held: int = TOUCHES_HELD) -> None:
        self._log = log
        self._touches_held = touches_held
        self._lock = threading.Lock()
        self._young = _Generation()
        self._old = _Generation()
        self._forgotten: dict[str, int] = {}  # actor -> highest stamp of what is in memory no longer
        self._read_to = 0

    def __len__(self) -> int:
        """How many touches are held."""
        return len(self._young) + len(self._old)

    def catch_up(self) -> None:
        """Take in what was appended since, by whomever."""
        with self._lock:
            end = self._log.cut().offset
            for entry in self._log.scan(self._read_to, end):
                self._young.add(entry)
                if len(self._young) >= self._touches_held:
                    self._forget_old()
            self._read_to = end

    def _forget_old(self) -> None:
        for actor_id, stamp in self._old.highest.items():
            self._forgotten[actor_id] = max(stamp, self._forgotten.get(actor_id, 0))
        self._young, self._old = _Generation(), self._young

    def unread(self, addresses: Iterable[str], actor_id: str, seen: Mapping[str, int]) -> list[Touch]:
        """Return ops of others on `addresses`, above or below, that exceed what was `seen` of their actors.

        Of each actor the newest, in the order of their stamps.
        """
        wanted = tuple(addresses)
        with self._lock:
            found: Iterable[Touch]
            if any(
                stamp > seen.get(other, 0) for other, stamp in self._forgotten.items() if other != actor_id
            ):
                found = self._read_again(wanted)
            else:
                found = [one for part in (self._old, self._young) for one in part.touching(wanted)]
            newest: dict[str, Touch] = {}
            for one in found:
                if one.actor_id != actor_id and one.lamport_ts > seen.get(one.actor_id, 0):
                    newest[one.actor_id] = max(one, newest.get(one.actor_id, one))
        return sorted(newest.values())

    def _read_again(self, wanted: tuple[str, ...]) -> Iterable[Touch]:
        everything = (one for entry in self._log.scan(0, self._read_to) for one in _touches_of(entry))
        return (one for one in everything if any(touch(one.address, address) for address in wanted))


class _Generation:
    """Touches of some stretch of the log. `highest`: each actor's highest stamp in it."""

    def __init__(self) -> None:
        self._last: AddressMap[Touch] = AddressMap()
        self._held = 0
        self.highest: dict[str, int] = {}

    def __len__(self) -> int:
        """How many touches are held: one that is deep down, or on many addresses, counts so often."""
        return self._held

    def add(self, entry: OpEntry) -> None:
        actor_id = entry["actor_id"]
        self.highest[actor_id] = max(entry["lamport_ts"], self.highest.get(actor_id, 0))
        for one in _touches_of(entry):
            for places in self._last.places(one.address):
                self._held += actor_id not in places
                places[actor_id] = max(one, places.get(actor_id, one))

    def touching(self, addresses: Iterable[str]) -> Iterable[Touch]:
        return (one for address in addresses for one in self._last.touching(address))


def _touches_of(entry: OpEntry) -> Iterable[Touch]:
    stamp, op_id, actor_id = entry["lamport_ts"], entry["op_id"], entry["actor_id"]
    return (Touch(stamp, op_id, actor_id, address) for address in addresses_of(entry["domain_op"]))
