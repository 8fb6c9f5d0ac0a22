"""The records of coordination: the contents of the files of reservations, renewals, releases and intents."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Any

from muse.core.address import ADDRESS_LENGTH, MOST_STEPS, steps_of
from muse.core.entry import check_new_name, is_op_id
from muse.disk import layout
from muse.disk.json_file import field, field_items
from muse.errors import CorruptionError, UsageError

SCHEMA_VERSION = 1
MOST_ADDRESSES = 1000
DETAIL_LENGTH = 4096
LONGEST_TTL_SECONDS = 7 * 86_400.0
ALL_SESSIONS = "*"
SESSIONS_LENGTH = 256

_RECORD_NAME = re.compile(r"([0-9A-Za-z][0-9A-Za-z_-]{0,63})\.json\Z")
_WILDCARD = re.compile(r"[]*?[]")


@dataclass(frozen=True, slots=True)
class Reservation:
    """Addresses that one actor has on one branch until `expires_at`, renewals counted.

    `epoch` rises with every reservation of the repository. It is 0 where another tool wrote the file: such
    a reservation is shown and keeps others from reserving, but no op is refused for it, or can rest on it.
    It holds in the sessions whose ids match the pattern `sessions`.
    """

    reservation_id: str
    actor_id: str
    run_id: str
    branch: str
    addresses: tuple[str, ...]
    operation: str
    created_at: str
    expires_at: str
    epoch: int
    sessions: str = ALL_SESSIONS

    @property
    def expires(self) -> float:
        """The end of the reservation, in seconds."""
        return seconds_of(self.expires_at)

    def is_seen_from(self, sessions: str) -> bool:
        """Return whether an actor that is bound to the `sessions` of a pattern sees the reservation."""
        return sessions in {ALL_SESSIONS, self.sessions}

    def to_json(self) -> dict[str, Any]:
        """Return the reservation as JSON has it."""
        return {**asdict(self), "addresses": list(self.addresses)}


@dataclass(frozen=True, slots=True)
class Intent:
    """What an actor says it will do. `actor_id` of another tool's intent is its `run_id`."""

    intent_id: str
    reservation_id: str
    actor_id: str
    run_id: str
    branch: str
    addresses: tuple[str, ...]
    operation: str
    created_at: str
    detail: str

    @property
    def sessions(self) -> str:
        """The pattern of the sessions that it is about: all."""
        return ALL_SESSIONS

    def to_json(self) -> dict[str, Any]:
        """Return the intent as JSON has it."""
        return {**asdict(self), "addresses": list(self.addresses)}


# -- to and from documents ------------------------------------------------------------------------


def reservation_document(reservation: Reservation) -> dict[str, Any]:
    """Return the eight keys of a reservation's file."""
    return {
        "schema_version": SCHEMA_VERSION,
        "reservation_id": reservation.reservation_id,
        "run_id": reservation.run_id,
        "branch": reservation.branch,
        "addresses": list(reservation.addresses),
        "created_at": reservation.created_at,
        "expires_at": reservation.expires_at,
        "operation": reservation.operation,
    }


def epoch_document(reservation: Reservation) -> dict[str, Any]:
    """Return what the file in `grants` says of a reservation: whose it is, its epoch, and where it holds."""
    where = {} if reservation.sessions == ALL_SESSIONS else {"sessions": reservation.sessions}
    return {
        "schema_version": SCHEMA_VERSION,
        "reservation_id": reservation.reservation_id,
        "actor_id": reservation.actor_id,
        "epoch": reservation.epoch,
        "created_at": reservation.created_at,
        **where,
    }


def renewal_document(
    renewal_id: str, reservation_id: str, actor_id: str, *, created_at: str, expires_at: str
) -> dict[str, Any]:
    """Return the keys of a renewal's file."""
    return {
        "schema_version": SCHEMA_VERSION,
        "renewal_id": renewal_id,
        "reservation_id": reservation_id,
        "actor_id": actor_id,
        "created_at": created_at,
        "expires_at": expires_at,
    }


