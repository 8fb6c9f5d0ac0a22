"""What waits for one client is bounded, answers too."""

from muse.server.client_queue import ClientQueue
from muse.server.settings import Settings


def test_who_causes_answers_and_reads_none_is_crowded_by_number_and_by_size() -> None:
    few, small = ClientQueue(Settings(queue_messages=3), 0), ClientQueue(Settings(queue_bytes=100), 0)
    for _ in range(2):
        few.answer(b"{}")
        small.answer(b"x" * 40)
    assert [few.is_crowded, small.is_crowded] == [False, False]
    few.answer(b"{}")
    small.answer(b"x" * 40)
    assert [few.is_crowded, small.is_crowded] == [True, True]
    few.get_nowait()
    small.get_nowait()
    assert [few.is_crowded, small.is_crowded] == [False, False]
