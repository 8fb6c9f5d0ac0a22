"""The compiled index: the fingerprints and rows are those of the form in Python."""

import os
import random
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from muse.core import compiled
from muse.core.file.id_prints import KEY_BYTES, fingerprints, fingerprints_in_python, new_key
from tests.samples.any_entries import op_ids

pytestmark = pytest.mark.skipif(
    compiled.NATIVE is None, reason=f"there is nothing to compare: {compiled.FORM}"
)


@given(st.lists(op_ids, max_size=40), st.binary(min_size=KEY_BYTES, max_size=KEY_BYTES))
@example(["0" * 36], bytes(KEY_BYTES))
@example(["\x7f" * 36, "\0" * 36], b"\xff" * KEY_BYTES)
def test_fingerprints_are_those_of_python(some: list[str], key: bytes) -> None:
    assert compiled.fingerprints(some, key) in (None, fingerprints_in_python(some, key))
    assert fingerprints(some, key) == fingerprints_in_python(some, key)


@given(st.lists(st.text(min_size=30, max_size=40) | op_ids, max_size=5))
@example(["é" * 18])
@example(["\udc80" * 36])
@example(["x" * 35 + "é"])
def test_any_text_has_one_fingerprint_in_both_forms(some: list[str]) -> None:
    key = bytes(range(KEY_BYTES))
    found = compiled.fingerprints(some, key)
    is_usual = all(len(text) == 36 and text.isascii() for text in some)
    assert (found is not None) == is_usual
    assert found in (None, fingerprints_in_python(some, key))


def test_usual_ids_need_no_python() -> None:
    assert compiled.fingerprints(["0b9d7c61-52f3-4e08-9a47-1f2e3d4c5b6a"], new_key()) is not None
    unusual: Any = [7]
    assert compiled.fingerprints(unusual, new_key()) is None


def table() -> Any:
    return compiled.row_table()


def snapshot(segments: list[list[bytes]]) -> tuple[bytes, bytes]:
    """The directory, behind a place of zeros, and the rows of some segments."""
    places, count = bytes(12), 0
    for rows in segments:
        count += len(rows)
        places += count.to_bytes(8, "big") + zlib.crc32(b"".join(rows)).to_bytes(4, "big")
    return places, b"".join(map(b"".join, segments))


def some_segments(chance: random.Random, bits: int, count: int) -> list[list[bytes]]:
    rows = sorted(chance.randbytes(16) for _ in range(count))
    return [
        [row for row in rows if int.from_bytes(row[:8], "big") >> (64 - bits) == number]
        for number in range(1 << bits)
    ]


def find(  # noqa: PLR0917
    path: Path, prints: bytes, bits: int, places: bytes, kept: list[Any] | None = None, offset: int = 0
) -> Any:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        kept = [None] * (1 << bits) if kept is None else kept
        return compiled.find_in_snapshot(prints, bits, places, kept, descriptor, offset)
    finally:
        os.close(descriptor)


@pytest.mark.parametrize("bits", [0, 1, 5])
def test_every_row_of_a_snapshot_is_found_and_no_other(tmp_path: Path, bits: int) -> None:
    chance = random.Random(bits)
    segments = some_segments(chance, bits, 700)
    same = segments[0][0][:8]
    segments[0] = sorted([*segments[0], *(same + number.to_bytes(8, "big") for number in range(5))])
    places, rows = snapshot(segments)
    (tmp_path / "rows").write_bytes(b"head" + rows)
    kept: list[Any] = [None] * (1 << bits)
    for _ in range(2):  # the second time nothing is read
        for segment in segments:
            for row in segment:
                found = find(tmp_path / "rows", row[:8] + chance.randbytes(8), bits, places, kept, 4)
                starts = [other[8:] for other in segment if other[:8] == row[:8]]
                assert found == [(0, int.from_bytes(start, "big")) for start in starts]
        (tmp_path / "rows").write_bytes(b"")
    assert kept == [b"".join(segment) for segment in segments]


