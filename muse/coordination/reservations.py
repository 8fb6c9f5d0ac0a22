"""Coordination: what actors reserve for a while, and what they say they will do.

All records are written under one lock, so that of any number of actors that ask for an address, one gets it.
`docs/coordination.md` has the files.
"""

import os
import threading
import time
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NamedTuple

from muse.coordination.forecast import Collision, Plan, find_collisions
from muse.coordination.holdings import Holdings
from muse.coordination.reading import RecordReader
from muse.coordination.record import (
    ALL_SESSIONS,
    Intent,
    Reservation,
    author_document,
    check_addresses,
    check_id,
    check_sessions,
    check_ttl,
    check_words,
    epoch_document,
    intent_document,
    read_created,
    release_document,
    renewal_document,
    reservation_document,
    time_text,
)
from muse.coordination.store import Record, RecordStore
from muse.core.address import Parts, parts_of
from muse.disk.json_file import field
from muse.disk.storage import LOCAL, Storage
from muse.errors import ConflictError, NotFoundError, UsageError

DEFAULT_TTL_SECONDS = 300.0
MOST_RESERVATIONS = 10_000
MOST_RESERVATIONS_OF_ONE = 1_000
MOST_ADDRESSES_HELD = 50_000
MOST_ADDRESSES_OF_ONE = 10_000
"""How many addresses the reservations of one actor may name together, and as many its intents."""

MOST_INTENTS = 10_000
MOST_INTENTS_OF_ONE = 1_000
MOST_ADDRESSES_INTENDED = 50_000
RESERVATIONS_NAMED = 100
"""How many reservations of others on the addresses of one op are named at most."""


class HeldError(ConflictError):
    """Another actor has what was asked for, or decides about it. `reservations` are in the way."""

    def __init__(self, message: str, reservations: Iterable[Reservation]) -> None:
        super().__init__(message)
        self.reservations = tuple(reservations)
        self.holders = tuple(sorted({one.actor_id for one in self.reservations}))
        self.reservation_ids = tuple(one.reservation_id for one in self.reservations)


def describe(reservations: Iterable[Reservation]) -> str:
    """Say for people which actor holds what until when."""
    return "; ".join(
        f"{one.actor_id} holds {', '.join(one.addresses[:3])} until {one.expires_at} "
        f"(reservation {one.reservation_id})"
        for one in list(reservations)[:3]
    )


