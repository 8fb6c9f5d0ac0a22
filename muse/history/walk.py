"""Walks over a graph of commits, given by a function from an id to the ids of its parents. Pure.

The graph has no circles. A walk yields an id before it asks for its parents, so the caller can find the
parents while it looks at the commit. The first parent of a merge is the commit that it was made on.
"""

from collections import Counter, deque
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from typing import Any

Parents = Callable[[str], Iterable[str]]


def reachable(starts: Iterable[str], parents: Parents, stop: Container[object] = ()) -> Iterator[str]:
    """Yield `starts` and all their ancestors, each once, in no promised order.

    An id in `stop` is left out, and so is what is reached through such ids alone.
    """
    seen: set[str] = set()
    waiting = list(starts)
    while waiting:
        name = waiting.pop()
        if name not in seen and name not in stop:
            seen.add(name)
            yield name
            waiting.extend(parents(name))


def ancestors(starts: Iterable[str], parents: Parents) -> Iterator[str]:
    """Yield what is reached from `starts` in one step or more, each id once, in no promised order."""
    return reachable((parent for start in starts for parent in parents(start)), parents)


def first_lines(start: str, parents: Parents, stop: Container[object] = ()) -> Iterator[str]:
    """Yield `start` and all its ancestors, line by line, each id once.

    The line of first parents comes first, down to its root; then, from the newest merge to the
    oldest, the lines of its other parents as far as they are new. An id in `stop` ends its line.
    """
    seen: set[str] = set()
    starts = deque([start])
    while starts:
        line = [starts.popleft()]
        while line and line[0] not in seen and line[0] not in stop:
            seen.add(line[0])
            yield line[0]
            line = list(parents(line[0]))
            starts.extend(line[1:])


def children_first(start: str, parents: Parents, rank: Callable[[str], Any]) -> Iterator[str]:
    """Yield `start` and all its ancestors, each once and before its parents.

    Of several that could come next, the one with the highest `rank` does. Up to the first merge the walk goes
    step by step; there it looks at all the others.
    """
    line = [start]
    while len(line) == 1:
        yield line[0]
        line = list(parents(line[0]))
    links: dict[str, list[str]] = {}
    ranks: dict[str, Any] = {}
    for name in reachable(line, links.__getitem__):
        links[name] = list(parents(name))
        ranks[name] = rank(name)
    children = Counter(parent for names in links.values() for parent in names)
    free = {name for name in links if not children[name]}
    while free:
        best = max(free, key=ranks.__getitem__)
        free.remove(best)
        yield best
        children.subtract(links[best])
        free.update(parent for parent in links[best] if not children[parent])


def parents_first(starts: Iterable[str], parents: Parents) -> list[str]:
    """Return `starts` and all their ancestors, each after its parents, and first parents before others."""
    ordered: list[str] = []
    seen: set[str] = set()
    for start in starts:
        waiting = [(start, False)]
        while waiting:
            name, are_parents_done = waiting.pop()
            if are_parents_done:
                ordered.append(name)
            elif name not in seen:
                seen.add(name)
                waiting.append((name, True))
                waiting += [(parent, False) for parent in reversed(list(parents(name)))]
    return ordered


class Dominators:
    """Answers where all ways back from some ids meet. Each id is asked for its parents once."""

    def __init__(self, parents: Parents) -> None:
        self._parents = parents
        self._above: dict[str, str | None] = {}  # id -> the newest other id that all its ways lead through
        self._depth: dict[str, int] = {}

    def common(self, starts: Iterable[str]) -> str | None:
        """Return the newest id that every way from any of `starts` to a root leads through, if any."""
        names = list(starts)
        self._learn(names)
        return self._meeting(names)

    def _learn(self, starts: Iterable[str]) -> None:
        links: dict[str, list[str]] = {}
        for name in reachable(starts, links.__getitem__, stop=self._depth):
            links[name] = list(self._parents(name))
        for name in parents_first(list(links), links_among(links)):
            above = self._meeting(links[name])
            self._above[name] = above
            self._depth[name] = 0 if above is None else self._depth[above] + 1

    def _meeting(self, names: Iterable[str]) -> str | None:
        """Return the newest id that all ways from known ids lead through."""
        ways = set(names)
        while len(ways) > 1:
            deepest = max(ways, key=self._depth.__getitem__)
            ways.remove(deepest)
            above = self._above[deepest]
            if above is None:
                return None
            ways.add(above)
        return ways.pop() if ways else None


def common_dominator(starts: Iterable[str], parents: Parents) -> str | None:
    """Return the newest id through which every way from any of `starts` to a root leads, if there is one."""
    return Dominators(parents).common(starts)


def links_among(links: Mapping[str, Iterable[str]]) -> Parents:
    """Return the function from an id to its parents, as far as they have links of their own."""
    return lambda name: [parent for parent in links[name] if parent in links]


def children_of(links: Mapping[str, Iterable[str]]) -> Parents:
    """Return the function from an id to its children; `links` has the parents of each id."""
    children: dict[str, list[str]] = {}
    for name, names in links.items():
        for parent in names:
            children.setdefault(parent, []).append(name)
    return lambda name: children.get(name, [])
