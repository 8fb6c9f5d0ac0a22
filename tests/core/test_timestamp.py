"""The present time as text."""

import time
from datetime import UTC, datetime

import pytest

from muse.core.timestamp import now_text


def test_the_time_is_iso_8601_in_utc_with_milliseconds() -> None:
    before = time.time_ns() // 1_000_000
    parsed = datetime.fromisoformat(now_text())
    after = time.time_ns() // 1_000_000
    assert parsed.tzinfo == UTC
    assert before <= round(parsed.timestamp() * 1000) <= after
    assert len(now_text()) == len("2026-01-02T03:04:05.678+00:00")


@pytest.mark.parametrize("order", [1, -1])
def test_the_text_follows_the_clock_of_the_machine_back_too(
    order: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for moment in (1.5, 1.5004, 1.75, 2.0, 900.25)[::order]:
        monkeypatch.setattr("muse.core.timestamp.time", lambda now=moment: now)
        expected = datetime.fromtimestamp(int(moment * 1000) / 1000, UTC)
        assert now_text() == expected.isoformat(timespec="milliseconds")
