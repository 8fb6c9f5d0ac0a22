"""Range-based set reconciliation: what it finds, what it costs, and what it does not put up with."""

import random
from collections.abc import Iterable
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muse.core.entry import MAX_LAMPORT
from muse.replication.reconcile import (
    ITEM_BYTES,
    Initiator,
    ItemSet,
    ProtocolError,
    item_op_id,
    pack_item,
    respond,
    sorted_items,
)

SMALL = 4096  # the shortest messages


def item_set(items: Iterable[bytes]) -> ItemSet:
    return ItemSet(sorted_items([items]))


def some_items(chance: random.Random, count: int, highest: int = 500) -> list[bytes]:
    return [chance.randint(1, highest).to_bytes(8) + chance.randbytes(20) for _ in range(count)]


class Exchange:
    """Two sides brought together; what went over the wire."""

    def __init__(self, own: Iterable[bytes], other: Iterable[bytes], limit: int = 1 << 18) -> None:
        self.initiator = Initiator(item_set(own), limit)
        theirs = item_set(other)
        self.messages: list[bytes] = []
        self.rounds = 0
        message: bytes | None = self.initiator.start()
        while message is not None:
            answer = respond(theirs, message, limit)
            self.messages += [message, answer]
            self.rounds += 1
            message = self.initiator.receive(answer)


items = st.binary(min_size=2, max_size=2).map(
    lambda data: (data[0] % 7).to_bytes(8) + bytes([data[1] % 5]) * 16 + bytes([data[1] % 3]) * 4
)


@given(st.sets(items), st.sets(items))
def test_both_differences_are_found_exactly(own: set[bytes], other: set[bytes]) -> None:
    found = Exchange(own, other).initiator
    assert found.have == own - other
    assert found.need == other - own


@pytest.mark.parametrize("limit", [SMALL, 10_000, 1 << 18])
def test_differences_of_any_size_are_found_in_messages_of_bounded_size(limit: int) -> None:
    chance = random.Random(limit)
    for common, own, other in [(0, 0, 3000), (3000, 0, 0), (0, 3000, 0), (2000, 900, 700), (500, 1, 2000)]:
        shared = some_items(chance, common)
        ours, theirs = some_items(chance, own), some_items(chance, other)
        exchange = Exchange(shared + ours, shared + theirs, limit)
        assert exchange.initiator.have == set(ours)
        assert exchange.initiator.need == set(theirs)
        assert max(map(len, exchange.messages)) <= limit


def test_equal_sides_need_one_message_of_a_few_bytes() -> None:
    same = some_items(random.Random(1), 5000)
    exchange = Exchange(same, same)
    assert exchange.rounds == 1
    assert sum(map(len, exchange.messages)) < 200


def test_a_hundred_differences_on_each_side_of_a_hundred_thousand_ops_cost_little() -> None:
    chance = random.Random(2)
    shared = some_items(chance, 100_000, 20_000)
    ours, theirs = some_items(chance, 100, 20_000), some_items(chance, 100, 20_000)
    exchange = Exchange(shared + ours, shared + theirs)
    assert (exchange.initiator.have, exchange.initiator.need) == (set(ours), set(theirs))
    assert exchange.rounds < 20
    assert sum(map(len, exchange.messages)) < 100_000


@pytest.mark.long
def test_a_hundred_differences_on_each_side_of_a_million_ops_cost_less_than_100_kilobytes() -> None:
    chance = random.Random(3)
    shared = some_items(chance, 1_000_000, 200_000)
    ours, theirs = some_items(chance, 100, 200_000), some_items(chance, 100, 200_000)
    exchange = Exchange(shared + ours, shared + theirs)
    assert (exchange.initiator.have, exchange.initiator.need) == (set(ours), set(theirs))
    assert exchange.rounds < 20
    assert sum(map(len, exchange.messages)) < 100_000


def test_an_op_with_another_body_is_on_both_lists() -> None:
    op_id = "6f1c2a34-9d0e-4b7a-8c55-0a1b2c3d4e5f"
    ours, theirs = pack_item(7, op_id, 1), pack_item(7, op_id, 2)
    shared = some_items(random.Random(4), 1000)
    found = Exchange([*shared, ours], [*shared, theirs]).initiator
    assert (found.have, found.need) == ({ours}, {theirs})
    assert item_op_id(ours) == item_op_id(theirs) == op_id


def test_sums_that_are_equal_by_their_parts_have_different_fingerprints() -> None:
    first, second = (7).to_bytes(8) + bytes(19), (8).to_bytes(8) + bytes(19)
    one = item_set([first + b"\x01", second + b"\x03"])
    other = item_set([first + b"\x02", second + b"\x02"])
    assert one.fingerprint(0, 2) != other.fingerprint(0, 2)


