"""The Lamport clock: above everything made or seen, and not to be led astray."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muse.core.clock import LamportClock
from muse.core.entry import MAX_LAMPORT
from muse.errors import UsageError


def test_the_first_stamp_is_one() -> None:
    assert LamportClock().tick() == 1


@given(st.lists(st.none() | st.integers(1, 100)))
def test_a_stamp_exceeds_all_that_were_made_or_seen(events: list[int | None]) -> None:
    clock = LamportClock()
    known = [0]
    for seen in events:
        if seen is None:
            stamp = clock.tick()
            assert stamp == max(known) + 1
            known.append(stamp)
        else:
            assert clock.observe(seen)
            known.append(seen)
    assert clock.value == max(known)


def test_a_stamp_too_far_ahead_is_not_adopted() -> None:
    clock = LamportClock(10, jump=100)
    assert not clock.observe(111)
    assert clock.value == 10
    assert clock.observe(110)
    assert clock.tick() == 111


@pytest.mark.parametrize("stamp", [2**53, 2**63, 2**64])
def test_a_stamp_past_the_limit_is_never_adopted(stamp: int) -> None:
    clock = LamportClock()
    assert not clock.believes(stamp)
    assert not clock.observe(stamp)
    assert clock.tick() == 1


def test_a_clock_at_its_limit_makes_no_more_stamps() -> None:
    clock = LamportClock(MAX_LAMPORT - 1)
    assert clock.tick() == MAX_LAMPORT
    with pytest.raises(UsageError, match="limit"):
        clock.tick()
