"""What the code domain offers to Muse."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from muse.domain import Application, DomainOp, DomainWork, Origin, Overlap, Undoing
from muse.plugins.code.merge import LAST_RULE, merge_code, waiting_entries
from muse.plugins.code.ops import read_op
from muse.plugins.op_fields import Fetch, check_rule

# To check an op before it is logged, and to merge, is what every record does: the rest is imported if used.


class CodePlugin:
    """Text files whose concurrent edits merge. Stateless, and as pure as `DomainPlugin` asks.

    `rule`: by which rule the state of a text is kept. Only `merge` knows the earlier ones.
    """

    def __init__(self, rule: int = LAST_RULE) -> None:
        self.rule = rule

    def by_rule(self, rule: int) -> "CodePlugin":
        """Return a plugin that keeps texts by an earlier rule. Raises `DomainError` for an unknown one."""
        check_rule(rule, LAST_RULE)
        return CodePlugin(rule)

    def apply(
        self, files: Mapping[str, bytes], ops: Sequence[Mapping[str, Any]], fetch: Fetch
    ) -> Application:
        """Apply the ops of a stored delta one after the other, by their positions. See `apply_code`."""
        from muse.plugins.code.sequential import apply_code  # noqa: PLC0415

        return apply_code(files, ops, fetch)

    def check_op(self, op: Mapping[str, Any]) -> None:
        """Check an op before it is logged. Raises `DomainError`, saying what is wrong, and nothing else."""
        read_op(op)

    def foresee(
        self, files: Mapping[str, bytes], fetch: Fetch, state: Mapping[str, bytes]
    ) -> Callable[[Mapping[str, Any]], str]:
        """Follow entries one by one: see `CodeForesight`."""
        from muse.plugins.code.foresight import CodeForesight  # noqa: PLC0415

        return CodeForesight(files, fetch, state).take

    def merge(
        self,
        files: Mapping[str, bytes],
        entries: Sequence[Mapping[str, Any]],
        fetch: Fetch,
        state: Mapping[str, bytes],
    ) -> Application:
        """Take in log entries: any order of arrival, in however many commits, gives the same files."""
        return merge_code(files, entries, fetch, state, self.rule)

    def squash(
        self, files: Mapping[str, bytes], ops: Sequence[Mapping[str, Any]], fetch: Fetch
    ) -> list[DomainOp]:
        """Return the net of ops that are applied one after the other: see `net`."""
        return self.net(files, self.apply(files, ops, fetch).files)

    def net(self, files: Mapping[str, bytes], changed: Mapping[str, bytes | None]) -> list[DomainOp]:
        """Return what changed, in lines, as ops that a person can read: see `net_ops`."""
        from muse.plugins.code.net import net_ops  # noqa: PLC0415

        return net_ops(files, changed)

    def blame(
        self, files: Mapping[str, bytes], ops: Sequence[Mapping[str, Any]], fetch: Fetch, path: str
    ) -> list[Origin]:
        """Tell of each line of the file `path` which of `ops` made it and which changed it last."""
        return self.blame_entries(files, _as_entries(ops), fetch, {}, path)

    def blame_entries(
        self,
        files: Mapping[str, bytes],
        entries: Sequence[Mapping[str, Any]],
        fetch: Fetch,
        state: Mapping[str, bytes],
        path: str,
    ) -> list[Origin]:
        """Tell the same of log entries, from a tree and the state that was kept beside it."""
        from muse.plugins.code.provenance import blame_lines  # noqa: PLC0415

        return blame_lines(files, entries, fetch, state, path)

    def waiting(self, state: Mapping[str, bytes]) -> Sequence[Mapping[str, Any]]:
        """Return the entries that wait for what they build on."""
        return waiting_entries(state)

    def overlaps(
        self,
        files: Mapping[str, bytes],
        entries: Sequence[Mapping[str, Any]],
        fetch: Fetch,
        state: Mapping[str, bytes],
    ) -> list[Overlap]:
        """List the edits that came in each other's way: see `overlaps_of_code`."""
        from muse.plugins.code.provenance import overlaps_of_code  # noqa: PLC0415

        return overlaps_of_code(files, entries, fetch, state)

    def undo_works(self, works: Sequence[DomainWork], fetch: Fetch, undone: Collection[str]) -> Undoing:
        """Find ops that take others back, and nothing of what others wrote: see `undo_code`."""
        from muse.plugins.code.undo import undo_code  # noqa: PLC0415

        return undo_code(works, fetch, undone)


def _as_entries(ops: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Turn ops into the entries of one actor that knew all the earlier ones."""
    return [
        {
            "op_id": f"{place:032x}",
            "actor_id": "",
            "lamport_ts": place + 1,
            "parent_op_ids": [],
            "domain_op": op,
        }
        for place, op in enumerate(ops)
    ]
