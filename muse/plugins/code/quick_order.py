"""The order in which the library takes many updates in quickly. Pure.

What many insert at one place, who had not seen each other, the library (YATA, as in Yjs) compares with all
of it that comes from lower client ids. With the highest client first there is little to compare, as
`yjs/src/utils/encoding.js` says where it integrates one large update. The outcome is the same in any order.
"""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from heapq import heappop, heappush

from muse.plugins.code.update import Update


def in_quick_order(updates: Sequence[Update], vector: Mapping[int, int]) -> Iterator[Update]:
    """Yield updates to a document with a state vector: of those that have what they need, the highest client.

    In the order in which they are given, each has what it needs before it. Those of one client stay in it.
    """
    vector, ready = dict(vector), list[int]()
    own: dict[int, deque[Update]] = {}
    for update in updates:
        own.setdefault(update.client, deque()).append(update)
    waiting: dict[int, list[int]] = {}  # clients, by the one of which their next update lacks something

    def place(client: int) -> None:
        if own[client]:
            lack = own[client][0].first_lack(vector)
            if lack is None:
                heappush(ready, -client)
            else:
                waiting.setdefault(lack[0], []).append(client)

    for client in own:
        place(client)
    while ready:
        update = own[-heappop(ready)].popleft()
        yield update
        vector[update.client] = max(update.end, vector.get(update.client, 0))
        for client in (update.client, *waiting.pop(update.client, ())):
            place(client)
