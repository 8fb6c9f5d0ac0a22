"""What differs between two texts: whole lines as whole lines, and words within those that stay."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muse.plugins.code.characters import Characters
from muse.plugins.code.document import Patch, TextDocument
from muse.plugins.code.hunks import additions_between, patches_between
from muse.plugins.code.stretches import Marks
from muse.plugins.code.update import client_of, read_update, write_insert

NATURAL, CLEF = "\N{MUSIC NATURAL SIGN}", "\N{MUSICAL SYMBOL G CLEF}"
WORDS = ["import", "import os", "x", "x1", "  x", "", ")", "end", "return x", f"{NATURAL}{CLEF}"]
texts = st.lists(st.sampled_from(WORDS), max_size=8).map("\n".join)


def patched(text: str, patches: Sequence[Patch]) -> str:
    for position, length, added in patches:
        assert 0 <= position <= position + length <= len(text)
        text = text[:position] + added + text[position + length :]
    return text


def merged(old: str, *sides: str) -> str:
    """Return what the text is once all sides, none of which saw another, have made their patches."""
    base = TextDocument(client_of("base"))
    base.apply(read_update(write_insert(client_of("old"), 0, None, None, old)))
    state = base.state()
    for number, side in enumerate(sides):
        document = TextDocument(client_of(f"side {number}"), state)
        for patch in patches_between(old, side):
            base.apply(read_update(document.edit_in_lines(patch)))
        assert document.text == side
    return base.text


@given(texts, texts, st.sampled_from(["\n", "\r\n", "\r", "\u2028"]))
def test_the_patches_lead_from_one_text_to_the_other(old: str, new: str, line_end: str) -> None:
    old, new = old.replace("\n", line_end), new.replace("\n", line_end)

    assert patched(old, patches_between(old, new)) == new


@given(texts, texts)
def test_additions_take_nothing_away(old: str, new: str) -> None:
    assert all(not length for _, length, _ in additions_between(old, new))


@st.composite
def two_sides(draw: st.DrawFn) -> tuple[str, str, str, set[str]]:
    """Draw a text, what two made of it, each in lines of its own, and the lines that both leave."""
    starts = draw(
        st.lists(st.sampled_from(["import ", "x", "  return f(", "", "# "]), min_size=1, max_size=7)
    )
    base = [f"{start}{number} y{number}" for number, start in enumerate(starts)]
    owners = [draw(st.integers(0, 2)) for _ in base]
    left = {line for line, owner in zip(base, owners, strict=True) if owner == 2}
    sides: list[list[str]] = [[], []]
    for side in (0, 1):
        for line, owner in zip([*base, ""], [*owners, side], strict=True):
            for _ in range(draw(st.integers(0, 3)) // 2):
                sides[side].append(f"{draw(st.sampled_from(['import ', 'x', '  return f(']))}{len(left)} new")
                left.add(sides[side][-1])
            if owner != side:
                sides[side].append(line)
            elif line:
                after = ["", f"{line} side{side}", f"side{side} {line}", f"x {line[-2:]}!"]
                changed = draw(st.sampled_from(after))
                sides[side] += [changed] if changed else []
                left |= {changed} - {""}
    old, one, other = ("".join(f"{line}\n" for line in lines) for lines in (base, *sides))
    return old, one, other, left


@given(two_sides())
def test_lines_that_two_write_stay_whole_unless_both_wrote_in_one(
    drawn: tuple[str, str, str, set[str]],
) -> None:
    old, one, other, left = drawn

    assert sorted(merged(old, one, other).splitlines()) == sorted(left)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("x1\nx2\nx3\n", "x1\nx3\n", [(3, 3, "")]),
        ("import os\nimport time\n", "import os\nimport sys\nimport time\n", [(10, 0, "import sys\n")]),
        ("a\nb", "a\nb\nc", [(3, 0, "\nc")]),
        ("a\nb\nc", "a\nb", [(3, 2, "")]),
        ("foo bar", "foo baz bar", [(4, 0, "baz ")]),
        ("foo bad bar", "foo bar", [(4, 4, "")]),
        ("colour", "color", [(4, 1, "")]),
        ("    if a:\n", "    if a\n", [(8, 1, "")]),
        ("one two\n", "one\n two\n", [(3, 0, "\n")]),
        ("a1\r\na2\r\n", "a1\r\naa\r\na2\r\n", [(4, 0, "aa\r\n")]),
        ("ab 1\nab 2\nab 3\n", "ab 2 x\nab 3\n", [(0, 5, ""), (4, 0, " x")]),
        ("import time\nimport sys\n", "import system\n", [(7, 4, "system"), (14, 11, "")]),
        ("aa bb cc\ndd ee\n", "aa bb\ncc dd ee\n", [(5, 1, "\n"), (8, 1, " ")]),
    ],
)
def test_what_comes_and_goes_is_whole_lines_or_words_where_it_can_be(
    old: str, new: str, expected: list[Patch]
) -> None:
    assert patches_between(old, new) == expected


def test_many_lines_that_others_replace_are_one_patch_of_whole_lines() -> None:
    old = "".join(f"x old {number} a b c d\n" for number in range(600))
    new = "".join(f"x new {number}, e f g\n" for number in range(600))

    assert patches_between(f"x\n{old}x\n", f"x\n{new}x\n") == [(2, len(old), new)]


edits = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.integers(0, 20),
        st.sampled_from(["+\n", "+\n", "x", "", CLEF]),
        st.integers(1, 5),
    ),
    max_size=12,
)


@given(edits, st.sampled_from(["a1\nb2 xx\nc3\nd\n", f"{CLEF}1\nb2 {CLEF}x\nc3\nd\n"]))
def test_lines_that_are_added_come_before_all_that_was_deleted_at_the_start_of_the_next_line(
    edits: list[tuple[int, int, str, int]], start: str
) -> None:
    documents = [TextDocument(client_of(f"side {number}")) for number in range(3)]
    updates = [documents[0].edit([(0, 0, start)])]
    for side, line, added, length in edits:
        for document in documents:
            for update in updates:
                document.apply(read_update(update))
        text = documents[side].text
        starts = [0, *(place + 1 for place, character in enumerate(text[:-1]) if character == "\n")]
        position = starts[line % len(starts)]
        removed = 0 if added == "+\n" else min(length, len(text) - position)
        data = documents[side].edit_in_lines((position, removed, added))
        updates += [data] if data else []
        if added == "+\n" and text:
            made, known = read_update(data), Characters.of(documents[side].state(), Marks(()))
            place = known.ids.index((made.client, made.start))
            assert not place or known.ids[place - 1] in known.texts


def test_what_is_written_before_a_line_of_which_the_start_was_changed_has_one_place_everywhere() -> None:
    start = TextDocument(300)
    updates = [start.edit([(0, 0, "ab cd\n")])]
    one, other = start.fork(100), start.fork(200)
    updates += [document.edit_in_lines((0, 2, word)) for document, word in ((one, "A"), (other, "B"))]
    updates += [one.edit_in_lines((0, 0, "it ")), other.edit_in_lines((0, 0, "or "))]
    for document in (start, one, other):
        for update in updates:
            document.apply(read_update(update))

    assert start.text == one.text == other.text
