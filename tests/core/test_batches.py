"""Several entries at once are checked and written as each would be, with the compiled part and without."""

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from muse.core.blocks import checked_lines, decode_block, encode_any_lines
from muse.core.entry import DEFAULT_LIMITS, ENTRY_FIELDS, Limits, are_plain_entries, check_entry
from muse.core.line import PREFIX
from muse.core.new_entries import make_op_entry
from muse.errors import InvalidEntryError
from tests.samples.any_entries import changes, line_in_python, op_ids, ops


def entry_of(op: Any) -> Any:
    return make_op_entry("ada", "notes", op, 7)


def together(entries: Any) -> bytes | None:
    try:
        return encode_any_lines(entries, DEFAULT_LIMITS)
    except InvalidEntryError:
        return None


@settings(max_examples=60)
@given(st.lists(ops, max_size=3))
@example([{"op_id": "x"}, {"a": 1}])
@example([{"a": [1.0]}, {"op_id": "x", "b": {"op_id": "y"}}])
def test_ops_that_are_written_together_are_written_as_each_alone(some: list[Any]) -> None:
    entries = [entry_of(op) for op in some]
    lines = [line_in_python(entry) for entry in entries]
    expected = None if None in lines else b"".join(line or b"" for line in lines)
    assert together(entries) == expected
    try:
        found = checked_lines(entries)
    except InvalidEntryError:
        assert expected is None
        return
    assert found[0] == expected
    assert found[1:3] == ([entry["op_id"] for entry in entries], [7] * len(entries))
    assert found[3] == [len(line or b"") for line in lines]


def test_no_op_in_a_batch_starts_as_a_line_does() -> None:
    lines = encode_any_lines([entry_of({"op_id": "x"}), entry_of({"a": 1})], DEFAULT_LIMITS)
    assert lines.count(PREFIX) == 2
    assert [entry["domain_op"] for entry in decode_block(lines, 0).entries] == [{"op_id": "x"}, {"a": 1}]


@settings(max_examples=60)
@given(
    st.lists(st.tuples(changes, st.sampled_from(("", *ENTRY_FIELDS))), max_size=2),
    st.lists(op_ids, max_size=2),
)
def test_entries_that_are_plain_together_pass_the_check_of_each(
    faults: list[tuple[dict[str, Any], str]], parents: list[str]
) -> None:
    entries: Any = [entry_of({"op": "insert"}) for _ in range(2)]
    for entry, (change, dropped) in zip(entries, faults, strict=False):
        entry.update(change)
        entry.pop(dropped, None)
    entries[0].setdefault("parent_op_ids", parents)
    if are_plain_entries(entries):
        for entry in entries:
            check_entry(entry)
            assert not entry["parent_op_ids"]


def test_usual_entries_are_plain() -> None:
    assert are_plain_entries([entry_of({"op": "insert"}), entry_of({"a": [1, {"b": 2.5}]})])
    assert not are_plain_entries([entry_of({}), {**entry_of({}), "actor_id": ""}])
    assert not are_plain_entries([entry_of({})], Limits(text_length=3))


@pytest.mark.parametrize("value", [float("nan"), (1,), float("inf")])
def test_what_json_would_change_is_refused_in_a_batch(value: Any) -> None:
    with pytest.raises(InvalidEntryError, match="cannot be stored as JSON unchanged"):
        checked_lines([entry_of({"a": [1]}), entry_of({"a": [value]})])


def test_a_batch_with_deep_nesting_is_bounded_entry_by_entry() -> None:
    deep = json.loads('{"a":' * 63 + "{}" + "}" * 63)
    assert checked_lines([entry_of(deep)] * 3)[0].count(b"\n") == 3
    with pytest.raises(InvalidEntryError, match="nests deeper than 64 levels"):
        checked_lines([entry_of({"a": []}), entry_of({"a": deep})])
