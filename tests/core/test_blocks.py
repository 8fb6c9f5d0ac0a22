"""Blocks of lines: positions and stamps without decoding whole entries."""

from hypothesis import given, settings
from hypothesis import strategies as st

from muse.core.blocks import decode_block, decode_positions, decode_stamps
from tests.samples.lines import line


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
