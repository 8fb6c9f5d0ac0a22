"""Ops as clients send them: as JSON Lines, a JSON array or an object. Each op is checked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, NoReturn, TypeVar

import msgspec

from muse.core.entry import MAX_LAMPORT
from muse.server.api.bodies import parse_json
from muse.server.faults import RequestError

_T = TypeVar("_T")
Lamport = Annotated[int, msgspec.Meta(ge=1, le=MAX_LAMPORT)]
_EMPTY_LINES = 1_000


class Op(msgspec.Struct, forbid_unknown_fields=True):
    """An op as it may be sent: the nine fields of an entry, or a draft with fewer. It serves as a check."""

    domain: str
    domain_op: dict[str, Any]
    op_id: str | None = None
    actor_id: str | None = None
    lamport_ts: Lamport | None = None
    parent_op_ids: list[str] | None = None
    created_at: str | None = None
    intent_id: str | None = None
    reservation_id: str | None = None


class Append(msgspec.Struct, forbid_unknown_fields=True):
    """Ops, with what their author had read of the session."""

    ops: list[Any]
    seen_frontier: dict[str, Lamport] | None = None
    run_id: str = ""


@dataclass(frozen=True, slots=True)
class SentOps:
    """What one request appends. All ops are of `actor_id`, if they name an actor."""

    ops: Sequence[Mapping[str, Any]]
    actor_id: str | None
    seen_frontier: Mapping[str, int] | None = None
    run_id: str = ""


def read_lines(body: bytes, at_most: int) -> SentOps:
    """Return the ops of JSON Lines. Empty lines are passed over; too many lines are refused."""
    count = body.count(b"\n")
    if count > 2 * at_most + _EMPTY_LINES:  # to split them would take seconds
        raise RequestError(413, f"{count} lines in one request: at most {at_most} ops are allowed")
    lines = [(number, line) for number, line in enumerate(body.split(b"\n"), 1) if line.strip()]
    if len(lines) > at_most:
        _raise_too_many(len(lines), at_most)
    values = [parse_json(line.removesuffix(b"\r"), line=number) for number, line in lines]
    return _sent(values, [number for number, _ in lines], None, "")


def read_document(body: bytes, at_most: int) -> SentOps:
    """Return the ops of a JSON array, or of an object with the key `ops`."""
    value = parse_json(body)
    return read_append({"ops": value} if isinstance(value, list) else value, at_most)


def read_append(value: object, at_most: int) -> SentOps:
    """Return the ops of an object with the key `ops`, and what it says of them."""
    return sent_ops(checked(value, Append), at_most)


def sent_ops(append: Append, at_most: int) -> SentOps:
    """Return the ops of a message that appends, each checked."""
    if len(append.ops) > at_most:
        _raise_too_many(len(append.ops), at_most)
    return _sent(append.ops, range(1, len(append.ops) + 1), append.seen_frontier, append.run_id)


def _sent(
    values: list[Any], lines: Sequence[int], seen_frontier: Mapping[str, int] | None, run_id: str
) -> SentOps:
    ops = [checked(value, Op, line=line) for line, value in zip(lines, values, strict=True)]
    actors = {op.actor_id for op in ops}
    if len(actors) > 1:
        named = ", ".join(sorted(str(actor)[:40] for actor in actors)[:5])
        raise RequestError(
            422, f"the ops are of several actors ({named}): send those of one at a time", field="actor_id"
        )
    return SentOps(values, next(iter(actors), None), seen_frontier, run_id)


def checked(value: object, kind: type[_T], *, line: int | None = None) -> _T:
    """Return `value` as `kind`, or raise the refusal that names line and field."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        where = f"line {line}: " if line else ""
        raise RequestError(422, f"{where}{error}", field=_field_at_fault(value, kind), line=line) from None


def _field_at_fault(value: object, kind: object) -> str:
    """Return the first field that is unknown, of a wrong type or missing; empty if `value` has no fields."""
    if not (isinstance(value, dict) and isinstance(kind, type) and issubclass(kind, msgspec.Struct)):
        return ""
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    for name, content in value.items():
        if name not in fields or not _is_a(content, fields[name].type):
            return str(name)
    return next((name for name, field in fields.items() if field.required and name not in value), "")


def _is_a(value: object, kind: Any) -> bool:
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError:
        return False
    return True


def _raise_too_many(count: int, at_most: int) -> NoReturn:
    raise RequestError(413, f"{count} ops in one request: at most {at_most} are allowed")
