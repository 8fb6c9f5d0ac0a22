"""What two texts have in common is found as difflib finds it, and never in the cube of their length."""

from difflib import Match, SequenceMatcher

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muse.plugins.code import bounded_matcher
from muse.plugins.code.bounded_matcher import BoundedMatcher
from muse.plugins.code.net import net_ops
from muse.plugins.code.sequential import apply_code

words = st.lists(st.sampled_from(("a", "b", "c", "x\n", "longer")), max_size=40)


@given(words, words)
def test_it_finds_what_difflib_finds(old: list[str], new: list[str]) -> None:
    expected = SequenceMatcher(None, old, new, autojunk=False)
    assert BoundedMatcher(old, new).get_opcodes() == expected.get_opcodes()


@given(words, words)
def test_what_it_gives_up_on_is_different_and_the_rest_is_right(old: list[str], new: list[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bounded_matcher, "_LEAST", 30)
        patch.setattr(bounded_matcher, "_FOR_EACH", 0)
        opcodes = BoundedMatcher(old, new).get_opcodes()
    made: list[str] = []
    for tag, start, stop, first, last in opcodes:
        assert tag != "equal" or old[start:stop] == new[first:last]
        made += new[first:last]
    assert made == new


def test_short_blocks_among_many_equal_lines_are_looked_at_so_often_and_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looked_at = 0
    find = SequenceMatcher.find_longest_match

    def counted(self: BoundedMatcher, alo: int, ahi: int, blo: int, bhi: int) -> Match:
        nonlocal looked_at
        looked_at += sum(len(self.b2j.get(item, ())) for item in self.a[alo:ahi])
        return find(self, alo, ahi, blo, bhi)

    monkeypatch.setattr(SequenceMatcher, "find_longest_match", counted)
    old, new = (
        "".join([f"{sign}\n", *(f"x\n{sign}{number}\n" for number in range(500)), f"{sign}\n"]).encode()
        for sign in "uv"
    )
    ops = net_ops({"a.txt": old}, {"a.txt": new})
    assert apply_code({"a.txt": old}, ops, lambda _: b"").files == {"a.txt": new}
    assert 100_000 < looked_at < 3_000_000  # 60,000,000 without a bound
