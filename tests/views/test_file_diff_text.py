"""Diffs of texts: hunks that lead from the old text to the new one, and that a person would write."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muse.views.file_diff_text import Hunk, TextDiff, changed_blocks, diff_texts, lines_of

texts = st.lists(st.sampled_from("abcd"), max_size=14).map(
    lambda letters: "".join(letter + "\n" for letter in letters)
) | st.text("ab\n\r\f\u2028", max_size=20)


def applied(old: str, diff: TextDiff) -> str:
    """Apply the hunks as `patch` does: by their places, checking each line that must be there."""
    before, after, at = lines_of(old), list[str](), 0
    for hunk in diff.hunks:
        start = hunk.old_start - (hunk.old_count > 0)
        after += before[at:start]
        at = start
        assert len(after) == hunk.new_start - (hunk.new_count > 0)
        for line in hunk.lines:
            text = line.text + "\n" * line.has_newline
            if line.sign != "+":
                assert before[at] == text
                at += 1
            if line.sign != "-":
                after.append(text)
    return "".join([*after, *before[at:]])


@given(texts, texts)
def test_the_hunks_lead_from_the_old_text_to_the_new_one(old: str, new: str) -> None:
    diff = diff_texts(old, new)
    assert applied(old, diff) == new
    assert (diff.hunks == ()) == (old == new)


@given(texts, texts)
def test_a_hunk_counts_its_lines_and_has_at_most_three_around_a_change(old: str, new: str) -> None:
    for hunk in diff_texts(old, new).hunks:
        signs = "".join(line.sign for line in hunk.lines)
        assert (hunk.old_count, hunk.new_count) == (len(signs.replace("+", "")), len(signs.replace("-", "")))
        assert signs.strip(" ")
        assert len(signs) - len(signs.lstrip(" ")) <= 3
        assert len(signs) - len(signs.rstrip(" ")) <= 3
        assert " " * 7 not in signs


@given(st.lists(st.sampled_from("abcdefgh")), st.lists(st.sampled_from("abcdefgh")))
def test_what_is_outside_the_changed_blocks_is_equal(old: list[str], new: list[str]) -> None:
    rest_old, rest_new = list(old), list(new)
    for old_from, old_to, new_from, new_to in reversed(changed_blocks(old, new)):
        assert old_from < old_to or new_from < new_to
        del rest_old[old_from:old_to], rest_new[new_from:new_to]
    assert rest_old == rest_new


def heading(old: str, new: str) -> str:
    (hunk,) = diff_texts(old, new).hunks
    return hunk.heading()


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("", "a\n", "@@ -0,0 +1 @@"),
        ("a\n", "", "@@ -1 +0,0 @@"),
        ("a\n", "b\n", "@@ -1 +1 @@"),
        ("a\nb\n", "a\nb\nc\n", "@@ -1,2 +1,3 @@"),
        ("1\n2\n3\n4\n5\n6\n", "1\n2\n3\n4\n5\n", "@@ -3,4 +3,3 @@"),
    ],
)
def test_the_heading_of_a_hunk_is_that_of_a_unified_diff(old: str, new: str, expected: str) -> None:
    assert heading(old, new) == expected


def signed(hunk: Hunk) -> list[str]:
    return [line.sign + line.text for line in hunk.lines]


def test_a_last_line_without_a_newline_is_another_line() -> None:
    (hunk,) = diff_texts("a\nb", "a\nb\n").hunks
    assert [(line.sign, line.text, line.has_newline) for line in hunk.lines] == [
        (" ", "a", True),
        ("-", "b", False),
        ("+", "b", True),
    ]


def test_changes_far_apart_are_two_hunks_and_near_ones_are_one() -> None:
    old = [f"{number}\n" for number in range(30)]
    near, far = list(old), list(old)
    near[4], near[11] = "x\n", "y\n"
    far[4], far[12] = "x\n", "y\n"
    assert len(diff_texts("".join(old), "".join(near)).hunks) == 1
    assert len(diff_texts("".join(old), "".join(far)).hunks) == 2


def test_a_function_put_before_another_is_shown_as_one_block() -> None:
    other = "def b():\n    pass\n\n"
    (hunk,) = diff_texts(other, f"def a():\n    pass\n\n{other}").hunks
    assert [line for line in signed(hunk) if line[0] == "+"] == ["+def a():", "+    pass", "+"]
    assert signed(hunk)[0] == "+def a():"
    assert not [line for line in signed(hunk) if line[0] == "-"]


def test_lines_that_are_once_in_both_hold_the_texts_together() -> None:
    old = "{\n}\n" * 5 + "only here\n" + "{\n}\n" * 5
    new = "{\n}\n" * 3 + "only here\n" + "{\n}\n" * 7
    shown = [line for hunk in diff_texts(old, new).hunks for line in signed(hunk)]
    assert " only here" in shown or not [line for line in shown if "only here" in line]


def test_a_large_text_of_equal_lines_is_compared_all_the_same() -> None:
    old, new = "x\n" * 3000 + "a\n" + "x\n" * 2000, "y\n" + "x\n" * 2000 + "a\n" + "x\n" * 3000
    assert applied(old, diff_texts(old, new)) == new
