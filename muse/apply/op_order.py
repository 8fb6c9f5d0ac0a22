"""The order in which a merge applies the ops of two lines of history. Pure.

What a line of history shows, a merge does not take back: an op comes after all ops of the commits before its
own. Among the ops that may come next, the first in the total order does. So it is the total order where no op
came late. An op that several commits brought comes as early as any of them lets it.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from heapq import heappop, heappush

from muse.core.entry import OpEntry, total_order
from muse.history.walk import Parents, children_of, links_among

ORDER_RULE = "merge-order"
"""The name, among the rules that a merge states, of the rule for the order of its ops; no domain has it."""

TOTAL_ORDER, ORDER_OF_COMMITS = 1, 2


def in_order_of_commits(
    entries: Iterable[OpEntry], brought: Mapping[str, Iterable[str]], behind: Mapping[str, Sequence[str]]
) -> list[OpEntry]:
    """Return entries in the order of the commits that brought them.

    `brought` has the ids of the ops that a commit brought, `behind` all commits with their parents.
    """
    left = {entry["op_id"]: entry for entry in entries}
    own = {name: left.keys() & set(brought.get(name, ())) for name in behind}
    holders = defaultdict(list)
    for name, op_ids in own.items():
        for op_id in op_ids:
            holders[op_id].append(name)
    parents = links_among(behind)
    children = children_of({name: parents(name) for name in behind})
    waits_for = {name: len(list(parents(name))) for name in behind}
    opened = [name for name, count in waits_for.items() if not count]
    placed: list[OpEntry] = []
    ready: list[tuple[tuple[int, str, str], str]] = []
    while opened or ready:
        while opened:
            name = opened.pop()
            for op_id in own[name]:
                heappush(ready, (total_order(left[op_id]), op_id))
            done = [] if own[name] else [name]
            opened += _opened_by(done, children, waits_for)
        if ready and (entry := left.pop(heappop(ready)[1], None)):
            placed.append(entry)
            for name in holders[entry["op_id"]]:
                own[name].discard(entry["op_id"])
            done = [name for name in holders[entry["op_id"]] if not own[name] and not waits_for[name]]
            opened += _opened_by(done, children, waits_for)
    return placed


def _opened_by(done: Iterable[str], children: Parents, waits_for: dict[str, int]) -> list[str]:
    """Return the commits that waited only for those that are done now."""
    opened = []
    for child in (child for name in done for child in children(name)):
        waits_for[child] -= 1
        if not waits_for[child]:
            opened.append(child)
    return opened
