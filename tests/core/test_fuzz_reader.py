"""Whatever bytes a log holds, a reader never fails, never makes an entry up, and never hides damage."""

import json
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from muse.core.blocks import Block, decode_block, decode_positions, decode_stamps
from muse.core.damage import is_torn
from muse.core.entry import OpEntry
from muse.core.line import FRAME_LENGTH, PREFIX, encode_line
from muse.core.op_log import OpLog, make_op_entry
from muse.errors import CorruptionError
from tests.samples.project import TESTS

CORPUS = TESTS / "samples" / "corpus"
SEEDS = {path.name: path.read_bytes() for path in sorted(CORPUS.glob("*.bin"))}


def fixed_entry(number: int, **op: Any) -> OpEntry:
    entry = make_op_entry(("ada", "bob é")[number % 2], "notes", op, number)
    entry["op_id"] = f"6f1c2a34-9d0e-4b7a-8c55-{number:012x}"
    entry["created_at"] = "2026-01-02T03:04:05.678+00:00"
    return entry


ENTRIES = [
    fixed_entry(1, op="insert", address="a.mid", position=None),
    fixed_entry(2, text='quotes " and \\ and é and \u2028', deep=[{"a": [1, 2.5, True, None]}]),
    fixed_entry(3),
    fixed_entry(4, like_an_entry='{"op_id":"', crc=7),
]
LINES = [encode_line(entry) for entry in ENTRIES]
LOG = b"".join(LINES)


def check(data: bytes) -> Block:
    """Decode `data` and hold what comes back to the bytes themselves."""
    data = data if data.endswith(b"\n") else data + b"\n"
    block = decode_block(data, 1000)
    assert block.starts == sorted(block.starts)
    assert len(block.starts) == len(block.entries)
    accounted = bytearray(len(data))
    for start, entry in zip(block.starts, block.entries, strict=True):
        length = length_of_entry(data[start - 1000 :].partition(b"\n")[0], entry)
        assert not any(accounted[start - 1000 : start - 1000 + length])
        accounted[start - 1000 : start - 1000 + length] = b"\1" * length
    for damage in block.damages:
        place = slice(damage.offset - 1000, damage.offset - 1000 + damage.length)
        assert damage.length > 0
        assert not any(accounted[place])
        accounted[place] = b"\1" * damage.length
    # Every byte is an entry's, damage, or the blank between lines.
    left = bytes(byte for byte, done in zip(data, accounted, strict=True) if not done)
    assert left.strip(b" \r\n") == b""
    stamps = decode_stamps(data)
    assert stamps is None or len(stamps) >= len(block.entries)
    assert len(decode_positions(data, 1000)) >= len(block.entries)
    return block


def length_of_entry(line: bytes, entry: OpEntry) -> int:
    """Find the bytes of an entry at the start of `line`: framed by a crc that holds, or all of the line."""
    end = line.find(b',"crc":"')
    while end >= 0:
        framed = line[: end + FRAME_LENGTH]
        if framed[end:] == b',"crc":"%08x"}' % zlib.crc32(framed[:end]):
            value = json.loads(framed)
            assert {key: value[key] for key in entry} == entry
            return len(framed)
        end = line.find(b',"crc":"', end + 1)
    assert json.loads(line) == entry
    return len(line)


# -- the corpus ----------------------------------------------------------------------------------


def test_there_is_a_corpus() -> None:
    assert len(SEEDS) >= 20


@pytest.mark.parametrize("name", SEEDS)
def test_the_corpus_holds_no_surprise(name: str) -> None:
    expected = json.loads((CORPUS / "expected.json").read_text(encoding="utf-8"))[name]
    block = check(SEEDS[name])
    assert [entry["lamport_ts"] for entry in block.entries] == expected["stamps"]
    assert [damage.kind for damage in block.damages] == expected["damages"]


# -- mutations -----------------------------------------------------------------------------------

places = st.integers(0, 4000)
pieces = st.one_of(
    st.sampled_from(
        [PREFIX, b"\n", b"\r\n", b"\0" * 7, b"{", b'"}', b',"crc":"', b"\xff", b"\\u0000", b"[]", b"null"]
    ),
    st.sampled_from(LINES),
    st.builds(lambda line, start, stop: line[start:stop], st.sampled_from(LINES), places, places),
    st.binary(max_size=20),
)
mutations = st.one_of(
    st.tuples(st.just("flip"), places, st.integers(0, 7)),
    st.tuples(st.just("insert"), places, pieces),
    st.tuples(st.just("replace"), places, pieces),
    st.tuples(st.just("delete"), places, st.integers(1, 600)),
    st.tuples(st.just("swap"), places, places),
)


