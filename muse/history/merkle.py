"""The Merkle tree hash over a list of byte strings, and proofs of inclusion in it. Pure.

Hashing, audit paths and their verification are those of RFC 6962, section 2.1, and RFC 9162,
section 2.1.3. Memory grows with the logarithm of the number of leaves.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from muse.errors import UsageError

_LEAF = b"\x00"
_NODE = b"\x01"


def leaf_hash(data: bytes) -> bytes:
    return hashlib.sha256(_LEAF + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(_NODE + left + right).digest()


@dataclass(frozen=True, slots=True)
class Inclusion:
    """The proof that a leaf is in a tree: its place from 0, the number of leaves, and the audit path.

    The path holds the sibling of each node between the leaf and the root, the lowest first.
    """

    leaf_index: int
    tree_size: int
    audit_path: tuple[bytes, ...]


def root_hash(leaves: Iterable[bytes]) -> bytes:
    """Return the root over `leaves` in order."""
    return _fold(leaves, -1).root


def prove_inclusion(leaves: Iterable[bytes], leaf_index: int) -> tuple[Inclusion, bytes]:
    """Return the proof that leaf `leaf_index` is in the tree over `leaves`, and the root of that tree.

    Reads `leaves` once, in order. `UsageError` if there is no such leaf.
    """
    folded = _fold(leaves, leaf_index)
    if not 0 <= leaf_index < folded.size:
        raise UsageError(f"there is no leaf {leaf_index} in a tree of {folded.size}")
    return Inclusion(leaf_index, folded.size, tuple(folded.path)), folded.root


def root_from(inclusion: Inclusion, leaf: bytes) -> bytes | None:
    """Return the root that the proof leads to from `leaf`, None if the path does not fit place and size.

    The proof holds if that is the root of the tree. RFC 9162, section 2.1.3.2.
    """
    place, last = inclusion.leaf_index, inclusion.tree_size - 1
    if not 0 <= place <= last:
        return None
    digest = leaf_hash(leaf)
    for sibling in inclusion.audit_path:
        if last == 0:
            return None
        if place & 1 or place == last:
            digest = node_hash(sibling, digest)
            while place and not place & 1:
                place, last = place >> 1, last >> 1
        else:
            digest = node_hash(digest, sibling)
        place, last = place >> 1, last >> 1
    return digest if last == 0 else None


@dataclass(frozen=True, slots=True)
class _Folded:
    root: bytes
    size: int
    path: Sequence[bytes]


@dataclass(slots=True)
class _Subtree:
    """A complete subtree. `holds`: whether the leaf that is asked for is in it."""

    height: int
    digest: bytes
    holds: bool


def _fold(leaves: Iterable[bytes], wanted: int) -> _Folded:
    """Hash `leaves` into their root, keeping the siblings on the way up from the leaf `wanted`."""
    perfect: list[_Subtree] = []  # complete subtrees, from left to right, each higher than the next
    path: list[bytes] = []
    size = 0
    for leaf in leaves:
        node = _Subtree(0, leaf_hash(leaf), size == wanted)
        size += 1
        while perfect and perfect[-1].height == node.height:
            node = _join(perfect.pop(), node, path)
        perfect.append(node)
    if not perfect:
        return _Folded(hashlib.sha256(b"").digest(), 0, path)
    node = perfect.pop()
    while perfect:
        node = _join(perfect.pop(), node, path)
    return _Folded(node.digest, size, path)


def _join(left: _Subtree, right: _Subtree, path: list[bytes]) -> _Subtree:
    if left.holds:
        path.append(right.digest)
    elif right.holds:
        path.append(left.digest)
    return _Subtree(left.height + 1, node_hash(left.digest, right.digest), left.holds or right.holds)
