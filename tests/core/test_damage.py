"""Damage is found and named: torn or corrupt, and good lines inside bad ones too."""

import json
from collections.abc import Callable
from typing import Any

import msgspec
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import muse.core.blocks as blocks_module
import muse.core.line as line_module
from muse.core.blocks import decode_block, decode_positions, decode_stamps
from muse.core.damage import is_torn
from muse.core.line import decode_line, encode_line
from muse.core.op_log import make_op_entry
from muse.core.strict_json import is_cut_short
from muse.errors import InvalidEntryError
from tests.core.test_line import ops
from tests.samples.lines import entry, line
from tests.samples.project import TESTS


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


# -- other words -----------------------------------------------------------------------------------


def in_other_words(call: Callable[..., Any]) -> Callable[..., Any]:
    """Make a call raise what it raises, with another text."""

    def called(*arguments: Any, **options: Any) -> Any:
        try:
            return call(*arguments, **options)
        except json.JSONDecodeError as error:
            raise type(error)("in other words", error.doc, error.pos) from None
        except msgspec.MsgspecError as error:
            raise type(error)("in other words") from None

    return called


class DecoderInOtherWords:
    def __init__(self, decoder: Any) -> None:
        self.decode = in_other_words(decoder.decode)
        self.decode_lines = in_other_words(decoder.decode_lines)


def verdicts(data: bytes) -> tuple[Any, ...]:
    block = decode_block(data if data.endswith(b"\n") else data + b"\n", 0)
    found = [(one.offset, one.length, one.kind, one.op_id) for one in block.damages]
    return block.entries, block.starts, found, [is_torn(data[:length]) for length in range(0, len(data), 7)]


def test_no_verdict_hangs_on_the_words_of_a_library(monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = [path.read_bytes() for path in sorted((TESTS / "corpus").glob("*.bin"))]
    before = [verdicts(data) for data in corpus]
    monkeypatch.setattr(orjson, "loads", in_other_words(orjson.loads))
    monkeypatch.setattr(json, "loads", in_other_words(json.loads))
    for module in (line_module, blocks_module):
        for name, value in list(vars(module).items()):
            if isinstance(value, msgspec.json.Decoder):
                monkeypatch.setattr(module, name, DecoderInOtherWords(value))
    assert [verdicts(data) for data in corpus] == before


# -- JSON that ends too early -----------------------------------------------------------------------


@given(ops)
@settings(deadline=None)
def test_json_cut_at_any_byte_ends_too_early_and_whole_it_does_not(op: dict[str, Any]) -> None:
    for text in (orjson.dumps(op), json.dumps(op).encode(), json.dumps(op, indent=1).encode()):
        assert all(is_cut_short(text[:length]) for length in range(len(text)))
        assert not is_cut_short(text)
        assert not is_cut_short(text + b"]")


@pytest.mark.parametrize(
    "text",
    [
        "[1 ",
        "[-",
        "[-0",
        "[1.",
        "[1e",
        "[1E+",
        "[tru",
        '["\\',
        '["\\u00a',
        '{"a"',
        '{"a":',
        '{"a":1,',
        "[[]",
        " ",
    ],
)
def test_json_that_could_go_on_ends_too_early(text: str) -> None:
    assert is_cut_short(text.encode())


@pytest.mark.parametrize(
    "text",
    [
        "[01",
        "[1.e",
        "[+1",
        "[.5",
        "[trux",
        '["\\x',
        '["\\u00g',
        '["\n',
        '{"a",',
        "{1",
        '{"a":1,}',
        "[1}",
        "[1,]",
        "[NaN",
        "[1 2",
        '{"a" 1',
        "[]",
        "1",
        "[] [",
    ],
)
def test_json_that_is_wrong_before_its_end_does_not(text: str) -> None:
    assert not is_cut_short(text.encode())


@pytest.mark.parametrize("end", [b"\xc3", b"\xe2\x80", b"\xf0\x9f\x8e"])
def test_json_may_end_inside_a_character(end: bytes) -> None:
    assert is_cut_short(b'["a' + end)
    assert not is_cut_short(b'["a' + end + b'"')
    assert not is_cut_short(b'["a' + end + b"\xff\xff\xff\xff")
