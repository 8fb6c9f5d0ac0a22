"""The compiled part is the same work in C, where it was built and nobody switched it off.

Each function here answers as usual, or None. None sends its caller to the Python beside the call: the one
judge of all that is unusual, and the only source of messages. So both forms write the same bytes and say the
same words. Without the compiled part each says None.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, cast

from muse.core.entry import Limits, OpEntry

VERSION = 2
"""The agreement with `native/module.c`. A compiled part of another number is as good as absent."""

SWITCH = "MUSE_PURE"
"""The environment variable that switches the compiled part off, unless it is empty or 0."""


def _find() -> tuple[ModuleType | None, str]:
    """Return the compiled part, if it is to be used, and which form runs, in words."""
    if os.environ.get(SWITCH, "") not in {"", "0"}:
        return None, f"pure Python, as {SWITCH} is set"
    try:
        from muse import _native  # noqa: PLC0415 - it may be absent
    except ImportError:
        return None, "pure Python"
    if _native.VERSION != VERSION:
        return None, "pure Python, as the compiled part is of another version"
    return _native, "compiled"


NATIVE, FORM = _find()

if TYPE_CHECKING or NATIVE is None:

    class LogEnd:
        """What a handle knows of the end of its log; the compiled form records most ops, too.

        The numbers are those of `muse.core.appends.Appends`.
        """

        seen_end = expected_end = own_count = op_count = highest = 0

        def prepare_to_record(  # noqa: PLR0917 - without a name for each, as C takes them
            self,
            file: object,
            clock: object,
            acquire: Callable[[], object],
            release: Callable[[], object],
            take_op_id: Callable[[], str],
            now_text: Callable[[], str],
            *limits: int,
        ) -> None:
            """Tell `record` what it works with."""

        def record(  # noqa: PLR0917
            self,
            actor_id: str,
            domain: str,
            domain_op: object,
            parent_op_ids: Sequence[str],
            intent_id: str,
            reservation_id: str,
        ) -> OpEntry | None:
            """Record an op as `OpLog.record` does, and return its entry, which is in the file.

            None, and nothing is written, where anything is unusual: the op, or what others did to the file.
            """

        def raise_unwritten(self, number: int) -> NoReturn:
            """Raise what is to be said of a write that failed with the system's error `number`."""
            raise NotImplementedError
else:
    LogEnd = NATIVE.LogEnd


def encode_line(entry: OpEntry, limits: Limits) -> bytes | None:
    """Return the line of an entry that passes `check_entry` and `encode_line`."""
    if NATIVE is None:
        return None
    line: bytes | None = NATIVE.encode_line(entry, *numbers_of(limits))
    return line


Encoded = tuple[bytes, list[str], list[int], list[int], bool]
"""Lines, their op ids, stamps and lengths, and whether any entry names a parent."""


def encode_entries(entries: list[OpEntry], limits: Limits) -> Encoded | None:
    """Return the lines of entries that each pass `check_entry` and `encode_line`, and what is in them."""
    if NATIVE is None:
        return None
    encoded: Encoded | None = NATIVE.encode_entries(entries, *numbers_of(limits))
    return encoded


def decode_block(data: bytes, offset: int) -> tuple[list[OpEntry], list[int]] | None:
    """Return the entries of whole lines that start at byte `offset`, and where each line starts."""
    if NATIVE is None:
        return None
    found: tuple[list[OpEntry], list[int]] | None = NATIVE.decode_block(data, offset)
    return found


def scan_block(data: bytes, offset: int, *, check_crc: bool) -> tuple[list[str], list[int], list[int]] | None:
    """Return the op ids and stamps of whole lines, and where each line starts."""
    if NATIVE is None:
        return None
    found: tuple[list[str], list[int], list[int]] | None = NATIVE.scan_block(data, offset, check_crc)
    return found


