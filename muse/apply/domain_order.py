"""Decides in which order the ops of several domains become files: who gives up a name is before who needs it.

A file may give way to a directory of its name, or to a file of another domain. Each domain is applied on the
files that the one before left: so the one that frees the name has to be the first. Pure.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from muse.core.entry import OpEntry
from muse.plugins.op_fields import parents_of

_MOST_ROUNDS = 16
"""Each is a commit of every domain; one that gives and takes a name again and again makes no more of them."""


@dataclass(slots=True)
class _TakenAndFreed:
    """The paths that ops of a domain take and give up: `taken` and `free` in the end, the others ever."""

    taken: set[str] = field(default_factory=set)
    free: set[str] = field(default_factory=set)
    ever_taken: set[str] = field(default_factory=set)
    ever_free: set[str] = field(default_factory=set)

    def take_in(self, op: Mapping[str, Any]) -> None:
        if op.get("position") is not None:
            return  # within a file
        kind, path = op.get("op"), op.get("address")
        source = {"delete": path, "move": path, "patch": op.get("from_address")}.get(str(kind))
        target = {"insert": path, "move": op.get("to_address"), "patch": path if source else None}.get(
            str(kind)
        )
        if isinstance(source, str):
            self.taken.discard(source)
            self.free.add(source)
            self.ever_free.add(source)
        if isinstance(target, str):
            self.free.discard(target)
            self.taken.add(target)
            self.ever_taken.add(target)


def excluded_by(others: Iterable[str], paths: Iterable[str]) -> set[str]:
    """Return those of some paths at which there can be no file as long as there are files at others."""
    known = set(others)
    blocking = known | {parent for path in known for parent in parents_of(path)}
    return {path for path in paths if path in blocking or not known.isdisjoint(parents_of(path))}


def in_domain_order(entries: Sequence[OpEntry]) -> list[tuple[str, list[OpEntry]]]:
    """Part entries, which are in the total order, by their domains: each part goes on from the one before.

    The domains come by their names, but for one that makes room for another: it comes before that one. Where
    two make room for each other, as many entries as do not are parted first, and then the others: that is as
    if there had been a commit between them, and the domain that came last waits. Beyond so many rounds the
    names decide.
    """
    parts, start, rounds = list[tuple[str, list[OpEntry]]](), 0, 0
    while start < len(entries):
        last, rounds = parts[-1][0] if parts else "", rounds + 1
        order = _order_of(entries[start:], last)
        is_whole = order is not None or rounds == _MOST_ROUNDS
        stop = len(entries) if is_whole else _place_before_circle(entries, start)
        own = by_domain(entries[start:stop])
        names = order or _order_of(entries[start:stop], last) or sorted(own)
        parts += ((domain, own[domain]) for domain in names)
        start = stop
    return parts


def names_of_others(domain: str, entries: Sequence[OpEntry]) -> tuple[frozenset[str], frozenset[str]]:
    """Return which paths other domains give up, and take, before the last part of this one.

    See `in_domain_order`.
    """
    parts = in_domain_order(entries)
    own = [place for place, (name, _) in enumerate(parts) if name == domain]
    before = parts[: own[-1]] if own else []
    names = _names_of(chain.from_iterable(part for name, part in before if name != domain))
    return frozenset(names.free), frozenset(names.taken)


def _place_before_circle(entries: Sequence[OpEntry], start: int) -> int:
    """Return where to stop so that no two domains make room for each other: behind one entry at least."""
    low, high = start + 1, len(entries)
    while low + 1 < high:
        middle = (low + high) // 2
        if _is_clear(entries[start:middle], entries[middle:]):
            low = middle
        else:
            high = middle
    return low


def _is_clear(some: Sequence[OpEntry], later: Sequence[OpEntry]) -> bool:
    """Tell whether what some entries take is free by then, and no two domains took what only one can have."""
    names = {domain: _names_of(own) for domain, own in by_domain(some).items()}
    afterwards = {domain: _names_of(own) for domain, own in by_domain(later).items()}
    return _order_of(some) is not None and not any(
        excluded_by(its.taken if others is names else its.ever_free, own.taken)
        for domain, own in names.items()
        for others in (names, afterwards)
        for other, its in others.items()
        if other != domain
    )


def _order_of(entries: Sequence[OpEntry], last: str = "") -> list[str] | None:
    """Return the order of the domains, `last` as late as may be; None where some make room for each other."""
    own = by_domain(entries)
    before, order = _made_room(own), list[str]()
    left = sorted(own, key=lambda name: (name == last, name))
    while left:
        free = next((domain for domain in left if before[domain].isdisjoint(left)), None)
        if free is None:
            return None
        order.append(free)
        left.remove(free)
    return order


def by_domain(entries: Iterable[OpEntry]) -> dict[str, list[OpEntry]]:
    """Part entries by their domains, in their order, whatever name needs which."""
    found: dict[str, list[OpEntry]] = {}
    for entry in entries:
        found.setdefault(entry["domain"], []).append(entry)
    return found


def _names_of(entries: Iterable[OpEntry]) -> _TakenAndFreed:
    names = _TakenAndFreed()
    for entry in entries:
        names.take_in(entry["domain_op"])
    return names


def _made_room(parts: Mapping[str, Iterable[OpEntry]]) -> dict[str, set[str]]:
    """Return for each domain the others that make room for it."""
    if len(parts) == 1:
        return {domain: set() for domain in parts}
    names = {domain: _names_of(own) for domain, own in parts.items()}
    return {
        domain: {
            other
            for other, its in names.items()
            if other != domain and excluded_by(its.ever_free, own.ever_taken)
        }
        for domain, own in names.items()
    }