def mutated(data: bytes, steps: list[tuple[str, int, Any]]) -> bytes:
    for kind, place, value in steps:
        at = place % (len(data) + 1)
        if kind == "flip" and at < len(data):
            data = data[:at] + bytes([data[at] ^ 1 << value]) + data[at + 1 :]
        elif kind == "insert":
            data = data[:at] + value + data[at:]
        elif kind == "replace":
            data = data[:at] + value + data[at + len(value) :]
        elif kind == "delete":
            data = data[:at] + data[at + value :]
        elif kind == "swap":
            data = data[at:] + data[:at]
    return data


@given(st.sampled_from([LOG, *SEEDS.values()]), st.lists(mutations, max_size=6))
@settings(max_examples=600, deadline=None)
def test_a_mutated_log_is_read_without_failing_or_making_anything_up(data: bytes, steps: list[Any]) -> None:
    check(mutated(data, steps))


@pytest.mark.long
@given(st.sampled_from([LOG, *SEEDS.values()]), st.lists(mutations, max_size=12))
@settings(max_examples=60_000, deadline=None)
def test_many_mutated_logs_are_read_without_failing_or_making_anything_up(
    data: bytes, steps: list[Any]
) -> None:
    check(mutated(data, steps))


@given(st.binary(max_size=400))
@example(b"\x00")
@settings(max_examples=300, deadline=None)
def test_noise_is_read_without_failing(noise: bytes) -> None:
    check(noise)
    check(LINES[0] + noise + LINES[1])
    is_torn(noise)


# -- every bit, every byte -----------------------------------------------------------------------


@pytest.mark.parametrize("line", LINES, ids=range(len(LINES)))
def test_a_whole_line_with_a_flipped_bit_is_never_taken_for_a_torn_one(line: bytes) -> None:
    content = line[:-1]
    for place in range(len(content)):
        for bit in range(8):
            flipped = content[:place] + bytes([content[place] ^ 1 << bit]) + content[place + 1 :]
            assert b"\n" in flipped or not is_torn(flipped), (place, bit)


def test_every_flipped_bit_of_a_log_is_reported_and_costs_no_entry_but_its_own() -> None:
    for place in range(len(LOG) - 1):  # the last newline is no more than the end of the log
        hit = LOG.count(b"\n", 0, place)
        for bit in range(8):
            block = decode_block(LOG[:place] + bytes([LOG[place] ^ 1 << bit]) + LOG[place + 1 :], 0)
            others = [entry for number, entry in enumerate(ENTRIES) if number != hit]
            assert [entry for entry in block.entries if entry != ENTRIES[hit]] == others, (place, bit)
            if LOG[place] == ord("\n"):
                assert block.entries == ENTRIES
            assert "corrupt" in {damage.kind for damage in block.damages}, (place, bit)


def test_a_flipped_last_newline_hides_its_entry_only_until_the_next_append(tmp_path: Path) -> None:
    with OpLog(tmp_path, "jam") as log:
        first = log.record("ada", "notes", {"n": 1})
        path = tmp_path / ".muse" / "op_log" / "jam" / "ops.jsonl"
        path.write_bytes(path.read_bytes()[:-1] + b"\x0b")
    with OpLog(tmp_path, "jam") as log:
        second = log.record("ada", "notes", {"n": 2})
        found = log.read_all(salvage=True)
        assert sorted(found, key=lambda entry: entry["created_at"] + str(entry["domain_op"])) == [
            first,
            second,
        ]
        with pytest.raises(CorruptionError):
            log.read_all()


def test_a_log_cut_at_any_byte_gives_its_whole_lines_and_glues_nothing_to_the_next() -> None:
    ends = [len(b"".join(LINES[:number])) for number in range(len(LINES) + 1)]
    later = fixed_entry(9, after=True)
    for length in range(len(LOG) + 1):
        block = check(LOG[:length] + encode_line(later))
        # A line that lacks its newline alone is whole.
        whole = sum(length >= end - 1 for end in ends[1:])
        assert block.entries == [*ENTRIES[:whole], later]
        assert {damage.kind for damage in block.damages} <= {"torn"}


def test_a_torn_op_that_has_a_key_like_the_frames_is_torn() -> None:
    line = encode_line(fixed_entry(1, a=1, crc="of the client"))
    assert all(is_torn(line[:length]) for length in range(1, len(line) - 1))
