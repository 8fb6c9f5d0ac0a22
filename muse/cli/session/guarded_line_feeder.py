"""Takes JSON Lines into a session that has a policy, as far as the policy allows."""

from collections.abc import Mapping
from typing import Any

from muse.cli.session.line_feeder import BareOps, Ineffective, LineFeeder
from muse.core.entry import OpEntry
from muse.core.op_log import OpLog
from muse.core.other_sessions import OtherSessions
from muse.errors import ConflictError, InvalidEntryError
from muse.session.guarded_log import GuardedLog


class GuardedLineFeeder(LineFeeder):
    """A feeder whose ops pass the guard: what that refuses is a bad line, what it sets aside is counted."""

    def __init__(self, log: OpLog, guarded: GuardedLog, bare_ops: BareOps, others: OtherSessions) -> None:
        super().__init__(log, bare_ops, others)
        self.proposed = 0
        self._guarded = guarded

    def _flush(self) -> None:
        entries, self._entries = self._entries, []
        for number, entry in entries:
            self._append(number, entry)

    def _append(self, number: int, entry: OpEntry) -> None:
        try:
            self._others.check([entry])
            self._pass(number, entry, entry.get("actor_id", ""))
        except (InvalidEntryError, ConflictError) as error:
            raise self._bad_line(number, error) from error

    def _record(self, number: int, op: dict[str, Any]) -> None:
        bare = self._bare_ops
        draft = {
            "domain": bare.domain_of(op),
            "domain_op": op,
            "intent_id": bare.intent_id,
            "reservation_id": bare.reservation_id,
        }
        self._pass(number, draft, self._check_actor())

    def _pass(self, number: int, op: Mapping[str, Any], actor_id: str) -> None:
        [receipt] = self._guarded.append([op], actor_id=actor_id)
        if receipt.status == "refused":
            raise InvalidEntryError(receipt.reason)
        if receipt.kind == "ineffective":
            self.ineffective.append(Ineffective(number, receipt.op_id, receipt.reason))
        self.stored += receipt.status == "stored"
        self.known += receipt.status == "known"
        self.proposed += receipt.status == "proposed"
