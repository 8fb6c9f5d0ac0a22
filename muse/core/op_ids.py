"""Op ids for `record`: UUID4s (RFC 9562), made from the system's randomness many at a time."""

import os
import struct
from collections import deque

from muse.core.compiled import format_op_ids

_BATCH = 256
_VERSION_4 = bytes(octet & 0x0F | 0x40 for octet in range(256))
_VARIANT_10 = bytes(octet & 0x3F | 0x80 for octet in range(256))


class OpIdSource:
    """A supply of fresh op ids. A forked child must `forget` what its parent has in stock."""

    def __init__(self) -> None:
        self._stock: deque[str] = deque()
        self.take = self._stock.popleft  # as `next`, but raises IndexError when the stock is empty

    def next(self) -> str:
        """Return an op id nobody else has. Safe to call from several threads."""
        while True:
            try:
                return self.take()
            except IndexError:
                self._stock.extend(_make(_BATCH))

    def some(self, count: int) -> list[str]:
        """Return `count` op ids that nobody else has."""
        return _make(count) if count > 1 else [self.next() for _ in range(count)]

    def forget(self) -> None:
        """Drop the ids in stock: after a fork, parent and child must not give out the same."""
        self._stock.clear()


OP_IDS = OpIdSource()
"""The supply of this process."""

os.register_at_fork(after_in_child=OP_IDS.forget)


def _make(count: int) -> list[str]:
    random = os.urandom(16 * count)
    made = format_op_ids(random)
    if made is not None:
        return made
    octets = bytearray(random)
    octets[6::16] = octets[6::16].translate(_VERSION_4)
    octets[8::16] = octets[8::16].translate(_VARIANT_10)
    return [b"-".join(fields).decode() for fields in struct.iter_unpack("8s4s4s4s12s", octets.hex().encode())]
