"""Ops as they are sent to a server, and the two kinds of acknowledgement."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from muse.core.entry import OpEntry, check_new_name, check_parents, check_text, is_op_id
from muse.core.line import FRAME_LENGTH, encode_line
from muse.core.op_ids import OP_IDS
from muse.errors import InvalidEntryError

Ack = Literal["written", "durable"]


def draft(
    actor_id: str,
    domain: str,
    domain_op: Mapping[str, Any],
    *,
    op_id: str | None = None,
    parent_op_ids: Sequence[str] | None = None,
    intent_id: str = "",
    reservation_id: str = "",
) -> dict[str, Any]:
    """Return an op without stamp and time, which the server adds; parents too, where they are not given.

    Raises `InvalidEntryError` for what a log would refuse.
    """
    made = {
        "op_id": OP_IDS.next() if op_id is None else op_id,
        "actor_id": actor_id,
        "domain": domain,
        "domain_op": dict(domain_op),
        "intent_id": intent_id,
        "reservation_id": reservation_id,
    }
    if not is_op_id(made["op_id"]):
        raise InvalidEntryError(f"op_id {op_id!r} is not a lower-case UUID4", field="op_id")
    for field in ("actor_id", "intent_id"):
        check_new_name(field, made[field])
    for field in ("domain", "reservation_id"):
        check_text(field, made[field])
    if parent_op_ids is not None:
        check_parents(parent_op_ids)
        made["parent_op_ids"] = list(parent_op_ids)
    return made


def encoded(op: Mapping[str, Any] | OpEntry) -> bytes:
    """Return an op or entry as JSON; `InvalidEntryError` for values that JSON would change."""
    return encode_line(op)[: -FRAME_LENGTH - 1] + b"}"  # type: ignore[arg-type]
