"""An entry is one line, and comes back unchanged; what JSON would change is refused."""

import datetime as dt
import decimal
import enum
import json
import uuid
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muse.core.blocks import decode_block
from muse.core.entry import ENTRY_FIELDS, Limits
from muse.core.line import decode_line, encode_line, frame
from muse.core.op_log import make_op_entry
from muse.core.strict_json import parse_strictly
from muse.errors import InvalidEntryError
from tests.samples.lines import entry, foreign, line, with_op

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
ops = st.dictionaries(texts, json_values, max_size=5)


# -- round trip ----------------------------------------------------------------------------------


@given(ops)
@settings(deadline=None)
def test_an_entry_comes_back_unchanged_from_its_line(domain_op: dict[str, Any]) -> None:
    one = entry(domain_op)
    encoded = encode_line(one)
    assert encoded.count(b"\n") == 1
    back = decode_line(encoded[:-1])
    assert back == one
    assert tuple(back) == ENTRY_FIELDS
    assert json.dumps(back) == json.dumps(one)  # 1 and 1.0 and True are equal, but not the same


@pytest.mark.parametrize(
    "text", ["\u2028", "\u2029", "\u0085", "\x1c", "\x1e", "\x0b", "\r", "\n", "\0", "\ufeff"]
)
def test_no_character_in_a_string_ends_the_line(text: str) -> None:
    one = entry({"text": text})
    block = decode_block(encode_line(one) + line(), 0)
    assert block.entries[0] == one
    assert len(block.entries) == 2


@pytest.mark.parametrize(
    "number", [2**53, 2**53 + 1, -(2**53) - 1, 2**63, 2**64 - 1, -(2**63), 0.1, -0.0, 5e-324]
)
def test_a_number_is_kept_exactly(number: float) -> None:
    back = decode_line(line({"n": number})[:-1])
    assert repr(back["domain_op"]["n"]) == repr(number)  # type: ignore[typeddict-item]


def test_a_line_is_plain_json_with_the_crc_last() -> None:
    value = json.loads(line({"a": 1}))
    assert tuple(value) == (*ENTRY_FIELDS, "crc")


# -- what JSON would change ----------------------------------------------------------------------


class Colour(str, enum.Enum):  # noqa: UP042 - a string that is more than one
    RED = "red"


@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        float("inf"),
        -float("inf"),
        b"bytes",
        bytearray(b"x"),
        {1, 2},
        (1, 2),
        dt.datetime(2026, 1, 2, tzinfo=dt.UTC),
        dt.date(2026, 1, 2),
        uuid.UUID(int=1),
        decimal.Decimal("1.5"),
        Colour.RED,
        1j,
        object(),
        2**64,
        -(2**63) - 1,
        10**5000,
        "\ud800",
        "\udfff tail",
        {1: "a key that is no string"},
        {None: 1},
        {"\ud800": 1},
        Ellipsis,
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_value_that_json_would_change_is_refused_wherever_it_stands(value: Any) -> None:
    for op in ({"v": value}, {"v": [value]}, {"v": [{"w": value}]}):
        with pytest.raises(InvalidEntryError):
            encode_line(entry(op))


def test_the_refusal_says_where_the_value_stands() -> None:
    with pytest.raises(InvalidEntryError, match=r"domain_op\.a\[1\]\.b: float nan") as caught:
        encode_line(entry({"a": [0, {"b": float("nan")}]}))
    assert caught.value.field == "domain_op"


def test_a_value_that_contains_itself_is_refused() -> None:
    op: dict[str, Any] = {}
    op["self"] = op
    with pytest.raises(InvalidEntryError):
        encode_line(entry(op))


def nested(depth: int) -> dict[str, Any]:
    op: dict[str, Any] = {}
    for _ in range(depth - 1):
        op = {"in": op}
    return op


def test_an_op_nested_64_deep_is_taken_and_65_deep_is_refused() -> None:
    assert decode_line(encode_line(entry(nested(64)))[:-1])["domain_op"] == nested(64)
    for depth in (65, 300, 100_000):
        with pytest.raises(InvalidEntryError, match="deep"):
            encode_line(entry(nested(depth)))


def test_a_wide_op_is_not_a_deep_one() -> None:
    wide = entry({"list": [{} for _ in range(1000)]})
    assert decode_line(encode_line(wide)[:-1]) == wide


def test_a_line_longer_than_the_limit_is_refused() -> None:
    limits = Limits(entry_bytes=1000)
    room = 1000 - len(line({"text": ""}))
    assert len(encode_line(entry({"text": "x" * room}), limits)) == 1000
    with pytest.raises(InvalidEntryError, match="at most 1000"):
        encode_line(entry({"text": "x" * (room + 1)}), limits)


def test_a_surrogate_in_a_name_is_refused() -> None:
    with pytest.raises(InvalidEntryError):
        encode_line(make_op_entry("a\ud800", "notes", {}, 1))


# -- lines of other tools ------------------------------------------------------------------------


def test_a_line_without_a_crc_is_read_in_any_key_order() -> None:
    one = entry({"op": "insert"})
    reordered = json.dumps(dict(reversed(one.items())), indent=None).encode()
    assert decode_line(reordered) == one
    assert decode_block(b"  " + reordered + b" \r\n", 0).entries == [one]


