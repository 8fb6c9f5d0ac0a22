"""What differs between two texts, in small pieces: lines first, then the words within those. Pure.

What comes or goes as whole lines is said as whole lines. In a line that stays, its line end is left alone. So
the lines that another adds at the same time stay whole, and so do those beside them.
"""

from collections.abc import Iterator, Sequence

from muse.plugins.code.bounded_matcher import BoundedMatcher
from muse.plugins.code.document import Patch, patch_between
from muse.plugins.code.line_pairs import TOKEN, pairs_of_lines

_LINES = 5_000
_TOKENS = 2_000
"""Beyond so many on a side, what is frequent finds no partner: comparing takes the square of them."""


def patches_between(old: str, new: str) -> list[Patch]:
    """Return patches that turn `old` into `new`, one after the other, and leave alone what both have.

    What begins a line is put there before the lines that come in front of it: it is not of them.
    """
    patches, shift, last, first = list[Patch](), 0, -1, 0
    for position, length, added in _hunks(old, new):
        if position == last and not length:
            patches.insert(first, (patches[first][0], 0, added))
        else:
            first = len(patches)
            patches.append((position + shift, length, added))
            last = -1 if length else position
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
    for patch in patch_between(old, new):
        run = _as_one_run(old, new, patch)
        yield from _by_lines(old, new, patch) if run is None else [run]


# -- what only comes, or only goes ------------------------------------------------------------------


def _as_one_run(old: str, new: str, patch: Patch) -> Patch | None:
    """Return a patch that only adds or only takes away, from one boundary to another of its kind.

    None for any other patch, and for one from the middle of one line, or word, to the middle of another.
    """
    start, length, added = patch
    if length and added:
        return None
    longer, size = (new, len(added)) if added else (old, length)
    shift = _to_lines(longer, start, start + size)
    if shift is None:
        run = longer[start : start + size]
        if len(f"{run}.".splitlines()) > 1 and not run.isspace():
            return None
        shift = _to_words(longer, start, start + size)
    if shift is None:
        if len(TOKEN.findall(run)) > 1:
            return None
        shift = 0  # within a word
    begin = start - shift
    return begin, length, longer[begin : begin + size] if added else ""


def _to_lines(text: str, start: int, end: int) -> int | None:
    """Return how far back a run may begin as well, so that it is of whole lines; None if it may not.

    `start` is the last place where it may begin. Where it may begin further back, it may at each place
    between.
    """
    if end == len(text) and text[start] == "\n":
        return 0  # lines behind one without a line end
    shift = start - text.rfind("\n", 0, start) - 1
    is_same = text[start - shift : start] == text[end - shift : end]
    is_whole = end - shift == len(text) or text[end - shift - 1] == "\n"
    return shift if is_same and is_whole else None


def _to_words(text: str, start: int, end: int) -> int | None:
    """Return how far back a run may begin as well, so that it begins and ends between words."""
    shift = 0
    while not (_is_between_words(text, start - shift) and _is_between_words(text, end - shift)):
        shift += 1
        if shift > start or text[start - shift] != text[end - shift] or text[start - shift] == "\n":
            return None
    return shift


def _is_between_words(text: str, place: int) -> bool:
    return place in {0, len(text)} or TOKEN.fullmatch(text, place - 1, place + 1) is None


# -- by lines, then by words ------------------------------------------------------------------------


def _by_lines(old: str, new: str, patch: Patch) -> Iterator[Patch]:
    """Yield what differs in the lines that a patch touches."""
    start, length, added = patch
    begin = old.rfind("\n", 0, start) + 1
    end, other_end = start + length, start + len(added)
    if not (_is_line_start(old, end) and _is_line_start(new, other_end)):
        rest = (old.find("\n", end) + 1 or len(old)) - end
        end, other_end = end + rest, other_end + rest
    before, after = old[begin:end].splitlines(keepends=True), new[begin:other_end].splitlines(keepends=True)
    place = begin
    for same, gone, come in _opcodes(before, after):
        if not same:
            yield from _within(place, gone, come)
        place += sum(map(len, gone))


def _is_line_start(text: str, place: int) -> bool:
    return not place or text[place - 1] == "\n"


def _within(place: int, gone: Sequence[str], come: Sequence[str]) -> Iterator[Patch]:
    """Yield what differs between two stretches of lines."""
    old, new = "".join(gone), "".join(come)
    if not old or not new or max(len(TOKEN.findall(old)), len(TOKEN.findall(new))) > _TOKENS:
        yield place, len(old), new
        return
    pairs = pairs_of_lines(gone, come)
    if pairs is None:  # the same words, filled into other lines
        yield from _moved(place, _words(old, new))
        return
    row, column = 0, 0
    for own, other in [*pairs, (len(gone), len(come))]:
        left, added = "".join(gone[row:own]), "".join(come[column:other])
        if left or added:
            yield place, len(left), added
        place += len(left)
        if own < len(gone):
            yield from _moved(place, _in_a_line(gone[own], come[other]))
            place += len(gone[own])
        row, column = own + 1, other + 1


def _in_a_line(old: str, new: str) -> Iterator[Patch]:
    """Yield what differs between two lines, with their line ends apart."""
    body, other_body = old.rstrip("\r\n"), new.rstrip("\r\n")
    yield from _words(body, other_body)
    yield from _moved(len(body), patch_between(old[len(body) :], new[len(other_body) :]))


def _words(old: str, new: str) -> Iterator[Patch]:
    """Yield what differs between the words that both have: whole words."""
    one, other = list(_places(old)), list(_places(new))
    texts = [old[start:end] for start, end in one], [new[start:end] for start, end in other]
    matcher = BoundedMatcher(*texts)
    place, other_place = 0, 0
    for start, first, size in matcher.get_matching_blocks():
        anchors = [*zip(one[start : start + size], other[first : first + size], strict=True)]
        for (begin, end), (other_begin, other_end) in anchors or [((len(old),) * 2, (len(new),) * 2)]:
            yield from _moved(place, _whole_words(old[place:begin], new[other_place:other_begin]))
            place, other_place = end, other_end


def _whole_words(old: str, new: str) -> Iterator[Patch]:
    """Yield what differs between two texts, and cut no word: who changes a letter writes the word again."""
    for start, length, added in patch_between(old, new):
        begin, end, other_end = start, start + length, start + len(added)
        while not (_is_between_words(old, begin) and _is_between_words(new, begin)):
            begin -= 1
        while not (_is_between_words(old, end) and _is_between_words(new, other_end)):
            end, other_end = end + 1, other_end + 1
        yield begin, end - begin, new[begin:other_end]


def _places(text: str) -> Iterator[tuple[int, int]]:
    return (found.span() for found in TOKEN.finditer(text) if not found[0].isspace())


def _moved(place: int, patches: Iterator[Patch] | Sequence[Patch]) -> Iterator[Patch]:
    return ((place + position, length, added) for position, length, added in patches)


def _opcodes(old: Sequence[str], new: Sequence[str]) -> Iterator[tuple[bool, Sequence[str], Sequence[str]]]:
    """Yield stretches of both sides in their order, and whether they are the same."""
    is_long = max(len(old), len(new)) > _LINES
    for kind, start, stop, first, last in BoundedMatcher(old, new, autojunk=is_long).get_opcodes():
        yield kind == "equal", old[start:stop], new[first:last]
