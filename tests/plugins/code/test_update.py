"""Yjs updates as bytes: what an edit writes is read back, and nothing else gets to the library."""

from itertools import chain, permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycrdt import Array, Doc, Map, Text

from muse.errors import DomainError
from muse.plugins.code.document import TextDocument, patch_between
from muse.plugins.code.ops import encoded, text_edit
from muse.plugins.code.update import (
    MAX_CLIENT,
    PIECES_AT_A_PLACE,
    client_of,
    number,
    read_update,
    read_vector,
    write_insert,
    write_vector,
)
from tests.plugins.code.test_code import new_file, raw
from tests.samples.code_samples import Head

WIDE = st.characters(codec="utf-8")
TEXTS = st.text(WIDE, max_size=12)


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 5), TEXTS), max_size=8))
def test_edits_in_code_points_give_what_a_string_gives_and_another_replica_reads_the_same(
    edits: list[tuple[int, int, str]],
) -> None:
    document, other, text = TextDocument(7), TextDocument(MAX_CLIENT), ""
    for position, length, added in edits:
        start = min(position, len(text))
        count = min(length, len(text) - start)
        data = document.edit([(start, count, added)])
        text = text[:start] + added + text[start + count :]
        assert document.text == text
        if data:
            update = read_update(data)
            assert update.first_lack(other.vector) is None
            other.apply(update)
            other.apply(update)
    assert other.text == text
    assert other.vector == document.vector
    again = TextDocument(8, document.state())
    assert (again.text, again.vector) == (text, document.vector)


def test_a_yjs_client_of_another_make_is_understood() -> None:
    doc = Doc({"text": (text := Text())})
    seen: list[bytes] = []
    doc.observe(lambda event: seen.append(event.update))
    text += "hello"
    text.insert(5, " 😀")
    del text[0:1]
    document = TextDocument(7)
    for data in seen:
        document.apply(read_update(data))
    assert document.text == "ello 😀"


@pytest.mark.parametrize(
    "made", [{"text": Text(), "map": Map({"a": 1})}, {"text": Array([1])}, {"x": Text("x")}]
)
def test_what_is_no_plain_text_is_refused(made: dict[str, Text | Array[int] | Map[int]]) -> None:
    with pytest.raises(DomainError):
        read_update(Doc(made).get_update())


def test_formats_and_embedded_things_are_refused() -> None:
    doc = Doc({"text": (text := Text("hello"))})
    before = doc.get_state()
    text.format(0, 2, {"bold": True})
    with pytest.raises(DomainError, match="something other than text"):
        read_update(doc.get_update(before))


@given(st.binary(max_size=40))
def test_no_bytes_are_read_in_any_other_way_than_as_an_update_or_an_error(data: bytes) -> None:
    try:
        update = read_update(data)
    except DomainError:
        return
    document = TextDocument(7)
    if update.first_lack(document.vector) is None:
        document.apply(update)
        assert TextDocument(9, document.state()).vector == document.vector


@given(st.data())
def test_a_damaged_update_does_no_harm_to_the_document(data: st.DataObject) -> None:
    document = TextDocument(7)
    document.edit([(0, 0, "one\ntwo 😀 three")])
    fork = document.fork(8)
    update = bytearray(fork.edit([(4, 3, "zwei")]))
    place = data.draw(st.integers(0, len(update) - 1))
    update[place] = data.draw(st.integers(0, 255))
    try:
        read = read_update(bytes(update))
        if read.first_lack(document.vector) is None:
            document.apply(read)
    except DomainError:
        pass
    document.edit([(0, 0, "still here ")])
    assert document.text.startswith("still here ")
    # Neighbours in the wrong order may stand in another place when it is read again; nothing is lost.
    assert sorted(TextDocument(9, document.state()).text) == sorted(document.text)


@given(st.dictionaries(st.integers(0, MAX_CLIENT), st.integers(1, 2**31), max_size=5))
def test_a_state_vector_is_read_as_it_was_written(vector: dict[int, int]) -> None:
    assert read_vector(write_vector(vector)) == vector


def test_an_insertion_written_here_is_that_which_the_library_writes() -> None:
    document = TextDocument(7)
    first = document.edit([(0, 0, "ac")])
    assert first == write_insert(7, 0, None, None, "ac")
    assert document.edit([(1, 0, "bé")]) == write_insert(7, 2, (7, 0), (7, 1), "bé")


@given(TEXTS, TEXTS)
def test_the_patch_between_two_texts_turns_one_into_the_other(old: str, new: str) -> None:
    text = old
    for start, length, added in patch_between(old, new):
        text = text[:start] + added + text[start + length :]
    assert text == new


