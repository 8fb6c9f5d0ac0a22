"""What differs between two texts, in small pieces: lines first, then the words within those. Pure."""

import re
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher

from muse.plugins.code.document import Patch, patch_between

_TOKEN = re.compile(r"\w+|\s+|[^\w\s]")
_LINES = 5_000
_TOKENS = 2_000
"""Beyond so many on a side, what is frequent finds no partner: comparing takes the square of them."""


def patches_between(old: str, new: str) -> list[Patch]:
    """Return patches that turn `old` into `new`, one after the other, and leave alone what both have."""
    patches, shift = list[Patch](), 0
    for position, length, added in _hunks(old, new):
        patches.append((position + shift, length, added))
        shift += len(added) - length
    return patches


def additions_between(old: str, new: str) -> list[Patch]:
    """Return patches that add to `old` what only `new` has, and take nothing away."""
    patches, shift = list[Patch](), 0
    for position, length, added in _hunks(old, new):
        if added:
            patches.append((position + length + shift, 0, added))
            shift += len(added)
    return patches


def _hunks(old: str, new: str) -> Iterator[Patch]:
    """Yield what differs, with positions in `old`."""
    for start, length, added in patch_between(old, new):
        if not length or not added:  # it only adds, or only takes away
            yield start, length, added
            return
    before, after = old.splitlines(keepends=True), new.splitlines(keepends=True)
    place = 0
    for same, one, other in _opcodes(before, after, _LINES):
        gone, come = "".join(one), "".join(other)
        if not same:
            yield from _within(place, gone, come)
        place += len(gone)


def _within(place: int, gone: str, come: str) -> Iterator[Patch]:
    """Yield what differs between two stretches of lines."""
    one, other = _TOKEN.findall(gone), _TOKEN.findall(come)
    if not one or not other or max(len(one), len(other)) > _TOKENS:
        yield from _moved(place, patch_between(gone, come))
        return
    waiting = ["", ""]
    start = place
    for same, old_tokens, new_tokens in _opcodes(one, other, _TOKENS):
        old, new = "".join(old_tokens), "".join(new_tokens)
        if same and not (waiting != ["", ""] and old.isspace()):
            yield from _moved(start, patch_between(*waiting))
            start += len(waiting[0]) + len(old)
            waiting = ["", ""]
        else:  # a space between two changes is a part of the change
            waiting = [waiting[0] + old, waiting[1] + new]
    yield from _moved(start, patch_between(*waiting))


def _moved(place: int, patches: Sequence[Patch]) -> Iterator[Patch]:
    return ((place + position, length, added) for position, length, added in patches)


def _opcodes(
    old: Sequence[str], new: Sequence[str], most: int
) -> Iterator[tuple[bool, Sequence[str], Sequence[str]]]:
    """Yield stretches of both sides in their order, and whether they are the same."""
    is_long = max(len(old), len(new)) > most
    for kind, start, stop, first, last in SequenceMatcher(None, old, new, autojunk=is_long).get_opcodes():
        yield kind == "equal", old[start:stop], new[first:last]
