"""The Lamport clock (Lamport 1978, "Time, Clocks, and the Ordering of Events"). Pure."""

from muse.core.entry import MAX_LAMPORT
from muse.errors import UsageError


class LamportClock:
    """A counter above every stamp it has made or seen.

    So a stamp made now exceeds that of everything its maker could have read. A stamp more than
    `jump` ahead is not adopted: one broken or hostile clock must not use up the numbers for all.
    """

    __slots__ = ("_jump", "value")

    def __init__(self, value: int = 0, *, jump: int = MAX_LAMPORT) -> None:
        self.value = value
        self._jump = jump

    def tick(self, count: int = 1) -> int:
        """Return the first of `count` new stamps, above all made or seen. `UsageError` at the limit."""
        if self.value + count > MAX_LAMPORT:
            raise UsageError(f"the Lamport clock is at its limit, {MAX_LAMPORT}: start a new session")
        self.value += count
        return self.value - count + 1

    def believes(self, stamp: int) -> bool:
        """Tell whether `stamp` is near enough to be adopted."""
        return stamp <= MAX_LAMPORT and stamp - self.value <= self._jump

    def observe(self, stamp: int) -> bool:
        """Take in a stamp made elsewhere. False, and no change, if it is absurdly far ahead."""
        if stamp <= self.value:
            return True
        if not self.believes(stamp):
            return False
        self.value = stamp
        return True
