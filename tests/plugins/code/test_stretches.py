"""What a stretch of deleted characters costs, of which nobody knows a text: nothing, however long it is."""

import random
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muse.plugins.code import characters, deeds, document, undo_text, update
from muse.plugins.code.characters import Characters
from muse.plugins.code.document import TextDocument
from muse.plugins.code.ops import encoded, text_edit
from muse.plugins.code.stretches import Marks, Stretches
from muse.plugins.code.update import Id, TextPiece, client_of, number, read_update
from tests.samples.code_samples import Head
from tests.samples.text_session import TextSession

LONG = 2_000_000  # in a test that fails it is still bearable; an op may have a thousand times as much
BASE = "one\ntwo\nthree\n"


class AllMarks(Marks):
    """All ids of any stretch: what costs an entry for each character, as in earlier builds."""

    def within(self, stretch: tuple[int, int, int]) -> Iterator[Id]:
        client, clock, length = stretch
        yield from ((client, clock + step) for step in range(length))


def stretch_between(left: Id | None, right: Id | None, client: int, length: int) -> bytes:
    """Write an update that brings characters which were deleted before anyone saw them."""
    kind = 1 | (0x80 if left else 0) | (0x40 if right else 0)
    sides = b"".join(number(part) for side in (left, right) if side for part in side)
    root = b"" if sides else b"\1\4text"
    return b"".join((b"\1\1", number(client), b"\0", bytes([kind]), sides, root, number(length), b"\0"))


def bring_stretch(session: TextSession, actor: str, place: int, length: int) -> tuple[int, int, int]:
    """Let an actor bring one at a place among all characters, deleted ones too; return where its ids are."""
    file, _ = session.tree().open("a.txt")
    found = Characters.of(file.require_document("a.txt").state(), Marks(()))
    ids: list[Id | None] = [None, *(one for one in found.ids if found.texts.get(one) != ""), None]
    place %= len(ids) - 1
    if found.texts.get(ids[place] or (0, 0), "") > "\uffff":
        place = 0
    client = client_of("stretch", str(len(session.entries)))
    update = stretch_between(ids[place], ids[place + 1], client, length)
    op: dict[str, Any] = {**text_edit("a.txt", 0, "", ""), "file_id": file.file_id, "update": encoded(update)}
    session.add(actor, op | ({"base": file.base} if file.base else {}))
    return client, 0, length


def delete_stretch(session: TextSession, actor: str, stretch: tuple[int, int, int]) -> None:
    """Let an actor delete what is deleted."""
    file, _ = session.tree().open("a.txt")
    update = b"".join((b"\0\1", number(stretch[0]), b"\1", *map(number, stretch[1:])))
    op: dict[str, Any] = {**text_edit("a.txt", 0, "", ""), "file_id": file.file_id, "update": encoded(update)}
    session.add(actor, op | ({"base": file.base} if file.base else {}))


def some_session(rng: random.Random) -> TextSession:
    session = TextSession(Head({"a.txt": BASE.encode()}))
    stretches: list[tuple[int, int, int]] = []
    for _ in range(rng.randrange(4, 16)):
        actor, text = rng.choice("ABC"), session.text() or ""
        place, kind = rng.randrange(len(text) + 1), rng.random()
        if kind < 0.5:
            added = rng.choice(("", "x", "yz\n", "\U0001f300", "\nw"))
            session.edit(actor, (place, rng.randrange(min(5, len(text) - place + 1)), added))
        elif kind < 0.7:
            stretches.append(bring_stretch(session, actor, rng.randrange(40), rng.randrange(1, 6)))
        elif kind < 0.8 and stretches:
            delete_stretch(session, actor, rng.choice(stretches))
        elif kind < 0.9 and session.entries:
            session.undo(rng.sample(session.ops_of(*"ABC"), 1))
        elif session.pending:
            session.commit()
    return session


@pytest.mark.parametrize("seed", range(120))
def test_an_undoing_is_the_same_as_one_that_looks_at_each_deleted_character(seed: int) -> None:
    rng = random.Random(seed)
    session = some_session(rng)
    known = session.ops_of(*"ABC")
    wanted = rng.sample(known, min(len(known), rng.randrange(1, 4)))
    plan = session.plan(wanted)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(undo_text, "Marks", AllMarks)
        patched.setattr(deeds, "Marks", AllMarks)
        assert session.plan(wanted) == plan


@pytest.mark.parametrize("seed", range(40))
def test_lines_come_to_the_same_place_as_where_each_deleted_character_is_shown(seed: int) -> None:
    session = some_session(random.Random(seed))
    file, _ = session.tree().open("a.txt")
    copy = file.require_document("a.txt")
    units = len(copy.text.encode("utf-16-le")) // 2

    def all_of(piece: TextPiece) -> list[str | int]:
        return [("-" if piece.text is None else "+") * piece.length]

    found = [document._unit_behind(copy.state(), count) for count in range(units + 1)]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(document, "_shape", all_of)
        assert [document._unit_behind(copy.state(), count) for count in range(units + 1)] == found


def sizes_of_documents(module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Note from now on how long the documents are that a module shows with other contents."""
    sizes: list[int] = []
    with_texts = update.with_texts

    def counted(*args: Any) -> bytes:
        sizes.append(len(with_texts(*args)))
        return with_texts(*args)

    monkeypatch.setattr(module, "with_texts", counted)
    return sizes


def test_an_undoing_beside_a_long_deleted_stretch_looks_at_its_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = sizes_of_documents(characters, monkeypatch)
    session = TextSession(Head({"a.txt": BASE.encode()}))
    stretch = bring_stretch(session, "mal", 4, LONG)
    session.edit("ada", (4, 0, "new\n"))
    delete_stretch(session, "mal", stretch)
    session.undo(session.ops_of("ada"))
    assert session.text() == BASE
    session.undo(session.ops_of("mal"))
    assert session.text() == BASE
    assert max(sizes) < 1000


def test_lines_beside_a_long_deleted_stretch_are_put_in_without_showing_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sizes = sizes_of_documents(document, monkeypatch)
    text = TextDocument(5)
    text.edit([(0, 0, BASE)])
    text.apply(read_update(stretch_between((5, 3), (5, 4), 1, LONG)))
    assert text.insert_lines(4, "new\n")
    assert text.text == BASE.replace("two", "new\ntwo")
    assert sizes
    assert max(sizes) < 1000


@given(
    st.lists(st.tuples(st.integers(0, 1), st.integers(0, 30), st.integers(1, 9))),
    st.sets(st.tuples(st.integers(0, 1), st.integers(0, 40))),
)
def test_stretches_hold_the_ids_that_are_in_one_of_them(
    parts: list[tuple[int, int, int]], identities: set[Id]
) -> None:
    stretches, marks = Stretches(), Marks(identities)
    for client, clock, length in parts:
        stretches.add(client, clock, clock + length)
    held = {(client, clock + step) for client, clock, length in parts for step in range(length)}
    assert {one for one in identities if one in stretches} == held & identities
    for client, clock, length in parts:
        inside = [one for one in sorted(identities) if one[0] == client and 0 <= one[1] - clock < length]
        assert list(marks.within((client, clock, length))) == inside