def release_document(
    release_id: str, reservation_id: str, actor_id: str, *, created_at: str
) -> dict[str, Any]:
    """Return the keys of a release's file."""
    return {
        "schema_version": SCHEMA_VERSION,
        "release_id": release_id,
        "reservation_id": reservation_id,
        "actor_id": actor_id,
        "created_at": created_at,
    }


def intent_document(intent: Intent) -> dict[str, Any]:
    """Return the nine keys of an intent's file."""
    return {
        "schema_version": SCHEMA_VERSION,
        "intent_id": intent.intent_id,
        "reservation_id": intent.reservation_id,
        "run_id": intent.run_id,
        "branch": intent.branch,
        "addresses": list(intent.addresses),
        "operation": intent.operation,
        "created_at": intent.created_at,
        "detail": intent.detail,
    }


def author_document(intent: Intent) -> dict[str, Any]:
    """Return what the file in `authors` says of an intent: whose it is."""
    return {
        "schema_version": SCHEMA_VERSION,
        "intent_id": intent.intent_id,
        "actor_id": intent.actor_id,
        "created_at": intent.created_at,
    }


def read_reservation(
    document: Mapping[str, Any], epoch_record: Mapping[str, Any] | None, path: str
) -> Reservation:
    """Return the reservation of a file, with its actor and epoch if they were recorded beside it."""
    run_id = field(document, "run_id", str, path, "")
    beside = f"the file in grants/ for {path}"
    return Reservation(
        reservation_id=field(document, "reservation_id", str, path),
        actor_id=run_id if epoch_record is None else field(epoch_record, "actor_id", str, beside),
        run_id=run_id,
        branch=field(document, "branch", str, path, ""),
        addresses=tuple(field_items(document, "addresses", str, path)),
        operation=field(document, "operation", str, path, ""),
        created_at=_time_in(document, "created_at", path),
        expires_at=_time_in(document, "expires_at", path),
        epoch=0 if epoch_record is None else field(epoch_record, "epoch", int, beside),
        sessions=field(epoch_record or {}, "sessions", str, beside, ALL_SESSIONS),
    )


def read_intent(document: Mapping[str, Any], author: Mapping[str, Any] | None, path: str) -> Intent:
    """Return the intent of a file, with its actor if it was recorded beside it."""
    run_id = field(document, "run_id", str, path, "")
    beside = f"the file in authors/ for {path}"
    return Intent(
        intent_id=field(document, "intent_id", str, path),
        reservation_id=field(document, "reservation_id", str, path, ""),
        actor_id=run_id if author is None else field(author, "actor_id", str, beside),
        run_id=run_id,
        branch=field(document, "branch", str, path, ""),
        addresses=tuple(field_items(document, "addresses", str, path)),
        operation=field(document, "operation", str, path, ""),
        created_at=_time_in(document, "created_at", path),
        detail=field(document, "detail", str, path, ""),
    )


def read_renewal(document: Mapping[str, Any], path: str) -> tuple[str, str]:
    """Return the id of the reservation that is renewed, and its new end."""
    return field(document, "reservation_id", str, path), _time_in(document, "expires_at", path)


def read_release(document: Mapping[str, Any], path: str) -> tuple[str, str]:
    """Return the id of the reservation that was released, and the time of that."""
    return field(document, "reservation_id", str, path), _time_in(document, "created_at", path)


def read_created(document: Mapping[str, Any], path: str) -> float:
    """Return the time at which a record was made, in seconds."""
    return seconds_of(_time_in(document, "created_at", path))


def record_id(name: str) -> str:
    """Return the id in a record's file name; "" for any other file."""
    found = _RECORD_NAME.match(name)
    return found[1] if found else ""


_OWN_ID = {
    "reservations": "reservation_id",
    "grants": "reservation_id",
    "intents": "intent_id",
    "authors": "intent_id",
    "renewals": "renewal_id",
    "releases": "release_id",
}


def check_own_id(document: Mapping[str, Any], kind: str, own: str, path: str) -> None:
    """Raise `CorruptionError` if a record says that it is another than the one its file is named after.

    The record of another tool need not say it.
    """
    found = document.get(_OWN_ID[kind], own)
    if found != own:
        raise CorruptionError(
            f"{path} has {found!r} as {_OWN_ID[kind]!r}, but its name has another id: put the right file "
            "back, or remove it",
            path=path,
        )


