"""A cursor is a place in a log as text that may leave the process: "<byte>-<crc of the bytes before it>".

The crc tells another log from the one that the cursor is of, such as an older copy that was put back and
written to since. It covers all bytes before the place, in a long log at least the last 16 MiB of them.
"""

import re
import threading

from muse.core.file.log_file import LogFile
from muse.disk.crc import crc32
from muse.errors import UsageError

START = "0"
"""The cursor before the first entry of any log."""

_FORM = re.compile(r"([0-9]{1,18})(?:-([0-9a-f]{8}))?")
_SPAN_BYTES = 1 << 24
_STEP_BYTES = 1 << 18
_AHEAD_BYTES = 1 << 16


class OtherLogError(UsageError):
    """A cursor is of another log than the one that is here now."""


class Cursors:
    """Makes and reads the cursors of one log. Sequential places cost little; any costs one read of a step."""

    def __init__(self, file: LogFile, marks: dict[int, list[int]] | None = None) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._marks = {} if marks is None else marks  # base -> the crcs of 0, 1, 2.. steps from there on
        self._last = (0, 0, 0)  # base, place and crc of the last answer
        self._ahead = (0, b"")

    def of(self, file: LogFile) -> "Cursors":
        """Return the cursors of the same log in another `file`, to be asked for places in their order."""
        return Cursors(file, self._marks)

    @property
    def log_is_replaced(self) -> bool:
        """Whether another log is known to be at the path than was read or written: open it again."""
        return self._file.is_replaced

    def is_near(self, offset: int) -> bool:
        """Return whether the cursor there costs little: at most a step is read from the last place on."""
        base, place, _ = self._last
        return base == _base_of(offset) and place <= offset <= place + _STEP_BYTES

    def at(self, offset: int) -> str:
        """Return the cursor behind the line that ends at byte `offset`, which is in the log."""
        return f"{offset}-{self._crc_before(offset):08x}" if offset else START

    def offset(self, text: str) -> int:
        """Return the byte that a cursor names.

        Raises `OtherLogError` if it is of another log, `UsageError` if it is no cursor. A number alone, as
        older builds gave it, is believed where a line ends there.
        """
        form = _FORM.fullmatch(text)
        if form is None:
            raise UsageError(f"{text[:40]!r} is not a cursor")
        offset, crc = int(form[1]), form[2]
        is_here = offset <= self._file.end()
        if offset and crc and not (is_here and self._crc_before(offset) == int(crc, 16)):
            raise OtherLogError(
                f"the cursor {text} is of another log than the one that is here now, as after a backup was "
                f"put back: read again from {START}, and pass over the op ids that are known"
            )
        if not is_here or (offset and not crc and self._file.read(offset - 1, 1) != b"\n"):
            raise UsageError(f"{text} is not a cursor of this session")
        return offset

    def _crc_before(self, offset: int) -> int:
        base = _base_of(offset)
        with self._lock:
            last_base, place, crc = self._last
            if last_base != base or not place <= offset <= place + _STEP_BYTES:
                place, crc = self._mark_before(base, offset)
            crc = crc32(self._bytes(place, offset), crc)
            self._last = (base, offset, crc)
        return crc

    def _mark_before(self, base: int, offset: int) -> tuple[int, int]:
        """Return the last whole step before `offset`, and the crc from `base` up to there."""
        steps = (offset - base) // _STEP_BYTES
        marks = self._marks.setdefault(base, [0])
        while (known := len(marks)) <= steps:
            place = base + (known - 1) * _STEP_BYTES
            crc = crc32(self._file.read(place, _STEP_BYTES), marks[known - 1])
            marks[known:] = [crc]  # another thread may have come here first, with the same
        return base + steps * _STEP_BYTES, marks[steps]

    def _bytes(self, start: int, end: int) -> bytes:
        first, data = self._ahead
        if not first <= start <= end <= first + len(data):
            first, data = start, self._file.read(start, max(end - start, _AHEAD_BYTES))
            self._ahead = first, data
        return data[start - first : end - first]


def _base_of(offset: int) -> int:
    """Return from which byte on the crc of a cursor is."""
    return max(0, offset // _SPAN_BYTES - 1) * _SPAN_BYTES
