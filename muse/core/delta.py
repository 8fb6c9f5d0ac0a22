"""Ordered entries -> StructuredDelta. Pure."""

from collections import Counter
from collections.abc import Iterable, Sequence

from muse.core.entry import OpEntry, total_order
from muse.domain import OP_KINDS, DomainOp, StructuredDelta


def collapse(entries: Iterable[OpEntry], domain: str) -> StructuredDelta:
    """Return the ops of `domain` among `entries`, in the total order, with a summary for people."""
    chosen = sorted((entry for entry in entries if entry["domain"] == domain), key=total_order)
    ops = [entry["domain_op"] for entry in chosen]
    return {"domain": domain, "ops": ops, "summary": summarize(ops)}


def summarize(ops: Sequence[DomainOp]) -> str:
    """Count ops by kind, in the order the kinds are defined: "3 insert, 1 delete"; "no ops" if none.

    Kinds this package does not know follow in alphabetical order; an op without a kind is "other".
    """
    counts = Counter(_kind(op) for op in ops)
    known = [kind for kind in OP_KINDS if kind in counts]
    unknown = sorted(kind for kind in counts if kind not in OP_KINDS)
    return ", ".join(f"{counts[kind]} {kind}" for kind in known + unknown) or "no ops"


def _kind(op: DomainOp) -> str:
    kind = op.get("op")
    return kind if isinstance(kind, str) and kind else "other"
