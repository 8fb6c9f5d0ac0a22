"""One session's `ops.jsonl`: appended with single writes, read in blocks of whole lines.

There is no lock between processes on the way of an append: the file is opened `O_APPEND` and a
line is one `os.write`, which local file systems never interleave. What that does not cover - a
writer killed half-way, a short write, a file swapped underneath - is handled here.
"""

import contextlib
import os
import stat
import time
from collections.abc import Callable, Iterator
from typing import NoReturn

from muse.core.storage import Storage, storage_error, translated
from muse.errors import CorruptionError, StorageError

BLOCK_BYTES = 1 << 18
LONGEST_LINE_BYTES = 1 << 26
"""A longer run without a newline is no line of ours, and is not held in memory to look at."""

_SETTLE_CHECKS = 4
_SETTLE_SECONDS = 0.0005


def _never() -> bool:
    return False


class LogFile:
    """The bytes of one log. Not for use by several threads at once, except for `blocks`."""

    def __init__(self, path: str, storage: Storage) -> None:
        self.path = path
        self._storage = storage
        self._reader = -1
        self._writer = -1
        self._identity = (0, 0)
        self._may_have_moved: Callable[[], bool] = _never
        self._write = storage.write
        self._seek = storage.seek
        self._needs_newline = False
        self._directory_synced = False
        self._failed_sync: StorageError | None = None

    # -- appending ------------------------------------------------------------------------------

    def open_for_append(self) -> None:
        """Open the file, made with its directory if missing. Only a regular file with one name will do."""
        if self._writer >= 0:
            return
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
        self._storage.make_directories(os.path.dirname(self.path))
        with translated(self.path, "open"):
            descriptor = self._storage.open(self.path, flags)
        try:
            self._identity = self._check_kind(descriptor)
            self._may_have_moved = self._storage.watch(self.path)
            self._check_in_place()
        except BaseException:
            self._storage.close(descriptor)
            raise
        self._writer = descriptor

    @property
    def is_open_for_append(self) -> bool:
        return self._writer >= 0

    def _check_kind(self, descriptor: int) -> tuple[int, int]:
        status = self._storage.status(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise StorageError(f"{self.path} is not a regular file: it is refused as a log", path=self.path)
        if status.st_nlink > 1:
            raise StorageError(
                f"{self.path} has {status.st_nlink} names (hard links): it is refused as a log",
                path=self.path,
            )
        return status.st_dev, status.st_ino

    def append(self, data: bytes) -> int:
        """Append whole lines with one write; return how many bytes went in.

        On return the bytes are in the file that stands at the path, and visible to all. Raises
        `StorageError` with nothing acknowledged when the write fails or is short, or when the
        file was renamed, replaced or deleted.
        """
        if self._failed_sync is not None:
            self._refuse_after_failed_sync()
        if self._needs_newline:
            data = b"\n" + data
        try:
            written = self._write(self._writer, data)
        except OSError as error:
            raise storage_error(error, self.path, "append to") from error
        if written != len(data):
            self._needs_newline = not self._end_torn_line()
            raise StorageError(
                f"only {written} of {len(data)} bytes went into {self.path}: the disk may be full; "
                "the op is not in the log, append it again once there is space",
                path=self.path,
            )
        self._needs_newline = False
        if self._may_have_moved():
            self._check_in_place()
        return written

    def _end_torn_line(self) -> bool:
        """Close our own cut-off line, so that the next writer's starts clean."""
        try:
            return self._storage.write(self._writer, b"\n") == 1
        except OSError:
            return False

    def start_clean(self) -> None:
        """See to it that the next append starts a line of its own, whoever left a torn one.

        A line may look torn because its writer is still at it, so the end is watched until it
        settles; a newline too many is an empty line, which readers pass over.
        """
        end = self.end()
        for _ in range(_SETTLE_CHECKS):
            if end == 0 or self._storage.pread(self._writer, 1, end - 1) == b"\n":
                self._needs_newline = False
                return
            time.sleep(_SETTLE_SECONDS)
            before, end = end, self.end()
            if end == before:
                break
        self._needs_newline = True

    def _check_in_place(self) -> None:
        """Raise `StorageError` unless the open file is the one at the path."""
        try:
            status = self._storage.path_status(self.path)
            in_place = (status.st_dev, status.st_ino) == self._identity
        except OSError:
            in_place = False
        if not in_place:
            raise StorageError(
                f"{self.path} was renamed, replaced or deleted while it was open: the op is not in the "
                "session's log; put the file back or open the session anew, then append it again",
                path=self.path,
            )

    def _refuse_after_failed_sync(self) -> NoReturn:
        failed = self._failed_sync
        raise StorageError(
            f"{failed}; the log takes no more: what the disk holds is in doubt", path=self.path
        ) from failed

    def sync(self) -> None:
        """Bring all that was appended to the disk, and the file's name before the first time.

        After a failure the log takes no more: what the disk lost in it, a second sync would not
        tell (the kernel drops the failed pages and reports success).
        """
        self.open_for_append()
        if self._failed_sync is not None:
            self._refuse_after_failed_sync()
        try:
            self._storage.sync_data(self._writer)
        except OSError as error:
            self._failed_sync = storage_error(error, self.path, "sync")
            raise self._failed_sync from error
        if not self._directory_synced:
            self._sync_names()

    def _sync_names(self) -> None:
        directory = os.path.dirname(self.path)
        for _ in range(3):  # the session, the op_log directory, .muse
            self._storage.sync_directory(directory)
            directory = os.path.dirname(directory)
        self._directory_synced = True

    # -- reading --------------------------------------------------------------------------------

    def end(self) -> int:
        """Return the file's size in bytes; 0 if there is none."""
        descriptor = self._writer if self._writer >= 0 else self._any_descriptor()
        if descriptor < 0:
            return 0
        try:
            return self._seek(descriptor, 0, os.SEEK_END)
        except OSError as error:
            raise storage_error(error, self.path, "measure") from error

    def _any_descriptor(self) -> int:
        if self._writer >= 0:
            return self._writer
        if self._reader < 0:
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
            try:
                descriptor = self._storage.open(self.path, flags)
            except (FileNotFoundError, NotADirectoryError):
                return -1
            except OSError as error:
                raise storage_error(error, self.path, "open") from error
            try:
                self._check_kind(descriptor)
            except BaseException:
                self._storage.close(descriptor)
                raise
            self._reader = descriptor
        return self._reader

    def read(self, offset: int, length: int) -> bytes:
        """Return up to `length` bytes from `offset`; fewer only at the end of the file."""
        descriptor = self._any_descriptor()
        parts = []
        with translated(self.path, "read"):
            while length > 0 and descriptor >= 0:
                part = self._storage.pread(descriptor, length, offset)
                if not part:
                    break
                parts.append(part)
                offset += len(part)
                length -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def blocks(self, start: int, stop: int) -> Iterator[tuple[int, bytes]]:
        """Yield (offset, whole lines) from `start` up to the last newline before `stop`.

        `start` must be where a line starts. Memory is bounded by the block size and the longest line;
        a run of more than `LONGEST_LINE_BYTES` without a newline raises `CorruptionError`.
        """
        size = BLOCK_BYTES
        while start < stop:
            data = self.read(start, min(size, stop - start))
            newline = data.rfind(b"\n") + 1
            if newline:
                yield start, data[:newline]
                start += newline
                size = BLOCK_BYTES
            elif len(data) < min(size, stop - start) or start + len(data) >= stop:
                return
            elif size >= LONGEST_LINE_BYTES:
                raise CorruptionError(
                    f"{self.path} has no newline in {size} bytes from byte {start}: it is no op log",
                    path=self.path,
                    offset=start,
                )
            else:
                size *= 4

    # -- lifetime -------------------------------------------------------------------------------

    def close(self) -> None:
        """Release the descriptors. What was appended is in the file already."""
        for descriptor in (self._writer, self._reader):
            if descriptor >= 0:
                with contextlib.suppress(OSError):
                    self._storage.close(descriptor)
        self._writer = self._reader = -1
