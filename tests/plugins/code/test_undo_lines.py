"""Taking back lines of code in which others wrote: such a line stays whole, all else goes."""

from itertools import islice, pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from muse.plugins.code.hunks import patches_between
from muse.plugins.code.undo_overtaken import HELD
from tests.samples.code_samples import Head
from tests.samples.text_session import TextSession

BODY = "def f():\n    return 1\n"
BLOCK = "    x = 1\n    y = 2\n"


def rewritten(session: TextSession, actor: str, whole: str, *, late: bool) -> None:
    """Let an actor make another text, with one edit that begins as late, or as early, as it can."""
    text = session.text() or ""
    most = min(len(text), len(whole))
    head, tail = alike(text, whole, most), alike(text[::-1], whole[::-1], most)
    head, tail = (head, min(tail, most - head)) if late else (min(head, most - tail), tail)
    session.edit(actor, (head, len(text) - tail - head, whole[head : len(whole) - tail]))


def alike(one: str, other: str, most: int) -> int:
    """Return how many characters at the start are the same."""
    return next((number for number in range(most) if one[number] != other[number]), most)


def replaced(session: TextSession, actor: str, pair: tuple[str, str], *, late: bool) -> None:
    rewritten(session, actor, (session.text() or "").replace(*pair, 1), late=late)


CASES = [
    # base, what A makes of what, what B makes of what, the text once A is undone
    (
        BODY,
        ("    return", BLOCK + "    return"),
        ("y = 2", "y = 3  # ann"),
        "def f():\n    y = 3  # ann\n    return 1\n",
    ),
    (BODY, ("    return", BLOCK + "    return"), ("x = 1", "x = 7"), "def f():\n    x = 7\n    return 1\n"),
    (
        BODY,
        ("    return", BLOCK + "    return"),
        ("    y", "    z = 0\n    y"),
        "def f():\n    z = 0\n    return 1\n",
    ),
    (BODY, ("    return", BLOCK + "    return"), ("return 1", "return 2"), "def f():\n    return 2\n"),
    (BODY, ("    return", BLOCK + "    return"), ("    x = 1\n", ""), BODY),
    (
        "one\ntwo\n",
        ("two", "block1\nblock2\ntwo"),
        ("block2", "block2 edited by b"),
        "one\nblock2 edited by b\ntwo\n",
    ),
    ("one\ntwo\n", ("two\n", "two\nblock1\nblock2\n"), ("block1", "block1 b"), "one\ntwo\nblock1 b\n"),
    ("six", ("six", "six\ntwo\nthree"), ("two", "two!"), "six\ntwo!"),
    ("six", ("six", "six\ntwo\nthree"), ("three", "three!"), "six\nthree!"),
    ("item1\nitem2\n", ("item2", "item1b\nitem1c\nitem2"), ("1c", "1d"), "item1\nitem1d\nitem2\n"),
    ("a\nbc\nd\n", ("bc", "bX\nmid\nYc"), ("mid", "middle"), "a\nb\nmiddle\nc\nd\n"),
]


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize(("base", "made", "changed", "expected"), CASES)
def test_a_line_in_which_others_wrote_stays_whole(
    base: str, made: tuple[str, str], changed: tuple[str, str], expected: str, *, late: bool
) -> None:
    session = TextSession(Head({"a.txt": base.encode()}))
    replaced(session, "A", made, late=late)
    replaced(session, "B", changed, late=late)
    before = session.text()
    outcome = session.undo(session.ops_of("A"))
    after, own = session.text(), session.last(len(outcome.compensations))
    assert after == expected
    assert session.plan(session.ops_of("A")).compensations == []
    session.undo(own)
    assert session.text() == before
    session.undo(session.ops_of("A"))
    assert session.text() == expected
    session.commit()
    outcome = session.undo(session.ops_of("B"))
    assert session.text() == base
    session.undo(session.last(len(outcome.compensations)))
    assert session.text() == expected


OVERTAKEN = "others changed what came in its place: it stays away"
GONE_LINE = "others deleted the line: it stays deleted"
LINES_OF_BASE = "one\ntwo words\nthree\n"


