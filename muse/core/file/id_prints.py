"""The fingerprint of an op id: 64 bits by which the index finds it. Pure, but for a fresh key.

A fingerprint is the upper 64 bits of `(a * x + b) mod 2**384`. `x` is the id as a number: its 36 octets,
big-endian. `a` and `b` are secret random numbers below 2**384, which are the key. That is the multiply-shift
scheme, which is strongly universal (M. Dietzfelbinger, "Universal hashing and k-wise independence via integer
arithmetic without primes", 1996): whatever two ids someone chooses who does not know the key, they have one
fingerprint with a chance of 2**-64. It asks for numbers of at least 288 + 64 - 1 bits. An id of another
tool, which is not 36 characters of ASCII, is replaced by the first 36 digits of its SHA-256.
"""

import os
from collections.abc import Sequence
from functools import lru_cache
from hashlib import sha256

from muse.core import compiled

KEY_BYTES = 96
"""`a` and `b`, each 48 octets, big-endian."""

PRINT_BYTES = 8
"""A fingerprint, big-endian."""

_ID_CHARACTERS = 36
_HALF = KEY_BYTES // 2
_LANE = _ID_CHARACTERS + _HALF  # a product has so many octets at most
_GAP = "\0" * _HALF
_ONE_LENGTH = {_ID_CHARACTERS}


def new_key() -> bytes:
    """Return a key that nobody knows."""
    return os.urandom(KEY_BYTES)


def fingerprints(op_ids: Sequence[str], key: bytes) -> bytes:
    """Return the fingerprints of some ids, `PRINT_BYTES` each, in their order."""
    found = compiled.fingerprints(op_ids, key)
    return fingerprints_in_python(op_ids, key) if found is None else found


def fingerprints_in_python(op_ids: Sequence[str], key: bytes) -> bytes:
    """Return what `fingerprints` does, with one multiplication: each id has its own digits of one number."""
    text = _GAP.join(op_ids)
    if not text.isascii() or set(map(len, op_ids)) != _ONE_LENGTH:
        text = _GAP.join(map(_of_one_length, op_ids))
    count = len(op_ids)
    product = int.from_bytes(key[:_HALF], "big") * int.from_bytes(text.encode(), "big")
    lanes = (product + _addends(key[_HALF:], count)).to_bytes(_LANE * count, "big")
    prints = bytearray(PRINT_BYTES * count)
    for octet in range(PRINT_BYTES):
        prints[octet::PRINT_BYTES] = lanes[_ID_CHARACTERS + octet :: _LANE]
    return bytes(prints)


@lru_cache(maxsize=16)
def _addends(addend: bytes, count: int) -> int:
    """Return a number that has `addend` in the lower digits of each id: most batches are of one size."""
    return int.from_bytes((bytes(_ID_CHARACTERS) + addend) * count, "big")


def _of_one_length(op_id: str) -> str:
    if len(op_id) == _ID_CHARACTERS and op_id.isascii():
        return op_id
    return sha256(op_id.encode("utf-8", "surrogatepass")).hexdigest()[:_ID_CHARACTERS]
