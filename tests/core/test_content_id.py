"""Ids follow the formulas of the Muse repository format, computed here by hand."""

import hashlib

import pytest

from muse.core import content_id


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def test_an_object_is_named_by_its_bytes() -> None:
    assert content_id.object_id(b"abc") == hashlib.sha256(b"abc").hexdigest()


def test_a_snapshot_is_named_by_its_sorted_pairs() -> None:
    assert content_id.snapshot_id({"b": "2", "a": "1"}) == digest("a\x001\x00b\x002")
    assert content_id.snapshot_id({}) == digest("")


def test_a_commit_is_named_by_parents_snapshot_message_and_time() -> None:
    expected = digest("a\x00b\x00s\x00message\x002026-01-01T00:00:00+00:00")
    assert content_id.commit_id(["b", "a"], "s", "message", "2026-01-01T00:00:00+00:00") == expected
    assert content_id.commit_id([], "s", "m", "t") == digest("\x00s\x00m\x00t")


def test_a_note_is_named_by_its_five_numbers() -> None:
    assert content_id.note_id(60, 64, 0, 480, 0) == digest("60:64:0:480:0")


@pytest.mark.parametrize("value", ["0" * 63, "0" * 65, "A" * 64, "0" * 64 + "\n", b"0" * 64, None, 64])
def test_what_is_not_64_lower_case_hex_digits_names_no_content(value: object) -> None:
    assert not content_id.is_content_id(value)
    assert content_id.is_content_id(content_id.object_id(b""))
