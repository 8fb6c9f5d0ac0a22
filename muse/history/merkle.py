"""The Merkle tree hash over a list of byte strings, and proofs of inclusion in it. Pure.

Hashing, audit paths and their verification are those of RFC 6962, section 2.1, and RFC 9162,
section 2.1.3. Memory grows with the logarithm of the number of leaves.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from muse.errors import UsageError

_LEAF = b"\x00"
_NODE = b"\x01"
_AT_ONCE = 1 << 10
"""So many leaves are hashed together: a complete subtree."""


def leaf_hash(data: bytes) -> bytes:
    """Return the hash of a leaf: SHA-256 of a zero byte and its data, as in RFC 6962."""
    return hashlib.sha256(_LEAF + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of an inner node: SHA-256 of a one byte and its two children, as in RFC 6962."""
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
    waiting = iter(leaves)
    perfect: list[_Subtree] = []  # as in `_fold`
    while some := list(islice(waiting, _AT_ONCE)):
        node = _Subtree(0, _root_of_some(some), [])
        while perfect and perfect[-1].height == node.height and len(some) == _AT_ONCE:
            node = _join(perfect.pop(), node)
        perfect.append(node)
    return _joined(perfect) if perfect else hashlib.sha256(b"").digest()


def _root_of_some(leaves: Sequence[bytes]) -> bytes:
    """Return the root over a few leaves, by going up one level after the other: in half of the time."""
    sha256 = hashlib.sha256
    level = [sha256(_LEAF + leaf).digest() for leaf in leaves]
    while len(level) > 1:
        last = level[len(level) & ~1 :]  # one without a sibling goes up as it is
        pairs = zip(level[::2], level[1::2], strict=False)
        level = [sha256(_NODE + left + right).digest() for left, right in pairs] + last
    return level[0]


def prove_inclusions(leaves: Iterable[bytes], leaf_indices: Iterable[int]) -> tuple[list[Inclusion], bytes]:
    """Return the proofs that the leaves at some places are in the tree over `leaves`, and the root of it.

    Reads `leaves` once, in order, and hashes each once. `UsageError` if there is no such leaf.
    """
    paths: dict[int, list[bytes]] = {index: [] for index in leaf_indices}
    root, size = _fold(leaves, paths)
    if (wrong := next((index for index in paths if not 0 <= index < size), None)) is not None:
        raise UsageError(f"there is no leaf {wrong} in a tree of {size}")
    return [Inclusion(index, size, tuple(path)) for index, path in paths.items()], root


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


@dataclass(slots=True)
class _Subtree:
    """A complete subtree. `paths` are those of the leaves in it that are asked for, as far up as it is."""

    height: int
    digest: bytes
    paths: list[list[bytes]]


def _fold(leaves: Iterable[bytes], paths: Mapping[int, list[bytes]]) -> tuple[bytes, int]:
    """Hash `leaves` into their root; put the siblings on the way up from each leaf of `paths` into its path.

    Returns the root, and the number of leaves.
    """
    perfect: list[_Subtree] = []  # complete subtrees, from left to right, each higher than the next
    size = 0
    for leaf in leaves:
        node = _Subtree(0, leaf_hash(leaf), [paths[size]] if size in paths else [])
        size += 1
        while perfect and perfect[-1].height == node.height:
            node = _join(perfect.pop(), node)
        perfect.append(node)
    if not perfect:
        return hashlib.sha256(b"").digest(), 0
    return _joined(perfect), size


def _joined(perfect: list[_Subtree]) -> bytes:
    """Return the root over subtrees, each higher than the next; the last one may be of any leaves."""
    node = perfect.pop()
    while perfect:
        node = _join(perfect.pop(), node)
    return node.digest


def _join(left: _Subtree, right: _Subtree) -> _Subtree:
    for path in left.paths:
        path.append(right.digest)
    for path in right.paths:
        path.append(left.digest)
    return _Subtree(left.height + 1, node_hash(left.digest, right.digest), left.paths + right.paths)