@pytest.mark.parametrize("commits", [False, True])
@pytest.mark.parametrize(
    ("made", "changed", "left", "reason"),
    [
        (("two", "2"), ("2 words\n", ""), "one\nthree\n", OVERTAKEN),
        (("two", "2"), ("2", "II"), "one\nII words\nthree\n", OVERTAKEN),
        (("two", "2"), ("2 ", ""), "one\nwords\nthree\n", OVERTAKEN),
        (("two words", ""), ("\n\n", "\n"), "one\nthree\n", GONE_LINE),
        (("two ", ""), ("words\n", ""), "one\nthree\n", GONE_LINE),
        (("words", ""), ("two \n", ""), "one\nthree\n", GONE_LINE),
        (("words", ""), ("\ntwo ", ""), "one\nthree\n", GONE_LINE),
        (("words", ""), ("one\ntwo \n", ""), "three\n", GONE_LINE),
    ],
)
def test_words_without_which_others_went_on_stay_away_and_are_named_until_those_are_undone(
    made: tuple[str, str], changed: tuple[str, str], left: str, reason: str, *, commits: bool
) -> None:
    session = TextSession(Head({"a.txt": LINES_OF_BASE.encode()}))
    session.replace("A", *made)
    if commits:
        session.commit()
    session.replace("B", *changed)
    if commits:
        session.commit()
    before = session.text()
    [kept] = (outcome := session.undo(session.ops_of("A"))).kept
    assert (session.text(), kept.reason, kept.because) == (left, reason, 1)
    assert session.plan(session.ops_of("A")).kept == []
    session.undo(session.last(len(outcome.compensations)))
    assert session.text() == before
    session.undo(session.ops_of("A"))
    assert session.text() == left
    outcome = session.undo(session.ops_of("B"))
    assert session.text() == LINES_OF_BASE
    session.undo(session.last(len(outcome.compensations)))
    assert session.text() == left


def test_words_that_were_replaced_time_and_again_stay_away_once_others_replaced_the_last() -> None:
    session = TextSession(Head({"a.txt": LINES_OF_BASE.encode()}))
    wanted = ["two", *(f"word{number}" for number in range(99)), "II"]
    for number, pair in enumerate(pairwise(wanted)):
        session.replace("B" if number == len(wanted) - 2 else "AC"[number % 2], *pair)
    after = [session.text()]
    for actor in "AC":
        session.undo(session.ops_of(actor))
        after.append(session.text())
    assert after == ["one\nII words\nthree\n"] * 3
    session.undo(session.ops_of("B"))
    assert session.text() == LINES_OF_BASE


@pytest.mark.parametrize(
    ("made", "changed", "left"),
    [
        (("two", "2"), ("\nthree", " three"), "one\ntwo words three\n"),  # lines were joined
        (("two words", ""), ("one\n", ""), "two words\nthree\n"),  # the line before was deleted
        (("two words\n", ""), ("one\n", ""), "two words\nthree\n"),
        (("two", ""), (" words", " words!"), "one\ntwo words!\nthree\n"),
        (("two", "2"), (" words", " blue words"), "one\ntwo blue words\nthree\n"),  # others wrote beside it
        (("two", "rather small"), (" small", ""), "one\ntwo words\nthree\n"),  # some of it is left
    ],
)
def test_words_come_again_where_something_of_their_line_and_of_what_came_in_their_place_is_left(
    made: tuple[str, str], changed: tuple[str, str], left: str
) -> None:
    session = TextSession(Head({"a.txt": LINES_OF_BASE.encode()}))
    session.replace("A", *made)
    session.replace("B", *changed)
    session.undo(session.ops_of("A"))
    assert session.text() == left


HELD_CASES = [
    # the line, what A makes of what, what B makes of what then; it stays so once A is undone
    ("a big house", [("big", "rather small")], ("small", "tiny")),
    ("a big house", [("big", "rather small")], ("rather", "very")),
    ("a big house", [("big ", "rather small ")], ("rather", "rather blue,")),
    ("timeout = 30", [("30", "45")], ("45", "450")),
    ("timeout = 30", [("30", "45")], ("45", "145")),
    ("return w * h", [("w", "calc(w"), (" *", ","), (" h", " h)")], ("calc", "area")),
    ("return w * h", [("w * h", "calc(w, h)")], ("h)", "h, scale)")),
    ("two words", [("two", "zwei")], ("ei", "o")),
    ("two words", [("two", "2")], ("2 ", "2nd ")),
    ("f(1)", [(")", ", two)")], ("two", "twBBo")),
]


