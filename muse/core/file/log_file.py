"""One session's `ops.jsonl` is appended to with single writes, and read in blocks of whole lines.

There is no lock between processes on the way of an append: the file is opened `O_APPEND` and a
line is one `os.write`, which local file systems never interleave. What that does not cover - a
writer killed half-way, a short write, a file swapped underneath - is handled here.
"""

import contextlib
import errno
import os
import stat
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from hashlib import sha256
from typing import NoReturn

from muse.disk.file_system import NETWORK_KINDS, file_system_kind
from muse.disk.path_watch import PathWatch
from muse.disk.storage import Storage
from muse.disk.system_calls import storage_error, translated
from muse.errors import CorruptionError, ShortWriteError, StorageError

BLOCK_BYTES = 1 << 18
LONGEST_LINE_BYTES = 1 << 26
"""A longer run of bytes without a newline is no line of ours, and is not read into memory."""

_NOTHING_WAS_SYNCED = frozenset({errno.EMFILE, errno.ENFILE})
_SETTLE_CHECKS = 4
_SETTLE_SECONDS = 0.0005


_TAIL_BYTES = 64
"""The end of a line has its crc."""


def _nothing() -> None:
    return None


def _is_same_or_blanked(before: bytes, now: bytes) -> bool:
    """Tell whether bytes of a log are those from before, but for what a repair overwrote by blanks."""
    return before == now or (
        len(before) == len(now)
        and all(new in b" \n" or new == old for old, new in zip(before, now, strict=True))
    )


def doubt_path(log_path: str) -> str:
    """Return the file that says from which byte on a log is in doubt. It exists only after a failed sync."""
    return log_path.removesuffix(".jsonl") + ".doubt"


