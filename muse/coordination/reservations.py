"""Reservations and intents: what actors claim for a while, and what they say they will do.

A reservation is a file that is written once. It counts as granted if its grant, with actor and epoch, was
written before it; renewals and releases are records of their own. All of them are written under one lock,
so that of any number who ask for an address, one gets it. `docs/coordination.md` has the files.
"""

import contextlib
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from muse.coordination.record import (
    SCHEMA_VERSION,
    Claim,
    Intent,
    check_addresses,
    check_id,
    check_ttl,
    check_words,
    intent_document,
    read_created,
    read_intent,
    read_release,
    read_renewal,
    read_reservation,
    record_id,
    reservation_document,
    seconds_of,
    time_text,
)
from muse.core.address import AddressMap, narrower
from muse.disk import layout
from muse.disk.json_file import encode_json, field, read_json_object
from muse.disk.storage import LOCAL, Storage
from muse.disk.system_calls import translated
from muse.errors import ConflictError, CorruptionError, NotFoundError, StorageError, UsageError

__all__ = ["Claim", "Collision", "Coordination", "HeldError", "Intent"]

CLOCK_TOLERANCE_SECONDS = 2.0
"""How far the clocks of two who act on one repository may be apart. So long after a reservation has
expired, nobody else gets its addresses; its holder may no longer write from the moment it expires."""

INTENT_SECONDS = 3600.0
"""How long an intent without a reservation stands."""

DEFAULT_TTL_SECONDS = 300.0
MOST_CLAIMS = 10_000
MOST_CLAIMS_OF_ONE = 1_000
MOST_ADDRESSES_HELD = 50_000
MOST_INTENTS = 10_000
MOST_COLLISIONS = 1_000
CLAIMS_NAMED = 100
"""How many claims of others are named at most of those that an op comes in the way of."""

_OTHER_TOOLS_SECONDS = 1.0  # how soon a record that another tool wrote is seen
_GONE_KEPT = 10_000
_KINDS = ("reservations", "renewals", "releases", "intents")  # in this order they are read
_COMPANIONS = {"reservations": "grants", "intents": "authors"}  # say whose they are; written before them


@dataclass(frozen=True, slots=True)
class Collision:
    """Two plans of different actors, on one branch, that touch: `address` is what they have in common.

    `first` None: the addresses that were asked about.
    """

    address: str
    first: Claim | Intent | None
    second: Claim | Intent

    def to_json(self) -> dict[str, Any]:
        return {
            "address": self.address,
            "first": None if self.first is None else self.first.to_json(),
            "second": self.second.to_json(),
        }


@dataclass(frozen=True, slots=True)
class _Fault:
    """A record that could not be read. `stops`: without it nobody knows who holds what."""

    kind: str
    own: str
    error: CorruptionError | StorageError
    stops: bool


class HeldError(ConflictError):
    """What was asked for is another's to have or to decide. `claims`: the reservations in the way."""

    def __init__(self, message: str, claims: Iterable[Claim]) -> None:
        super().__init__(message)
        self.claims = tuple(claims)
        self.holders = tuple(sorted({claim.actor_id for claim in self.claims}))
        self.reservation_ids = tuple(claim.reservation_id for claim in self.claims)


def describe(claims: Iterable[Claim]) -> str:
    """Say who holds what until when, for people."""
    return "; ".join(
        f"{claim.actor_id} holds {', '.join(claim.addresses[:3])} until {claim.expires_at} "
        f"(reservation {claim.reservation_id})"
        for claim in list(claims)[:3]
    )


