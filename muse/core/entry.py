"""OpEntry: one op with its identity, author, clock and causes; its rules; the total order. Pure."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, TypedDict

from muse.domain import DomainOp
from muse.errors import InvalidEntryError

MAX_LAMPORT = 2**53 - 1
"""The highest Lamport stamp: the largest integer that every JSON reader keeps exactly."""

_UUID4 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\Z")

_BREAKS_A_LINE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")


class OpEntry(TypedDict):
    """One op in the log. At run time a plain dict with these nine keys, in this order."""

    op_id: str
    actor_id: str
    lamport_ts: int
    parent_op_ids: list[str]
    domain: str
    domain_op: DomainOp
    created_at: str
    intent_id: str
    reservation_id: str


ENTRY_FIELDS = tuple(OpEntry.__annotations__)
_TEXT_FIELDS = ("actor_id", "domain", "created_at", "intent_id", "reservation_id")
_REQUIRED_TEXT = frozenset({"actor_id", "domain"})


@dataclass(frozen=True, slots=True)
class Limits:
    """What a log accepts. Each limit is checked before anything is written.

    `entry_bytes`: one line, newline included. `nesting_depth`: objects and lists inside one
    another, the op itself being 1. `parents`: causes an entry may name. `text_length`: characters
    of actor, domain, time, intent and reservation. `sessions`: logs in one repository.
    `lamport_jump`: how far ahead of this log's clock an entry's stamp may be and still be believed.
    """

    entry_bytes: int = 1 << 20
    nesting_depth: int = 64
    parents: int = 256
    text_length: int = 256
    sessions: int = 1_000_000
    lamport_jump: int = 1 << 32


DEFAULT_LIMITS = Limits()


def total_order(entry: OpEntry) -> tuple[int, str, str]:
    """Return the sort key of the total order: never a tie, the same on every replica."""
    return (entry["lamport_ts"], entry["actor_id"], entry["op_id"])


def matches(entry: OpEntry, actor: str | None, domain: str | None, address: str | None) -> bool:
    """Tell whether an entry is by `actor`, of `domain`, at an address starting with `address` (None: any)."""
    if actor is not None and entry["actor_id"] != actor:
        return False
    if domain is not None and entry["domain"] != domain:
        return False
    return address is None or str(entry["domain_op"].get("address", "")).startswith(address)


def is_op_id(text: object) -> bool:
    """Tell whether `text` is a UUID4 in its canonical form: lower case, with hyphens."""
    return isinstance(text, str) and _UUID4.match(text) is not None


def are_op_ids(texts: Iterable[str]) -> bool:
    """Tell whether `is_op_id` holds for each; quicker."""
    return all(map(_UUID4.match, texts))


def check_text(field: str, value: object, limits: Limits = DEFAULT_LIMITS) -> None:
    """Raise `InvalidEntryError` unless `value` is text that the entry field `field` may hold."""
    if not isinstance(value, str):
        raise InvalidEntryError(f"{field} must be a string, not {_type_name(value)}", field=field)
    if not value and field in _REQUIRED_TEXT:
        raise InvalidEntryError(f"{field} is empty: name the {field.removesuffix('_id')}", field=field)
    if len(value) > limits.text_length:
        raise InvalidEntryError(
            f"{field} has {len(value)} characters: at most {limits.text_length} are allowed", field=field
        )


def check_new_name(field: str, value: object, limits: Limits = DEFAULT_LIMITS) -> None:
    """Raise `InvalidEntryError` unless `value` may name the actor or the intent of something new.

    It is then on one line wherever it is shown: it has no newline and no control character. A log may hold
    such a name from earlier, or from another program, and stays readable.
    """
    check_text(field, value, limits)
    if isinstance(value, str) and (found := _BREAKS_A_LINE.search(value)):
        raise InvalidEntryError(
            f"{field} {value!r} has {found[0]!r} in it: give a name of one line, without control characters",
            field=field,
        )


def as_new_name(text: str) -> str:
    """Return a text of another program as a name that `check_new_name` takes: without what breaks a line."""
    return _BREAKS_A_LINE.sub(" ", text).strip()


def check_parents(parent_op_ids: Iterable[object], limits: Limits = DEFAULT_LIMITS) -> None:
    """Raise `InvalidEntryError` unless all parents are op ids, each once, and not too many."""
    parents = list(parent_op_ids)
    if len(parents) > limits.parents:
        raise InvalidEntryError(
            f"{len(parents)} parents: at most {limits.parents} are allowed", field="parent_op_ids"
        )
    for parent in parents:
        if not is_op_id(parent):
            raise InvalidEntryError(
                f"parent {parent!r} is not an op id (a lower-case UUID4)", field="parent_op_ids"
            )
    if len(parents) > 1 and len(set(parents)) != len(parents):
        raise InvalidEntryError("a parent is named twice", field="parent_op_ids")


def check_entry(entry: Mapping[str, Any], limits: Limits = DEFAULT_LIMITS) -> None:
    """Raise `InvalidEntryError` unless `entry` has the nine fields, each of its type and within `limits`.

    The inside of `domain_op` is checked where it is written as JSON, in `muse.core.line`.
    """
    if not isinstance(entry, dict):
        raise InvalidEntryError(f"an entry must be an object, not {_type_name(entry)}")
    if tuple(entry) != ENTRY_FIELDS:
        _check_keys(entry)
    if not is_op_id(entry["op_id"]):
        raise InvalidEntryError(f"op_id {entry['op_id']!r} is not a lower-case UUID4", field="op_id")
    for field in _TEXT_FIELDS:
        text = entry[field]
        if type(text) is not str or len(text) > limits.text_length or (not text and field in _REQUIRED_TEXT):
            check_text(field, text, limits)
    check_lamport(entry["lamport_ts"])
    parents = entry["parent_op_ids"]
    if not isinstance(parents, list):
        raise InvalidEntryError("parent_op_ids must be a list", field="parent_op_ids")
    check_causes(entry["op_id"], parents, limits)
    check_op_is_object(entry["domain_op"])


def are_plain_entries(entries: Sequence[Mapping[str, Any]], limits: Limits = DEFAULT_LIMITS) -> bool:
    """Tell whether each passes `check_entry` and names no parent, in a fraction of the time.

    False says nothing: then each is to be checked.
    """
    if set(map(type, entries)) != {dict} or set(map(tuple, entries)) != {ENTRY_FIELDS}:
        return False
    op_ids, actors, stamps, parents, domains, ops, *other_texts = zip(
        *[entry.values() for entry in entries], strict=True
    )
    texts = list(chain(actors, domains, *other_texts))
    return (
        set(map(type, chain(op_ids, texts))) == {str}
        and are_op_ids(op_ids)
        and max(map(len, set(texts))) <= limits.text_length
        and all(set(actors))
        and all(set(domains))
        and set(map(type, stamps)) == {int}
        and min(stamps) >= 1
        and max(stamps) <= MAX_LAMPORT
        and set(map(type, parents)) == {list}
        and not any(parents)
        and set(map(type, ops)) == {dict}
    )


def check_op_is_object(domain_op: object) -> None:
    """Raise `InvalidEntryError` unless an op is a JSON object."""
    if not isinstance(domain_op, dict):
        raise InvalidEntryError(
            f"domain_op must be an object, not {_type_name(domain_op)}", field="domain_op"
        )


def check_causes(op_id: str, parent_op_ids: Sequence[str], limits: Limits = DEFAULT_LIMITS) -> None:
    """Raise `InvalidEntryError` unless these may be the parents of the op `op_id`."""
    check_parents(parent_op_ids, limits)
    if op_id in parent_op_ids:
        raise InvalidEntryError("an entry names itself as its parent", field="parent_op_ids")


def _check_keys(entry: Mapping[str, Any]) -> None:
    missing = [field for field in ENTRY_FIELDS if field not in entry]
    if missing:
        raise InvalidEntryError(f"the entry lacks {', '.join(missing)}", field=missing[0])
    unknown = [str(key) for key in entry if key not in ENTRY_FIELDS]
    if unknown:
        raise InvalidEntryError(
            f"the entry has unknown fields: {', '.join(unknown[:5])}; extra data belongs in domain_op",
            field=unknown[0],
        )


def check_lamport(lamport_ts: object) -> None:
    """Raise `InvalidEntryError` unless `lamport_ts` is an integer from 1 to `MAX_LAMPORT`."""
    if type(lamport_ts) is not int:
        raise InvalidEntryError(
            f"lamport_ts must be an integer, not {_type_name(lamport_ts)}", field="lamport_ts"
        )
    if not 1 <= lamport_ts <= MAX_LAMPORT:
        raise InvalidEntryError(f"lamport_ts {lamport_ts} is outside 1 to {MAX_LAMPORT}", field="lamport_ts")


def _type_name(value: object) -> str:
    return "null" if value is None else type(value).__name__
