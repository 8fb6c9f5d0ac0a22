"""What becomes of an op that was handed over: a receipt says it."""

from typing import Any, Literal

import msgspec

Status = Literal["stored", "known", "refused", "proposed", "local"]
Kind = Literal["", "invalid", "conflict", "actor", "held", "fenced", "stale", "rejected", "full"]
"""Why an op is not in the log, for programs. A proposal is "held", "fenced" or "stale"."""


class Receipt(msgspec.Struct, frozen=True):
    """What became of one op.

    `status` "stored": it is in the log; "known": it was there already; "refused": nothing was written;
    "proposed": it is set aside, on the disk, until somebody decides; "local": a client keeps it in its local
    log while the server is away, and sends it once it is back. `kind` and `reason` say, for programs and for
    people, why it was not stored, or what the policy let pass. `position` is the byte of the log at which
    its line starts, `next_position` the one after it (a cursor to read on from), `lamport_ts` its stamp; null
    where it is not in the log. `overlaps`: ops of others on its addresses that its author had not read, of
    each actor the newest (`lamport_ts`, `op_id`, `actor_id`, `address`). `reservations`: others' claims on
    those.
    """

    op_id: str
    status: Status
    lamport_ts: int | None = None
    position: int | None = None
    next_position: int | None = None
    kind: Kind = ""
    reason: str = ""
    overlaps: tuple[dict[str, Any], ...] = ()
    reservations: tuple[dict[str, Any], ...] = ()

    @property
    def is_in_log(self) -> bool:
        """Whether the op is in the session's log, where it was handed over to."""
        return self.status in {"stored", "known"}

    def to_json(self) -> dict[str, Any]:
        lists = {"overlaps": list(self.overlaps), "reservations": list(self.reservations)}
        return {**msgspec.structs.asdict(self), **lists}
