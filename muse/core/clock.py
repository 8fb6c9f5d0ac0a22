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

    def tick(self) -> int:
        """Return a new stamp, above all stamps made or seen. `UsageError` if there are no more."""
        if self.value >= MAX_LAMPORT:
            raise UsageError(f"the Lamport clock stands at its limit, {MAX_LAMPORT}: start a new session")
        self.value += 1
        return self.value

    def believes(self, stamp: int) -> bool:
        """Whether `stamp` is near enough to be adopted."""
        return stamp <= MAX_LAMPORT and stamp - self.value <= self._jump

    def observe(self, stamp: int) -> bool:
        """Take in a stamp made elsewhere. False, and no change, if it is absurdly far ahead."""
        if stamp <= self.value:
            return True
        if not self.believes(stamp):
            return False
        self.value = stamp
        return True
