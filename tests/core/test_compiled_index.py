"""The compiled index: the fingerprints and rows are those of the form in Python."""

import random
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


def table(bits: int = 0, rows: int = 0) -> Any:
    return compiled.id_table(bits, rows)


def test_what_is_not_whole_is_not_answered() -> None:
    chance = random.Random(1)
    rows = sorted(chance.randbytes(16) for _ in range(3_000))
    of_snapshot = table(2, 3_000)
    prints = b"".join(row[:8] for row in rows)
    assert of_snapshot.find(prints[:8]) is None
    [(first, last)] = of_snapshot.lacking(prints[:8])
    assert (first, last) == (0, (1 << 62) - 1)
    assert of_snapshot.add(b"\0" * 8, [7]) == []
    assert of_snapshot.rows(2, 0, 100) is None
    for _ in range(2):  # the second time nothing is taken in
        of_snapshot.fill(first, last, b"".join(rows))
    assert len(of_snapshot.find(prints[:80])) == 10
    assert of_snapshot.find(prints[-8:]) is None
    assert of_snapshot.lacking_between(0, (1 << 64) - 1) == [
        (number << 62, (number + 1 << 62) - 1) for number in (1, 2, 3)
    ]
    for first, last in of_snapshot.lacking_between(0, (1 << 64) - 1):
        of_snapshot.fill(first, last, b"".join(rows))
    assert of_snapshot.lacking(prints) == []
    assert of_snapshot.rows(0, 0, 1 << 63) == bytes(15) + b"\7" + b"".join(
        row for row in rows if row[8:] < (1 << 63).to_bytes(8, "big")
    )


def test_a_segment_that_was_split_before_it_was_whole_is_filled_as_one() -> None:
    of_snapshot = table(1, 100_000)
    chance = random.Random(2)
    added = sorted({chance.getrandbits(63) for _ in range(4_000)})
    of_snapshot.add(b"".join(number.to_bytes(8, "big") for number in added), list(range(len(added))))
    assert len(of_snapshot.lacking_between(0, (1 << 64) - 1)) > 4
    row = (1 << 62).to_bytes(8, "big") + (77).to_bytes(8, "big")
    for first, last in of_snapshot.lacking_between(0, (1 << 64) - 1):
        of_snapshot.fill(first, last, row)
    assert of_snapshot.find(row[:8]) == [(0, 77)]
    assert len(of_snapshot.rows(0, 0, 1 << 40)) == 16 * (len(added) + 1)


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
        lambda: table().rows(41, 0, 1),
        lambda: table().rows(2, 4, 1),
        lambda: table(-1, 0),
        lambda: table(41, 0),
        lambda: compiled.fingerprints([], b"short"),
    ],
)
def test_misuse_is_an_error_and_no_crash(misuse: Any) -> None:
    with pytest.raises((TypeError, OverflowError)):
        misuse()


@pytest.mark.parametrize("seed", range(4))
def test_hostile_rows_of_a_snapshot_stay_within_bounds(seed: int) -> None:
    """Rows whose sums hold may still be in no order, or outside of their segment."""
    chance = random.Random(seed)
    for _ in range(30):
        of_snapshot = table(chance.randrange(4), chance.choice((1, 1_000, 30_000)))
        for _ in range(10):
            same = chance.randbytes(8)
            rows = b"".join(
                (same if chance.random() < 0.5 else chance.randbytes(8))
                + chance.choice((b"\xff" * 8, bytes(8)))
                for _ in range(chance.randrange(1_500))
            )
            some = chance.randbytes(8 * 20)
            for first, last in of_snapshot.lacking(some):
                of_snapshot.fill(first, last, rows + b"cut")
            assert of_snapshot.find(some) is not None
            of_snapshot.add(some, [chance.getrandbits(64) for _ in range(20)])
            of_snapshot.rows(chance.randrange(3), 0, chance.getrandbits(64))
