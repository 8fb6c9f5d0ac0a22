"""What a reader of a log remembers of its newest ops."""

import random

import pytest

from muse.core.file import log_reader
from muse.core.file.log_reader import NewestOps


@pytest.mark.parametrize("seed", range(20))
def test_the_newest_ops_are_those_noted_last_however_often_somebody_asks(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_reader, "NEWEST_AT_MOST", 30)
    chance, newest, noted = random.Random(seed), NewestOps(), dict[str, tuple[int, int]]()
    asks = chance.choice([0.05, 0.3, 1.0])
    for number in range(400):
        starts = [100 * number + each for each in range(chance.randrange(8))]
        op_ids, stamps = [f"op {start}" for start in starts], [start + 7 for start in starts]
        newest.note(op_ids, starts, stamps)
        noted |= dict(zip(op_ids, zip(starts, stamps, strict=True), strict=True))
        if chance.random() < asks:
            for place, op_id in enumerate(reversed(noted)):
                found = newest.place(op_id)
                assert found == noted[op_id] or (found == (-1, 0) and place >= 30 - 8)
                assert place < 30 or found == (-1, 0)
        if chance.random() < 0.01:
            newest.clear()
            noted.clear()
