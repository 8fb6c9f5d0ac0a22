"""Lines of code: who made each, who changed it last, and which edits came in each other's way."""

import base64
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muse.core.entry import OpEntry, total_order
from muse.core.op_log import OpLog
from muse.domain import Overlap
from muse.plugins.code import CodePlugin
from muse.plugins.code.lines import TextLines
from muse.plugins.code.ops import text_edit
from muse.session.text_replica import CodeReplica
from muse.testing.memory_storage import InMemoryStorage
from tests.plugins.code.test_code import Two, new_file, raw
from tests.samples.code_samples import Head


def blame(files: dict[str, bytes], ops: list[dict[str, Any]], path: str = "a.py") -> list[tuple[Any, ...]]:
    origins = CodePlugin().blame(files, ops, Head(files).fetch, path)
    return [(part.summary, part.made, part.changed, part.came_from, part.was) for part in origins]


def test_each_line_names_who_made_it_and_who_changed_it_last() -> None:
    ops = [
        text_edit("a.py", 4, "", "new\n"),
        text_edit("a.py", 8, "", "2"),
        text_edit("a.py", 4, "n", "N"),
    ]
    assert blame({"a.py": b"one\ntwo\nthree\n"}, ops) == [
        ("one", None, None, "a.py", "line 1"),
        ("New", 0, 2, "", ""),
        ("2two", None, 1, "a.py", "line 2"),
        ("three", None, None, "a.py", "line 3"),
    ]


def test_a_line_that_is_pushed_down_broken_or_joined_keeps_its_maker() -> None:
    files = {"a.py": b"one\ntwo\nthree"}
    assert blame(files, [text_edit("a.py", 0, "", "zero\n")])[1:] == [
        ("one", None, None, "a.py", "line 1"),
        ("two", None, None, "a.py", "line 2"),
        ("three", None, None, "a.py", "line 3"),
    ]
    assert blame(files, [text_edit("a.py", 2, "", "\n")])[:2] == [
        ("on", None, 0, "a.py", "line 1"),
        ("e", None, 0, "a.py", "line 1"),
    ]
    assert blame(files, [text_edit("a.py", 3, "\n", "")])[0] == ("onetwo", None, 0, "a.py", "line 1")
    assert blame(files, [text_edit("a.py", 4, "two\n", "")]) == [
        ("one", None, None, "a.py", "line 1"),
        ("three", None, None, "a.py", "line 3"),
    ]


def test_a_new_file_and_one_that_moved_have_lines_too_and_a_binary_one_has_none() -> None:
    assert blame({}, [new_file("a.py", "x\ny")]) == [("x", 0, 0, "", ""), ("y", 0, 0, "", "")]
    move = {"op": "move", "address": "b.py", "to_address": "a.py"}
    assert blame({"b.py": b"x"}, [move, text_edit("a.py", 1, "", "\ny")]) == [
        ("x", None, None, "b.py", "line 1"),
        ("y", 1, 1, "", ""),
    ]
    assert blame({"a.py": b"x\0"}, []) == []
    assert blame({}, []) == []


def test_the_lines_of_a_file_that_became_a_text_are_of_those_who_wrote_it_as_a_whole() -> None:
    def whole(content: bytes) -> dict[str, Any]:
        op = {"op": "replace", "address": "a.py", "position": None, "old_content_id": "", "old_summary": ""}
        return op | {"new_content_id": "", "new_summary": "", "base64": base64.b64encode(content).decode()}

    binary = new_file("a.py", "") | {"base64": "/wA=", "text": None}
    ops = [binary, whole(b"x\n"), whole(b"x\ny\n")]

    assert blame({}, ops) == [("x", 1, 1, "", ""), ("y", 2, 2, "", "")]
    assert blame({"a.py": b"\xff\0"}, ops[1:]) == [("x", 0, 0, "", ""), ("y", 1, 1, "", "")]
    assert blame({}, [*ops, whole(b"\0")]) == []
    assert blame({}, [*ops, whole(b"\0"), whole(b"x\n")]) == [("x", 4, 4, "", "")]


@given(st.lists(st.tuples(st.text("ab\n", max_size=6), st.integers(0, 2**32)), max_size=8))
def test_there_is_one_line_for_each_newline_whatever_is_written(changes: list[tuple[str, int]]) -> None:
    lines = TextLines.before_all("")
    text = ""
    for place, (added, seed) in enumerate(changes):
        chance = random.Random(seed)
        start = chance.randint(0, len(text))
        text = text[:start] + added + text[start + chance.randint(0, 3) :]
        lines.become(text, place)
        assert len(lines.lines) == text.count("\n") + 1
        assert len(set(map(id, lines.lines))) == len(lines.lines)


# -- overlaps ------------------------------------------------------------------------------------


def overlaps(head: Head, entries: list[OpEntry]) -> list[Overlap]:
    ordered = sorted(entries, key=total_order)
    return CodePlugin().overlaps(head.files, ordered, head.fetch, head.state)


def test_two_who_wrote_in_one_line_without_seeing_each_other_are_named_once() -> None:
    two = Two({"a.py": b"one\ntwo\n"})
    ada = [two.ada.insert("a.py", 0, "1"), two.ada.insert("a.py", 1, "2")]
    bob = [two.bob.insert("a.py", 3, "x"), two.bob.insert("a.py", 4, "y")]
    found = overlaps(two.head, [*ada, *bob])
    assert [(overlap.address, overlap.reason, overlap.both_stand) for overlap in found] == [
        ("a.py", "both wrote in line 1", True)
    ]


