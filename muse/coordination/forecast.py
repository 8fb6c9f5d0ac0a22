"""Collisions: which plans of different actors touch. Pure."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from muse.coordination.record import Intent, Reservation
from muse.core.address import AddressMap, narrower

MOST_COLLISIONS = 1_000

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
    At most `MOST_COLLISIONS` are returned.
    """
    by_address: AddressMap[tuple[int, str]] = AddressMap()
    for place, plan in enumerate(plans):
        for address in plan.addresses:
            for values in by_address.places(address):
                values[f"{place} {address}"] = (place, address)
    asked = tuple(addresses)
    if asked:
        near = [(common, plans[place]) for place, common in _near(asked, by_address)]
        found = [Collision(common, None, plan) for common, plan in near if plan.actor_id != party]
        return found[:MOST_COLLISIONS]
    return list(islice(_among(plans, by_address, party), MOST_COLLISIONS))


def _near(addresses: Iterable[str], by_address: AddressMap[tuple[int, str]]) -> list[tuple[int, str]]:
    """Return the places of plans that touch one of `addresses`, each with what both have in common."""
    found: dict[int, str] = {}
    for address in addresses:
        for place, theirs in by_address.touching(address):
            found.setdefault(place, narrower(address, theirs))
    return sorted(found.items())


def _among(plans: Sequence[Plan], by_address: AddressMap[tuple[int, str]], party: str) -> Iterator[Collision]:
    for place, first in enumerate(plans):
        for other, common in _near(first.addresses, by_address):
            second = plans[other]
            is_apart = first.branch != second.branch or first.actor_id == second.actor_id
            if place < other and not is_apart and party in {"", first.actor_id, second.actor_id}:
                yield Collision(common, first, second)