class Coordination:
    """The reservations and intents of a repository. For any number of threads and processes.

    `now` is the wall clock, in seconds. What is in force is kept in memory and brought up to date by what was
    written since: asking costs the same however many records there are.
    """

    def __init__(self, root: str, *, storage: Storage = LOCAL, now: Callable[[], float] = time.time) -> None:
        self._store = RecordStore(os.fspath(root), storage)
        self._now = now
        self._lock = threading.RLock()
        self._reader = RecordReader(self._store, now)
        self._holdings = self._reader.holdings

    # -- reserving ------------------------------------------------------------------------------

    def reserve(
        self,
        actor_id: str,
        addresses: Iterable[str],
        *,
        branch: str,
        run_id: str = "",
        ttl_seconds: float = DEFAULT_TTL_SECONDS,
        operation: str = "",
        reservation_id: str = "",
        sessions: str = ALL_SESSIONS,
    ) -> Reservation:
        """Reserve `addresses` and all below them, all or none, on `branch`, in the `sessions` of a pattern.

        On return they are this actor's. `HeldError` while anyone holds one of them in what may be one of
        these sessions, be it the same actor in another reservation. With a `reservation_id` (a UUID4) of the
        caller's, asking again gives the same reservation.
        """
        check_words(branch, actor_id, run_id, operation)
        wanted, where = check_addresses(addresses), check_sessions(sessions)
        until = check_ttl(ttl_seconds)
        own = check_id("reservation_id", reservation_id) if reservation_id else str(uuid.uuid4())
        with self._writing():
            if self._holdings.has_taken("reservations", own):
                return self._same(own, actor_id, branch, wanted, where)
            in_the_way = self._holdings.touching(wanted, branch, where)
            if in_the_way:
                raise HeldError(
                    f"{', '.join(wanted[:3])} cannot be reserved on {branch!r}: {describe(in_the_way)}; "
                    "wait, or ask for its release",
                    in_the_way,
                )
            _check_room(_room_for_reservations(), self._holdings.reservations.values(), actor_id, wanted)
            now = self._now()
            made = Reservation(
                reservation_id=own,
                actor_id=actor_id,
                run_id=run_id or actor_id,
                branch=branch,
                addresses=wanted,
                operation=operation,
                created_at=time_text(now),
                expires_at=time_text(now + until),
                epoch=self._holdings.epoch + 1,
                sessions=where,
            )
            # The epoch first: without the reservation's file it is nothing, and with that it is in force.
            self._write(
                [
                    ("grants", own, epoch_document(made)),
                    ("reservations", own, reservation_document(made)),
                ]
            )
        return made

    def _same(self, own: str, actor_id: str, branch: str, wanted: tuple[str, ...], where: str) -> Reservation:
        """Return the reservation that was made under this id before, if it is what is asked for."""
        known = self._holdings.reservations.get(own)
        if known is None or self._now() >= known.expires:
            reason = f"expired at {known.expires_at}" if known else self._holdings.why_over(own)
            raise ConflictError(f"reservation {own} {reason}: make a new one, without its id")
        if not known.epoch:
            raise HeldError(
                f"reservation {own} was made by another tool and has no epoch: make one of your own", [known]
            )
        asked = (actor_id, branch, wanted, where)
        if (known.actor_id, known.branch, known.addresses, known.sessions) != asked:
            raise ConflictError(
                f"reservation {own} is {known.actor_id}'s, on {', '.join(known.addresses[:3])}: leave out "
                "the id to make a new one"
            )
        return known

    def renew(
        self,
        reservation_id: str,
        actor_id: str,
        *,
        ttl_seconds: float = DEFAULT_TTL_SECONDS,
        sessions: str = ALL_SESSIONS,
    ) -> Reservation:
        """Make a reservation last for `ttl_seconds` from now, if it does not last longer already.

        An actor that is bound to the `sessions` of a pattern renews what was made for just these.
        `ConflictError` once it is over: its addresses may be another's, so reserve them again.
        """
        until = check_ttl(ttl_seconds)
        with self._writing():
            self._check_within(reservation_id, sessions)
            self._check_rests(reservation_id, actor_id)
            reservation, now = self._holdings.reservations[reservation_id], self._now()
            renewed = replace(reservation, expires_at=time_text(max(now + until, reservation.expires)))
            own = str(uuid.uuid4())
            renewal = renewal_document(
                own, reservation_id, actor_id, created_at=time_text(now), expires_at=renewed.expires_at
            )
            self._write([("renewals", own, renewal)])
        return renewed

    def _check_rests(self, reservation_id: str, actor_id: str) -> None:
        """Raise unless the actor's reservation is in force."""
        fault = self._holdings.fault_of(reservation_id, actor_id, self._now())
        if fault:
            self._check_known(reservation_id)
            raise ConflictError(f"reservation {reservation_id} {fault}: make a new one")

    def _check_known(self, reservation_id: str) -> None:
        if not self._holdings.has_taken("reservations", reservation_id):
            raise NotFoundError(f"there is no reservation {reservation_id!r}: see 'muse coord list'")

    def _check_within(self, reservation_id: str, sessions: str) -> None:
        """Raise for a reservation that an actor bound to `sessions` does not see."""
        reservation = self._holdings.reservations.get(reservation_id)
        if reservation is not None and not reservation.is_seen_from(sessions):
            raise NotFoundError(f"there is no reservation {reservation_id!r} of the sessions {sessions!r}")

    def release(
        self, reservation_id: str, actor_id: str, *, force: bool = False, sessions: str = ALL_SESSIONS
    ) -> bool:
        """Give a reservation back; False if it was over already.

        `HeldError` for another's, unless with `force`. An actor that is bound to the `sessions` of a pattern
        releases what was made for just these.
        """
        check_words("main", actor_id, "", "")
        with self._writing():
            self._check_within(reservation_id, sessions)
            self._check_known(reservation_id)
            reservation = self._holdings.reservations.get(reservation_id)
            if reservation is None:
                return False
            if reservation.actor_id != actor_id and not force:
                raise HeldError(
                    f"reservation {reservation_id} is {reservation.actor_id}'s, not {actor_id}'s: let them "
                    f"release it, or wait until {reservation.expires_at}",
                    [reservation],
                )
            own = str(uuid.uuid4())
            release = release_document(own, reservation_id, actor_id, created_at=time_text(self._now()))
            self._write([("releases", own, release)])
            return True

    def intend(
        self,
        actor_id: str,
        addresses: Iterable[str],
        *,
        branch: str,
        run_id: str = "",
        operation: str = "",
        detail: str = "",
        reservation_id: str = "",
        intent_id: str = "",
    ) -> Intent:
        """Say what will be done; nothing is reserved by that.

        With a reservation of this actor's that is in force, the intent lasts as long. With an `intent_id`
        (a UUID4) of the caller's, saying it again gives the same intent.
        """
        check_words(branch, actor_id, run_id, operation, detail)
        wanted = check_addresses(addresses)
        own = check_id("intent_id", intent_id) if intent_id else str(uuid.uuid4())
        with self._writing():
            if self._holdings.has_taken("intents", own):
                known = self._holdings.intents.get(own)
                if known and (known.actor_id, known.branch, known.addresses) == (actor_id, branch, wanted):
                    return known
                raise ConflictError(f"there is another intent with the id {own}: leave out the id")
            now = self._now()
            if reservation_id and (fault := self._holdings.fault_of(reservation_id, actor_id, now)):
                raise ConflictError(
                    f"reservation {reservation_id} {fault}: make a new one, or leave out its id"
                )
            self._holdings.forget_past_intents(now)
            _check_room(_room_for_intents(), self._holdings.intents.values(), actor_id, wanted)
            intent = Intent(
                intent_id=own,
                reservation_id=reservation_id,
                actor_id=actor_id,
                run_id=run_id or actor_id,
                branch=branch,
                addresses=wanted,
                operation=operation,
                created_at=time_text(now),
                detail=detail,
            )
            self._write(
                [("authors", own, author_document(intent)), ("intents", own, intent_document(intent))]
            )
        return intent

    # -- asking ---------------------------------------------------------------------------------

    def reservations(self, *, branch: str | None = None, sessions: str = ALL_SESSIONS) -> list[Reservation]:
        """Return the reservations in force, on `branch` or all, that `sessions` see, oldest first."""
        with self._looking():
            now = self._now()
            found = [
                one
                for one in self._holdings.reservations.values()
                if now < one.expires and branch in {None, one.branch} and one.is_seen_from(sessions)
            ]
        return sorted(found, key=lambda one: (one.created_at, one.epoch, one.reservation_id))

    def intents(self, *, branch: str | None = None) -> list[Intent]:
        """Return the intents that last, on `branch` or all, oldest first."""
        with self._looking():
            self._holdings.forget_past_intents(self._now())
            found = [intent for intent in self._holdings.intents.values() if branch in {None, intent.branch}]
        return sorted(found, key=lambda intent: (intent.created_at, intent.intent_id))

    def faults(self) -> list[str]:
        """Return what is wrong with records that could not be read."""
        with self._looking():
            return self._reader.faults()

    def forecast(
        self, addresses: Iterable[str] = (), *, party: str = "", branch: str | None = None
    ) -> list[Collision]:
        """Return the plans of others that touch `addresses` or, without any, the plans that touch each other.

        Plans are the reservations and intents in force; two collide if they are of different actors, on one
        branch, and touch. `party` is the actor whose work on `addresses` it is, or whose collisions alone
        are wanted. A thousand are returned at most.
        """
        asked = check_addresses(addresses) if addresses else ()
        plans: list[Plan] = [*self.reservations(branch=branch), *self.intents(branch=branch)]
        return find_collisions(plans, asked, party)

    def is_used(self) -> bool:
        """Return whether anything was ever reserved or intended here."""
        return self._store.is_used()

    @contextmanager
    def frozen(
        self, sessions: str = ALL_SESSIONS, *, first_too: bool = True
    ) -> Iterator["FrozenReservations"]:
        """Keep all reservations as they are while the block runs, and yield those that hold in `sessions`.

        `CorruptionError` while it cannot be known who holds what. Without `first_too`, for an actor that is
        only told: what can be read counts, and the first reservation of a repository may be made meanwhile.
        In the block ask nothing but what is yielded: a waiting writer would wait for it, and it for that.
        """
        if first_too:
            self._store.make()
        with self._looking():
            if first_too:
                self._reader.check_whole()
            yield FrozenReservations(self._holdings, self._now, sessions)

    # -- clearing away --------------------------------------------------------------------------

    def prune(self, *, days: float) -> int:
        """Remove the records of what began more than `days` ago and is over; return how many.

        The highest epoch stays, so an actor that comes late is fenced off as before. After that, an id may
        be used again. A crash on the way leaves less to be removed.
        """
        with self._writing():
            before = self._now() - days * 86_400
            self._holdings.forget_past_intents(self._now())
            present, intents = self._holdings.reservations, self._holdings.intents
            removed = self._remove("reservations", before, lambda own, _: own not in present)
            # With their reservations gone, the rest says nothing any more.
            removed += self._remove("intents", before, lambda own, _: own not in intents)
            for kind in ("renewals", "releases"):
                removed += self._remove(kind, before, lambda _, of: of not in present)
            removed += self._remove("authors", before, lambda own, _: own not in intents)
            removed += self._remove("grants", before, lambda own, _: own not in present)
            self._store.clear_journal()
        return removed

    def _remove(self, kind: str, before: float, is_past: Callable[[str, str], bool]) -> int:
        """Remove old records of a kind; `is_past` gets the id of one and that of its reservation."""

        def is_over(own: str, document: Mapping[str, Any], path: str) -> bool:
            of = field(document, "reservation_id", str, path, "")
            is_highest = kind == "grants" and field(document, "epoch", int, path) >= self._holdings.epoch
            return read_created(document, path) < before and not is_highest and is_past(own, of)

        return self._store.remove(kind, is_over)

    # -- locks ----------------------------------------------------------------------------------

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Keep out all others that write records or rely on them."""
        with self._store.writing(), self._lock:
            self._reader.refresh()
            self._reader.check_whole()
            yield

    @contextmanager
    def _looking(self) -> Iterator[None]:
        """Keep out all that write records. Where nothing was ever reserved, nothing is made."""
        if not self.is_used():
            yield
            return
        with self._store.looking(), self._lock:
            self._reader.refresh()
            yield

    def _write(self, records: list[Record]) -> None:
        """Write records in their order, and take them in."""
        try:
            self._store.write(records)
        finally:
            self._reader.refresh()


class FrozenReservations:
    """The reservations of a repository, as they hold in `sessions`, while nobody can change them."""

    def __init__(self, holdings: Holdings, now: Callable[[], float], sessions: str) -> None:
        self._holdings = holdings
        self._sessions = sessions
        self._now = now
        self._found: dict[tuple[Parts, str, str], list[Reservation]] = {}

    @property
    def is_empty(self) -> bool:
        """Whether nobody holds anything."""
        return not self._holdings.reservations

    def of_others(self, addresses: Iterable[str], branch: str, actor_id: str) -> list[Reservation]:
        """Return the reservations of others on `addresses`, those of other tools last.

        No more than `RESERVATIONS_NAMED`. Each address is looked up once, however often it is asked about.
        """
        found = {
            one.reservation_id: one
            for address in addresses
            for one in self._of_others_at(address, branch, actor_id)
        }
        return sorted(found.values(), key=_rank)[:RESERVATIONS_NAMED]

    def _of_others_at(self, address: str, branch: str, actor_id: str) -> list[Reservation]:
        asked = (parts_of(address), branch, actor_id)
        found = self._found.get(asked)
        if found is None:
            touching = self._holdings.touching([address], branch, self._sessions)
            others = sorted((one for one in touching if one.actor_id != actor_id), key=_rank)
            found = self._found[asked] = others[:RESERVATIONS_NAMED]
        return found

    def fault_of(self, reservation_id: str, actor_id: str) -> str:
        """Say why an op of `actor_id` cannot rest on a reservation; "" if it can."""
        return self._holdings.fault_of(reservation_id, actor_id, self._now(), self._sessions)


class _Room(NamedTuple):
    """How many plans of a kind there may be, in all and of one actor, and how many addresses they name."""

    plans: int
    plans_of_one: int
    addresses: int
    what: str
    addresses_taken: str
    advice: str


def _room_for_reservations() -> _Room:
    taken = f"{MOST_ADDRESSES_HELD} addresses are reserved"
    plans = MOST_RESERVATIONS, MOST_RESERVATIONS_OF_ONE
    return _Room(*plans, MOST_ADDRESSES_HELD, "reservations", taken, "release some")


def _room_for_intents() -> _Room:
    taken = f"intents name {MOST_ADDRESSES_INTENDED} addresses"
    plans = MOST_INTENTS, MOST_INTENTS_OF_ONE
    return _Room(*plans, MOST_ADDRESSES_INTENDED, "intents", taken, "wait until some are over")


def _check_room(room: _Room, present: Collection[Plan], actor_id: str, wanted: tuple[str, ...]) -> None:
    """Raise the refusal of one more plan of an actor where there would be too many, or too many addresses."""
    own = [one for one in present if one.actor_id == actor_id]
    named, named_by_one = (sum(len(one.addresses) for one in plans) for plans in (present, own))
    most_of_one = MOST_ADDRESSES_OF_ONE
    for found, limit, said, advice in (
        (len(present) + 1, room.plans, f"there are {room.plans} {room.what}", room.advice),
        (len(own) + 1, room.plans_of_one, f"{actor_id} has {room.plans_of_one} {room.what}", room.advice),
        (named + len(wanted), room.addresses, room.addresses_taken, room.advice),
        (
            named_by_one + len(wanted),
            most_of_one,
            f"{actor_id} names {most_of_one} addresses",
            "let go of some",
        ),
    ):
        if found > limit:
            raise UsageError(f"{said}, the limit: {advice}")


def _rank(reservation: Reservation) -> tuple[bool, int, str]:
    return not reservation.epoch, reservation.epoch, reservation.reservation_id
