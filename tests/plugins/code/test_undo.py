"""Taking code ops back: character by character, file by file, in any order, and back again."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muse.core.entry import total_order
from muse.errors import DomainError
from muse.plugins.code.ops import encoded, read_op
from muse.plugins.code.undo_overtaken import HELD
from tests.samples.code_samples import Head
from tests.samples.text_session import TextSession

BASE = "abc\ndefghi"
ACTORS = "ABC"


@dataclass
class Edited:
    """A session, and who wrote and who deleted each character of its text, none of which is there twice.

    `replacements` are who put what in the place of what, for each op.
    """

    session: TextSession
    authors: dict[str, str] = field(default_factory=dict)
    deleters: dict[str, set[str]] = field(default_factory=dict)
    replacements: list[tuple[str, str, str]] = field(default_factory=list)

    def is_overtaken(self, character: str, undone: str, away: Collection[str]) -> bool:
        """Tell whether others deleted all that the one who is undone put in the place of a character.

        Or what came instead of that. What is `away` is so too.
        """
        return any(
            actor == undone
            and character in old
            and new
            and all(self._is_gone(one, undone, away) for one in new)
            for actor, old, new in self.replacements
        )

    def _is_gone(self, character: str, undone: str, away: Collection[str]) -> bool:
        others = self.deleters.get(character, set()) - {undone}
        return bool(others) or character in away or self.is_overtaken(character, undone, away)


@dataclass(frozen=True)
class Step:
    actor: str
    place: float
    length: int
    count: int
    unseen: int
    commits: bool
    wide: bool


steps = st.lists(
    st.builds(
        Step,
        st.sampled_from(ACTORS),
        st.floats(0, 1),
        st.integers(0, 4),
        st.integers(0, 3),
        st.integers(0, 3),
        st.sampled_from([False, False, False, True]),
        st.booleans(),
    ),
    min_size=1,
    max_size=14,
)


def edited(steps: Sequence[Step]) -> Edited:
    """Let actors write characters that nobody wrote before, beyond U+FFFF too, into a text of the tree."""
    found = Edited(TextSession(Head({"a.txt": BASE.encode()})), dict.fromkeys(BASE, ""))
    for step in steps:
        text = found.session.tree(step.unseen).content("a.txt").decode()  # type: ignore[union-attr]
        first = (0x1F300 if step.wide else 0x4E00) + len(found.authors)
        fresh = "".join(chr(first + number) for number in range(step.count))
        position = round(step.place * len(text))
        length = min(step.length, len(text) - position)
        removed = found.session.edit(step.actor, (position, length, fresh), step.unseen)
        found.replacements += [(step.actor, "".join(removed), fresh)] if removed or fresh else []
        for character in removed:
            found.deleters.setdefault(character, set()).add(step.actor)
        found.authors |= dict.fromkeys(fresh, step.actor)
        if step.commits:
            found.session.commit()
    return found


def among(text: str | None, characters: str) -> str:
    return "".join(character for character in text or "" if character in characters)


@given(steps)
def test_once_an_actor_is_undone_its_text_is_gone_what_it_deleted_is_back_and_all_else_in_order(
    steps: list[Step],
) -> None:
    made = edited(steps)
    session, before = made.session, made.session.text() or ""
    outcome = session.undo(session.ops_of("A"))
    after = session.text() or ""
    expected = {
        character
        for character, author in made.authors.items()
        if author != "A" and not made.deleters.get(character, set()) - {"A"}
    }
    held = [made.replacements[kept.index] for kept in outcome.kept if kept.reason == HELD]
    away = {one for _, old, _ in held for one in old}
    new = {one for _, _, brought in held for one in brought}
    overtaken = {one for one in expected if one in away or made.is_overtaken(one, "A", away)}
    loses_line_end = bool(made.deleters.get("\n", set()) - {"A"})  # with all of the line, perhaps
    assert len(set(after)) == len(after)
    named = {one for kept in outcome.kept for one in made.replacements[kept.index][1]}
    assert (set() if loses_line_end else expected - named) <= set(after) <= expected | new
    if not any(step.unseen for step in steps):
        assert not overtaken & set(after)
        assert {one for one in new if not made.deleters.get(one)} <= set(after)
    assert among(after, before) == among(before, after)
    assert among(after, BASE) == among(BASE, after)
    assert outcome.left == []


@given(steps, st.booleans())
def test_an_undoing_can_be_undone_and_that_too(steps: list[Step], commits: bool) -> None:  # noqa: FBT001
    session = edited(steps).session
    before = session.text()
    first = session.undo(session.ops_of("A"))
    after, own = session.text(), session.last(len(first.compensations))
    if commits:
        session.commit()
    back = session.undo(own)
    assert session.text() == before
    own = session.last(len(back.compensations))
    assert session.undo(own).left == []
    assert session.text() == after


@given(steps, st.permutations(ACTORS), st.booleans())
def test_once_all_actors_are_undone_in_any_order_the_text_is_the_first_one(
    steps: list[Step],
    order: list[str],
    commits: bool,  # noqa: FBT001
) -> None:
    session = edited(steps).session
    for actor in order:
        if session.ops_of(actor):
            session.undo(session.ops_of(actor))
        if commits:
            session.commit()
    assert session.text() == BASE


@given(steps, st.lists(st.booleans(), min_size=8, max_size=8))
def test_replicas_that_take_an_undoing_in_at_other_times_agree(steps: list[Step], cuts: list[bool]) -> None:
    session = edited([replace(step, commits=False) for step in steps])
    made = session.session
    own = made.undo(made.ops_of("A"))
    made.undo(made.last(len(own.compensations)))
    made.undo(made.ops_of("B"))
    at_once = Head({"a.txt": BASE.encode()}).commit(made.entries)
    step_by_step = Head({"a.txt": BASE.encode()})
    waiting: list[Any] = []
    for number, entry in enumerate(made.entries):
        waiting.append(entry)
        if cuts[number % len(cuts)]:
            step_by_step = step_by_step.commit(waiting[::-1])
            waiting = []
    step_by_step = step_by_step.commit(sorted(waiting, key=total_order))
    assert step_by_step.files == at_once.files == {"a.txt": (made.text() or "").encode()}


@given(steps)
def test_what_is_undone_already_is_not_undone_again(steps: list[Step]) -> None:
    session = edited(steps).session
    session.undo(session.ops_of("A"))
    again = session.plan(session.ops_of("A"))
    assert again.compensations == []
    assert all(left.is_undone for left in again.left)


def test_two_that_undo_the_same_unseen_by_each_other_bring_it_back_once() -> None:
    session = TextSession(Head({"a.txt": b"one two"}))
    session.edit("A", (0, 4, ""))
    plans = [session.plan(session.ops_of("A")) for _ in range(2)]
    for plan in plans:
        session.add("eve", dict(plan.compensations[0].op))
    assert session.text() == "one two"


def test_what_others_write_meanwhile_stays_in_its_place() -> None:
    session = TextSession(Head({"a.txt": b"start end"}))
    session.edit("A", (6, 0, "middle "))
    plan = session.plan(session.ops_of("A"))
    session.edit("B", (9, 0, "XX"))
    session.edit("B", (0, 0, "at the "))
    session.add("eve", dict(plan.compensations[0].op))
    assert session.text() == "at the start XXend"


def test_what_others_wrote_in_the_midst_of_it_stays_and_is_named() -> None:
    session = TextSession(Head({"a.txt": b"one\nfour\n"}))
    session.edit("A", (4, 0, "two\nthree\n"))
    session.edit("B", (7, 0, " and a half"))
    outcome = session.undo(session.ops_of("A"))
    assert session.text() == "one\ntwo and a half\nfour\n"
    [kept] = outcome.kept
    assert (kept.index, kept.because) == (0, 1)
    assert kept.reason == "others wrote in the line: it stays whole"


def test_what_others_deleted_too_stays_deleted_and_is_named_until_they_are_undone() -> None:
    session = TextSession(Head({"a.txt": b"one two"}))
    session.edit("A", (0, 4, ""))
    session.edit("B", (0, 4, ""), unseen=1)
    [kept] = session.undo(session.ops_of("A")).kept
    assert (kept.reason, kept.because) == ("others deleted the same text: it stays deleted", 1)
    assert session.text() == "two"
    session.undo(session.ops_of("B"))
    assert session.text() == "one two"


def test_text_that_one_wrote_another_deleted_and_an_undoing_brought_back_is_still_of_the_first() -> None:
    session = TextSession(Head({"a.txt": b"rest"}))
    session.edit("A", (0, 0, "mine "))
    session.edit("B", (0, 5, ""))
    session.undo(session.ops_of("B"))
    assert session.text() == "mine rest"
    session.undo(session.ops_of("A"))
    assert session.text() == "rest"


def test_what_comes_back_again_is_around_what_was_written_in_it_meanwhile() -> None:
    session = TextSession(Head({"a.txt": b"one two"}))
    session.edit("A", (0, 7, ""))
    session.undo(session.ops_of("A"))
    session.edit("C", (4, 0, "and "))
    session.undo(session.ops_of("eve"))
    assert session.text() == "and "
    session.undo(session.ops_of("A"))
    assert session.text() == "one and two"


def test_one_of_many_ops_is_undone_alone() -> None:
    session = TextSession(Head({"a.txt": b""}))
    for number in range(5):
        session.edit("A", (number, 0, str(number)))
    session.undo(session.ops_of("A")[2:3])
    assert session.text() == "0134"


def test_an_undoing_of_a_large_text_takes_several_ops_that_a_log_can_hold() -> None:
    session = TextSession(Head({"a.txt": "kept 😀".encode()}))
    session.edit("A", (4, 0, "é😀" * 12_000))
    session.edit("B", (0, 5, ""))
    outcome = session.undo(session.ops_of("A"))
    assert len(outcome.compensations) > 1
    assert session.text() == " 😀"
    session.undo(session.last(len(outcome.compensations)))
    assert len(session.text() or "") == 24_001


# -- files -----------------------------------------------------------------------------------------

TREE = {"t.txt": b"text\n", "b.bin": b"\0one"}
LATIN = "\xe4\xf6".encode("iso-8859-1")


def make(session: TextSession) -> None:
    session.create("A", "new.txt", b"new\n")


def make_latin(session: TextSession) -> None:
    session.create("A", "latin.txt", LATIN, "iso-8859-1")


def make_binary(session: TextSession) -> None:
    session.create("A", "new.bin", b"\0new")


def remove(session: TextSession) -> None:
    session.on_file("A", "delete", "t.txt")


def remove_binary(session: TextSession) -> None:
    session.on_file("A", "delete", "b.bin")


def move(session: TextSession) -> None:
    session.on_file("A", "move", "t.txt", to_address="moved/t.txt")


def move_binary(session: TextSession) -> None:
    session.on_file("A", "move", "b.bin", to_address="moved.bin")


def rewrite(session: TextSession) -> None:
    session.on_file("A", "replace", "b.bin", base64="AAAA", new_content_id="")


def many(session: TextSession) -> None:
    make(session)
    session.edit("A", (0, 3, "edited"), path="new.txt")
    session.on_file("A", "move", "new.txt", to_address="other.txt")
    rewrite(session)
    session.on_file("A", "replace", "b.bin", base64="AAEC")
    move(session)
    session.edit("A", (0, 0, "more "), path="moved/t.txt")
    session.on_file("A", "delete", "moved/t.txt")


DEEDS = [make, make_latin, make_binary, remove, remove_binary, move, move_binary, rewrite, many]


@pytest.mark.parametrize("commits", [False, True])
@pytest.mark.parametrize("deed", DEEDS, ids=lambda deed: deed.__name__)
def test_what_was_done_to_files_is_undone_and_done_again_time_and_again(deed: Any, *, commits: bool) -> None:
    session = TextSession(Head(dict(TREE)))
    deed(session)
    own, done = session.ops_of("A"), session.files()
    assert done != TREE
    for expected in (TREE, done, TREE, done, TREE):
        if commits:
            session.commit()
        outcome = session.undo(own)
        assert outcome.left == []
        assert session.files() == expected
        own = session.last(len(outcome.compensations))


@pytest.mark.parametrize("deed", DEEDS, ids=lambda deed: deed.__name__)
def test_what_is_done_again_can_be_undone_by_its_actor_too(deed: Any) -> None:
    session = TextSession(Head(dict(TREE)))
    deed(session)
    own = session.ops_of("A")
    first = session.undo(own)
    session.undo(session.last(len(first.compensations)))
    assert session.undo(own).left == []
    assert session.files() == TREE


file_steps = st.lists(
    st.tuples(
        st.sampled_from(ACTORS),
        st.sampled_from(["create", "delete", "move", "replace", "edit", "edit", "commit"]),
        st.integers(0, 9),
    ),
    max_size=12,
)


def do(session: TextSession, actor: str, kind: str, number: int, fresh: int) -> None:
    """Do something to one of the files, with a path that no file had before."""
    files = session.files()
    if kind == "commit":
        session.commit()
    elif kind == "create":
        content = b"\0%d" % fresh if number % 2 else b"text %d\n" % fresh
        session.create(actor, f"new-{fresh}", content)
    elif files:
        path = sorted(files)[number % len(files)]
        if kind == "move":
            session.on_file(actor, kind, path, to_address=f"moved-{fresh}")
        elif kind == "delete":
            session.on_file(actor, kind, path)
        elif b"\0" in files[path]:
            session.on_file(actor, "replace", path, base64=encoded(b"\0%d" % fresh))
        else:
            session.edit(actor, (0, number % 3, f"<{fresh}>"), path=path)


@given(file_steps, st.permutations(ACTORS))
def test_once_all_actors_are_undone_in_any_order_the_files_are_the_first_ones(
    steps: list[tuple[str, str, int]], order: list[str]
) -> None:
    """What is in a file that others removed is left, until they are undone: so each is undone twice."""
    session = TextSession(Head(dict(TREE)))
    for fresh, (actor, kind, number) in enumerate(steps):
        do(session, actor, kind, number, fresh)
    for actor in (*order, *order, *order):
        if session.ops_of(actor):
            before = session.files()
            outcome = session.undo(session.ops_of(actor))
            after, own = session.files(), session.last(len(outcome.compensations))
            if own:
                back = session.undo(own)
                assert session.files() == before
                session.undo(session.last(len(back.compensations)))
                assert session.files() == after
    assert session.files() == TREE
    assert Head(dict(TREE)).commit(session.entries).files == TREE or any(
        kind == "commit" for _, kind, _ in steps
    )


def test_a_file_that_others_wrote_in_stays_with_what_they_wrote_until_that_is_undone() -> None:
    session = TextSession(Head({}))
    session.create("A", "n.txt", b"mine\n")
    session.edit("B", (5, 0, "yours\n"), path="n.txt")
    outcome = session.undo(session.ops_of("A"))
    assert session.files() == {"n.txt": b"yours\n"}
    [kept] = [kept for kept in outcome.kept if kept.reason.startswith("the file stays")]
    assert (kept.address, kept.because) == ("n.txt", 1)
    session.undo(session.ops_of("B"))
    assert session.files() == {}


def test_an_edit_in_a_file_that_was_removed_since_is_left_and_brings_nothing_back() -> None:
    session = TextSession(Head({"t.txt": b"text"}))
    session.edit("A", (0, 2, ""), path="t.txt")
    session.on_file("B", "delete", "t.txt")
    [left] = session.undo(session.ops_of("A")).left
    assert (left.reason, left.because) == ("the file was removed since", 1)
    assert session.files() == {}
    session.undo(session.ops_of("B"))
    session.undo(session.ops_of("A"))
    assert session.files() == {"t.txt": b"text"}


def test_no_file_takes_the_place_of_another_by_an_undoing() -> None:
    session = TextSession(Head(dict(TREE)))
    remove(session)
    move_binary(session)
    session.create("B", "t.txt", b"another")
    session.create("B", "b.bin", b"\0another")
    before = session.files()
    outcome = session.undo(session.ops_of("A"))
    assert {left.reason for left in outcome.left} == {
        "another file is at 't.txt' now",
        "another file is at 'b.bin' now",
    }
    assert session.files() == before


def test_a_removal_that_others_made_too_is_left() -> None:
    session = TextSession(Head(dict(TREE)))
    remove(session)
    gone = session.entries[0]["domain_op"]
    session.add("B", dict(gone))
    [left] = session.undo(session.ops_of("A")).left
    assert (left.reason, left.because) == ("others removed the file too", 1)


def test_a_later_move_and_a_later_content_of_others_stay_and_are_named() -> None:
    session = TextSession(Head(dict(TREE)))
    move(session)
    rewrite(session)
    session.on_file("B", "move", "moved/t.txt", to_address="elsewhere.txt")
    session.on_file("B", "replace", "b.bin", base64="AAEC")
    before = session.files()
    kept = session.undo(session.ops_of("A")).kept
    assert sorted(one.reason for one in kept) == [
        "others moved the file since: it stays where it is",
        "others replaced the whole file since: that stays",
    ]
    assert session.files() == before
    session.undo(session.ops_of("B"))
    assert session.files() == TREE


def test_a_content_and_a_move_that_come_late_are_not_overwritten_by_an_undoing() -> None:
    session = TextSession(Head(dict(TREE)))
    move(session)
    rewrite(session)
    plan = session.plan(session.ops_of("A"))
    session.on_file("B", "move", "moved/t.txt", to_address="elsewhere.txt")
    session.on_file("B", "replace", "b.bin", base64="AAEC")
    late = session.files()
    for compensation in plan.compensations:
        session.add("eve", dict(compensation.op))
    assert session.files() == late
    assert Head(dict(TREE)).commit(session.entries).files == late


def test_a_file_that_was_brought_back_can_be_removed_by_others_again() -> None:
    session = TextSession(Head(dict(TREE)))
    remove_binary(session)
    session.undo(session.ops_of("A"))
    session.on_file("B", "delete", "b.bin")
    assert set(session.files()) == {"t.txt"}


def test_an_op_without_effect_is_left_with_the_reason() -> None:
    session = TextSession(Head(dict(TREE)))
    entry = session.add("A", {"op": "delete", "address": "no.txt", "position": 0, "length": 1})
    [left] = session.undo([entry["op_id"]]).left
    assert (left.address, left.reason.partition(":")[0]) == ("no.txt", "it had no effect")


def test_a_raw_op_is_undone_as_it_was_meant() -> None:
    session = TextSession(Head({"a.txt": b"one two"}))
    session.add("A", {"op": "replace", "address": "a.txt", "position": 0, "length": 3, "text": "1"})
    session.add("B", {"op": "insert", "address": "a.txt", "position": 7, "text": " three"})
    session.commit()
    assert session.text() == "1 two three"
    session.undo(session.ops_of("A"))
    assert session.text() == "one two three"


def test_what_was_changed_from_outside_stays() -> None:
    session = TextSession(Head({"a.txt": b"one two"}))
    session.edit("A", (0, 0, "zero "))
    session.commit()
    session.head.files["a.txt"] = b"zero one and two"
    session.undo(session.ops_of("A"))
    assert session.text() == "one and two"


NAMED = {"op": "insert", "address": "a", "position": 0, "text": "x", "update": "AAA=", "file_id": "0" * 32}


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"undoes": "x"}, "`undoes` is a list"),
        ({"undoes": [1]}, "`undoes` is a list"),
        ({"undoes": [], "restores": 3}, "`restores` is a list"),
        ({"undoes": [], "restores": [[1, 2]]}, "`restores` is a list"),
        ({"undoes": [], "restores": [[1, -2, 1]]}, "`restores` is a list"),
        ({"undoes": [], "restores": [[1, 2, 2]]}, "as many characters"),
        ({"undoes": [], "instead_of": "x"}, "`instead_of` is the stamp"),
        ({"undoes": [], "instead_of": [1, "a", "b+c"]}, "`instead_of` is not the place"),
        ({"undoes": [], "lifts": True}, "`lifts` is a count"),
        ({"undoes": [], "update": None, "file_id": ""}, "has a `file_id`"),
    ],
)
def test_an_op_that_says_badly_what_it_undoes_is_refused(fields: dict[str, Any], complaint: str) -> None:
    op = {key: value for key, value in {**NAMED, **fields}.items() if value is not None}
    with pytest.raises(DomainError, match=complaint):
        read_op(op)


@pytest.mark.parametrize("others_type", [False, True])
def test_an_op_whose_undoing_counts_again_stays_away(*, others_type: bool) -> None:
    session = TextSession(Head({"a.txt": b"one\nthree\n"}))
    session.edit("ann", (4, 0, "two\n"))
    own = session.ops_of("ann")

    def undone(op_ids: list[str]) -> list[str]:
        return session.last(len(session.undo(op_ids).compensations))

    redone = undone(undone(own))
    assert session.text() == "one\ntwo\nthree\n"
    taken = undone(own)
    undone(redone)  # so the first undoing counts again
    if others_type:
        session.edit("bob", (0, 0, "zero\n"))
    undone(taken)
    assert session.text() == ("zero\none\nthree\n" if others_type else "one\nthree\n")
