"""What was fetched is kept, up to so many bytes; what was asked for longest ago goes first."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

_T = TypeVar("_T")


class Fetched(Generic[_T]):
    """Values by name, each with its size, of at most `at_most` bytes together. For one thread."""

    def __init__(self, at_most: int) -> None:
        self._at_most = at_most
        self._values: OrderedDict[str, tuple[_T, int]] = OrderedDict()
        self._size = 0

    def get(self, name: str, fetch: Callable[[], tuple[_T, int]]) -> _T:
        """Return the value of a name, as kept or else as `fetch` gives it, with its size."""
        if name in self._values:
            self._values.move_to_end(name)
            return self._values[name][0]
        value, size = fetch()
        if size <= self._at_most:  # one that is larger would push out all others
            self._values[name] = value, size
            self._size += size
        while self._size > self._at_most:
            self._size -= self._values.popitem(last=False)[1][1]
        return value
