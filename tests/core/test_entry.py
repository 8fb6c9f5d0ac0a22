"""What may be an entry, and in which order entries stand."""

import random
from typing import Any, cast

import pytest

from muse.core.entry import (
    ENTRY_FIELDS,
    MAX_LAMPORT,
    Limits,
    OpEntry,
    check_entry,
    is_op_id,
    matches,
    total_order,
)
from muse.core.line import decode_line, encode_line
from muse.core.op_log import make_op_entry
from muse.errors import InvalidEntryError

OP_ID = "6f1c2a34-9d0e-4b7a-8c55-0a1b2c3d4e5f"


def entry(**changes: Any) -> OpEntry:
    return cast("OpEntry", {**make_op_entry("ada", "notes", {"op": "insert"}, 1), **changes})


def test_an_entry_has_nine_fields_in_a_fixed_order() -> None:
    assert ENTRY_FIELDS == (
        "op_id",
        "actor_id",
        "lamport_ts",
        "parent_op_ids",
        "domain",
        "domain_op",
        "created_at",
        "intent_id",
        "reservation_id",
    )
    assert tuple(entry()) == ENTRY_FIELDS


def test_a_made_entry_passes_its_own_check() -> None:
    made = entry(parent_op_ids=[OP_ID], intent_id="i", reservation_id="r", lamport_ts=MAX_LAMPORT)
    check_entry(made)
    assert decode_line(encode_line(made)[:-1]) == made


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("op_id", "not-a-uuid"),
        ("op_id", OP_ID.upper()),
        ("op_id", OP_ID.replace("-4b7a", "-1b7a")),
        ("op_id", OP_ID.replace("-8c55", "-7c55")),
        ("op_id", OP_ID + "\n"),
        ("op_id", 7),
        ("actor_id", ""),
        ("actor_id", None),
        ("actor_id", "a" * 257),
        ("lamport_ts", 0),
        ("lamport_ts", -1),
        ("lamport_ts", MAX_LAMPORT + 1),
        ("lamport_ts", 2**63),
        ("lamport_ts", 1.0),
        ("lamport_ts", True),
        ("lamport_ts", "1"),
        ("parent_op_ids", (OP_ID,)),
        ("parent_op_ids", ["x"]),
        ("parent_op_ids", [OP_ID, OP_ID]),
        ("parent_op_ids", None),
        ("parent_op_ids", [make_op_entry("a", "b", {}, 1)["op_id"] for _ in range(257)]),
        ("domain", ""),
        ("domain", 1),
        ("domain_op", []),
        ("domain_op", None),
        ("domain_op", "insert"),
        ("created_at", None),
        ("intent_id", None),
        ("reservation_id", 5),
    ],
)
def test_a_field_of_another_type_or_out_of_its_limits_is_refused_by_name(field: str, value: object) -> None:
    with pytest.raises(InvalidEntryError) as caught:
        check_entry(entry(**{field: value}))
    assert caught.value.field == field


@pytest.mark.parametrize("field", ENTRY_FIELDS)
def test_a_missing_field_is_refused_by_name(field: str) -> None:
    lacking = {key: value for key, value in entry().items() if key != field}
    with pytest.raises(InvalidEntryError) as caught:
        check_entry(lacking)
    assert caught.value.field == field


def test_an_unknown_field_is_refused_by_name() -> None:
    with pytest.raises(InvalidEntryError, match="belongs in domain_op") as caught:
        check_entry(entry(mood="blue"))
    assert caught.value.field == "mood"


@pytest.mark.parametrize("value", [[], None, 1, "x", ()])
def test_what_is_no_object_is_no_entry(value: Any) -> None:
    with pytest.raises(InvalidEntryError, match="must be an object"):
        check_entry(value)


def test_an_entry_that_is_its_own_parent_is_refused() -> None:
    with pytest.raises(InvalidEntryError, match="itself"):
        check_entry(entry(op_id=OP_ID, parent_op_ids=[OP_ID]))


def test_limits_are_those_handed_in() -> None:
    check_entry(entry(actor_id="a" * 10), Limits(text_length=24 + 5))
    with pytest.raises(InvalidEntryError):
        check_entry(entry(actor_id="a" * 30), Limits(text_length=29))


@pytest.mark.parametrize("text", [None, 1, "", OP_ID[:-1], "g" + OP_ID[1:], OP_ID.replace("-", "")])
def test_other_text_is_no_op_id(text: object) -> None:
    assert not is_op_id(text)


def test_the_total_order_is_lamport_then_actor_then_op_id() -> None:
    first = entry(lamport_ts=1, actor_id="zoe", op_id="f" + OP_ID[1:])
    second = entry(lamport_ts=2, actor_id="ada", op_id="f" + OP_ID[1:])
    third = entry(lamport_ts=2, actor_id="bob", op_id="0" + OP_ID[1:])
    fourth = entry(lamport_ts=2, actor_id="bob", op_id="1" + OP_ID[1:])
    shuffled = [third, first, fourth, second]
    assert sorted(shuffled, key=total_order) == [first, second, third, fourth]


def test_entries_of_one_stamp_stand_in_one_order_in_whatever_order_they_arrive() -> None:
    entries = [entry(lamport_ts=5, actor_id=f"actor-{number % 3}") for number in range(12)]
    expected = sorted(entries, key=total_order)
    generator = random.Random(1)
    for _ in range(50):
        generator.shuffle(entries)
        assert sorted(entries, key=total_order) == expected


def test_a_filter_is_by_actor_domain_and_start_of_address() -> None:
    one = entry(domain_op={"op": "insert", "address": "a/b.mid"})
    assert matches(one, None, None, None)
    assert matches(one, "ada", "notes", "a/")
    assert not matches(one, "bob", None, None)
    assert not matches(one, None, "code", None)
    assert not matches(one, None, None, "b/")
    assert not matches(entry(domain_op={}), None, None, "a")
