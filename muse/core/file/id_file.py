"""A snapshot of the index is a file that nobody changes: rows by fingerprint, in segments, each with a crc.

See `docs/index_format.md`. A snapshot is written beside its place and renamed, so there is a whole one or the
one before it. It is believed only as far as it proves itself: its directory when it is opened, a segment
when it is read, and the log, by the witness and by each line that is looked up.
"""

import os
import stat
import struct
from collections.abc import Iterable
from typing import NamedTuple

from muse.core import compiled
from muse.core.file.id_prints import KEY_BYTES
from muse.disk.crc import crc32
from muse.disk.storage import Storage
from muse.disk.system_calls import translated
from muse.errors import StorageError

ROW_BYTES = 16
"""A fingerprint and where its line starts, both big-endian: rows sort as bytes."""

WITNESS_BYTES = 32
_MAGIC = b"muse ids"
_VERSION = 1
_HEAD = struct.Struct(f">8sII{KEY_BYTES}sQ{WITNESS_BYTES}s")
_PLACE = struct.Struct(">QI")
_TWO_PLACES = struct.Struct(">QIQI")
_FOOT = struct.Struct(">QI")
_MOST_BITS = 40
_ROWS_A_SEGMENT = 64
_WRITE_BYTES = 1 << 17


Hit = tuple[int, int]
"""Which of the fingerprints that were asked for, and a place where its op may start."""


class TableError(Exception):
    """The index is damaged, or says what the log does not: it is to be made again."""


class UnreadableError(TableError):
    """The system does not let us read it: it may be sound."""


class Facts(NamedTuple):
    """The head of a snapshot: it has the ids of all lines before byte `covered` of the log.

    `bits`: so many upper bits of a fingerprint are the number of its segment. `witness`: a digest of the log.
    """

    bits: int
    key: bytes
    covered: int
    witness: bytes


def bits_for(count: int) -> int:
    """Return how many bits number the segments of a snapshot of about `count` rows."""
    return (count // _ROWS_A_SEGMENT).bit_length()


class IdFile:
    """An open snapshot. Whatever it cannot prove, or cannot be read, is a `TableError`.

    For several threads at once. `count`: the rows in it.
    """

    def __init__(self, path: str, storage: Storage) -> None:
        self._storage = storage
        try:
            with translated(path, "open"):
                flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
                self._descriptor = storage.open(path, flags)
        except StorageError as error:
            raise UnreadableError(str(error)) from error
        try:
            self.facts, self.count, directory = self._read_ends()
            self._places = bytes(_PLACE.size) + directory  # what is before the first segment ends at row 0
        except BaseException:
            self.close()
            raise

    def _read_ends(self) -> tuple[Facts, int, bytes]:
        """Read and check what is around the segments: facts, number of rows, directory."""
        try:
            status = self._storage.status(self._descriptor)
        except OSError as error:
            raise UnreadableError(str(error)) from error
        if not stat.S_ISREG(status.st_mode):
            raise TableError("not a file")
        size = status.st_size
        head = self._read(_HEAD.size, 0)
        magic, version, *facts = _HEAD.unpack(head)
        found = Facts(*facts)
        if magic != _MAGIC or version != _VERSION or found.bits > _MOST_BITS:
            raise TableError("not a snapshot of this version")
        directory = _PLACE.size << found.bits
        rest = directory + _FOOT.size
        if size < _HEAD.size + rest:
            raise TableError("cut short")
        end = self._read(rest, size - rest)
        places = end[:directory]
        count, crc = _FOOT.unpack_from(end, directory)
        is_whole = size == _HEAD.size + ROW_BYTES * count + rest
        if not is_whole or crc != crc32(end[:-4], crc32(head)):
            raise TableError("the directory is not what was written")
        return found, count, places

    def rows(self, first: int, last: int) -> bytes:
        """Return the rows of the segments with the numbers `first` to `last`, sorted, each checked."""
        places = self._places[_PLACE.size * first : _PLACE.size * (last + 2)]
        (start, _), *ends = _PLACE.iter_unpack(places)
        data = self._read(ROW_BYTES * (ends[-1][0] - start), _HEAD.size + ROW_BYTES * start)
        before = 0
        for end, crc in ends:
            after = ROW_BYTES * (end - start)
            if crc32(data[before:after]) != crc:
                raise TableError("a segment is not what was written")
            before = after
        return data

    def segment(self, number: int) -> bytes:
        """Return the rows of one segment, as `rows` does, in half the time."""
        start, _, end, crc = _TWO_PLACES.unpack_from(self._places, _PLACE.size * number)
        length = ROW_BYTES * (end - start)
        try:
            data = self._storage.pread(self._descriptor, length, _HEAD.size + ROW_BYTES * start)
        except (OSError, ValueError) as error:
            raise UnreadableError(str(error)) from error
        if len(data) != length or crc32(data) != crc:
            raise TableError("a segment is not what was written")
        return data

    def find(self, prints: bytes, kept: list[bytes | None]) -> list[Hit] | None:
        """Return the rows with some fingerprints, and keep the segments that were read for it.

        None if not each can be read without more ado: `segment` says why.
        """
        if not self._storage.reads_from_the_system:
            return None
        return compiled.find_in_snapshot(
            prints, self.facts.bits, self._places, kept, self._descriptor, _HEAD.size
        )

    def _read(self, length: int, offset: int) -> bytes:
        try:
            data = self._storage.pread(self._descriptor, length, offset) if length > 0 else b""
        except OSError as error:
            raise UnreadableError(str(error)) from error
        if len(data) != length:
            raise TableError("cut short")
        return data

    def close(self) -> None:
        """Close the file. Closing twice is fine."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            self._storage.close(descriptor)


def write_id_file(path: str, storage: Storage, facts: Facts, segments: Iterable[bytes]) -> None:
    """Put a snapshot at `path`, durably; `segments` gives the sorted rows of each in turn.

    A reader of `path` sees the snapshot from before or this one. If `segments` raises, it stays that from
    before. Raises `StorageError`.
    """
    head = _HEAD.pack(_MAGIC, _VERSION, *facts)
    places, count, ready, size = [], 0, [head], 0
    with storage.replacing(path) as write:
        for rows in segments:
            count += len(rows) // ROW_BYTES
            places.append(_PLACE.pack(count, crc32(rows)))
            ready.append(rows)
            size += len(rows)
            if size >= _WRITE_BYTES:
                write(b"".join(ready))
                ready, size = [], 0
        end = b"".join([*places, count.to_bytes(8, "big")])
        write(b"".join([*ready, end, crc32(end, crc32(head)).to_bytes(4, "big")]))
