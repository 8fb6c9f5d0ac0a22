"""Which addresses touch: an address covers itself and everything below it. Pure."""

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, Generic, TypeVar

_V = TypeVar("_V")
Parts = tuple[str, ...]
Nodes = dict[Parts, dict[str, _V]]

ADDRESS_LENGTH = 1024
MOST_STEPS = 32
"""How deep addresses are told apart, which bounds what one costs: a deeper one counts as what it is below."""

_SEPARATOR = re.compile(r"/|::")
_ADDRESS_FIELDS = ("address", "from_address", "to_address")
_MORE_FIELDS = frozenset({"child_ops", "from_address", "to_address"})


@lru_cache(maxsize=1 << 16)
def parts_of(address: str) -> Parts:
    """Return the steps down to an address: `a.py::f` is below `a.py`, as `song.mid/note` is below `song.mid`.

    Empty steps and `.` count for nothing and `..` leads up, so that no spelling leads around a reservation.
    """
    parts: list[str] = []
    for step in steps_of(address):
        if step == "..":
            del parts[-1:]
        else:
            parts.append(step)
    return tuple(parts[:MOST_STEPS])


def steps_of(address: str) -> list[str]:
    """Return the steps of an address as they are written, but for those that count for nothing."""
    return [step for step in _SEPARATOR.split(address) if step not in {"", "."}]


def touch(one: str, other: str) -> bool:
    """Tell whether one of two addresses covers the other."""
    shorter, longer = sorted((parts_of(one), parts_of(other)), key=len)
    return longer[: len(shorter)] == shorter


def narrower(one: str, other: str) -> str:
    """Return the deeper of two addresses that touch: what both have in common."""
    return max(one, other, key=lambda address: len(parts_of(address)))


def addresses_of(op: Mapping[str, Any]) -> tuple[str, ...]:
    """Return every address that an op names, itself or in its inner ops.

    An op that names none, or one of more than `ADDRESS_LENGTH` characters, may touch anything: its address is
    "", which covers all.
    """
    address = op.get("address")
    address = address if isinstance(address, str) and len(address) <= ADDRESS_LENGTH else ""
    if _MORE_FIELDS.isdisjoint(op):
        return (address,)
    found = {address}
    for one in with_inner(op):
        found |= {one[name] for name in _ADDRESS_FIELDS if isinstance(one.get(name), str)}
    return tuple(sorted({one if len(one) <= ADDRESS_LENGTH else "" for one in found}))


def with_inner(op: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return an op and all its inner ops."""
    found = [op]
    for one in found:  # grows while it is walked
        children = one.get("child_ops")
        if isinstance(children, list):
            found += [child for child in children if isinstance(child, dict)]
    return found


class AddressMap(Generic[_V]):
    """Values at addresses, each under a key; finds those whose addresses touch another, without a search."""

    def __init__(self) -> None:
        self._at: Nodes[_V] = {}
        self._below: Nodes[_V] = {}

    def __len__(self) -> int:
        """Return how many addresses have, or had, a value."""
        return len(self._at)

    def coarsely(self, depth: int) -> Iterator[_V]:
        """Yield the values at addresses of up to `depth` steps, and one of each key for all below each."""
        for parts, values in self._at.items():
            if len(parts) <= depth:
                yield from values.values()
        for parts, values in self._below.items():
            if len(parts) == depth:
                yield from values.values()

    def places(self, address: str) -> Iterator[dict[str, _V]]:
        """Yield the places, key -> value, where a value at `address` is looked for: to be put into each."""
        for nodes, parts in self._nodes(address):
            yield nodes.setdefault(parts, {})

    def discard(self, address: str, key: str) -> None:
        """Take the value of `key` from an address; nothing happens if it has none."""
        for nodes, parts in self._nodes(address):
            values = nodes.get(parts, {})
            values.pop(key, None)
            if not values:
                nodes.pop(parts, None)

    def touching(self, address: str) -> Iterator[_V]:
        """Yield the values at addresses that cover `address` or are below it; one may come several times."""
        parts = parts_of(address)
        for length in range(len(parts) + 1):
            yield from self._at.get(parts[:length], {}).values()
        yield from self._below.get(parts, {}).values()

    def _nodes(self, address: str) -> Iterator[tuple[Nodes[_V], Parts]]:
        parts = parts_of(address)
        yield self._at, parts
        for length in range(len(parts)):
            yield self._below, parts[:length]
