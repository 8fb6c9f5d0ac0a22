"""The ids of the ops that a commit covers, as one object: 16 bytes an id, in the total order. Pure.

The seal names the object, so a replica whose log holds the same ops in other places knows which are
in history. Where an id is not a UUID4 in its usual form, as another tool may have written it, the whole
list is text: a first line `op ids`, then a line an id. No UUID4 starts as that line does.
"""

from collections.abc import Collection, Iterable

from muse.core.entry import is_op_id
from muse.errors import CorruptionError

_ID_BYTES = 16
_TEXT = b"op ids\n"
_BLANK = b"........-....-....-....-............\n"
_PLACES = [place for place, character in enumerate(_BLANK.decode()) if character == "."]
"""Where in the line of an id its digits go."""


def encode_op_list(op_ids: Iterable[str]) -> bytes:
    """Return the object's bytes."""
    names = list(op_ids)
    if all(map(is_op_id, names)):
        return bytes.fromhex("".join(names).replace("-", ""))
    return _TEXT + "".join(f"{name}\n" for name in names).encode()


def decode_op_list(data: bytes, name: str) -> list[str]:
    """Return the ids; `CorruptionError`, naming the object, if `data` is not such a list."""
    if data.startswith(_TEXT):
        return data[len(_TEXT) :].decode("utf-8", "replace").split("\n")[:-1]
    if len(data) % _ID_BYTES:
        raise CorruptionError(
            f"object {name} is not a list of ops: {len(data)} bytes are not a whole number of ids"
        )
    digits, lines = data.hex().encode(), bytearray(_BLANK * (len(data) // _ID_BYTES))
    for digit, place in enumerate(_PLACES):  # of all ids at once: a quarter of the time
        lines[place :: len(_BLANK)] = digits[digit :: 2 * _ID_BYTES]
    return lines.decode().split("\n")[:-1]


def ids_among(data: bytes, op_ids: Collection[str], name: str) -> set[str]:
    """Return those of some ids that a list has; quicker than to decode it."""
    if data.startswith(_TEXT) or not all(map(is_op_id, op_ids)):
        return set(op_ids).intersection(decode_op_list(data, name))
    wanted = {bytes.fromhex(op_id.replace("-", "")): op_id for op_id in op_ids}
    places = range(0, len(data), _ID_BYTES)
    return {wanted[key] for key in wanted.keys() & {data[at : at + _ID_BYTES] for at in places}}