class Coordination:
    """The reservations and intents of a repository. For any number of threads and processes.

    `now` is the wall clock, in seconds. What stands is held in memory and brought up to date by what was
    written since: asking costs the same however many records there are.
    """

    def __init__(self, root: str, *, storage: Storage = LOCAL, now: Callable[[], float] = time.time) -> None:
        self._root = os.fspath(root)
        self._storage = storage
        self._now = now
        self._lock = threading.RLock()
        self._claims: dict[str, Claim] = {}
        self._held: AddressMap[Claim] = AddressMap()
        self._intents: dict[str, Intent] = {}
        self._gone: dict[str, str] = {}  # reservation id -> why it stands no longer
        self._seen: dict[str, set[str]] = {"reservations": set(), "releases": set(), "intents": set()}
        self._changed: dict[str, float] = {}  # kind -> when its directory was changed, as last seen
        self._faults: dict[str, _Fault] = {}  # by path
        self._epoch = 0
        self._first_expiry = float("inf")
        self._journal_read: tuple[int, int] | None = None  # which file it is, and how far
        self._looked_for_others = float("-inf")

    # -- claiming -------------------------------------------------------------------------------

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
    ) -> Claim:
        """Claim `addresses`, all or none, and all below them, on `branch`: on return they are this actor's.

        `HeldError` while anyone holds one of them, be it the same actor in another reservation. With a
        `reservation_id` (a UUID4) of the caller's, asking again is no second claim.
        """
        check_words(branch, actor_id, run_id, operation)
        wanted = check_addresses(addresses)
        until = check_ttl(ttl_seconds)
        own = check_id("reservation_id", reservation_id) if reservation_id else str(uuid.uuid4())
        with self._granting():
            known = self._claims.get(own)
            if own in self._seen["reservations"]:
                return self._same(own, known, actor_id, branch, wanted)
            in_the_way = self._holding(wanted, branch)
            if in_the_way:
                raise HeldError(
                    f"{', '.join(wanted[:3])} cannot be reserved on {branch!r}: {describe(in_the_way)}; "
                    "wait, or ask for its release",
                    in_the_way,
                )
            self._check_room(actor_id, wanted)
            now = self._now()
            claim = Claim(
                reservation_id=own,
                actor_id=actor_id,
                run_id=run_id or actor_id,
                branch=branch,
                addresses=wanted,
                operation=operation,
                created_at=time_text(now),
                expires_at=time_text(now + until),
                epoch=self._epoch + 1,
            )
            grant = {
                "schema_version": SCHEMA_VERSION,
                "reservation_id": own,
                "actor_id": actor_id,
                "epoch": claim.epoch,
                "created_at": claim.created_at,
            }
            # The grant first: alone it is nothing. With the reservation's file the claim is made.
            self._write([("grants", own, grant), ("reservations", own, reservation_document(claim))])
        return claim

    def _check_room(self, actor_id: str, wanted: tuple[str, ...]) -> None:
        claims = self._claims.values()
        if len(claims) >= MOST_CLAIMS:
            raise UsageError(f"{MOST_CLAIMS} reservations stand, the limit: release some")
        if sum(claim.actor_id == actor_id for claim in claims) >= MOST_CLAIMS_OF_ONE:
            raise UsageError(f"{actor_id} has {MOST_CLAIMS_OF_ONE} reservations, the limit: release some")
        if sum(len(claim.addresses) for claim in claims) + len(wanted) > MOST_ADDRESSES_HELD:
            raise UsageError(f"{MOST_ADDRESSES_HELD} addresses are reserved, the limit: release some")

    def _same(
        self, own: str, known: Claim | None, actor_id: str, branch: str, wanted: tuple[str, ...]
    ) -> Claim:
        if known is None or self._now() >= known.expires:
            reason = f"expired at {known.expires_at}" if known else self._why_gone(own)
            raise ConflictError(f"reservation {own} {reason}: make a new one, without its id")
        if not known.epoch:
            raise HeldError(f"reservation {own} was made by another tool and granted by nobody", [known])
        if (known.actor_id, known.branch, known.addresses) != (actor_id, branch, wanted):
            raise ConflictError(
                f"reservation {own} is {known.actor_id}'s, on {', '.join(known.addresses[:3])}"
            )
        return known

    def renew(self, reservation_id: str, actor_id: str, *, ttl_seconds: float = DEFAULT_TTL_SECONDS) -> Claim:
        """Hold on to a reservation for `ttl_seconds` from now, or longer if it stands longer.

        `ConflictError` once it stands no longer: the address may be another's, so reserve it anew.
        """
        until = check_ttl(ttl_seconds)
        with self._granting():
            fault = self._fault_of(reservation_id, actor_id)
            if fault:
                self._known(reservation_id)
                raise ConflictError(f"reservation {reservation_id} {fault}: reserve anew")
            claim, now = self._claims[reservation_id], self._now()
            renewed = replace(claim, expires_at=time_text(max(now + until, claim.expires)))
            own = str(uuid.uuid4())
            renewal = {
                "schema_version": SCHEMA_VERSION,
                "renewal_id": own,
                "reservation_id": reservation_id,
                "actor_id": actor_id,
                "created_at": time_text(now),
                "expires_at": renewed.expires_at,
            }
            self._write([("renewals", own, renewal)])
        return renewed

    def release(self, reservation_id: str, actor_id: str, *, force: bool = False) -> bool:
        """Give a reservation back; False if it stood no longer.

        `HeldError` for another's, unless with `force`.
        """
        check_words("main", actor_id, "", "")
        with self._granting():
            self._known(reservation_id)
            claim = self._claims.get(reservation_id)
            if claim is None:
                return False
            if claim.actor_id != actor_id and not force:
                raise HeldError(
                    f"reservation {reservation_id} is {claim.actor_id}'s, not {actor_id}'s: let them release "
                    f"it, or wait until {claim.expires_at}",
                    [claim],
                )
            own = str(uuid.uuid4())
            release = {
                "schema_version": SCHEMA_VERSION,
                "release_id": own,
                "reservation_id": reservation_id,
                "actor_id": actor_id,
                "created_at": time_text(self._now()),
            }
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
        """Say what will be done; nothing is claimed by that.

        With a reservation, which must be this actor's and stand, it stands as long. With an `intent_id` (a
        UUID4) of the caller's, saying it again is no second intent.
        """
        check_words(branch, actor_id, run_id, operation, detail)
        wanted = check_addresses(addresses)
        own = check_id("intent_id", intent_id) if intent_id else str(uuid.uuid4())
        with self._granting():
            if own in self._seen["intents"]:
                known = self._intents.get(own)
                if known and (known.actor_id, known.branch, known.addresses) == (actor_id, branch, wanted):
                    return known
                raise ConflictError(f"intent {own} is there already, and another: leave out its id")
            if reservation_id and (fault := self._fault_of(reservation_id, actor_id)):
                raise ConflictError(f"reservation {reservation_id} {fault}: reserve anew, or leave it out")
            self._forget_intents()
            if len(self._intents) >= MOST_INTENTS:
                raise UsageError(f"{MOST_INTENTS} intents stand, the limit: wait until some are over")
            now = self._now()
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
            author = {
                "schema_version": SCHEMA_VERSION,
                "intent_id": own,
                "actor_id": actor_id,
                "created_at": intent.created_at,
            }
            self._write([("authors", own, author), ("intents", own, intent_document(intent))])
        return intent

    # -- what stands ----------------------------------------------------------------------------

    def claims(self, *, branch: str | None = None) -> list[Claim]:
        """Return the reservations that stand, on `branch` or all, oldest first."""
        with self._looking():
            now = self._now()
            standing = [
                claim
                for claim in self._claims.values()
                if now < claim.expires and branch in {None, claim.branch}
            ]
        return sorted(standing, key=lambda claim: (claim.created_at, claim.epoch, claim.reservation_id))

    def intents(self, *, branch: str | None = None) -> list[Intent]:
        """Return the intents that stand: as long as their reservation or, without one, for an hour."""
        with self._looking():
            self._forget_intents()
            found = [intent for intent in self._intents.values() if branch in {None, intent.branch}]
        return sorted(found, key=lambda intent: (intent.created_at, intent.intent_id))

    def faults(self) -> list[str]:
        """Return what is wrong with records that could not be read."""
        with self._looking():
            return [str(self._faults[path].error) for path in sorted(self._faults)]

    def forecast(
        self, addresses: Iterable[str] = (), *, party: str = "", branch: str | None = None
    ) -> list[Collision]:
        """Say which plans would collide: those of others with `addresses` or, if none are given, all.

        Plans are the reservations and intents that stand; two collide if they are of different actors, on
        one branch, and touch. `party` is an actor: whose work on `addresses` it is, or whose collisions alone
        are asked for. No more than `MOST_COLLISIONS` are returned.
        """
        asked = check_addresses(addresses) if addresses else ()
        plans: list[Claim | Intent] = [*self.claims(branch=branch), *self.intents(branch=branch)]
        by_address: AddressMap[tuple[int, str]] = AddressMap()
        for place, plan in enumerate(plans):
            for address in plan.addresses:
                for values in by_address.places(address):
                    values[f"{place} {address}"] = (place, address)
        if asked:
            near = [(common, plans[place]) for place, common in _near(asked, by_address)]
            found = [Collision(common, None, plan) for common, plan in near if plan.actor_id != party]
            return found[:MOST_COLLISIONS]
        return list(islice(_collisions(plans, by_address, party), MOST_COLLISIONS))

    def prune(self, *, days: float) -> int:
        """Remove the records of what was begun so many days ago and stands no longer; return how many.

        The highest epoch stays, so whoever comes late is fenced off as before. After that, an id may be
        claimed again. A crash on the way leaves less to be removed.
        """
        with self._granting():
            before = self._now() - days * 86_400
            self._forget_intents()
            removed = self._remove("reservations", before, lambda own, _: own not in self._claims)
            # With their reservations gone, the rest says nothing any more.
            removed += self._remove("intents", before, lambda own, _: own not in self._intents)
            for kind in ("renewals", "releases"):
                removed += self._remove(kind, before, lambda _, of: of not in self._claims)
            removed += self._remove("authors", before, lambda own, _: own not in self._intents)
            removed += self._remove("grants", before, lambda own, _: own not in self._claims)
            self._storage.write_atomically(layout.coordination_journal_file(self._root), b"")  # all read anew
        return removed

    def _remove(self, kind: str, before: float, is_over: Callable[[str, str], bool]) -> int:
        """Remove old records of a kind that are over, durably; `is_over` gets its id and reservation."""
        directory = layout.coordination_record_directory(self._root, kind)
        removed = 0
        for own in self._ids(kind):
            path = self._path(kind, own)
            with contextlib.suppress(CorruptionError, NotFoundError):
                document = read_json_object(path, self._storage)
                of = field(document, "reservation_id", str, path, "")
                is_highest = kind == "grants" and field(document, "epoch", int, path) >= self._epoch
                is_old = read_created(document, path) < before
                if is_old and not is_highest and is_over(own, of):
                    self._storage.remove(path)
                    removed += 1
        if removed:
            self._storage.sync_directory(directory)
        return removed

    def is_used(self) -> bool:
        """Whether anything was ever reserved or intended here."""
        return self._storage.exists(layout.coordination_directory(self._root))

    @contextmanager
    def standing(self, *, first_too: bool = True) -> Iterator["Standing"]:
        """Keep what is claimed as it is while the block runs: nothing is granted, renewed or released.

        `CorruptionError` while it cannot be known who holds what. Without `first_too`, for those who are only
        to be told: what can be read counts, and the very first grant of a repository may be made meanwhile.
        In the block ask nothing but what is yielded: who waits to grant would wait for it, and it for them.
        """
        if first_too:
            self._storage.make_directories(layout.coordination_directory(self._root))
        with self._looking():
            if first_too:
                self._check_whole()
            yield Standing(self)

    # -- rules ----------------------------------------------------------------------------------

    def _holding(self, addresses: Iterable[str], branch: str) -> list[Claim]:
        """Return the claims that keep others off one of `addresses`, those just expired too."""
        touching = (claim for address in addresses for claim in self._held.touching(address))
        found = {claim.reservation_id: claim for claim in touching if claim.branch == branch}
        return sorted(found.values(), key=lambda claim: (claim.epoch, claim.reservation_id))

    def _fault_of(self, reservation_id: str, actor_id: str) -> str:
        """Say why an op of `actor_id` cannot rest on a reservation; "" if it can."""
        claim = self._claims.get(reservation_id)
        if claim is None:
            return self._why_gone(reservation_id)
        if not claim.epoch:
            return "was made by another tool and granted by nobody"
        if claim.actor_id != actor_id:
            return f"is {claim.actor_id}'s, not {actor_id}'s"
        return "" if self._now() < claim.expires else f"expired at {claim.expires_at}"

    def _why_gone(self, reservation_id: str) -> str:
        known = reservation_id in self._seen["reservations"]
        return self._gone.get(reservation_id, "stands no longer" if known else "is not known here")

    def _known(self, reservation_id: str) -> None:
        if reservation_id not in self._seen["reservations"]:
            raise NotFoundError(f"there is no reservation {reservation_id!r}: see 'muse coord list'")

    def _stands(self, intent: Intent, now: float) -> bool:
        if intent.reservation_id:
            claim = self._claims.get(intent.reservation_id)
            return claim is not None and now < claim.expires
        return now < seconds_of(intent.created_at) + INTENT_SECONDS

    def _forget_intents(self) -> None:
        """Let go of intents that stand no longer."""
        now = self._now()
        self._intents = {own: intent for own, intent in self._intents.items() if self._stands(intent, now)}

    def _check_whole(self) -> None:
        """Raise unless everything that says who holds what could be read."""
        for fault in self._faults.values():
            if fault.stops:
                raise CorruptionError(
                    f"{fault.error}; it says who holds what, and nothing is granted or let pass without it: "
                    "put the file back, or remove it",
                    path=fault.error.path,
                ) from fault.error

    # -- locks ----------------------------------------------------------------------------------

    @contextmanager
    def _granting(self) -> Iterator[None]:
        """Hold off all who grant, or act on what is granted. The turnstile stops those who come later."""
        self._storage.make_directories(layout.coordination_directory(self._root), sync=True)
        with (
            self._storage.locked(layout.coordination_turnstile_file(self._root)),
            self._storage.locked(layout.coordination_lock_file(self._root)),
            self._lock,
        ):
            self._refresh()
            self._check_whole()
            yield

    @contextmanager
    def _looking(self) -> Iterator[None]:
        """Hold off all who grant. Where nothing was ever reserved, nothing is made."""
        if not self.is_used():
            yield
            return
        with self._storage.locked(layout.coordination_turnstile_file(self._root)):
            pass
        with self._storage.locked(layout.coordination_lock_file(self._root), exclusive=False), self._lock:
            self._refresh()
            yield

    # -- reading --------------------------------------------------------------------------------

    def _refresh(self) -> None:
        """Take in what was written since. Under one of the locks: no record is half-written then."""
        journal = layout.coordination_journal_file(self._root)
        found = self._storage.look(journal)
        file, end = (found.st_ino, found.st_size) if found else (0, 0)
        known, start = self._journal_read or (-1, 0)
        if file != known or end < start:
            self._read_everything()
        elif end > start:
            for line in self._read_journal(journal, start, end):
                kind, _, own = line.partition(" ")
                if kind in _KINDS and record_id(f"{own}.json"):
                    self._read_one(kind, own)
        self._journal_read = file, end
        now = self._now()
        is_due = abs(now - self._looked_for_others) >= _OTHER_TOOLS_SECONDS
        if is_due:
            self._looked_for_others = now
            self._read_others()
        if self._faults:
            self._read_again(others_too=is_due)
        if now >= self._first_expiry and not self._is_stopped():
            self._let_expire(now)

    def _read_journal(self, path: str, start: int, end: int) -> list[str]:
        with translated(path, "read"):
            descriptor = self._storage.open(path, os.O_RDONLY | os.O_NOFOLLOW)
            try:
                return (
                    self._storage.pread(descriptor, end - start, start).decode("ascii", "replace").split("\n")
                )
            finally:
                self._storage.close(descriptor)

    def _read_everything(self) -> None:
        self._forget()
        for kind in _KINDS:
            for own in self._ids(kind):
                self._read_one(kind, own)
        for own in self._ids("grants"):
            if own not in self._seen["reservations"]:
                self._read_lone_grant(own)

    def _forget(self) -> None:
        """Let go of everything but the highest epoch."""
        self._claims, self._intents, self._gone, self._faults = {}, {}, {}, {}
        self._seen = {kind: set() for kind in self._seen}
        self._held = AddressMap()
        self._first_expiry = float("inf")

    def _read_lone_grant(self, own: str) -> None:
        """See to it that an epoch whose reservation was never written, or was removed, is not given again."""
        path = self._path("grants", own)
        with contextlib.suppress(CorruptionError, NotFoundError):
            self._epoch = max(self._epoch, field(read_json_object(path, self._storage), "epoch", int, path))

    def _read_others(self) -> None:
        """Read what other tools wrote: they know nothing of the journal."""
        for kind, seen in self._seen.items():
            found = self._storage.look(layout.coordination_record_directory(self._root, kind))
            changed = found.st_mtime if found else 0.0
            # A directory's time may stand still while it changes: one that changed just now is no proof.
            if changed != self._changed.get(kind, 0.0) or changed > self._now() - 2:
                self._changed[kind] = changed
                for own in self._ids(kind):
                    if own not in seen and self._path(kind, own) not in self._faults:
                        self._read_one(kind, own)

    def _read_again(self, *, others_too: bool) -> None:
        """Read what could not be read: it may have been put right, or removed."""
        was_stopped = self._is_stopped()
        for fault in list(self._faults.values()):
            if fault.stops or others_too:
                self._read_one(fault.kind, fault.own)
        if was_stopped and not self._is_stopped():
            self._read_everything()  # what rests on it was read before it

    def _is_stopped(self) -> bool:
        return any(fault.stops for fault in self._faults.values())

    def _ids(self, kind: str) -> list[str]:
        directory = layout.coordination_record_directory(self._root, kind)
        names = (record_id(name) for name, _ in self._storage.list_directory(directory))
        return [own for own in names if own]

    def _path(self, kind: str, own: str) -> str:
        return os.path.join(layout.coordination_record_directory(self._root, kind), f"{own}.json")

    def _read_one(self, kind: str, own: str) -> None:
        """Take in one record. One that was announced and not written is nothing."""
        if own in self._seen.get(kind, ()):
            return
        path = self._path(kind, own)
        companion = self._path(_COMPANIONS[kind], own) if kind in _COMPANIONS else ""
        is_ours = bool(companion) and self._storage.exists(companion)
        try:
            document = read_json_object(path, self._storage)
            told = read_json_object(companion, self._storage) if is_ours else None
            self._take(kind, document, path, told)
        except NotFoundError:
            self._faults.pop(path, None)
        except (CorruptionError, StorageError) as error:
            # What cannot be read is never taken for a free address; a release is not needed for that.
            stops = kind == "renewals" or (kind == "reservations" and is_ours)
            self._faults[path] = _Fault(kind, own, error, stops)
        else:
            self._faults.pop(path, None)
            if kind in self._seen:
                self._seen[kind].add(own)

    def _take(
        self, kind: str, document: Mapping[str, Any], path: str, told: Mapping[str, Any] | None
    ) -> None:
        if kind == "reservations":
            self._take_claim(read_reservation(document, told, path))
        elif kind == "intents":
            intent = read_intent(document, told, path)
            self._intents[intent.intent_id] = intent
        elif kind == "renewals":
            reservation_id, expires_at = read_renewal(document, path)
            claim = self._claims.get(reservation_id)
            if claim is not None and seconds_of(expires_at) > claim.expires:
                self._put(replace(claim, expires_at=expires_at))
        else:
            reservation_id, released_at = read_release(document, path)
            self._drop(reservation_id, f"was released at {released_at}")

    def _take_claim(self, claim: Claim) -> None:
        self._epoch = max(self._epoch, claim.epoch)
        if claim.epoch:
            others = [other for other in self._holding(claim.addresses, claim.branch) if other.epoch]
            for other in others:
                if other.epoch < claim.epoch:
                    self._drop(other.reservation_id, f"was replaced by {claim.reservation_id}")
                else:
                    self._gone[claim.reservation_id] = f"was replaced by {other.reservation_id}"
                    return
        self._put(claim)

    def _put(self, claim: Claim) -> None:
        self._claims[claim.reservation_id] = claim
        for address in claim.addresses:
            for values in self._held.places(address):
                values[claim.reservation_id] = claim
        self._first_expiry = min(self._first_expiry, claim.expires + CLOCK_TOLERANCE_SECONDS)

    def _drop(self, reservation_id: str, reason: str) -> None:
        claim = self._claims.pop(reservation_id, None)
        if claim is None:
            return
        for address in claim.addresses:
            self._held.discard(address, reservation_id)
        self._gone[reservation_id] = reason
        while len(self._gone) > _GONE_KEPT:
            del self._gone[next(iter(self._gone))]

    def _let_expire(self, now: float) -> None:
        for claim in list(self._claims.values()):
            if now >= claim.expires + CLOCK_TOLERANCE_SECONDS:
                self._drop(claim.reservation_id, f"expired at {claim.expires_at}")
        ends = (claim.expires + CLOCK_TOLERANCE_SECONDS for claim in self._claims.values())
        self._first_expiry = min(ends, default=float("inf"))

    # -- writing --------------------------------------------------------------------------------

    def _write(self, records: list[tuple[str, str, Mapping[str, Any]]]) -> None:
        """Announce records, write them, each whole or not at all, durably and in order, and take them in."""
        documents = [(kind, own, encode_json(document, kind)) for kind, own, document in records]
        lines = "".join(f"\n{kind} {own}\n" for kind, own, _ in documents)  # whatever was torn ends here
        journal = layout.coordination_journal_file(self._root)
        with translated(journal, "append to"):
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW
            descriptor = self._storage.open(journal, flags)
            try:
                self._storage.write_all(descriptor, lines.encode())
            finally:
                self._storage.close(descriptor)
        try:
            for kind, own, data in documents:
                self._storage.write_atomically(self._path(kind, own), data)
        finally:
            self._refresh()


