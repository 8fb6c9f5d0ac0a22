"""The Merkle tree hash over a list of byte strings, as RFC 6962 section 2.1 defines it. Pure."""

import hashlib
from collections.abc import Iterable

_LEAF = b"\x00"
_NODE = b"\x01"


def leaf_hash(data: bytes) -> bytes:
    return hashlib.sha256(_LEAF + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(_NODE + left + right).digest()


def root_hash(leaves: Iterable[bytes]) -> bytes:
    """Return the root over `leaves` in order. Memory grows with the logarithm of their number."""
    perfect: list[tuple[int, bytes]] = []  # (height, hash) of complete subtrees, from left to right
    for leaf in leaves:
        height, digest = 0, leaf_hash(leaf)
        while perfect and perfect[-1][0] == height:
            digest = node_hash(perfect.pop()[1], digest)
            height += 1
        perfect.append((height, digest))
    if not perfect:
        return hashlib.sha256(b"").digest()
    root = perfect.pop()[1]
    while perfect:
        root = node_hash(perfect.pop()[1], root)
    return root