@pytest.mark.parametrize("commits", [False, True])
@pytest.mark.parametrize(("line", "made", "changed"), HELD_CASES)
def test_what_an_op_changed_in_a_line_stays_whole_and_is_named_where_others_wrote_in_it(
    line: str, made: list[tuple[str, str]], changed: tuple[str, str], *, commits: bool
) -> None:
    session = TextSession(Head({"a.txt": f"one\n{line}\nthree\n".encode()}))
    for pair in made:
        session.replace("A", *pair)
    if commits:
        session.commit()
    replaced(session, "B", changed, late=True)
    before = session.text()
    outcome = session.undo(session.ops_of("A"))
    assert session.text() == before
    named = {(kept.index, kept.reason, kept.because) for kept in outcome.kept}
    assert named == {(index, HELD, len(made)) for index in range(len(made))}
    assert session.plan(session.ops_of("A")).kept == []
    session.undo(session.last(len(outcome.compensations)))
    assert session.text() == before
    session.undo(session.ops_of("A"))
    assert session.text() == before
    outcome = session.undo(session.ops_of("B"))
    assert session.text() == f"one\n{line}\nthree\n"
    session.undo(session.last(len(outcome.compensations)))
    assert session.text() == before


def test_no_indent_is_left_without_its_line() -> None:
    session = TextSession(Head({"a.txt": BODY.encode()}))
    replaced(session, "A", ("return", "if a:\n        y = 2\n        return"), late=True)
    replaced(session, "B", ("y = 2", "y = 3"), late=True)
    before = session.text()
    [kept, *_] = session.undo(session.ops_of("A")).kept
    assert session.text() == before
    assert (kept.reason, kept.because) == ("others wrote in the line: it stays whole", 1)
    session.undo(session.ops_of("B"))
    assert session.text() == BODY


def test_lines_that_stay_are_named_once_with_the_op_in_them_and_no_more_when_it_is_asked_again() -> None:
    session = TextSession(Head({"a.txt": BODY.encode()}))
    replaced(session, "L", ("return 1", "return 1  # lead"), late=True)
    replaced(session, "A", ("    return", BLOCK + "    return"), late=True)
    replaced(session, "B", ("y = 2", "y = 3  # ann"), late=True)
    outcome = session.undo(session.ops_of("A"))
    [kept] = outcome.kept
    assert (kept.index, kept.because) == (1, 2)
    assert session.plan(session.ops_of("A")).kept == []


def test_a_line_of_others_that_shares_text_with_the_undone_is_not_damaged() -> None:
    """What is undone shares `    a = ` with the line behind it, in which B wrote: so it can only stay."""
    session = TextSession(Head({"a.txt": b"    a = 2\n"}))
    replaced(session, "A", ("    a = 2", "    a = 1\n    a = 2"), late=True)
    replaced(session, "B", ("a = 2", "aa = 2"), late=True)
    before = session.text()
    [kept] = session.undo(session.ops_of("A")).kept
    assert (kept.reason, kept.because) == ("others wrote in the line: it stays whole", 1)
    assert session.text() == before


def test_who_undoes_may_be_the_one_who_wrote_in_the_line() -> None:
    session = TextSession(Head({"a.txt": BODY.encode()}))
    replaced(session, "A", ("    return", BLOCK + "    return"), late=True)
    replaced(session, "B", ("y = 2", "y = 3  # b"), late=True)
    session.undo(session.ops_of("A"), actor="B")
    assert session.text() == "def f():\n    y = 3  # b\n    return 1\n"


def test_one_of_an_actor_s_ops_is_taken_back_from_under_another_of_its_own() -> None:
    session = TextSession(Head({"a.txt": BODY.encode()}))
    replaced(session, "A", ("    return", BLOCK + "    return"), late=True)
    replaced(session, "A", ("y = 2", "y = 3"), late=True)
    session.undo(session.ops_of("A")[:1])
    assert session.text() == "def f():\n    y = 3\n    return 1\n"
    session.undo(session.ops_of("A"))
    assert session.text() == BODY


LINES = st.lists(st.sampled_from(["    x\n", "    xy\n", "y\n", "\n", "  x y\n"]), max_size=5).map("".join)
EDITS = st.lists(
    st.tuples(st.sampled_from("ABC"), LINES, st.floats(0, 1), st.floats(0, 1), st.booleans()), max_size=6
)


