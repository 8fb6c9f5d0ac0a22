"""The Merkle tree hash is that of RFC 6962, whose definition is spelled out here."""

import hashlib
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muse.errors import UsageError
from muse.history import merkle
from muse.history.merkle import (
    Inclusion,
    leaf_hash,
    node_hash,
    prove_inclusions,
    root_from,
    root_hash,
)


def by_definition(leaves: list[bytes]) -> bytes:
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    split = 1 << (len(leaves) - 1).bit_length() - 1
    return hashlib.sha256(b"\x01" + by_definition(leaves[:split]) + by_definition(leaves[split:])).digest()


def prove_inclusion(leaves: Iterable[bytes], index: int) -> tuple[Inclusion, bytes]:
    (inclusion,), root = prove_inclusions(leaves, [index])
    return inclusion, root


@pytest.mark.parametrize("count", [*range(34), 100, 127, 128, 129])
def test_a_root_is_what_the_definition_gives(count: int) -> None:
    leaves = [str(number).encode() for number in range(count)]
    assert root_hash(leaves) == by_definition(leaves)


@pytest.mark.parametrize("at_once", [1, 2, 8])
def test_a_root_is_the_same_however_many_leaves_are_hashed_at_once(
    at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(merkle, "_AT_ONCE", at_once)
    for count in range(70):
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


# -- proofs of inclusion --------------------------------------------------------------------------


def path_by_definition(leaves: list[bytes], index: int) -> list[bytes]:
    """PATH(m, D[n]) of RFC 6962, section 2.1.1, as it is written there."""
    if len(leaves) == 1:
        return []
    split = 1 << (len(leaves) - 1).bit_length() - 1
    if index < split:
        return [*path_by_definition(leaves[:split], index), by_definition(leaves[split:])]
    return [*path_by_definition(leaves[split:], index - split), by_definition(leaves[:split])]


@pytest.mark.parametrize("count", [*range(1, 34), 64, 65, 100])
def test_every_leaf_has_the_path_of_the_definition_and_it_leads_to_the_root(count: int) -> None:
    leaves = [str(number).encode() for number in range(count)]
    for index, leaf in enumerate(leaves):
        inclusion, root = prove_inclusion(iter(leaves), index)
        assert inclusion == Inclusion(index, count, tuple(path_by_definition(leaves, index)))
        assert root == root_hash(leaves) == root_from(inclusion, leaf)


@pytest.mark.parametrize(("count", "index"), [(0, 0), (1, 1), (5, 5), (5, -1)])
def test_a_leaf_that_is_not_there_has_no_proof(count: int, index: int) -> None:
    with pytest.raises(UsageError, match="no leaf"):
        prove_inclusion([b"x"] * count, index)


@given(st.integers(1, 300), st.data())
def test_no_other_leaf_place_size_or_path_leads_to_the_root(count: int, data: st.DataObject) -> None:
    leaves = [str(number).encode() for number in range(count)]
    index = data.draw(st.integers(0, count - 1))
    inclusion, root = prove_inclusion(leaves, index)
    path = inclusion.audit_path
    assert root_from(inclusion, leaves[index] + b"x") != root
    assert root_from(Inclusion(index, count, (*path, b"\0" * 32)), leaves[index]) != root
    other = data.draw(
        st.integers(0, count - 1).filter(lambda place: place != index) if count > 1 else st.just(-1)
    )
    assert root_from(Inclusion(other, count, path), leaves[index]) != root
    assert root_from(Inclusion(count, count, path), leaves[index]) is None
    for step in range(len(path)):
        changed = (*path[:step], bytes(32), *path[step + 1 :])
        assert root_from(Inclusion(index, count, changed), leaves[index]) != root
        assert root_from(Inclusion(index, count, path[:step] + path[step + 1 :]), leaves[index]) != root


@given(st.lists(st.binary(max_size=3), min_size=1, max_size=40), st.data())
def test_proofs_made_together_are_those_made_one_by_one(leaves: list[bytes], data: st.DataObject) -> None:
    indices = data.draw(st.lists(st.integers(0, len(leaves) - 1), unique=True))
    together, root = prove_inclusions(leaves, indices)
    assert together == [prove_inclusion(leaves, index)[0] for index in indices]
    assert root == root_hash(leaves)
