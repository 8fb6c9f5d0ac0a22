"""New entries: with a fresh op id each, and the present time."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import count
from typing import Any

from muse.core.compiled import new_entries
from muse.core.entry import OpEntry
from muse.core.op_ids import OP_IDS
from muse.core.timestamp import now_text
from muse.domain import DomainOp

Op = DomainOp | Mapping[str, Any]


def make_op_entry(
    actor_id: str,
    domain: str,
    domain_op: Op,
    lamport_ts: int,
    *,
    parent_op_ids: Sequence[str] | None = None,
    intent_id: str = "",
    reservation_id: str = "",
) -> OpEntry:
    """Make an entry with a fresh op id, stamped with the present time.

    Nothing is checked or written here; `OpLog.append` checks.
    """
    return {
        "op_id": OP_IDS.next(),
        "actor_id": actor_id,
        "lamport_ts": lamport_ts,
        "parent_op_ids": list(parent_op_ids or ()),
        "domain": domain,
        "domain_op": domain_op,  # type: ignore[typeddict-item]
        "created_at": now_text(),
        "intent_id": intent_id,
        "reservation_id": reservation_id,
    }


def make_op_entries(
    names: tuple[str, str, str, str],
    domain_ops: Iterable[Op],
    tick: Callable[[int], int],
    parent_op_ids: Sequence[str] | None = None,
) -> list[OpEntry]:
    """Make the entries of several ops; `names` are actor, domain, intent and reservation of all.

    With `parent_op_ids`, those of the first, each op names the one before it as its cause.
    """
    ops = list(domain_ops)
    op_ids, created_at = OP_IDS.some(len(ops)), now_text()
    stamp = tick(len(ops)) if ops else 0
    entries = new_entries(names, ops, op_ids, stamp, created_at)
    if entries is None:
        entries = _entries_of(names, ops, op_ids, stamp, created_at)
    if parent_op_ids is not None:
        causes = [list(parent_op_ids), *([op_id] for op_id in op_ids)]
        for entry, parents in zip(entries, causes, strict=False):
            entry["parent_op_ids"] = parents
    return entries


def _entries_of(
    names: tuple[str, str, str, str], domain_ops: list[Op], op_ids: list[str], stamp: int, created_at: str
) -> list[OpEntry]:
    actor_id, domain, intent_id, reservation_id = names
    return [
        {
            "op_id": op_id,
            "actor_id": actor_id,
            "lamport_ts": lamport_ts,
            "parent_op_ids": [],
            "domain": domain,
            "domain_op": domain_op,  # type: ignore[typeddict-item]
            "created_at": created_at,
            "intent_id": intent_id,
            "reservation_id": reservation_id,
        }
        for lamport_ts, op_id, domain_op in zip(count(stamp), op_ids, domain_ops, strict=False)
    ]