@given(base=LINES, edits=EDITS, order=st.permutations("ABC"), commits=st.booleans())
@example(
    base="",
    edits=[("A", "    x\n", 0.0, 0.0, False), ("B", "", 0.0, 1.0, False), ("C", "    x\n", 0.0, 0.0, False)],
    order=["A", "B", "C"],
    commits=False,
)
def test_undoing_lines_is_undone_and_done_again_and_leaves_nothing_once_all_is_undone(
    base: str,
    edits: list[tuple[str, str, float, float, bool]],
    order: list[str],
    commits: bool,  # noqa: FBT001
) -> None:
    session = TextSession(Head({"a.txt": base.encode()}))
    for actor, lines, start, end, late in edits:
        text = session.text() or ""
        first, last = sorted((round(start * len(text)), round(end * len(text))))
        last = min(last, first + 4)
        if actor != "B":  # who writes whole lines
            first = text.rfind("\n", 0, first) + 1
            last = max(first, text.rfind("\n", 0, last) + 1)
        fresh = lines if actor != "B" else lines.strip()
        rewritten(session, actor, text[:first] + fresh + text[last:], late=late)
    for actor in order:
        own = session.ops_of(actor)
        if not own:
            continue
        before = session.text()
        done = session.undo(own)
        after, made = session.text(), session.last(len(done.compensations))
        assert session.plan(own).compensations == []
        if commits:
            session.commit()
        back = session.undo(made)
        assert session.text() == before
        session.undo(session.last(len(back.compensations)))
        assert session.text() == after
    assert session.text() == base


@pytest.mark.parametrize(
    ("base", "mine", "theirs", "left"),
    [
        ("one\ntwo\n", "one\ntwo\nBBBB\nbbbb\n", "one\ntwo\ncccc\nbbbb\n", "one\ntwo\ncccc\n"),
        ("one\ntwo\n", "one\ntwo\nBBBB\n", "one\ntwo\ncccc\n", "one\ntwo\ncccc\n"),
        ("one\ntwo\n", "one\ntwo\nBBBB\nbbbb\n", "one\ntwo\ncccc\nCCCC\nbbbb\n", "one\ntwo\ncccc\nCCCC\n"),
        ("one\n\ntwo\n", "one\nBBBB\nbbbb\n\ntwo\n", "one\ncccc\nbbbb\n\ntwo\n", "one\ncccc\n\ntwo\n"),
        (
            "one\n\ntwo\n",
            "one\nBBBB\nbbbb\n\ntwo\n",
            "one\ncccc\nCCCC\nbbbb\n\ntwo\n",
            "one\ncccc\nCCCC\n\ntwo\n",
        ),
    ],
)
def test_a_first_line_that_another_wrote_again_stays_whole_whatever_is_behind_the_lines(
    base: str, mine: str, theirs: str, left: str
) -> None:
    session = TextSession(Head({"a.txt": base.encode()}))
    for actor, before, after in (("B", base, mine), ("C", mine, theirs)):
        for patch in patches_between(before, after):
            session.edit(actor, patch)
    undone = session.undo(session.ops_of("B"))
    assert session.text() == left
    assert undone.left or undone.kept


WORDS = [f"w{number}" for number in range(40)]
WORD_EDITS = st.lists(
    st.tuples(st.sampled_from("ABC"), st.floats(0, 1), st.floats(0, 1), st.integers(0, 3), st.integers(0, 3)),
    min_size=1,
    max_size=6,
)


@given(st.lists(st.integers(1, 6), min_size=1, max_size=3), WORD_EDITS, st.permutations("ABC"), st.booleans())
def test_no_word_is_cut_and_no_two_become_one(
    lengths: list[int],
    edits: list[tuple[str, float, float, int, int]],
    order: list[str],
    commits: bool,  # noqa: FBT001
) -> None:
    """Who writes only words of their own finds, whoever is undone, no other word in the text."""
    fresh = iter(WORDS)
    base = "".join(" ".join(islice(fresh, length)) + "\n" for length in lengths)
    session = TextSession(Head({"a.txt": base.encode()}))
    for actor, line, word, removed, added in edits:
        lines = [one.split(" ") for one in (session.text() or "").splitlines()]
        own = lines[int(line * (len(lines) - 1))]
        start = int(word * len(own))
        own[start : start + removed] = islice(fresh, added)
        for patch in patches_between(session.text() or "", "".join(" ".join(one) + "\n" for one in lines)):
            session.edit(actor, patch)
    for actor in order:
        if session.ops_of(actor):
            session.undo(session.ops_of(actor))
        if commits:
            session.commit()
        assert set((session.text() or "").split()) <= set(WORDS)
    assert session.text() == base
