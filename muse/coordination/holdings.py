"""Holdings: what actors have reserved and what they intend, as far as the records were read. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from muse.coordination.record import (
    ALL_SESSIONS,
    Intent,
    Reservation,
    read_intent,
    read_release,
    read_renewal,
    read_reservation,
    seconds_of,
    share_sessions,
)
from muse.core.address import AddressMap

CLOCK_TOLERANCE_SECONDS = 2.0
"""How far the clocks of two actors of one repository may be apart. So long after a reservation has expired,
nobody else gets its addresses; its holder may no longer write from the moment it expires."""

INTENT_SECONDS = 3600.0
"""How long an intent without a reservation lasts."""

_REASONS_KEPT = 10_000


class Holdings:
    """The reservations and intents in force, and why others are not. Times are in seconds."""

    def __init__(self) -> None:
        self.epoch = 0
        self.clear()

    def clear(self) -> None:
        """Forget everything but the highest epoch."""
        self.reservations: dict[str, Reservation] = {}
        self.intents: dict[str, Intent] = {}
        self.taken: dict[str, set[str]] = {"reservations": set(), "releases": set(), "intents": set()}
        self._by_address: AddressMap[Reservation] = AddressMap()
        self._over: dict[str, str] = {}  # reservation id -> why it is no longer in force
        self._first_expiry = float("inf")

    # -- rules ----------------------------------------------------------------------------------

    def touching(
        self, addresses: Iterable[str], branch: str, sessions: str = ALL_SESSIONS
    ) -> list[Reservation]:
        """Return what keeps others off one of `addresses` in some of `sessions`, what just expired too."""
        touching = (one for address in addresses for one in self._by_address.touching(address))
        found = {
            one.reservation_id: one
            for one in touching
            if one.branch == branch and share_sessions(one.sessions, sessions)
        }
        return sorted(found.values(), key=lambda one: (one.epoch, one.reservation_id))

    def fault_of(self, reservation_id: str, actor_id: str, now: float, sessions: str = ALL_SESSIONS) -> str:
        """Say why an op of `actor_id` in `sessions` cannot rest on a reservation; "" if it can."""
        reservation = self.reservations.get(reservation_id)
        if reservation is None:
            return self.why_over(reservation_id)
        if not reservation.epoch:
            return "was made by another tool and has no epoch"
        if reservation.actor_id != actor_id:
            return f"is {reservation.actor_id}'s, not {actor_id}'s"
        if not share_sessions(reservation.sessions, sessions):
            return f"holds in the sessions {reservation.sessions!r} only"
        return "" if now < reservation.expires else f"expired at {reservation.expires_at}"

    def why_over(self, reservation_id: str) -> str:
        """Say why a reservation is not in force."""
        is_known = reservation_id in self.taken["reservations"]
        return self._over.get(reservation_id, "is over" if is_known else "is not known here")

    def forget_past_intents(self, now: float) -> None:
        """Forget the intents that are over."""
        self.intents = {own: intent for own, intent in self.intents.items() if self._lasts(intent, now)}

    def _lasts(self, intent: Intent, now: float) -> bool:
        if intent.reservation_id:
            reservation = self.reservations.get(intent.reservation_id)
            return reservation is not None and now < reservation.expires
        return now < seconds_of(intent.created_at) + INTENT_SECONDS

    # -- records --------------------------------------------------------------------------------

    def take(
        self,
        kind: str,
        own: str,
        document: Mapping[str, Any],
        companion: Mapping[str, Any] | None,
        path: str,
    ) -> None:
        """Take in the record with the id `own`. `CorruptionError` if its file holds something else."""
        if kind == "reservations":
            self._take_reservation(read_reservation(document, companion, path))
        elif kind == "intents":
            intent = read_intent(document, companion, path)
            self.intents[intent.intent_id] = intent
        elif kind == "renewals":
            reservation_id, expires_at = read_renewal(document, path)
            reservation = self.reservations.get(reservation_id)
            if reservation is not None and seconds_of(expires_at) > reservation.expires:
                self._put(replace(reservation, expires_at=expires_at))
        else:
            reservation_id, released_at = read_release(document, path)
            self._drop(reservation_id, f"was released at {released_at}")
        if kind in self.taken:
            self.taken[kind].add(own)

    def has_taken(self, kind: str, own: str) -> bool:
        """Return whether a record was taken in. Renewals are not remembered: they may be taken in twice."""
        return own in self.taken.get(kind, ())

    def _take_reservation(self, new: Reservation) -> None:
        """Let the highest epoch have the addresses."""
        self.epoch = max(self.epoch, new.epoch)
        if new.epoch:
            touching = self.touching(new.addresses, new.branch, new.sessions)
            others = [other for other in touching if other.epoch]
            for other in others:
                if other.epoch < new.epoch:
                    self._drop(other.reservation_id, f"was replaced by {new.reservation_id}")
                else:
                    self._over[new.reservation_id] = f"was replaced by {other.reservation_id}"
                    return
        self._put(new)

    def _put(self, reservation: Reservation) -> None:
        self.reservations[reservation.reservation_id] = reservation
        for address in reservation.addresses:
            for values in self._by_address.places(address):
                values[reservation.reservation_id] = reservation
        self._first_expiry = min(self._first_expiry, reservation.expires + CLOCK_TOLERANCE_SECONDS)

    def _drop(self, reservation_id: str, reason: str) -> None:
        reservation = self.reservations.pop(reservation_id, None)
        if reservation is None:
            return
        for address in reservation.addresses:
            self._by_address.discard(address, reservation_id)
        self._over[reservation_id] = reason
        while len(self._over) > _REASONS_KEPT:
            del self._over[next(iter(self._over))]

    def let_expire(self, now: float) -> None:
        """Let go of the reservations whose addresses others may have now."""
        if now < self._first_expiry:
            return
        for reservation in list(self.reservations.values()):
            if now >= reservation.expires + CLOCK_TOLERANCE_SECONDS:
                self._drop(reservation.reservation_id, f"expired at {reservation.expires_at}")
        ends = (one.expires + CLOCK_TOLERANCE_SECONDS for one in self.reservations.values())
        self._first_expiry = min(ends, default=float("inf"))