def _time_in(document: Mapping[str, Any], key: str, path: str) -> str:
    text = field(document, key, str, path)
    try:
        seconds_of(text)
    except (ValueError, OverflowError) as error:
        raise CorruptionError(
            f"{path} has {text!r} as {key!r}, which is not an ISO 8601 time", path=path
        ) from error
    return text


# -- sessions -------------------------------------------------------------------------------------


def share_sessions(one: str, other: str) -> bool:
    """Return False if no session matches both patterns. For two with wildcards, True is a guess."""
    if fnmatchcase(one, other) or fnmatchcase(other, one):
        return True
    parts, other_parts = _WILDCARD.split(one), _WILDCARD.split(other)
    if len(parts) == 1 or len(other_parts) == 1:
        return False
    begins, other_begins, ends, other_ends = parts[0], other_parts[0], parts[-1], other_parts[-1]
    return (begins.startswith(other_begins) or other_begins.startswith(begins)) and (
        ends.endswith(other_ends) or other_ends.endswith(ends)
    )


def check_sessions(pattern: str) -> str:
    """Give back a pattern of session ids; `UsageError` if it is empty or too long."""
    if not isinstance(pattern, str) or not 0 < len(pattern) <= SESSIONS_LENGTH:
        raise UsageError(f"the session pattern must be text of 1 to {SESSIONS_LENGTH} characters")
    return pattern


# -- time -----------------------------------------------------------------------------------------


def time_text(seconds: float) -> str:
    """Return a wall-clock time as ISO 8601, UTC, to the millisecond."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


def seconds_of(text: str) -> float:
    """Return an ISO 8601 time as seconds; without an offset it is UTC."""
    time = datetime.fromisoformat(text)
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()


# -- what may be asked for ------------------------------------------------------------------------


def check_addresses(addresses: Iterable[str]) -> tuple[str, ...]:
    """Return addresses that may be reserved, each once; `UsageError` for any other."""
    if isinstance(addresses, str):
        raise UsageError(f"addresses are a list, not the text {addresses!r}: put it in a list")
    found = tuple(dict.fromkeys(addresses))
    if not 0 < len(found) <= MOST_ADDRESSES:
        raise UsageError(f"{len(found)} addresses were given: give 1 to {MOST_ADDRESSES}")
    for address in found:
        if (
            not isinstance(address, str)
            or not 0 < len(address) <= ADDRESS_LENGTH
            or not address.isprintable()
        ):
            raise UsageError(
                f"{address!r} is not an address: give 1 to {ADDRESS_LENGTH} printable characters"
            )
        steps = steps_of(address)
        if not 0 < len(steps) <= MOST_STEPS or ".." in steps:
            raise UsageError(
                f"{address!r} is not an address: name a thing, such as 'song.mid', in 1 to {MOST_STEPS} steps"
            )
    return found


def check_ttl(seconds: float) -> float:
    """Give back a number of seconds to reserve for; `UsageError` if it is out of range."""
    if not 0 < seconds <= LONGEST_TTL_SECONDS:
        raise UsageError(
            f"{seconds} seconds is out of range: reserve for more than 0 and at most {LONGEST_TTL_SECONDS}"
        )
    return float(seconds)


def check_words(branch: str, actor_id: str, run_id: str, operation: str, detail: str = "") -> None:
    """Raise `UsageError` unless these texts may be in a record."""
    layout.check_branch(branch)
    check_new_name("actor_id", actor_id)
    check_new_name("run_id", run_id)
    for name, text, longest in (
        ("operation", operation, 256),
        ("detail", detail, DETAIL_LENGTH),
    ):
        if not isinstance(text, str) or len(text) > longest:
            raise UsageError(f"{name} must be text of at most {longest} characters")


def check_id(name: str, record: str) -> str:
    """Give back an id that a caller chose for a record; `UsageError` unless it is a UUID4."""
    if not is_op_id(record):
        raise UsageError(f"{name} {record!r} is not a lower-case UUID4: leave it out to have one made")
    return record