@given(
    st.lists(
        st.tuples(st.integers(0, 30), st.integers(0, 5), st.one_of(st.text("ab", max_size=4), TEXTS)),
        max_size=8,
    )
)
def test_edits_as_other_clients_mean_the_same_to_every_replica(edits: list[tuple[int, int, str]]) -> None:
    document, other, text = TextDocument(7), TextDocument(9), ""
    for client, (position, length, added) in enumerate(edits, 100):
        start = min(position, len(text))
        count = min(length, len(text) - start)
        again = document.fork(8).edit_as(client, (start, count, added))
        data = document.edit_as(client, (start, count, added))
        assert again == data
        text = text[:start] + added + text[start + count :]
        assert document.text == text
        if data:
            other.apply(read_update(data))
    assert other.text == text


@given(st.integers(0, 6), st.lists(st.text(WIDE, min_size=1, max_size=3), min_size=1, max_size=4))
def test_typing_on_is_read_by_every_replica_where_it_was_typed(place: int, typed: list[str]) -> None:
    document, other = TextDocument(7), TextDocument(9)
    for data in (document.edit([(0, 0, "before")]), document.edit([(place, 0, "+")])):
        other.apply(read_update(data))
    position = place + 1
    for text in typed:
        data = document.type_on(position, text)
        update = read_update(data)
        assert update.right == ((7, place) if place < len("before") else None)
        other.apply(update)
        position += len(text)
    assert document.text == other.text == "before"[:place] + "+" + "".join(typed) + "before"[place:]
    assert document.vector == other.vector


def test_nothing_is_typed_on_after_another_wrote_or_somewhere_else() -> None:
    document, other = TextDocument(7), TextDocument(9)
    other.apply(read_update(document.edit([(0, 0, "ab")])))
    assert document.type_on(1, "x") == b""
    document.apply(read_update(other.edit([(1, 0, "!")])))
    assert document.type_on(2, "x") == b""
    document.edit([(0, 1, "")])
    assert document.type_on(0, "x") == b""
    assert document.text == "!b"


EMOJI = "a\U0001f600b"
FILE = "ab" * 16


def _op(update: bytes) -> dict[str, Any]:
    return {**text_edit("a.txt", 0, "", "x"), "file_id": FILE, "update": encoded(update)}


def _deletion(*ranges: tuple[int, int]) -> bytes:
    return b"\0\1" + number(client_of(FILE)) + number(len(ranges)) + b"".join(map(number, chain(*ranges)))


def test_what_cuts_a_character_in_two_harms_no_other_edit_in_whatever_order_they_arrive() -> None:
    """The characters of the text are 0, 1 and 2, 3."""
    base = client_of(FILE)
    updates = {
        "half a deletion": _deletion((1, 1)),
        "the other half": _deletion((2, 2)),
        "each half": _deletion((1, 1), (2, 1)),
        "between the halves": write_insert(7, 0, (base, 1), (base, 2), "X"),
        "honest": _deletion((1, 2)),
    }
    create = raw({**new_file("a.txt", EMOJI), "file_id": FILE}, "ada", 1)
    entries = [raw(_op(update), name, 2) for name, update in updates.items()]
    honest = entries[-1]
    for some in (entries, entries[:-1], entries[1:], entries[2:], entries[3:]):
        seen = set()
        for order in permutations(some):
            head = Head().commit([create])
            for entry in order:
                head = head.commit([entry])
            seen.add((head.files["a.txt"].decode(), "waiting" in head.state))
        assert len(seen) == 1, seen
        [(text, waits)] = seen
        assert ("\U0001f600" in text, waits) == (honest not in some, honest not in some)


def test_an_update_that_cuts_its_own_character_in_two_is_refused() -> None:
    data = write_insert(7, 0, None, None, "\U0001f600")
    with pytest.raises(DomainError, match="in two"):
        read_update(data[:-1] + b"\1\7\1\0\1")
    read_update(data[:-1] + b"\1\7\1\0\2")


def test_a_character_that_this_replica_typed_on_is_cut_by_nobody_either() -> None:
    document = TextDocument(5)
    document.edit([(0, 0, "a")])
    whole = read_update(TextDocument(6).edit([(0, 0, "z")]))
    assert document.split_by(whole) is None
    document.type_on(1, "\U0001f600")
    assert document.split_by(read_update(write_insert(7, 0, (5, 1), None, "x"))) is not None
    assert document.split_by(read_update(write_insert(7, 0, (5, 2), None, "x"))) is None


def test_an_update_with_very_many_pieces_at_one_place_is_refused() -> None:
    piece = write_insert(5, 0, (1, 0), (1, 1), "x")[len(b"\1\1\5\0") : -1]

    def update(pieces: int) -> bytes:
        return b"\1" + number(pieces) + b"\5\0" + piece * pieces + b"\0"

    assert read_update(update(PIECES_AT_A_PLACE)).text == "x" * PIECES_AT_A_PLACE
    with pytest.raises(DomainError, match="pieces at one place"):
        read_update(update(PIECES_AT_A_PLACE + 1))
