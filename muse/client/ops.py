"""Ops on their way to a server, and what it says of each."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from muse.core.entry import OpEntry, check_parents, check_text, is_op_id
from muse.core.op_ids import OpIdSource
from muse.core.record import FRAME_LENGTH, encode_line
from muse.errors import InvalidEntryError

Status = Literal["stored", "known", "refused", "proposed", "local"]
Ack = Literal["written", "durable"]

OP_IDS = OpIdSource()
os.register_at_fork(after_in_child=OP_IDS.forget)


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of one op.

    `status`: "stored" now, or "known" from before; "refused" or "proposed", and `kind` and `reason` say why,
    for programs and for people; "local": kept in the local log while the server is away, and sent once it is
    back. `position` is the byte of the log at which it starts. `overlaps` are newer ops of others on its
    addresses that its author had not read, `reservations` others' claims on them.
    """

    op_id: str
    status: Status
    lamport_ts: int | None = None
    position: int | None = None
    next_position: int | None = None
    kind: str = ""
    reason: str = ""
    overlaps: tuple[Any, ...] = ()
    reservations: tuple[Any, ...] = ()

    @property
    def is_in_log(self) -> bool:
        """Whether the op is in the session's log, on the server."""
        return self.status in {"stored", "known"}


def receipt_from(document: object) -> Receipt:
    """Return the receipt that a server sent; `msgspec.ValidationError` if it is none."""
    return msgspec.convert(document, Receipt)


def draft(
    actor_id: str,
    domain: str,
    domain_op: Mapping[str, Any],
    *,
    op_id: str | None = None,
    parent_op_ids: Sequence[str] = (),
    intent_id: str = "",
    reservation_id: str = "",
) -> dict[str, Any]:
    """Return an op without stamp and time, which the server gives it when it sees it first.

    Raises `InvalidEntryError` for what a log would refuse.
    """
    made = {
        "op_id": OP_IDS.next() if op_id is None else op_id,
        "actor_id": actor_id,
        "parent_op_ids": list(parent_op_ids),
        "domain": domain,
        "domain_op": dict(domain_op),
        "intent_id": intent_id,
        "reservation_id": reservation_id,
    }
    if not is_op_id(made["op_id"]):
        raise InvalidEntryError(f"op_id {op_id!r} is not a lower-case UUID4", field="op_id")
    for field in ("actor_id", "domain", "intent_id", "reservation_id"):
        check_text(field, made[field])
    check_parents(parent_op_ids)
    return made


def encoded(op: Mapping[str, Any] | OpEntry) -> bytes:
    """Return an op or entry as JSON; `InvalidEntryError` for values that JSON would change."""
    return encode_line(op)[: -FRAME_LENGTH - 1] + b"}"  # type: ignore[arg-type]