def test_a_fingerprint_is_that_of_the_items_whatever_stands_around_them() -> None:
    chance = random.Random(5)
    middle = [number.to_bytes(8) + chance.randbytes(20) for number in range(100, 150)]
    around = [number.to_bytes(8) + chance.randbytes(20) for number in (*range(1, 40), *range(200, 260))]
    alone, amid = item_set(middle), item_set(middle + around)
    for length in (0, 1, 15, 16, 17, 33, 50):
        assert alone.fingerprint(0, length) == amid.fingerprint(39, 39 + length)
    assert alone.fingerprint(0, 49) != alone.fingerprint(1, 50)


@given(st.lists(st.lists(items)))
def test_items_are_sorted_and_each_is_there_once_in_whatever_batches_they_come(
    batches: list[list[bytes]],
) -> None:
    expected = sorted({item for batch in batches for item in batch})
    assert sorted_items(batches) == b"".join(expected)
    assert list(item_set(expected)) == expected


# -- hostile peers --------------------------------------------------------------------------------

BOUNDLESS = bytes([0])
FINGERPRINT, LIST, ANSWER = 32, 64, 96


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (b"", "version none"),
        (b"\x02", "version 02"),
        (b'{"op_id":', "version 7b"),
        (b"\x01\x00", "cut short"),
        (b"\x01" + BOUNDLESS + bytes([FINGERPRINT]) + b"short", "cut short"),
        (b"\x01" + b"\xff" * 12, "more than 63 bits"),
        (b"\x01" + BOUNDLESS + bytes([128]), "a malformed range"),
        (b"\x01" + BOUNDLESS + bytes([5]) + b"12345", "a malformed range"),
        (b"\x01" + bytes([5, 31]) + bytes(40), "a malformed range"),
        (b"\x01" + BOUNDLESS + bytes([0]) + BOUNDLESS + bytes([0]), "behind the last"),
        (b"\x01" + bytes([9, 0]) + bytes([1, 0]), "do not rise"),
        (b"\x01" + BOUNDLESS + bytes([LIST]) + b"\xff\xff\xff\x7f", "a list of"),
        (b"\x01" + BOUNDLESS + bytes([LIST]) + b"\x01" + b"\xff" * 8 + b"\x7f" + bytes(20), "stamp past"),
        (b"\x01" + BOUNDLESS + bytes([LIST]) + b"\x02" + (b"\x00" + bytes(20)) * 2, "do not rise"),
        (b"\x01" + bytes([5, LIST]) + b"\x01" + b"\x09" + bytes(20), "not in their range"),
        (b"\x01" + BOUNDLESS + bytes([ANSWER]) + b"\x00\x00", "never sent"),
        (b"\x01" + bytes(1 << 18), "bytes, where"),
    ],
)
def test_what_is_no_message_is_refused_with_the_reason(message: bytes, reason: str) -> None:
    with pytest.raises(ProtocolError, match=reason):
        respond(item_set(some_items(random.Random(6), 100)), message)


@given(st.binary(max_size=200).map(lambda data: b"\x01" + data))
def test_no_bytes_make_either_side_fail_in_another_way(message: bytes) -> None:
    items = some_items(random.Random(7), 50)
    own = item_set(items)
    with suppress(ProtocolError):
        assert respond(own, message)[:1] == b"\x01"
    initiator = Initiator(own)
    with suppress(ProtocolError):
        assert (initiator.receive(message) or b"\x01")[:1] == b"\x01"
    assert initiator.have <= set(items)


def test_a_damaged_message_is_refused_or_answered_and_nothing_else() -> None:
    chance = random.Random(8)
    own, other = item_set(some_items(chance, 500)), item_set(some_items(chance, 500))
    message = bytearray(Initiator(own).start())
    for place in range(len(message)):
        damaged = message[:place] + bytes([message[place] ^ 1 << place % 8]) + message[place + 1 :]
        try:
            assert respond(other, bytes(damaged))[:1] == b"\x01"
        except ProtocolError:
            continue


def test_a_peer_that_never_comes_to_an_end_is_left() -> None:
    initiator = Initiator(item_set(some_items(random.Random(9), 1000)))
    message: bytes | None = initiator.start()

    def talk() -> None:
        for number in range(10_000):
            assert initiator.receive(b"\x01" + BOUNDLESS + bytes([FINGERPRINT]) + number.to_bytes(16))

    assert message
    with pytest.raises(ProtocolError, match="no end"):
        talk()


def test_an_answer_that_does_not_fit_its_list_is_refused() -> None:
    initiator = Initiator(item_set(some_items(random.Random(10), 3)))
    initiator.start()
    with pytest.raises(ProtocolError, match="an answer about 16 items to a list of 3"):
        initiator.receive(b"\x01" + BOUNDLESS + bytes([ANSWER]) + b"\x02\xff\xff" + b"\x00")


def test_an_item_is_its_stamp_its_id_and_its_crc_in_the_order_of_the_log() -> None:
    op_id = "0b9d7c61-52f3-4e08-9a47-1f2e3d4c5b6a"
    item = pack_item(MAX_LAMPORT, op_id, 0x33FF117C)
    assert len(item) == ITEM_BYTES
    assert item == bytes.fromhex("001fffffffffffff0b9d7c6152f34e089a471f2e3d4c5b6a33ff117c")