class Standing:
    """What is claimed, while nobody can change it."""

    def __init__(self, coordination: Coordination) -> None:
        self._coordination = coordination
        self._found: dict[tuple[tuple[str, ...], str, str], list[Claim]] = {}

    @property
    def is_empty(self) -> bool:
        """Whether nobody holds anything."""
        return not self._coordination._claims  # noqa: SLF001

    def claims_of_others(self, addresses: Iterable[str], branch: str, actor_id: str) -> list[Claim]:
        """Return the claims of others that stand on `addresses`: the granted ones, then those of other tools.

        No more than `CLAIMS_NAMED`. Asked twice, it is looked up once.
        """
        asked = (tuple(addresses), branch, actor_id)
        found = self._found.get(asked)
        if found is None:
            holding = self._coordination._holding(asked[0], branch)  # noqa: SLF001
            others = sorted((claim for claim in holding if claim.actor_id != actor_id), key=_is_ungranted)
            found = self._found[asked] = others[:CLAIMS_NAMED]
        return found

    def fault_of(self, reservation_id: str, actor_id: str) -> str:
        """Say why an op of `actor_id` cannot rest on a reservation; "" if it can."""
        return self._coordination._fault_of(reservation_id, actor_id)  # noqa: SLF001


def _is_ungranted(claim: Claim) -> bool:
    return not claim.epoch


def _near(addresses: Iterable[str], by_address: AddressMap[tuple[int, str]]) -> list[tuple[int, str]]:
    """Return the places of plans that touch one of `addresses`, each with what both have in common."""
    found: dict[int, str] = {}
    for address in addresses:
        for place, theirs in by_address.touching(address):
            found.setdefault(place, narrower(address, theirs))
    return sorted(found.items())


def _collisions(
    plans: list[Claim | Intent], by_address: AddressMap[tuple[int, str]], party: str
) -> Iterator[Collision]:
    for place, first in enumerate(plans):
        for other, common in _near(first.addresses, by_address):
            second = plans[other]
            apart = first.branch != second.branch or first.actor_id == second.actor_id
            if place < other and not apart and party in {"", first.actor_id, second.actor_id}:
                yield Collision(common, first, second)