class LogFile:
    """The bytes of one log. Not for use by several threads at once, except for `blocks`.

    `prepare` runs before the file is made. `measure` and `put` are `end` and the write of `append`
    without the translation of errors; after a `put` the caller asks `watch`, and calls `settle` if the
    write was short or the file may have moved. `descriptor` is that of the file where `put` is a bare write
    of the system and `measure` a bare seek, -1 where they do more.
    """

    def __init__(
        self,
        path: str,
        storage: Storage,
        *,
        prepare: Callable[[], None] = _nothing,
        allow_network: bool = False,
    ) -> None:
        self.path = path
        self.is_open_for_append = False
        self._storage = storage
        self._prepare = prepare
        self._allow_network = allow_network
        self._reader = -1
        self._reader_lock = threading.Lock()
        self._writer = -1
        self._identity = (0, 0)
        self.watch = PathWatch.always()
        self.measure: Callable[[], int] = self._measure
        self.put: Callable[[bytes], int] = self._open_and_put
        self.descriptor = -1
        self._relied_on = (0, b"")  # so far the file was read, and the bytes before that place
        self._is_another = False
        self._names_synced = False
        self._synced_to = 0
        self._failed_sync: StorageError | None = None

    # -- appending ------------------------------------------------------------------------------

    def open_for_append(self) -> None:
        """Open the file, made with its directory if missing; refuse one that is not safe to append to.

        Refused: anything but a regular file with one name, and a network file system, where
        appends of several machines overwrite one another (unless `allow_network`). A shared lock
        on the file tells others that a writer lives.
        """
        if self._writer >= 0:
            return
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
        self._prepare()
        self._storage.make_directories(os.path.dirname(self.path))
        with translated(self.path, "open"):
            descriptor = self._storage.open(self.path, flags)
        try:
            self._identity = self._check_kind(descriptor)
            self._check_local(self._identity[0])
            self._share(descriptor)
            self.watch = self._storage.watch(self.path)
            self._check_in_place()
            self._let_go_if_moved()
            self._check_same()
        except BaseException:
            self._storage.close(descriptor)
            raise
        self._writer = descriptor
        self.is_open_for_append = True
        self.measure = partial(self._storage.seek, descriptor, 0, os.SEEK_END)
        self._put_barely()
        try:
            self._write_doubtful_again()
        except BaseException:
            self.close()  # or the next call would take what is in doubt for written
            raise

    def _check_kind(self, descriptor: int) -> tuple[int, int]:
        with translated(self.path, "look at"):
            status = self._storage.status(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise StorageError(f"{self.path} is not a regular file, so it cannot be a log", path=self.path)
        if status.st_nlink > 1:
            raise StorageError(
                f"{self.path} has {status.st_nlink} names (hard links), so it cannot be a log: "
                "remove the others",
                path=self.path,
            )
        return status.st_dev, status.st_ino

    def _check_local(self, device: int) -> None:
        kind = file_system_kind(device, self._storage)
        if kind in NETWORK_KINDS and not self._allow_network:
            raise StorageError(
                f"{self.path} is on a network file system ({kind}), where appends are not atomic: put the "
                "repository on a local disk, or say allow_network=True if only one machine ever writes",
                path=self.path,
            )

    def _share(self, descriptor: int) -> None:
        with translated(self.path, "lock"):
            shared = self._storage.lock(descriptor, exclusive=False, wait=False)
        if not shared:
            raise StorageError(f"{self.path} is being archived or restored: try again later", path=self.path)

    def append(self, data: bytes) -> int:
        """Append whole lines with one write; return how many bytes went in.

        On return the bytes are in the file at the path, and visible to all. Raises
        `StorageError` with nothing acknowledged when the write fails or is short, or when the
        file was renamed, replaced or deleted.
        """
        try:
            written = self.put(data)
        except OSError as error:
            raise storage_error(error, self.path, "append to") from error
        self.watch.ask()
        if written != len(data) or self.watch.answer[0]:
            self.settle(data, written)
        return written

    def settle(self, data: bytes, written: int) -> None:
        """Finish a `put` that was short, or after which the file may have moved; raise what is wrong."""
        if written != len(data):
            ended = self._end_torn_line()
            if not ended:
                self._put_by(self._put_on_new_line)
            only_newline_was_missing = ended and written == len(data) - 1
        if written != len(data) and not only_newline_was_missing:
            raise ShortWriteError(
                f"only {written} of {len(data)} bytes went into {self.path}: the disk may be full; "
                "the op is not in the log, append it again once there is space",
                path=self.path,
            )
        if self.watch.may_have_moved():
            self._check_in_place()

    # What `put` is: the bare write, but before the first one, after a torn line, after a failed sync.

    def _open_and_put(self, data: bytes) -> int:
        self.open_for_append()
        return self.put(data)

    def _put_on_new_line(self, data: bytes) -> int:
        written = self._storage.write(self._writer, b"\n" + data) - 1
        if written == len(data):
            self._put_barely()
        return written

    def _refuse(self, data: bytes) -> NoReturn:
        failed = self._failed_sync
        raise StorageError(
            f"{failed}; the log takes no more until it is opened again ({len(data)} bytes were not written): "
            "what the disk holds is in doubt",
            path=self.path,
        ) from failed

    def _put_barely(self) -> None:
        """Let `put` be the write without a frame of Python around it: it is called at every append."""
        self.put = partial(self._storage.write, self._writer)
        self.descriptor = self._writer if self._storage.calls_the_system else -1

    def _put_by(self, put: Callable[[bytes], int]) -> None:
        self.put = put
        self.descriptor = -1

    def _is_in_place(self, descriptor: int) -> bool:
        try:
            there, ours = self._storage.path_status(self.path), self._storage.status(descriptor)
        except OSError:
            return False
        return (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)

    def _end_torn_line(self) -> bool:
        """Close our own cut-off line, so that the next writer's starts clean."""
        try:
            return self._storage.write(self._writer, b"\n") == 1
        except OSError:
            return False

    def start_clean(self) -> None:
        """Make the next append start a line of its own, even after a torn line of another writer.

        A line may look torn because its writer has not finished, so the end is watched until it
        settles. A newline too many is an empty line, which readers pass over.
        """
        end = self.end()
        for _ in range(_SETTLE_CHECKS):
            if end == 0 or self.read(end - 1, 1) == b"\n":
                return
            time.sleep(_SETTLE_SECONDS)
            before, end = end, self.end()
            if end == before:
                break
        self._put_by(self._put_on_new_line)

    def _check_in_place(self) -> None:
        """Raise `StorageError` unless the open file is the one at the path."""
        try:
            status = self._storage.path_status(self.path)
            in_place = (status.st_dev, status.st_ino) == self._identity
        except OSError:
            in_place = False
        if not in_place:
            self._raise_replaced()

    def _raise_replaced(self) -> NoReturn:
        raise StorageError(
            f"{self.path} was renamed, replaced or deleted while it was open: put the file back or open the "
            "session again; an op that was just appended is not in the session's log, append it again then",
            path=self.path,
        )

    # -- the same log as before -----------------------------------------------------------------

    @property
    def is_replaced(self) -> bool:
        """Whether the log at the path is known to be another one than was read or written here."""
        if not self._is_another and self.is_open_for_append:
            self.watch.ask()
            may_have_moved = bool(self.watch.answer[0]) and self.watch.may_have_moved()
            self._is_another = may_have_moved and not self._is_in_place(self._writer)
        return self._is_another

    def _check_same(self) -> None:
        if self._is_another:
            self._raise_replaced()

    def _check_relied_on(self) -> None:
        """Raise `StorageError` if the last bytes that were read are no longer there."""
        reached, tail = self._relied_on
        if not _is_same_or_blanked(tail, self._read(reached - len(tail), len(tail))):
            self._is_another = True
            self._raise_replaced()

    def _compare_with(self, read_before: Callable[[int, int], bytes]) -> None:
        """Note whether the log at the path starts with all that was read of the file before."""
        reached, _ = self._relied_on
        places = ((start, min(BLOCK_BYTES, reached - start)) for start in range(0, reached, BLOCK_BYTES))
        is_same = False  # also if a read fails: what was open is let go, and nothing is compared again
        try:
            is_same = all(_is_same_or_blanked(read_before(*place), self._read(*place)) for place in places)
        finally:
            self._is_another |= not is_same

    def sync(self) -> None:
        """Bring all that was appended to the disk, the first time the file's name too.

        After a failure the log takes no more: a second sync would not tell what the disk lost (the kernel
        drops the failed pages and reports success; Rebello et al. 2020, "Can Applications Recover from
        fsync Failures?"). A note beside the log says from which byte on it is in doubt, so that the next
        writer writes those bytes again.
        """
        self.open_for_append()
        if self._failed_sync is not None:
            self._refuse(b"")
        end = self.end()
        try:
            self._storage.sync_data(self._writer)
            if not self._names_synced:
                self._sync_names()
        except (OSError, StorageError) as error:
            if isinstance(error, StorageError) and error.errno in _NOTHING_WAS_SYNCED:
                raise  # a directory could not be opened: no doubt about any bytes, it can be tried again
            self._failed_sync = (
                error if isinstance(error, StorageError) else storage_error(error, self.path, "sync")
            )
            self._put_by(self._refuse)
            self._note_doubt()
            raise self._failed_sync from error
        self._synced_to = end

    def _sync_names(self) -> None:
        directory = os.path.dirname(self.path)
        for _ in range(4):  # the session, op_log, .muse and the root: each may be new
            self._storage.sync_directory(directory or ".")
            directory = os.path.dirname(directory)
        self._names_synced = True

    def known_durable(self, offset: int) -> None:
        """Note that everything before `offset` was synced earlier: a checkpoint's cut, for example."""
        self._synced_to = max(self._synced_to, offset)

    def _note_doubt(self) -> None:
        with contextlib.suppress(StorageError, OSError):
            self._storage.write_atomically(doubt_path(self.path), b"%d\n" % self._synced_to, sync=False)

    def _write_doubtful_again(self) -> None:
        """Append once more what a failed sync left in doubt; readers pass over the repeated lines.

        While the disk fails, the log does not grow: the note is synced first, and each line is written once.
        """
        if not self._storage.exists(doubt_path(self.path)):
            return
        # A power cut may have spoiled the note itself: then all is in doubt.
        note = self._storage.read_bytes(doubt_path(self.path))
        text, newline, _ = note.partition(b"\n")
        start = int(text) if newline and text.isdigit() else 0
        self._storage.write_atomically(doubt_path(self.path), note)
        self.start_clean()
        written: set[bytes] = set()
        for _, data in self.blocks(start, self.end()):
            lines = [line for line in dict.fromkeys(data.split(b"\n")) if line]
            fresh = {sha256(line).digest(): line for line in lines}
            if again := [line for digest, line in fresh.items() if digest not in written]:
                self.append(b"\n".join([*again, b""]))
            written |= fresh.keys()
        self.sync()
        self._storage.remove(doubt_path(self.path))

    def blank(self, places: list[tuple[int, int]]) -> None:
        """Overwrite each (offset, length), bytes of finished lines, by spaces and a newline; sync."""
        with translated(self.path, "repair"):
            descriptor = self._storage.open(self.path, os.O_WRONLY | os.O_NOFOLLOW)
            try:
                for offset, length in places:
                    self._storage.pwrite(descriptor, b" " * (length - 1) + b"\n", offset)
                self._storage.sync_data(descriptor)
            finally:
                self._storage.close(descriptor)

    # -- reading --------------------------------------------------------------------------------

    def end(self) -> int:
        """Return the file's size in bytes; 0 if it does not exist.

        Raises `StorageError` if another log is at the path than the one that was read or written here.
        """
        try:
            end = self.measure()
        except OSError as error:
            raise storage_error(error, self.path, "measure") from error
        if self.is_open_for_append:
            self.watch.ask()
            if self.watch.answer[0] and self.watch.may_have_moved():
                self._check_in_place()
        self._is_another |= end < self._relied_on[0]  # the caller says that it became shorter
        return end

    def _measure(self) -> int:
        self._let_go_if_moved()
        self._check_same()
        return self._size()

    def _size(self) -> int:
        descriptor = self._any_descriptor()
        return self._storage.seek(descriptor, 0, os.SEEK_END) if descriptor >= 0 else 0

    def _let_go_if_moved(self) -> None:
        """Close a reader whose file is no longer at the path: archived, and perhaps restored meanwhile."""
        with self._reader_lock:
            if self._reader < 0 or self._is_in_place(self._reader):
                return
            before, self._reader = self._reader, -1
        try:
            self._compare_with(partial(self._read_from, before))
        finally:
            self._storage.close(before)

    def _any_descriptor(self) -> int:
        if self._writer >= 0:
            return self._writer
        if self._reader < 0:
            with self._reader_lock:  # `blocks` may run in several threads: one of them opens
                if self._reader < 0:
                    self._reader = self._open_for_reading()
        return self._reader

    def _open_for_reading(self) -> int:
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
        return descriptor

    def read(self, offset: int, length: int) -> bytes:
        """Return up to `length` bytes from `offset`; fewer only at the end of the file."""
        data = self._read(offset, length)
        if data and offset + len(data) > self._relied_on[0]:
            self._relied_on = offset + len(data), data[-_TAIL_BYTES:]
        return data

    def _read(self, offset: int, length: int) -> bytes:
        return self._read_from(self._any_descriptor(), offset, length)

    def _read_from(self, descriptor: int, offset: int, length: int) -> bytes:
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
        a run of more than `LONGEST_LINE_BYTES` without a newline raises `CorruptionError`. Another log than
        the one that was read before raises `StorageError`.
        """
        size = BLOCK_BYTES
        if start < stop:
            self._check_relied_on()
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
                    f"{self.path} has no newline in {size} bytes from byte {start}, so it is no op log: "
                    "put the session's log back",
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
        self.is_open_for_append = False
        self.measure = self._measure
        self._put_by(self._open_and_put)
