"""Op ids for `record`: UUID4s (RFC 9562), made from the system's randomness many at a time."""

import os
from collections import deque

_BATCH = 256
_VARIANT = "89ab89ab89ab89ab"


class OpIdSource:
    """A supply of fresh op ids. A forked child must `forget` what its parent has in stock."""

    def __init__(self) -> None:
        self._stock: deque[str] = deque()

    def next(self) -> str:
        """Return an op id nobody else has. Safe to call from several threads."""
        try:
            return self._stock.popleft()
        except IndexError:
            self._stock.extend(_make(_BATCH))
            return self.next()

    def forget(self) -> None:
        self._stock.clear()


def _make(count: int) -> list[str]:
    digits = os.urandom(16 * count).hex()
    ids = []
    for start in range(0, len(digits), 32):
        d = digits[start : start + 32]
        variant = _VARIANT[int(d[16], 16)]
        ids.append(f"{d[:8]}-{d[8:12]}-4{d[13:16]}-{variant}{d[17:20]}-{d[20:]}")
    return ids
