"""The Merkle tree hash is that of RFC 6962, whose definition is spelled out here."""

import hashlib

import pytest

from muse.core.merkle import leaf_hash, node_hash, root_hash


def by_definition(leaves: list[bytes]) -> bytes:
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    split = 1 << (len(leaves) - 1).bit_length() - 1
    return hashlib.sha256(b"\x01" + by_definition(leaves[:split]) + by_definition(leaves[split:])).digest()


@pytest.mark.parametrize("count", [*range(34), 100, 127, 128, 129])
def test_a_root_is_what_the_definition_gives(count: int) -> None:
    leaves = [str(number).encode() for number in range(count)]
    assert root_hash(leaves) == by_definition(leaves)


def test_the_root_of_nothing_is_the_hash_of_nothing() -> None:
    assert root_hash([]).hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_leaves_and_nodes_are_hashed_apart() -> None:
    left, right = leaf_hash(b"l"), leaf_hash(b"r")
    assert root_hash([left + right]) != node_hash(left, right) == root_hash([b"l", b"r"])


def test_every_leaf_and_its_place_count() -> None:
    leaves = [bytes([number]) for number in range(7)]
    roots = {root_hash(leaves)}
    for place in range(7):
        roots.add(root_hash([*leaves[:place], b"x", *leaves[place + 1 :]]))
        roots.add(root_hash(leaves[:place]))
    roots.add(root_hash(reversed(leaves)))
    assert len(roots) == 16
