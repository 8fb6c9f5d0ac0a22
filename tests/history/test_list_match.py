"""Which ops of a log no list of a commit has."""

import random

import pytest

from muse.history.list_match import ListMatch


@pytest.mark.parametrize("seed", range(40))
def test_what_no_list_has_is_chosen_whatever_the_order(seed: int) -> None:
    chance = random.Random(seed)
    ids = [f"op-{number}" for number in range(60)]
    listed = ids[: chance.randrange(60)]
    order = chance.sample(listed, len(listed)) if seed % 2 else listed
    lists = [order[at : at + 7] for at in range(0, len(order), 7)]
    log = [op_id for op_id in ids if chance.random() < 0.9]
    log += chance.choices(ids, k=5)  # lines that are there twice, or come late
    match = ListMatch(iter(lists), {ids[3]})
    chosen: set[str] = set()
    for at in range(0, len(log), 9):
        chosen |= match.choose(log[at : at + 9])
    match.finish()
    assert match.unknown >= set(log) - set(listed)
    assert match.awaited == set(listed) - set(log)
    repeated = {op_id for op_id in log if log.count(op_id) > 1}
    assert match.unknown <= (set(log) - set(listed)) | repeated
    assert repeated <= match.unknown
    assert chosen == match.unknown | ({ids[3]} & set(log))


def test_lists_are_read_along_with_the_log() -> None:
    read: list[int] = []

    def lists() -> list[str]:
        number = len(read)
        read.append(number)
        return [f"{number}-{place}" for place in range(100)]

    match = ListMatch(lists() for _ in range(50))
    for number in range(50):
        assert match.choose([f"{number}-{place}" for place in range(100)]) == set()
        assert (len(read), match.awaited) == (number + 1, set())
