"""What differs between two texts: hunks of lines, as in a unified diff. Pure.

Lines that are in both texts once, in the same order, hold the two together (patience diff, Bram Cohen);
between them the longest equal stretches do. So a moved block does not tear its neighbours apart, and the cost
is bounded.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from muse.plugins.code.bounded_matcher import BoundedMatcher

CONTEXT_LINES = 3
_COMPARED_PAIRS = 2_000_000  # pairs of equal lines up to which none is passed over as too frequent

Sign = Literal[" ", "-", "+"]


@dataclass(frozen=True, slots=True)
class DiffLine:
    """A line that both texts have (" "), only the old one ("-") or only the new one ("+").

    `has_newline` is false for a last line that no newline ends.
    """

    sign: Sign
    text: str
    has_newline: bool = True


@dataclass(frozen=True, slots=True)
class Hunk:
    """Changed lines with those around them. Lines count from 1; with a count of 0 it is the line before."""

    old_start: int
    old_count: int
    new_start: int
    new_count: int
    lines: tuple[DiffLine, ...]

    def heading(self) -> str:
        """Return the line that begins a hunk in a unified diff."""
        old = _range(self.old_start, self.old_count)
        return f"@@ -{old} +{_range(self.new_start, self.new_count)} @@"


@dataclass(frozen=True, slots=True)
class TextDiff:
    """The hunks of two texts, and how many lines were added and removed. An encoding is "" without a file."""

    hunks: tuple[Hunk, ...]
    added: int
    removed: int
    old_encoding: str = ""
    new_encoding: str = ""


def diff_texts(old: str, new: str, *, old_encoding: str = "", new_encoding: str = "") -> TextDiff:
    """Compare two texts line by line; only a newline ends a line."""
    before, after = lines_of(old), lines_of(new)
    hunks = tuple(_hunks(before, after))
    signs = Counter(line.sign for hunk in hunks for line in hunk.lines)
    return TextDiff(hunks, signs["+"], signs["-"], old_encoding, new_encoding)


def lines_of(text: str) -> list[str]:
    """Split a text into its lines, each with its newline; other ends of lines are characters of it."""
    parts = text.split("\n")
    return [f"{part}\n" for part in parts[:-1]] + [part for part in parts[-1:] if part]


_Block = tuple[int, int, int, int]
"""Where something differs: the first old line and the one after the last, and the same of the new lines."""


def changed_blocks(old: Sequence[str], new: Sequence[str]) -> list[_Block]:
    """List in order what differs between two lists of lines."""
    blocks: list[_Block] = []
    old_at = new_at = 0
    for old_start, new_start, size in [*_equal_runs(old, new), (len(old), len(new), 0)]:
        if old_at < old_start or new_at < new_start:
            blocks.append((old_at, old_start, new_at, new_start))
        old_at, new_at = old_start + size, new_start + size
    return blocks


def _equal_runs(old: Sequence[str], new: Sequence[str]) -> list[tuple[int, int, int]]:
    """List the stretches that are equal: where each starts in the old and in the new lines, and its size."""
    start, end = 0, 0
    shortest = min(len(old), len(new))
    while start < shortest and old[start] == new[start]:
        start += 1
    while end < shortest - start and old[-1 - end] == new[-1 - end]:
        end += 1
    runs = [(0, 0, start)]
    old_end, new_end = len(old) - end, len(new) - end
    old_at = new_at = start
    for old_anchor, new_anchor in [*_anchors(old[start:old_end], new[start:new_end]), (None, None)]:
        old_stop = old_end if old_anchor is None else start + old_anchor
        new_stop = new_end if new_anchor is None else start + new_anchor
        inner = _matches(old[old_at:old_stop], new[new_at:new_stop])
        runs += [(old_at + one, new_at + other, size) for one, other, size in inner]
        if old_anchor is not None:
            runs.append((old_stop, new_stop, 1))
        old_at, new_at = old_stop + 1, new_stop + 1
    return [*runs, (old_end, new_end, end)]


def _anchors(old: Sequence[str], new: Sequence[str]) -> list[tuple[int, int]]:
    """Pair the lines that are in each of both once, as many as keep their order."""
    old_counts, new_counts = Counter(old), Counter(new)
    places = {line: place for place, line in enumerate(new) if new_counts[line] == old_counts[line] == 1}
    pairs = [(place, places[line]) for place, line in enumerate(old) if line in places]
    # The longest rising sequence of the new places: `tails` has the lowest end of each length.
    tails: list[int] = []
    ends: list[int] = []
    before: list[int] = []
    for number, (_, place) in enumerate(pairs):
        length = bisect_left(tails, place)
        before.append(ends[length - 1] if length else -1)
        tails[length : length + 1] = [place]
        ends[length : length + 1] = [number]
    chosen = []
    number = ends[-1] if ends else -1
    while number >= 0:
        chosen.append(pairs[number])
        number = before[number]
    return chosen[::-1]


def _matches(old: Sequence[str], new: Sequence[str]) -> Iterator[tuple[int, int, int]]:
    if not old or not new:
        return
    counts = Counter(new)
    is_small = sum(counts[line] for line in old) <= _COMPARED_PAIRS
    for block in BoundedMatcher(old, new, autojunk=not is_small).get_matching_blocks():
        if block.size:
            yield block.a, block.b, block.size


def _hunks(old: Sequence[str], new: Sequence[str]) -> Iterator[Hunk]:
    """Put blocks that are near each other into one hunk, each with the lines around it."""
    group: list[_Block] = []
    for block in changed_blocks(old, new):
        if group and block[0] - group[-1][1] > 2 * CONTEXT_LINES:
            yield _hunk(old, new, group)
            group = []
        group.append(block)
    if group:
        yield _hunk(old, new, group)


def _hunk(old: Sequence[str], new: Sequence[str], blocks: Sequence[_Block]) -> Hunk:
    leading = min(CONTEXT_LINES, blocks[0][0])
    old_start, new_start = blocks[0][0] - leading, blocks[0][2] - leading
    lines: list[DiffLine] = []
    at = old_start
    for old_from, old_to, new_from, new_to in blocks:
        lines += [_line(" ", text) for text in old[at:old_from]]
        lines += [_line("-", text) for text in old[old_from:old_to]]
        lines += [_line("+", text) for text in new[new_from:new_to]]
        at = old_to
    lines += [_line(" ", text) for text in old[at : at + CONTEXT_LINES]]
    old_count = sum(line.sign != "+" for line in lines)
    new_count = sum(line.sign != "-" for line in lines)
    return Hunk(old_start + (old_count > 0), old_count, new_start + (new_count > 0), new_count, tuple(lines))


def _line(sign: Sign, text: str) -> DiffLine:
    return DiffLine(sign, text.removesuffix("\n"), text.endswith("\n"))


def _range(start: int, count: int) -> str:
    return f"{start}" if count == 1 else f"{start},{count}"