class RisingEntries(Protocol):
    """Entries with where their lines start, as long as all is usual and each stamp is above all before.

    Then `taken` says how many bytes were read, and `highest` is the last stamp.
    """

    taken: int
    highest: int

    def __iter__(self) -> Iterator[tuple[int, OpEntry]]: ...


def rising_entries(data: bytes, offset: int, highest: int, frontier: dict[str, int]) -> RisingEntries | None:
    """Return the entries of whole lines, each made when it is asked for; keep `frontier` up to date."""
    return cast("RisingEntries", NATIVE.Entries(data, offset, highest, frontier)) if NATIVE else None


def collect_entries(data: bytes, found: dict[str, OpEntry], highest: int) -> tuple[int, int]:
    """Take entries of whole lines into `found`, up to the first that is unusual or of a known op.

    Return how many bytes were taken in, and the last stamp if all rose from `highest` on, else -1.
    """
    if NATIVE is None:
        return 0, -1
    taken, stamp = NATIVE.collect_entries(data, found, highest)
    return taken, stamp


def frames_hold(lines: list[bytes]) -> bool | None:
    """Tell whether every line ends with a crc that its other bytes have."""
    return None if NATIVE is None else bool(NATIVE.frames_hold(lines))


def fingerprints(op_ids: Sequence[str], key: bytes) -> bytes | None:
    """Return the fingerprint of each op id; see `muse.core.file.id_prints`."""
    if NATIVE is None:
        return None
    prints: bytes | None = NATIVE.fingerprints(op_ids, key)
    return prints


class RowTable(Protocol):
    """Rows of the op index in memory, by fingerprint; see `native/index.c`."""

    def find(self, prints: bytes, /) -> list[tuple[int, int]]:
        """Return which of the fingerprints have a row, each with the start in it."""

    def add(self, prints: bytes, starts: list[int], /) -> list[int]:
        """Add rows; return which were not added, as there is a row of their fingerprint."""

    def add_one(self, fingerprint: bytes, start: int, /) -> None:
        """Add a row beside others of its fingerprint."""

    def rows(self, first: int, last: int, /) -> bytes:
        """Return the sorted rows of the fingerprints from `first` to `last`."""


def row_table() -> RowTable | None:
    """Return a table without rows."""
    return cast("RowTable", NATIVE.IdTable()) if NATIVE else None


def find_in_snapshot(  # noqa: PLR0917 - as C takes them
    prints: bytes, bits: int, places: bytes, kept: list[bytes | None], descriptor: int, offset: int
) -> list[tuple[int, int]] | None:
    """Return the rows that a snapshot of the op index has of some fingerprints.

    Its 2**`bits` segments, of which the first is at byte `offset`, are in `kept` once they were read;
    `places` is a place of zeros and the directory.
    """
    if NATIVE is None:
        return None
    found: list[tuple[int, int]] | None = NATIVE.find_in_snapshot(
        prints, bits, places, kept, descriptor, offset
    )
    return found


def merge_rows(some: bytes, others: bytes, first: int, last: int) -> bytes | None:
    """Return sorted rows together, of the fingerprints from `first` to `last`."""
    if NATIVE is None:
        return None
    merged: bytes = NATIVE.merge_rows(some, others, first, last)
    return merged


def numbers_of(limits: Limits) -> tuple[int, int, int, int]:
    """Return the limits as the compiled part takes them."""
    return limits.entry_bytes, limits.nesting_depth, limits.parents, limits.text_length


def format_op_ids(octets: bytes) -> list[str] | None:
    """Return a UUID4 of each 16 random octets."""
    if NATIVE is None:
        return None
    op_ids: list[str] = NATIVE.format_op_ids(octets)
    return op_ids


def new_entries(
    names: tuple[str, str, str, str], ops: list[Any], op_ids: list[str], stamp: int, created_at: str
) -> list[OpEntry] | None:
    """Return the entries of several ops, stamped from `stamp` on; see `make_op_entries`."""
    if NATIVE is None:
        return None
    entries: list[OpEntry] = NATIVE.new_entries(names, ops, op_ids, stamp, created_at)
    return entries
