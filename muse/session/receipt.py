"""Receipt: the answer to an append."""

from typing import Any, Literal

import msgspec

Status = Literal["stored", "known", "refused", "proposed", "local"]
Kind = Literal[
    "", "invalid", "conflict", "actor", "held", "fenced", "stale", "rejected", "full", "ineffective"
]
"""Why an op is not in the log, for programs. A proposal is "held", "fenced" or "stale". An op that is
"ineffective" is in the log, and changes nothing as things are now."""


class Receipt(msgspec.Struct, frozen=True):
    """Says what became of one op.

    The `status` is "stored" if the op is in the log, "known" if it was there already, "refused" if nothing
    was written, "proposed" if it is set aside, on the disk, until somebody decides, and "local" if a client
    keeps it in its local log while the server is away, and sends it later. `kind` and `reason` say, for
    programs and for people, why it was not stored, what the policy let pass, or why it has no effect.
    `position` is the byte of the log at which its line starts, `next_position` the one after it (a cursor
    to read on from), `lamport_ts` its stamp; they are null where the op is not in the log. `overlaps` has the
    ops of others on its addresses that its author had not read, of each actor the newest (`lamport_ts`,
    `op_id`, `actor_id`, `address`), and `reservations` the reservations of others on those addresses, each
    with ten addresses at most. Where the receipts of ops that enter together name very much, the later ones
    name nothing.
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
        """Whether the op is in the log of the session."""
        return self.status in {"stored", "known"}

    def to_json(self) -> dict[str, Any]:
        """Return the receipt as JSON has it."""
        lists = {"overlaps": list(self.overlaps), "reservations": list(self.reservations)}
        return {**msgspec.structs.asdict(self), **lists}