@pytest.mark.parametrize(
    "text", ["[]", "null", "{}", "1", '"x"', "true", "[{}]", '{"op_id":1}', "{", "nonsense"]
)
def test_foreign_json_is_reported_and_breaks_nothing(text: str) -> None:
    block = decode_block(line() + text.encode() + b"\n" + line(), 0)
    assert len(block.entries) == 2
    [damage] = block.damages
    assert damage.offset == len(line())
    assert damage.length == len(text)


@pytest.mark.parametrize(
    "op",
    [
        '{"a":1,"a":2}',
        '{"in":{"a":1,"a":1}}',
        '{"a":NaN}',
        '{"a":Infinity}',
        '{"a":-Infinity}',
        '{"a":1e400}',
        '{"a":-1e400}',
        '{"a":18446744073709551616}',
        '{"a":-9223372036854775809}',
        '{"a":' + "9" * 5000 + "}",
        '{"a":"\\ud800"}',
        '{"\\udfff":1}',
        '{"a":' + "[" * 100_000 + "]" * 100_000 + "}",
        '{"a":"\x01"}',
        "[]",
        "null",
    ],
    ids=lambda text: text[:20],
)
def test_what_parsers_let_pass_in_silence_is_refused_in_a_line_without_a_crc(op: str) -> None:
    with pytest.raises(InvalidEntryError):
        decode_line(with_op(op))
    block = decode_block(with_op(op) + b"\n" + line(), 0)
    assert len(block.entries) == 1
    assert [damage.kind for damage in block.damages] == ["corrupt"]


@pytest.mark.parametrize(
    "op",
    [
        '{"a":NaN}',
        '{"a":1e400}',
        '{"a":"\\ud800"}',
        '{"a":' + "9" * 5000 + "}",
        '{"a":' + "[" * 100_000 + "]" * 100_000 + "}",
        "[]",
        "null",
    ],
    ids=lambda text: text[:20],
)
def test_what_is_no_entry_is_refused_in_a_line_whose_crc_holds(op: str) -> None:
    framed = frame(with_op(op))
    with pytest.raises(InvalidEntryError, match="the crc holds"):
        decode_line(framed[:-1])
    assert len(decode_block(framed + line(), 0).entries) == 1


def test_a_known_surrogate_pair_is_fine() -> None:
    found: Any = decode_line(with_op('{"a":"\\ud83c\\udfb5"}'))
    assert found["domain_op"] == {"a": "🎵"}


def test_a_key_that_stands_twice_in_the_entry_is_refused() -> None:
    twice = foreign(entry())[:-1] + b', "actor_id": "eve"}'
    with pytest.raises(InvalidEntryError, match="'actor_id' appears twice"):
        decode_line(twice)


def test_of_many_keys_the_one_that_is_there_twice_is_named() -> None:
    for count in (2, 300_000):  # in time that grows with their number, not with its square
        keys = ",".join(f'"{number}":0' for number in range(count))
        with pytest.raises(InvalidEntryError, match=f"the key '{count - 1}' appears twice"):
            parse_strictly(f'{{{keys},"{count - 1}":1,"0":1}}'.encode())


def test_of_a_long_key_that_is_there_twice_only_the_start_is_named() -> None:
    key = "k" * 100_000
    with pytest.raises(InvalidEntryError) as caught:
        parse_strictly(f'{{"{key}":0,"{key}":0}}'.encode())
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    "changes", [{"crc": "zz"}, {"mood": 1}, {"op_id": "x"}, {"lamport_ts": 0}, {"actor_id": ""}]
)
def test_a_foreign_line_with_a_wrong_field_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidEntryError):
        decode_line(foreign(entry(), **changes))


def test_keys_of_later_versions_are_dropped_from_a_framed_line() -> None:
    one = entry()
    assert decode_line(frame(foreign(one, mood="blue"))[:-1]) == one


def test_crlf_is_read_like_lf() -> None:
    lines = [line({"n": number}) for number in range(3)]
    plain = decode_block(b"".join(lines), 0)
    block = decode_block(b"".join(each.replace(b"\n", b"\r\n") for each in lines), 0)
    assert block.entries == plain.entries
    assert block.damages == []
    assert block.starts == [sum(len(each) + 1 for each in lines[:count]) for count in range(3)]


def test_blank_lines_are_passed_over() -> None:
    block = decode_block(b"\n" + line() + b"\r\n   \n" + line(), 10)
    assert block.starts == [11, 11 + len(line()) + 6]
    assert block.damages == []


def test_a_byte_order_mark_is_reported_and_named() -> None:
    with pytest.raises(InvalidEntryError, match="byte order mark"):
        parse_strictly(b"\xef\xbb\xbf" + foreign(entry()))
    block = decode_block(b"\xef\xbb\xbf" + line(), 0)
    assert [(damage.offset, damage.length, damage.kind) for damage in block.damages] == [(0, 3, "corrupt")]
    assert block.starts == [3]


def test_utf_16_is_reported() -> None:
    block = decode_block(line().decode().encode("utf-16") + b"\n", 0)
    assert block.entries == []
    assert "corrupt" in {damage.kind for damage in block.damages}
