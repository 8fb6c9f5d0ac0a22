"""An entry is one line; damage is found, good lines inside bad ones too."""

import datetime as dt
import decimal
import enum
import json
import uuid
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muse.core.entry import ENTRY_FIELDS, Limits, OpEntry
from muse.core.op_log import make_op_entry
from muse.core.record import (
    decode_block,
    decode_line,
    decode_positions,
    decode_stamps,
    encode_line,
    frame,
    is_torn,
    parse_strictly,
)
from muse.errors import InvalidEntryError

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


def entry(domain_op: dict[str, Any] | None = None, lamport_ts: int = 1) -> OpEntry:
    return make_op_entry("ada", "notes", {} if domain_op is None else domain_op, lamport_ts)


def line(domain_op: dict[str, Any] | None = None, lamport_ts: int = 1) -> bytes:
    return encode_line(entry(domain_op, lamport_ts))


def foreign(one: OpEntry, **changes: Any) -> bytes:
    return json.dumps({**one, **changes}).encode()


def with_op(text: str) -> bytes:
    """A line as another tool writes it, its op given as JSON text."""
    return foreign(entry()).replace(b'"domain_op": {}', b'"domain_op": ' + text.encode())


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
    encode_line(entry({"list": [{} for _ in range(1000)]}))


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
    with pytest.raises(InvalidEntryError, match="'actor_id' stands twice"):
        decode_line(twice)


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


# -- damage --------------------------------------------------------------------------------------


def test_no_flipped_bit_makes_a_wrong_entry_or_hides_one_in_silence() -> None:
    lines = [line({"text": "J*é\x1f", "n": [1, {}]}, 1), line({"op": "move"}, 2), line({}, 3)]
    data = b"".join(lines)
    good = decode_block(data, 0).entries
    for bit in range(len(data) * 8):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        whole = bytes(flipped[: flipped.rfind(b"\n") + 1])
        block = decode_block(whole, 0)
        assert all(one in good for one in block.entries), bit
        lost = [one for one in good if one not in block.entries]
        assert len(lost) <= 1, bit
        is_tail = len(whole) < len(data)
        corrupt = [damage for damage in block.damages if damage.kind == "corrupt"]
        assert not lost or corrupt or is_tail, bit


def test_a_line_cut_at_any_byte_is_torn_and_the_line_glued_to_it_is_found() -> None:
    rich = line({"text": 'é\u2028"\\\x1f🎵', "n": [-1.5e300, 1e-7, 12], "w": [True, False, None], "o": {}})
    after = line({"n": 2}, 2)
    for length in range(1, len(rich) - 1):
        block = decode_block(rich[:length] + after, 0)
        assert block.entries == decode_block(after, 0).entries, length
        assert block.starts == [length]
        assert [(damage.length, damage.kind) for damage in block.damages] == [(length, "torn")]


def test_a_line_that_lacks_only_its_newline_is_found_before_the_one_glued_to_it() -> None:
    first, second = line({"n": 1}), line({"n": 2}, 2)
    block = decode_block(first[:-1] + second, 0)
    assert block.starts == [0, len(first) - 1]
    assert block.damages == []


@given(st.lists(st.integers(10, 200), min_size=1, max_size=6))
@settings(deadline=None)
def test_several_fragments_glued_before_a_good_line_hide_nothing(lengths: list[int]) -> None:
    good = line({"last": True}, 9)
    pieces = [line({"n": number})[:length] for number, length in enumerate(lengths)]
    block = decode_block(b"".join([*pieces, good]), 0)
    assert block.entries == [decode_line(good[:-1])]
    # A fragment may go on like the value that the one before it was cut in: they are one then.
    assert {damage.kind for damage in block.damages} == {"torn"}
    assert sum(damage.length for damage in block.damages) == sum(lengths)


