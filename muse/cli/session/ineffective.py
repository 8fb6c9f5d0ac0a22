"""Ops that had no effect, in lines for people and records for programs."""

from collections.abc import Sequence
from typing import Any

from muse.cli.shared.commit_text import SHORT_ID
from muse.cli.shared.output import Output, count_of
from muse.views.ineffective import IneffectiveOp


def print_ineffective(output: Output, found: Sequence[IneffectiveOp]) -> None:
    """Print which ops changed nothing, by whom they are, and why, if any did."""
    if not found:
        return
    count = len({one.entry["op_id"] for one in found})
    output.line(f"{count_of(count, 'op')} without effect; a later op can do what was meant")
    rows = [
        (
            one.entry["op_id"],
            one.entry["actor_id"],
            one.commit_id[:SHORT_ID] or "pending",
            one.address,
            one.reason,
        )
        for one in found
    ]
    output.table(("OP", "BY", "IN", "ADDRESS", "WHY"), rows)


def ineffective_record(one: IneffectiveOp) -> dict[str, Any]:
    """Return one as JSON has it; the commit is null while the op is pending."""
    return {
        "kind": "ineffective",
        "domain": one.entry["domain"],
        "op_id": one.entry["op_id"],
        "actor_id": one.entry["actor_id"],
        "lamport_ts": one.entry["lamport_ts"],
        "address": one.address,
        "reason": one.reason,
        "commit_id": one.commit_id or None,
    }
