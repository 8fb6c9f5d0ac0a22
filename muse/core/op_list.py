"""The ids of the ops that a commit covers, as one object: 16 bytes an id, in the total order. Pure.

The seal names the object, so a replica whose log holds the same ops in other places knows which are
in history.
"""

from collections.abc import Iterable

from muse.errors import CorruptionError

_ID_BYTES = 16


def encode_op_list(op_ids: Iterable[str]) -> bytes:
    return bytes.fromhex("".join(op_ids).replace("-", ""))


def decode_op_list(data: bytes, name: str) -> list[str]:
    """Return the ids; `CorruptionError`, naming the object, if `data` is no such list."""
    if len(data) % _ID_BYTES:
        raise CorruptionError(
            f"object {name} is no list of ops: {len(data)} bytes are no whole number of ids"
        )
    digits = data.hex()
    starts = range(0, len(digits), 2 * _ID_BYTES)
    return [
        f"{digits[at : at + 8]}-{digits[at + 8 : at + 12]}-{digits[at + 12 : at + 16]}-"
        f"{digits[at + 16 : at + 20]}-{digits[at + 20 : at + 32]}"
        for at in starts
    ]