def test_other_lines_and_edits_that_were_seen_are_no_overlap() -> None:
    two = Two({"a.py": b"one\ntwo\n"})
    ada, bob = two.ada.insert("a.py", 0, "1"), two.bob.insert("a.py", 4, "2")
    assert overlaps(two.head, [ada, bob]) == []
    two.bob.take([ada])
    assert overlaps(two.head, [ada, bob, two.bob.insert("a.py", 0, "x")]) == []


Edit = tuple[int, int, str]


@pytest.mark.parametrize(
    ("write", "cut"),
    [
        ((0, 3, "ONE"), (0, 3, "")),  # what one replaced, the other deleted
        ((3, 0, "XX"), (0, 4, "")),  # the line in which one wrote went with its end
        ((1, 0, "X"), (0, 8, "")),  # ... with the next one
        ((5, 0, "X"), (1, 6, "")),
        ((0, 3, "ONE"), (0, 1, "")),
        ((0, 8, "new\n"), (0, 4, "")),
        ((1, 0, "X"), (0, 8, "all\nnew\n")),
    ],
)
@pytest.mark.parametrize("writer_is_first", [True, False])
def test_a_line_in_which_one_wrote_and_from_which_another_deleted_is_an_overlap(
    write: Edit, cut: Edit, *, writer_is_first: bool
) -> None:
    two = Two({"a.py": b"one\ntwo\nthree\n"})
    ada, bob = (write, cut) if writer_is_first else (cut, write)
    made = [*two.ada.edit("a.py", [ada]), *two.bob.edit("a.py", [bob])]
    found = overlaps(two.head, made)
    assert [(overlap.reason[:18], overlap.both_stand) for overlap in found] == [("both wrote in line", True)]
    assert (found[0].kept, found[0].overwritten) == (1, 0)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ((0, 3, ""), (0, 3, "")),  # both deleted the same
        ((0, 4, ""), (0, 8, "")),
        ((0, 4, ""), (4, 0, "X")),  # a line that begins after what went
        ((4, 4, ""), (8, 0, "X\n")),
        ((3, 4, ""), (0, 0, "X\n")),
        ((0, 4, ""), (8, 5, "3")),
    ],
)
def test_a_deletion_beside_what_another_wrote_or_of_what_another_deleted_is_no_overlap(
    one: Edit, other: Edit
) -> None:
    for first, second in ((one, other), (other, one)):
        two = Two({"a.py": b"one\ntwo\nthree\n"})
        made = [*two.ada.edit("a.py", [first]), *two.bob.edit("a.py", [second])]
        assert overlaps(two.head, made) == []


def test_two_who_wrote_in_a_line_between_those_that_a_third_deleted_unseen_are_named() -> None:
    two = Two({"a.py": b"one\ntwo\nthree\n"})
    line = two.bob.insert("a.py", 4, "bob\n")
    two.ada.take([line])
    made = [line, two.ada.insert("a.py", 4, "ada ")]
    eve = CodeReplica(two.repository, OpLog("root", "eve", storage=InMemoryStorage()), "eve")
    made += [eve.delete("a.py", 0, 8), two.bob.insert("a.py", 7, "!")]
    for stamp, entry in enumerate(made, 1):
        entry["lamport_ts"] = stamp
    pairs = [
        {made[found.kept]["actor_id"], made[found.overwritten]["actor_id"]}
        for found in overlaps(two.head, made)
    ]
    assert {"ada", "bob"} in pairs


def test_what_was_seen_before_it_was_deleted_is_no_overlap() -> None:
    two = Two({"a.py": b"one\ntwo\n"})
    written = two.ada.replace("a.py", 0, 3, "ONE")
    two.bob.take([written])
    assert overlaps(two.head, [written, two.bob.delete("a.py", 0, 4)]) == []


def test_what_two_did_to_one_file_is_an_overlap_that_says_which_stands() -> None:
    two = Two({"a.py": b"one\n", "b.py": b"two\n", "c.bin": b"\0"})
    ada = [two.ada.remove("a.py"), two.ada.move("b.py", "x.py"), *two.ada.write("c.bin", b"\0a")]
    bob = [two.bob.insert("a.py", 0, "!"), two.bob.move("b.py", "y.py"), *two.bob.write("c.bin", b"\0b")]
    entries = sorted([*ada, *bob], key=total_order)
    found = [
        (overlap.address, entries[overlap.kept]["actor_id"], overlap.reason)
        for overlap in overlaps(two.head, entries)
    ]
    assert found == [
        ("a.py", "bob", "one wrote in the file that the other removed: it stays"),
        ("b.py", "bob", "both moved the file: the later stands"),
        ("c.bin", "bob", "both replaced the whole file: the later stands"),
    ]


def test_raw_edits_that_name_no_causes_overlap_with_all_they_do_not_name() -> None:
    ada, bob = raw(text_edit("a.py", 0, "", "x")), raw(text_edit("a.py", 3, "", "y"), "bob", 2)
    assert len(overlaps(Head({"a.py": b"one"}), [ada, bob])) == 1
    bob["parent_op_ids"] = [ada["op_id"]]
    assert overlaps(Head({"a.py": b"one"}), [ada, bob]) == []
