"""Which line of one text became which line of another. Pure."""

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise

from muse.plugins.code.bounded_matcher import BoundedMatcher

TOKEN = re.compile(r"\w+|\s+|[^\w\s]")
"""A word, a space, or a sign."""

Pair = tuple[int, int]

_MISSED = 8  # one letter in so many is many


def pairs_of_lines(old: Sequence[str], new: Sequence[str]) -> list[Pair] | None:
    """Pair lines that have words in common, and those between such pairs in their order.

    No two pairs cross, and each line is in one at most. None where most words stay, a line end moved between
    them, and pairs would miss many, as in a paragraph that is filled again: then no line is another's.
    """
    one, other = list(_words(old)), list(_words(new))
    matcher = BoundedMatcher([word for word, _ in one], [word for word, _ in other])
    shared: dict[Pair, int] = {}
    is_filled_again = False
    for start, first, size in matcher.get_matching_blocks():
        lines = [(one[start + step][1], other[first + step][1]) for step in range(size)]
        moved = ((here[0] == there[0]) != (here[1] == there[1]) for here, there in pairwise(lines))
        is_filled_again = is_filled_again or any(moved)
        for step, pair in enumerate(lines):
            shared[pair] = shared.get(pair, 0) + len(one[start + step][0])
    longer = max(sum(len(word) for word, _ in words) for words in (one, other))
    chain, stays = _best_chain(shared), sum(shared.values())
    missed = stays - sum(shared[pair] for pair in chain)
    if is_filled_again and 2 * stays > longer and _MISSED * missed > longer:
        return None
    return list(_with_those_between(chain, len(old), len(new)))


def _words(lines: Sequence[str]) -> Iterator[tuple[str, int]]:
    for number, line in enumerate(lines):
        yield from ((token, number) for token in TOKEN.findall(line) if not token.isspace())


def _best_chain(shared: dict[Pair, int]) -> list[Pair]:
    """Choose the pairs that have most in common, no two of them with the same line.

    The pairs rise on both sides, so those that fit before a pair are the first few.
    """
    pairs = list(shared)
    best: list[tuple[int, list[Pair]]] = [(0, [])]  # of the first so many pairs
    fitting = 0
    for number, pair in enumerate(pairs):
        while pairs[fitting][0] < pair[0] and pairs[fitting][1] < pair[1]:
            fitting += 1
        weight, chain = best[min(fitting, number)]
        best.append(max(best[-1], (weight + shared[pair], [*chain, pair]), key=lambda found: found[0]))
    return best[-1][1]


def _with_those_between(chain: Sequence[Pair], rows: int, columns: int) -> Iterator[Pair]:
    row, column = 0, 0
    for own, other in [*chain, (rows, columns)]:
        yield from zip(range(row, own), range(column, other), strict=False)
        if own < rows:
            yield own, other
        row, column = own + 1, other + 1
