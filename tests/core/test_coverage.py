"""Coverage is by place in the file, and a checkpoint file is trusted only if it is whole."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muse.core.blocks import Position, decode_positions
from muse.core.coverage import (
    NOTHING,
    Coverage,
    Cut,
    coverage_of,
    decode_checkpoint,
    encode_checkpoint,
    make_checkpoint,
)
from muse.core.line import encode_line
from muse.core.op_log import make_op_entry
from muse.errors import CorruptionError

NOW = "2026-01-02T03:04:05+00:00"
DIGEST = "d" * 64
LENGTH = len(encode_line(make_op_entry("x", "a", {}, 1)))


def positions(domains: str, stamps: list[int] | None = None) -> list[Position]:
    """One line of equal length for each letter of `domains`."""
    chosen = stamps or [number % 9 + 1 for number in range(len(domains))]
    lines = [encode_line(make_op_entry("xy"[n % 2], name, {}, chosen[n])) for n, name in enumerate(domains)]
    assert {len(line) for line in lines} <= {LENGTH}
    return decode_positions(b"".join(lines), 0) if lines else []


def advance(before: Coverage, every: list[Position], upto: Mapping[str, int] | int) -> Coverage:
    """Advance as a log does: the tail reaches up to the furthest place that is, or will be, covered."""
    reach = max([upto] if isinstance(upto, int) else upto.values())
    furthest = max([reach, *before.domains.values()])
    return before.advance(
        (position for position in every if before.cut.offset <= position.offset < furthest), upto
    )


domain_letters = st.text("abc", max_size=12)
uptos = st.lists(
    st.integers(0, 12) | st.dictionaries(st.sampled_from("abc"), st.integers(0, 12), min_size=1), max_size=6
)


@given(domain_letters, uptos)
def test_coverage_is_what_a_set_of_covered_entries_would_say(
    domains: str, steps: list[int | dict[str, int]]
) -> None:
    every = positions(domains)
    covered: set[int] = set()
    coverage = NOTHING
    for step in steps:
        lines = step if isinstance(step, dict) else dict.fromkeys("abc", step)
        upto = {name: min(count, len(domains)) * LENGTH for name, count in lines.items()}
        covered |= {p.offset for p in every if p.offset < upto.get(p.domain, 0)}
        coverage = advance(coverage, every, upto if isinstance(step, dict) else upto["a"])
        pending = [p.offset for p in every if coverage.is_pending(p.domain, p.offset)]
        assert pending == [p.offset for p in every if p.offset not in covered]
        assert coverage.op_count == len(covered)
        assert coverage.lamport_ts == max((p.lamport_ts for p in every if p.offset in covered), default=0)
        assert coverage.frontier == {
            actor: max(p.lamport_ts for p in every if p.offset in covered and p.actor_id == actor)
            for actor in {p.actor_id for p in every if p.offset in covered}
        }
        before_cut = [p for p in every if p.offset < coverage.cut.offset]
        assert coverage.cut.op_count == len(before_cut)
        assert coverage.cut.lamport_ts == max((p.lamport_ts for p in before_cut), default=0)
        assert all(offset > coverage.cut.offset for offset in coverage.domains.values())


def test_a_straggler_behind_the_cut_is_pending_whatever_its_stamp() -> None:
    every = positions("aab", [5, 6, 1])
    coverage = advance(NOTHING, every, 2 * LENGTH)
    assert coverage.cut == Cut(2 * LENGTH, 2, 6)
    assert coverage.is_pending("b", 2 * LENGTH)


def test_an_older_offset_takes_nothing_back() -> None:
    every = positions("abab")
    coverage = advance(NOTHING, every, 4 * LENGTH)
    assert advance(coverage, every, LENGTH) == coverage
    assert advance(coverage, every, {"a": LENGTH}) == coverage


def test_advancing_changes_nothing_it_was_handed() -> None:
    upto = {"a": LENGTH}
    advance(NOTHING, positions("ab"), upto)
    assert upto == {"a": LENGTH}
    assert Coverage(Cut(0, 0, 0), {}, {}, 0, 0) == NOTHING


COVERAGE = Coverage(Cut(10, 2, 7), {"b": 40, "a": 30}, {"y": 9, "x": 7}, 4, 9)


def test_a_checkpoint_says_what_is_covered() -> None:
    checkpoint = make_checkpoint("jam", DIGEST, COVERAGE, NOW, commit_id="c" * 64)
    assert checkpoint == {
        "session_id": "jam",
        "snapshot_id": DIGEST,
        "lamport_ts": 9,
        "op_count": 4,
        "created_at": NOW,
        "cut": {"offset": 10, "op_count": 2, "lamport_ts": 7, "op_id": ""},
        "domains": {"a": 30, "b": 40},
        "frontier": {"x": 7, "y": 9},
        "commit_id": "c" * 64,
        "op_lists": [],
        "tips": [],
    }
    assert coverage_of(checkpoint) == COVERAGE


def test_a_checkpoint_comes_back_from_its_bytes() -> None:
    checkpoint = make_checkpoint("jam", DIGEST, COVERAGE, NOW)
    data = encode_checkpoint(checkpoint)
    assert decode_checkpoint(data, "jam", "p") == checkpoint
    assert decode_checkpoint(data[:-1], "jam", "p") == checkpoint
    assert list(json.loads(data))[:5] == ["session_id", "snapshot_id", "lamport_ts", "op_count", "created_at"]


def five_keys(**changes: Any) -> bytes:
    checkpoint = {"session_id": "jam", "snapshot_id": "s", "lamport_ts": 3, "op_count": 2, "created_at": NOW}
    return json.dumps({**checkpoint, **changes}).encode()


def test_the_five_keys_of_other_tools_are_a_checkpoint_without_a_cut() -> None:
    checkpoint = decode_checkpoint(five_keys(), "jam", "p")
    assert checkpoint["op_count"] == 2
    assert coverage_of(checkpoint) is None


def test_another_sessions_checkpoint_is_refused() -> None:
    with pytest.raises(CorruptionError, match="session 'jam', not 'other'") as caught:
        decode_checkpoint(
            encode_checkpoint(make_checkpoint("jam", DIGEST, COVERAGE, NOW)), "other", "the/path"
        )
    assert caught.value.path == "the/path"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n",
        b"\0" * 100,
        b"[]",
        b"null",
        b"1",
        b"{}",
        b"{",
        b"\xff\xfe{",
        five_keys(lamport_ts=-1),
        five_keys(op_count=1.5),
        five_keys(op_count=True),
        five_keys(op_count=2**60),
        five_keys(session_id=None),
        five_keys(cut={"offset": 1, "op_count": 1, "lamport_ts": 1}),
        five_keys(domains={"a": -1}),
        five_keys()[:-1] + b',"op_count":1}',
        five_keys()[:-1] + b',"frontier":{"a":1e400}}',
        five_keys()[:-1] + b',"crc":"00000000"}',
    ],
)
def test_what_is_no_checkpoint_is_corruption_that_names_its_file(data: bytes) -> None:
    with pytest.raises(CorruptionError, match="muse session recover") as caught:
        decode_checkpoint(data, "jam", "the/path")
    assert caught.value.path == "the/path"


def test_a_checkpoint_cut_short_anywhere_is_corruption() -> None:
    data = encode_checkpoint(make_checkpoint("jam", DIGEST, COVERAGE, NOW))
    for length in range(len(data) - 1):
        with pytest.raises(CorruptionError):
            decode_checkpoint(data[:length], "jam", "p")


def test_a_checkpoint_whose_newline_became_other_white_space_is_corruption() -> None:
    data = encode_checkpoint(make_checkpoint("jam", DIGEST, COVERAGE, NOW))
    for other in (b"\r", b" ", b"\t"):
        with pytest.raises(CorruptionError):
            decode_checkpoint(data[:-1] + other, "jam", "p")


def test_a_checkpoint_with_any_bit_flipped_is_corruption() -> None:
    data = encode_checkpoint(make_checkpoint("jam", DIGEST, COVERAGE, NOW))
    for bit in range(len(data) * 8):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(CorruptionError):
            decode_checkpoint(bytes(flipped), "jam", "p")
