"""Tells of code ops, as they are logged one by one, whether they take effect. Pure."""

from collections.abc import Mapping
from typing import Any

from muse.causality import HeadOps
from muse.errors import DomainError, PluginError
from muse.plugins.code.merge import Entry, Merger, is_raw
from muse.plugins.code.ops import read_op
from muse.plugins.code.raw import meaning_of, stamp_of
from muse.plugins.op_fields import Fetch

MOST_WAITING = 100
"""One op may let go all that wait, and each op tries them: with more, an append would take too long."""


class CodeForesight:
    """Follows the entries of a log on a tree and its state.

    What a raw op means is known at once only where its author had seen all that is here. Of any other,
    nothing is told, and what it will mean is taken to be what it means here.
    """

    def __init__(self, files: Mapping[str, bytes], fetch: Fetch, state: Mapping[str, bytes]) -> None:
        self._merger = Merger(files, state, fetch, "foresight")
        self._heads = HeadOps()

    def take(self, entry: Mapping[str, Any]) -> str:
        """Take in the next entry; return why it has no effect, "" if it has or that cannot be told.

        Raises `PluginError`, and follows no more, where more than `MOST_WAITING` ops wait.
        """
        if self._merger.waiting_count > MOST_WAITING:
            raise PluginError("so many ops wait for others that no op can be looked at by itself")
        knows_all = self._heads.take(entry["op_id"], entry["actor_id"], entry["parent_op_ids"])
        try:
            if not is_raw(entry):
                return "; ".join(found.reason for found in self._merger.take([entry]))
            self._take_raw(entry)
        except DomainError as error:
            return str(error) if knows_all else ""
        return ""

    def _take_raw(self, entry: Entry) -> None:
        tree = self._merger.tree
        for part in meaning_of(tree, entry["op_id"], read_op(entry["domain_op"])):
            tree.take(stamp_of(entry), part)
