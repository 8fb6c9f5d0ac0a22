"""The compiled part and the Python beside it give the same, byte for byte, or the compiled part says None."""

import os
import random
import struct
import zlib
from typing import Any

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from muse.core import compiled
from muse.core.blocks import decode_any_block
from muse.core.entry import DEFAULT_LIMITS, ENTRY_FIELDS, Limits, OpEntry
from muse.core.line import encode_any_line
from muse.core.new_entries import make_op_entry
from tests.samples.any_entries import changes, line_in_python, op_ids, ops

pytestmark = pytest.mark.skipif(
    compiled.NATIVE is None, reason=f"there is nothing to compare: {compiled.FORM}"
)


def check_encoding(entry: Any, limits: Limits = DEFAULT_LIMITS) -> bytes | None:
    """Both encode alike; the line is decoded alike."""
    ours = compiled.encode_line(entry, limits)
    many = compiled.encode_entries([entry], limits)
    assert (ours is None) == (many is None)
    if ours is None or many is None:
        return None
    assert ours == line_in_python(entry, limits)
    has_parents = bool(entry["parent_op_ids"])
    assert many == (ours, [entry["op_id"]], [entry["lamport_ts"]], [len(ours)], has_parents)
    check_decoding(ours)
    return ours


def check_decoding(data: bytes) -> bool:
    """Every way to read the bytes gives what Python gives, or says that it is unusual."""
    expected = decode_any_block(data, 7)
    found = compiled.decode_block(data, 7)
    scanned = compiled.scan_block(data, 7, check_crc=True)
    assert (found is None) == (scanned is None)
    in_order: dict[str, OpEntry] = {}
    taken, _ = compiled.collect_entries(data, in_order, 0)
    frontier: dict[str, int] = {}
    one_by_one = compiled.rising_entries(data, 7, 0, frontier)
    assert one_by_one is not None
    located = list(one_by_one)
    whole = list(zip(expected.starts, expected.entries, strict=True))
    assert repr(located) == repr([place for place in whole if place[0] < one_by_one.taken + 7])
    assert repr(list(in_order.values())) == repr([entry for start, entry in whole if start < taken + 7])
    for _, entry in located:
        assert frontier[entry["actor_id"]] >= entry["lamport_ts"]
    if found is None or scanned is None:
        return False
    assert repr(found) == repr((expected.entries, expected.starts))
    assert expected.damages == []
    stamps = [entry["lamport_ts"] for entry in expected.entries]
    assert scanned == ([entry["op_id"] for entry in expected.entries], stamps, expected.starts)
    return True


# -- writing -------------------------------------------------------------------------------------------


@given(ops)
@example({"op_id": "x", "a": {"op_id": "y"}, "b": [{"op_id": "z"}, {"op_id": 1}]})
@example({"12345678": "1234567", '1234567"': "1234567\\", "": "\x00", "é": "é" * 9})
def test_an_op_is_written_as_python_writes_it(op: Any) -> None:
    check_encoding(make_op_entry("ada", "notes", op, 7))


@given(changes, st.sampled_from(("", *ENTRY_FIELDS)))
def test_a_field_is_judged_as_python_judges_it(change: dict[str, Any], dropped: str) -> None:
    entry: Any = {**make_op_entry("ada", "notes", {"op": "insert"}, 7), **change}
    entry.pop(dropped, None)
    check_encoding(entry)


@given(st.lists(op_ids, max_size=4), st.integers(0, 3))
def test_parents_are_judged_as_python_judges_them(parents: list[str], repeated: int) -> None:
    entry = make_op_entry("ada", "notes", {}, 7)
    entry["parent_op_ids"] = [*parents, *parents[:repeated]]
    assert (check_encoding(entry) is None) == (line_in_python(entry) is None)
    entry["parent_op_ids"] = [*parents, entry["op_id"]]
    assert check_encoding(entry) is None


@given(
    st.floats(allow_nan=False, allow_infinity=False)
    | st.integers(0, 2**64 - 1).map(lambda bits: struct.unpack("<d", struct.pack("<Q", bits))[0])
)
def test_a_float_is_written_as_orjson_writes_it(value: float) -> None:
    line = check_encoding(make_op_entry("ada", "notes", {"x": value}, 7))
    assert line is None or b'{"x":%b}' % orjson.dumps(value) in line


@pytest.mark.parametrize("levels", [1, 2, 63, 64, 65, 66, 300])
def test_nesting_is_bounded_as_in_python(levels: int) -> None:
    op: Any = {}
    for level in range(levels - 1):
        op = {"a": [op]} if level % 3 == 0 else {"a": op}
    for limits in (DEFAULT_LIMITS, Limits(nesting_depth=200), Limits(nesting_depth=2)):
        check_encoding(make_op_entry("ada", "notes", op, 7), limits)


def test_every_usual_entry_is_encoded_without_python() -> None:
    for op in (
        {},
        {"a": [1, 2.5, None, True, {"b": ["c", "é\n"]}]},
        {"op_id": "x"},
        {"x": -(2**63), "y": 2**64 - 1},
    ):
        assert check_encoding(make_op_entry("ada", "notes", op, 7)) is not None