def test_a_segment_that_cannot_be_read_or_is_not_what_was_written_is_left_to_python(tmp_path: Path) -> None:
    segments = some_segments(random.Random(1), 1, 50)
    places, rows = snapshot(segments)
    path = tmp_path / "rows"
    one = segments[1][3][:8]
    path.write_bytes(rows)
    assert len(find(path, one, 1, places)) == 1
    assert find(path, one, 1, places, offset=1) is None
    path.write_bytes(rows[:-1])
    assert find(path, one, 1, places) is None
    path.write_bytes(rows[:-1] + bytes([rows[-1] ^ 1]))
    assert find(path, one, 1, places) is None
    assert compiled.find_in_snapshot(one, 1, places, [None, None], -1, 0) is None
    huge = places[:12] + (1 << 60).to_bytes(8, "big") + places[20:]
    assert find(path, bytes(8), 1, huge) is None
    assert find(path, one, 1, huge) is None  # its end is before its start


def test_rows_that_are_merged_are_sorted_and_in_bounds() -> None:
    chance = random.Random(2)
    some, others = (sorted(chance.randbytes(16) for _ in range(count)) for count in (90, 40))
    for first, last in ((0, (1 << 64) - 1), (1 << 62, 1 << 63)):
        expected = [row for row in sorted(some + others) if first <= int.from_bytes(row[:8], "big") <= last]
        assert compiled.merge_rows(b"".join(some), b"".join(others), first, last) == b"".join(expected)
    assert compiled.merge_rows(b"", b"", 0, 1) == b""
    assert compiled.merge_rows(b"cut", bytes(20), 0, 1) == bytes(16)


@pytest.mark.parametrize(
    "misuse",
    [
        lambda: table().find(b"1234567"),
        lambda: table().find("12345678"),
        lambda: table().add(bytes(8), []),
        lambda: table().add(bytes(8), [-1]),
        lambda: table().add(bytes(8), ["x"]),
        lambda: table().add(bytes(8), (1,)),
        lambda: table().add_one(bytes(16), 1),
        lambda: table().rows("x", 1),
        lambda: compiled.fingerprints([], b"short"),
        lambda: compiled.find_in_snapshot(bytes(8), 1, bytes(36), [None], 0, 0),
        lambda: compiled.find_in_snapshot(bytes(8), 1, bytes(35), [None, None], 0, 0),
        lambda: compiled.find_in_snapshot(bytes(7), 1, bytes(36), [None, None], 0, 0),
        lambda: compiled.find_in_snapshot(bytes(8), -1, bytes(36), [None, None], 0, 0),
        lambda: compiled.find_in_snapshot(bytes(8), 64, bytes(36), [None, None], 0, 0),
    ],
)
def test_misuse_is_an_error_and_no_crash(misuse: Any) -> None:
    with pytest.raises((TypeError, OverflowError)):
        misuse()


@pytest.mark.parametrize("seed", range(4))
def test_hostile_bytes_of_a_snapshot_stay_within_bounds(tmp_path: Path, seed: int) -> None:
    """Rows whose sums hold may still be in no order, cut, or outside of their segment."""
    chance = random.Random(seed)
    path = tmp_path / "rows"
    for _ in range(100):
        bits = chance.randrange(4)
        rows = chance.randbytes(chance.randrange(3_000))
        path.write_bytes(rows)
        places, end = bytes(12), 0
        for _number in range(1 << bits):
            start, end = end, min(end + chance.randrange(60), len(rows) // 16 + chance.randrange(2))
            places += end.to_bytes(8, "big") + zlib.crc32(rows[16 * start : 16 * end]).to_bytes(4, "big")
        prints = chance.randbytes(80) + rows[:80]
        find(path, prints[: len(prints) // 8 * 8], bits, places)
        odd: list[Any] = [rows] * (1 << bits)
        find(path, prints[:80], bits, places, odd)
        compiled.merge_rows(rows, rows[7:], chance.getrandbits(64), chance.getrandbits(64))


def test_a_table_gives_its_rows_back_by_ranges() -> None:
    chance = random.Random(4)
    of_all = table()
    numbers = sorted({chance.getrandbits(64) for _ in range(5_000)})
    assert of_all.add(b"".join(number.to_bytes(8, "big") for number in numbers), list(range(5_000))) == []
    rows = [number.to_bytes(8, "big") + start.to_bytes(8, "big") for start, number in enumerate(numbers)]
    for first, last in [(0, 5_000), (0, 1), (17, 18), (1_000, 3_001), (4_999, 5_000)]:
        assert of_all.rows(numbers[first], numbers[last - 1]) == b"".join(rows[first:last])
    assert of_all.rows(0, (1 << 64) - 1) == b"".join(rows)
    assert of_all.rows(numbers[5] + 1, numbers[6] - 1) == of_all.rows(9, 2) == b""
