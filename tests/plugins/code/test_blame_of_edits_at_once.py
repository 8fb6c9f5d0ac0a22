"""Blame of edits that had not seen each other, beside a model: a character is of the op that brought it."""

import random
from collections.abc import Sequence
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muse.core.entry import OpEntry, total_order
from muse.core.op_log import OpLog, make_op_entry
from muse.core.timestamp import now_text
from muse.domain import Origin
from muse.history.repository import Repository
from muse.plugins.code import CodePlugin
from muse.plugins.code.characters import Characters
from muse.plugins.code.document import Patch
from muse.plugins.code.ops import encoded, read_op
from muse.plugins.code.stretches import Marks
from muse.plugins.code.update import client_of
from muse.session.text_replica import CodeReplica
from muse.testing.memory_storage import InMemoryStorage
from tests.plugins.code.test_code import Two
from tests.samples.code_samples import Head, commit_files

NAMES = ("ada", "bob", "eve")
BASE = {"a.py": "".join(f"base {number}\n" for number in range(6)).encode()}
OLD = -1
"""In the place of an op: the text was there before all."""


class Several:
    """Actors who edit one file of a branch and hear of each other only when they are told."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.head = Head(dict(BASE))
        storage = InMemoryStorage()
        self.repository, _ = Repository.init("root", now=now_text(), storage=storage)
        commit_files(self.repository, BASE)
        self.replicas = [
            CodeReplica(self.repository, OpLog("root", "jam", storage=storage), name) for name in NAMES
        ]
        self.entries: list[OpEntry] = []

    def act(self, *, in_whole_lines: bool) -> None:
        """Let one of them edit, move the file, or hear of what others did."""
        replica = self.chance.choice(self.replicas)
        [path] = replica.paths()
        match self.chance.choice(("come", "come", "go", "go", "move", "hear")):
            case "hear":
                replica.take(self.entries)
            case "move":
                self.entries.append(replica.move(path, f"{len(self.entries)}.py"))
            case kind:
                text = str(replica.read(path))
                choose = self._lines if in_whole_lines else self._characters
                self.entries += replica.edit(path, [choose(text, is_new=kind == "come")])

    def _lines(self, text: str, *, is_new: bool) -> Patch:
        lines = text.splitlines(keepends=True)
        first = self.chance.randint(0, len(lines))
        last = self.chance.randint(first, min(len(lines), first + 3))
        start, end = len("".join(lines[:first])), len("".join(lines[:last]))
        if not is_new:
            return start, end - start, ""
        fresh = [
            self.chance.choice("né😀") + str(self.chance.random()) for _ in range(self.chance.randint(1, 2))
        ]
        return start, 0, "".join(f"{line}\n" for line in fresh)

    def _characters(self, text: str, *, is_new: bool) -> Patch:
        start = self.chance.randint(0, len(text))
        if not is_new:
            return start, self.chance.randint(0, min(len(text) - start, 16)), ""
        fresh = [chr(self.chance.randint(0x4E00, 0x9000)) for _ in range(self.chance.randint(1, 6))]
        return start, 0, "".join(self.chance.choice((letter, letter, "\n")) for letter in fresh)

    def lines(self) -> tuple[list[list[int]], list[Origin]]:
        """Return which op brought each character of each line, its end included, and what blame says."""
        ordered = sorted(self.entries, key=total_order)
        after = self.head.commit(ordered)
        [path] = after.files
        origins = CodePlugin().blame_entries(self.head.files, ordered, self.head.fetch, {}, path)
        text = after.files[path].decode()
        places = brought(after, ordered)
        assert len(places) == len(text)
        lines = text.splitlines(keepends=True)
        starts = [len("".join(lines[:number])) for number in range(len(lines))]
        return [places[start : start + len(line)] for start, line in zip(starts, lines, strict=True)], origins


def brought(after: Head, ordered: Sequence[OpEntry]) -> list[int]:
    """Return the place of the op that brought each character of the one text of a branch; `OLD` for none."""
    file_id = next((name for name in after.state if len(name) in {32, 64}), "")
    if not file_id:
        return [OLD] * sum(len(content.decode()) for content in after.files.values())
    characters = Characters.of(after.state[file_id].partition(b"\n")[2], Marks([]))
    maker = dict[tuple[int, int], int]()
    for place, entry in enumerate(ordered):
        update = read_op(entry["domain_op"]).update
        if update is not None and update.text:
            maker.update({(update.client, clock): place for clock in range(update.start, update.end)})
    found = [identity for identity in characters.ids if characters.texts.get(identity)]
    assert all(identity in maker or identity[0] == client_of(file_id) for identity in found)
    return [maker.get(identity, OLD) for identity in found]


def place_of(place: int | None) -> int:
    return OLD if place is None else place


@given(st.integers(0, 2**32), st.integers(1, 14))
def test_a_line_is_of_the_op_that_brought_it_whatever_others_did_around_it_unseen(
    seed: int, count: int
) -> None:
    several = Several(seed)
    for _ in range(count):
        several.act(in_whole_lines=True)
    lines, origins = several.lines()
    assert [(place_of(origin.made), place_of(origin.changed)) for origin in origins] == [
        (line[0], line[0]) for line in lines
    ]
    assert all(len(set(line)) == 1 for line in lines)


@given(st.integers(0, 2**32), st.integers(1, 14))
def test_a_line_was_changed_last_by_an_op_that_wrote_in_it_or_one_that_came_later(
    seed: int, count: int
) -> None:
    several = Several(seed)
    for _ in range(count):
        several.act(in_whole_lines=False)
    lines, origins = several.lines()
    assert len(lines) == len(origins)
    for line, origin in zip(lines, origins, strict=True):
        changed = place_of(origin.changed)
        assert changed >= max(line[: len(origin.summary)], default=OLD)
        if changed not in line and changed != OLD:
            op = read_op(sorted(several.entries, key=total_order)[changed]["domain_op"])
            assert op.length or "\n" in str(op.text)  # it took from the line, or broke it


# -- one by one ----------------------------------------------------------------------------------


def blame(head: Head, entries: Sequence[OpEntry]) -> list[tuple[str, str]]:
    """Say of each line what it is and who made it; nobody, if it was there before."""
    ordered = sorted(entries, key=total_order)
    origins = CodePlugin().blame_entries(head.files, ordered, head.fetch, {}, "a.py")
    return [
        (part.summary, "" if part.made is None else ordered[part.made]["actor_id"])
        for part in origins
        if part.made == part.changed
    ]


@pytest.mark.parametrize("is_deleted_first", [True, False])
def test_a_line_between_two_that_one_op_deleted_is_of_who_wrote_it(*, is_deleted_first: bool) -> None:
    two = Two({"a.py": b"zero\nx\ny\n"})
    acts = [partial(two.ada.delete, "a.py", 5, 4), partial(two.bob.insert, "a.py", 7, "bob\n")]
    made = [act() for act in (acts if is_deleted_first else acts[::-1])]
    for stamp, entry in enumerate(made, 1):
        entry["lamport_ts"] = stamp
    assert blame(two.head, made) == [("zero", ""), ("bob", "bob")]


def test_lines_between_those_that_one_op_wrote_are_of_who_wrote_them() -> None:
    two = Two({"a.py": b"one\n"})
    first = two.bob.insert("a.py", 4, "two\nthree\n")
    two.ada.take([first])
    file, _ = two.ada.live_file("a.py")
    update = file.require_document("a.py").edit([(0, 0, "top\n"), (8, 3, "TWO"), (18, 0, "end\n")])
    op = {"op": "replace", "address": "a.py", "position": None, "file_id": file.file_id}
    entry = make_op_entry("ada", "code", op | {"update": encoded(update)}, 9, parent_op_ids=[first["op_id"]])
    assert blame(two.head, [first, entry]) == [("top", "ada"), ("one", ""), ("three", "bob"), ("end", "ada")]


def test_of_two_equal_lines_the_one_that_came_is_of_who_brought_it() -> None:
    for position, text, makers in [(0, "x\n", ["ada", ""]), (2, "x\n", ["", "ada"]), (1, "\nx", ["", "ada"])]:
        two = Two({"a.py": b"x\n"})
        assert blame(two.head, [two.ada.insert("a.py", position, text)]) == [("x", maker) for maker in makers]
