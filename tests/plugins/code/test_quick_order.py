"""Updates that come in one order and are given to the library in another one, which is quicker."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muse.plugins.code import document
from muse.plugins.code.document import TextDocument
from muse.plugins.code.quick_order import in_quick_order
from muse.plugins.code.update import Update, read_update, write_insert

EDITS = st.lists(
    st.tuples(
        st.integers(0, 4), st.floats(0, 1), st.integers(0, 3), st.text("ab\n😀", max_size=3), st.booleans()
    ),
    max_size=30,
)


def edited(edits: list[tuple[int, float, int, str, bool]]) -> list[Update]:
    """Let five clients edit one text, each of which now and then reads what the others wrote."""
    first = TextDocument(1)
    updates = [read_update(first.edit([(0, 0, "hello\nworld\n")]))]
    clients = [TextDocument(client, first.state()) for client in (70, 7, 1 << 45, 900, 2)]
    read = [1] * len(clients)
    for number, where, length, text, reads in edits:
        client = clients[number]
        if reads:
            for update in updates[read[number] :]:
                client.apply(update)
            read[number] = len(updates)
        place = round(where * len(client.text))
        if data := client.edit([(place, min(length, len(client.text) - place), text)]):
            updates.append(read_update(data))
    return updates


@given(EDITS, st.integers(0, 30))
def test_in_a_quick_order_a_document_has_the_same_text_and_the_same_bytes(
    edits: list[tuple[int, float, int, str, bool]], looks: int
) -> None:
    updates = edited(edits)
    one, other = TextDocument(0), TextDocument(0)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(document, "_AT_ONCE", 0)
        for number, update in enumerate(updates):
            other.apply(update)
            if number == looks:
                assert other.text
    for update in updates:
        one.apply(update)
    assert other.text == one.text
    assert other.state() == one.state()
    assert other.vector == one.vector


@given(EDITS)
def test_each_update_comes_after_all_that_it_needs_and_none_is_left_out(
    edits: list[tuple[int, float, int, str, bool]],
) -> None:
    updates, vector = edited(edits), dict[int, int]()
    ordered = list(in_quick_order(updates, vector))
    for update in ordered:
        assert update.first_lack(vector) is None
        vector[update.client] = max(update.end, vector.get(update.client, 0))
    assert sorted(ordered) == sorted(updates)


def test_of_many_insertions_at_one_place_the_library_gets_those_of_the_highest_client_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given_to: list[bytes] = []
    text = TextDocument(0)
    clients = random.Random(1).sample(range(2, 1 << 50), 1_000)
    updates = [read_update(write_insert(client, 0, None, None, "x")) for client in clients]
    integrate = TextDocument._integrate

    def note(self: TextDocument, data: bytes) -> None:
        given_to.append(data)
        integrate(self, data)

    monkeypatch.setattr(TextDocument, "_integrate", note)
    for update in updates:
        text.apply(update)
    assert text.text == "x" * len(updates)
    late = [read_update(data).client for data in given_to[document._AT_ONCE :]]
    assert len(late) == len(clients) - document._AT_ONCE
    assert late == sorted(late, reverse=True)