@pytest.mark.parametrize("size", [(1 << 20) - 500, 1 << 20])
def test_the_longest_line_is_as_in_python(size: int) -> None:
    entry = make_op_entry("ada", "notes", {"x": "y" * size}, 7)
    for change in range(-3, 4):
        limits = Limits(entry_bytes=len(line_in_python(entry, Limits(entry_bytes=1 << 22)) or b"") + change)
        assert (check_encoding(entry, limits) is None) == (line_in_python(entry, limits) is None)


@given(st.text(max_size=300), st.integers(0, 300))
def test_the_length_of_a_text_is_as_in_python(text: str, most: int) -> None:
    check_encoding(make_op_entry(text, "notes", {}, 7), Limits(text_length=most))


# -- reading -------------------------------------------------------------------------------------------

SOME = [
    {"op": "insert", "n": 1, "f": {"v": [1.5, -2, None, True, "a\n"]}, "position": None},
    {"op": "replace", "text": "é€" * 5, "op_id": "x", "big": 2**63},
    {"a": {"b": {"c": [[], {}, [""]]}}, "e": 1e300, "z": -0.0},
]
LINES = [
    encode_any_line(make_op_entry(f"actor{number % 2}", "notes", op, number + 1), DEFAULT_LIMITS)
    for number, op in enumerate(SOME * 2)
]


def with_good_crcs(data: bytes) -> bytes:
    """Hostile bytes under sums that hold, or nothing but the sums would be tested."""
    lines = [
        b'%b,"crc":"%08x"}' % (line[:-18], zlib.crc32(line[:-18])) if len(line) > 18 else line
        for line in data.split(b"\n")
    ]
    return b"\n".join(lines)


def damaged(data: bytes, chance: random.Random) -> bytes:
    """Some bytes changed, taken out, put in or repeated."""
    damaged = bytearray(data)
    for _ in range(chance.randint(1, 3)):
        place, what = chance.randrange(len(damaged)), chance.random()
        if what < 0.4:
            damaged[place] = chance.randrange(256)
        elif what < 0.6:
            damaged[place : place + 1] = chance.choice(
                (b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b"0", b"-", b"e")
            )
        elif what < 0.8:
            del damaged[place : place + chance.randint(1, 9)]
        elif what < 0.9:
            damaged[place:place] = chance.randbytes(chance.randint(1, 4))
        else:
            damaged[place:place] = damaged[place : place + chance.randint(1, 40)]
    hostile = bytes(damaged)
    return (with_good_crcs(hostile) if chance.random() < 0.7 else hostile).removesuffix(b"\n") + b"\n"


@pytest.mark.parametrize("seed", range(8))
def test_damaged_lines_are_read_as_in_python_or_left_to_it(seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(int(os.environ.get("FUZZ_ROUNDS", "250"))):
        check_decoding(damaged(b"".join(chance.sample(LINES, 3)), chance))


@given(st.binary(max_size=300), st.booleans())
def test_any_bytes_are_read_as_in_python_or_left_to_it(data: bytes, framed: bool) -> None:  # noqa: FBT001
    check_decoding((with_good_crcs(data + b" " * 18) if framed else data) + b"\n")


VALUES = st.text(alphabet='0123456789-+.eE"\\/u{}[]:,abftnrlse \x1fé', max_size=24)


@settings(max_examples=400)
@given(VALUES)
@example('"\\ud83d\\ude00"')
@example('"\\u0041\\/"')
@example("18446744073709551615")
@example("18446744073709551616")
@example("-9223372036854775808")
@example("-0")
@example("1E5")
@example("01")
def test_any_value_in_an_op_is_read_as_in_python_or_left_to_it(value: str) -> None:
    line = LINES[0].replace(b'"n":1', b'"n":' + value.encode())
    check_decoding(with_good_crcs(line.removesuffix(b"\n")) + b"\n")


def test_every_usual_line_is_read_without_python() -> None:
    assert check_decoding(b"".join(LINES))


@pytest.mark.parametrize("levels", [1, 63, 64, 65, 239, 240, 241, 5000])
def test_deep_lines_are_read_as_in_python_or_left_to_it(levels: int) -> None:
    for opening, closing in ((b'{"a":', b"}"), (b"[", b"]")):
        line = LINES[0].replace(b'"n":1', b'"n":' + opening * levels + b"1" + closing * levels)
        check_decoding(with_good_crcs(line.removesuffix(b"\n")) + b"\n")


def test_a_crc_is_that_of_zlib_at_every_length() -> None:
    assert compiled.NATIVE is not None
    chance = random.Random(5)
    for size in (*range(700), 4096, 100_003):
        data = chance.randbytes(size)
        assert compiled.NATIVE.crc32(data) == zlib.crc32(data)


def test_new_op_ids_are_those_of_python() -> None:
    octets = random.Random(5).randbytes(16 * 50)
    made = compiled.format_op_ids(octets + b"left over")
    assert made is not None
    assert all(map(is_uuid4, made))
    assert [text.replace("-", "")[0:12] for text in made] == [
        octets[i : i + 6].hex() for i in range(0, 800, 16)
    ]


def is_uuid4(text: str) -> bool:
    entry = make_op_entry("ada", "notes", {}, 1)
    entry["op_id"] = text
    return line_in_python(entry) is not None
