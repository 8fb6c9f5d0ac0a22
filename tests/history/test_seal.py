"""Trailers of a commit message say which ops it came from, and are read back or not at all."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muse.core.delta import collapse
from muse.core.line import decode_line, encode_line
from muse.core.op_log import make_op_entry
from muse.errors import InvalidEntryError
from muse.history.seal import (
    Seal,
    add_trailers,
    json_digest,
    leaf_of,
    make_seal,
    read_seal,
    root_of,
)
from tests.samples.messages import message_text


def seal() -> Seal:
    entries = [make_op_entry("ada", "a", {"n": number}, number) for number in (3, 4, 5)]
    return make_seal("jam", 120, entries, {"ada": 5}, collapse(entries, "a"))


def test_a_seal_names_the_first_and_last_op_and_their_number() -> None:
    entries = [make_op_entry("ada", "a", {}, stamp) for stamp in (3, 4, 9)]
    made = make_seal("jam", 120, entries, {"ada": 9}, collapse(entries, "a"))
    assert (made.session_id, made.cut_offset, made.op_count) == ("jam", 120, 3)
    assert made.first == f"3 {entries[0]['op_id']}"
    assert made.last == f"9 {entries[2]['op_id']}"
    assert made.root == root_of(entries)


@pytest.mark.parametrize(
    "message", ["", "One line", "Title\n\nBody\n\n- a\n- b\n\n\n", "ends\n", "Muse-Session: x"]
)
def test_a_seal_is_read_back_and_the_message_too(message: str) -> None:
    made = seal()
    sealed = add_trailers(message, made)
    assert read_seal(sealed) == made
    assert message_text(sealed) == message.rstrip()
    assert sealed.endswith("\n")


def test_the_trailers_that_earlier_versions_did_not_write_may_be_missing() -> None:
    made = seal()
    whole = replace(made, record_digest="1", snapshot_digest="2", repository_digest="3", signer_key_id="4")
    sealed = add_trailers("x", whole)
    assert read_seal(sealed) == whole
    assert len(sealed.splitlines()) == 2 + 9 + 4
    assert read_seal(sealed.partition("Muse-Record")[0]) == made


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_whatever_a_person_writes_a_seal_behind_it_is_the_one_that_counts(message: str) -> None:
    made = seal()
    assert read_seal(add_trailers(message, made)) == made


def test_a_seal_that_a_person_writes_is_behind_nothing() -> None:
    forged, real = seal(), seal()
    assert read_seal(add_trailers(add_trailers("x", forged), real)) == real


@given(st.text(st.sampled_from("Mu-: \n9x")))
def test_any_other_message_has_no_seal(message: str) -> None:
    assert read_seal(message) is None
    assert message_text(message) == message.rstrip("\n")


@pytest.mark.parametrize(
    "message", ["Fix\n\nMuse-Foo: bar", "Muse-Reviewed: ada", "Fix\n\nMuse-Session: jam\nMuse-Foo: 1"]
)
def test_trailers_of_another_tool_are_no_seal(message: str) -> None:
    assert read_seal(message) is None


def test_an_incomplete_seal_is_none() -> None:
    lines = add_trailers("x", seal()).splitlines()
    for place in range(2, 10):
        assert read_seal("\n".join(lines[:place] + lines[place + 1 :])) is None


@pytest.mark.parametrize("number", ["", "-1", "x", "1.5", "9" * 5000])
def test_a_seal_whose_numbers_are_none_is_none(number: str) -> None:
    sealed = add_trailers("x", seal())
    assert read_seal(sealed.replace("Muse-Cut: 120", f"Muse-Cut: {number}")) is None


def test_a_leaf_is_the_log_line_without_its_crc() -> None:
    entry = make_op_entry("ada", "a", {"é": [1.0, "\u2028"]}, 1)
    line = encode_line(entry)
    assert leaf_of(entry) == line[:-19] + b"}"
    assert leaf_of(decode_line(line[:-1])) == leaf_of(entry)


def test_a_digest_does_not_depend_on_the_order_of_keys() -> None:
    assert json_digest({"b": 1, "a": {"d": 2, "c": 3}}) == json_digest({"a": {"c": 3, "d": 2}, "b": 1})
    assert json_digest({"a": 1}) != json_digest({"a": 2})


def test_what_is_nested_too_deep_for_json_of_ours_is_refused_by_name() -> None:
    deep: object = 1
    for _ in range(255):
        deep = {"a": deep}
    with pytest.raises(InvalidEntryError, match="cannot be written as JSON"):
        json_digest(deep)
