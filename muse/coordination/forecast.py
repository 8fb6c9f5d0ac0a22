"""Collisions: which plans of different actors touch. Pure."""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from muse.coordination.record import Intent, Reservation, share_sessions
from muse.core.address import Parts, narrower, parts_of

MOST_COLLISIONS = 1_000
MOST_COMPARED = 500_000

Plan = Reservation | Intent


@dataclass(frozen=True, slots=True)
class Collision:
    """Two plans of different actors on one branch that touch at `address`.

    `first` is missing where the addresses that were asked about touch the plan `second`.
    """

    address: str
    first: Plan | None
    second: Plan

    def to_json(self) -> dict[str, Any]:
        """Return the collision as JSON has it."""
        return {
            "address": self.address,
            "first": None if self.first is None else self.first.to_json(),
            "second": self.second.to_json(),
        }


def find_collisions(plans: Sequence[Plan], addresses: Iterable[str], party: str) -> list[Collision]:
    """Return the plans of others that touch `addresses` or, without any, the plans that touch each other.

    `party` is the actor whose work on `addresses` it is, or whose collisions alone are wanted; "" is nobody.
    At most `MOST_COLLISIONS` are returned, and `MOST_COMPARED` pairs of addresses that touch are looked at.
    """
    named = _Named(plans)
    asked = tuple(addresses)
    if asked:
        near = _near(named.touching(asked))
        found = [Collision(common, None, plans[place]) for place, common in near]
        return [one for one in found if one.second.actor_id != party][:MOST_COLLISIONS]
    return _among(plans, named, party)[:MOST_COLLISIONS]


class _Named:
    """The addresses that plans name, in order: those below an address follow it."""

    def __init__(self, plans: Sequence[Plan]) -> None:
        self._sorted: list[tuple[Parts, int, str]] = sorted(
            (parts_of(address), place, address)
            for place, plan in enumerate(plans)
            for address in plan.addresses
        )

    def touching(self, addresses: Iterable[str]) -> Iterator[tuple[int, str]]:
        """Yield the place of each plan that touches one of `addresses`, with what both have in common."""
        for address in addresses:
            parts = parts_of(address)
            for length in range(len(parts)):
                for place, theirs in self._from(parts[:length], length, is_exact=True):
                    yield place, narrower(address, theirs)
            for place, theirs in self._from(parts, len(parts), is_exact=False):
                yield place, narrower(address, theirs)

    def touching_each_other(self) -> Iterator[tuple[int, int, str]]:
        """Yield the places of two plans that touch, the lower first, with what both have in common."""
        above: list[tuple[Parts, int]] = []
        for parts, place, address in self._sorted:
            while above and parts[: len(above[-1][0])] != above[-1][0]:
                above.pop()
            for _, other in above:
                yield min(place, other), max(place, other), address
            above.append((parts, place))

    def _from(self, parts: Parts, length: int, *, is_exact: bool) -> Iterator[tuple[int, str]]:
        """Yield the places and addresses at some parts and, unless `is_exact`, below them."""
        start = bisect_left(self._sorted, (parts,))
        for at in range(start, len(self._sorted)):
            theirs, place, address = self._sorted[at]
            if (theirs if is_exact else theirs[:length]) != parts:
                return
            yield place, address


def _near(touching: Iterator[tuple[int, str]]) -> list[tuple[int, str]]:
    """Return the places of plans that touch something, each with the first that both have in common."""
    found: dict[int, str] = {}
    for place, common in islice(touching, MOST_COMPARED):
        found.setdefault(place, common)
    return sorted(found.items())


def _among(plans: Sequence[Plan], named: _Named, party: str) -> list[Collision]:
    found: dict[tuple[int, int], str] = {}
    for place, other, common in islice(named.touching_each_other(), MOST_COMPARED):
        first, second = plans[place], plans[other]
        is_apart = first.branch != second.branch or first.actor_id == second.actor_id
        is_apart = is_apart or not share_sessions(first.sessions, second.sessions)
        if not is_apart and party in {"", first.actor_id, second.actor_id}:
            found.setdefault((place, other), common)
    return [Collision(common, plans[place], plans[other]) for (place, other), common in sorted(found.items())]