@given(st.lists(st.integers(10, 200), min_size=1, max_size=5))
@settings(deadline=None)
def test_good_lines_between_glued_fragments_are_all_found(lengths: list[int]) -> None:
    lines = [line({"n": number}, number + 1) for number in range(len(lengths))]
    pairs = zip(lengths, lines, strict=True)
    block = decode_block(b"".join(line({})[:length] + good[:-1] for length, good in pairs) + b"\n", 0)
    assert [one["lamport_ts"] for one in block.entries] == list(range(1, len(lengths) + 1))
    assert {damage.kind for damage in block.damages} == {"torn"}


@given(st.binary(max_size=300))
def test_no_bytes_at_all_raise(noise: bytes) -> None:
    block = decode_block(noise + b"\n", 0)
    assert block.entries == []
    decode_positions(noise + b"\n", 0)
    decode_stamps(noise + b"\n")


def test_nuls_where_a_power_cut_left_a_hole_are_torn() -> None:
    block = decode_block(line()[:50] + b"\0" * 100 + b"\n" + b"\0" * 30 + line() + b"\0\n", 0)
    assert len(block.entries) == 1
    assert [damage.kind for damage in block.damages] == ["torn", "torn", "torn"]


def test_nuls_inside_a_line_are_corrupt() -> None:
    whole = line({"text": "x" * 100})
    block = decode_block(whole.replace(b"x" * 50, b"\0" * 50) + line(), 0)
    assert [damage.kind for damage in block.damages] == ["corrupt"]
    assert len(block.entries) == 1


def test_damage_names_the_op_it_may_have_cost() -> None:
    one = entry()
    block = decode_block(encode_line(one).replace(b'"ada"', b'"eve"'), 70)
    [damage] = block.damages
    assert (damage.offset, damage.kind, damage.op_id) == (70, "corrupt", one["op_id"])
    assert "crc" in damage.reason


def test_an_op_that_holds_a_whole_line_never_becomes_two_entries() -> None:
    """A client may wrap an entry, crc and all, in its op: torn behind it, that must not be taken for one."""
    inner = json.loads(encode_line(make_op_entry("victim", "notes", {"op": "delete"}, 3)))
    try:
        outer = encode_line(entry({"child": inner}))
    except InvalidEntryError:
        return  # refused before it is written
    for length in range(1, len(outer) - 1):
        assert decode_block(outer[:length] + b"\n", 0).entries == []


def test_many_starts_of_lines_in_a_bad_line_take_bounded_work() -> None:
    bad = (b'{"op_id":"' + b',"crc":"00000000"}') * 3000
    block = decode_block(bad + b"\n" + line(), 0)
    assert len(block.entries) == 1


@pytest.mark.parametrize("fragment", [b"", b"\0\0", b"{", b'{"op_id":"', b'{"op_id":"\0', b'{"op_id":"6f1c'])
def test_the_start_of_a_line_is_torn(fragment: bytes) -> None:
    assert is_torn(fragment)


@pytest.mark.parametrize("fragment", [b"x", b"}", b'{"op_ie', b"[1,2", b'{"op_id":"a"}', b'{"op_id":"a"},'])
def test_anything_else_is_not(fragment: bytes) -> None:
    assert not is_torn(fragment)


# -- positions and stamps ------------------------------------------------------------------------


@given(
    st.lists(
        st.sampled_from(
            [line(), line({"a": 1}, 7), line()[:40] + b"\n", b"\n", b"[]\n", line()[:30] + line()]
        ),
        min_size=1,
    )
)
@settings(deadline=None)
def test_positions_and_stamps_agree_with_the_entries(parts: list[bytes]) -> None:
    data = b"".join(parts)
    block = decode_block(data, 5)
    positions = decode_positions(data, 5)
    assert [position.offset for position in positions] == block.starts
    assert [position.lamport_ts for position in positions] == [one["lamport_ts"] for one in block.entries]
    stamps = decode_stamps(data)
    assert stamps is None or stamps == [one["lamport_ts"] for one in block.entries]
