"""The only file I/O of the package: append, sync, atomic replace, locks.

A storage plays several roles, each a class of its own: it makes system calls on open files, on paths and on
processes, it answers what is at a path, it locks, and it reads and replaces whole files. The last three are
built from the calls alone. A test hands in a subclass that counts, fails or loses calls; what it sees is
what the disk would see. Every `OSError` of a composed method becomes a `StorageError` naming the path.
"""

import contextlib
import os
import stat
from collections.abc import Callable, Iterator
from functools import partial

from muse.disk.lock_files import LockFiles
from muse.disk.path_lookups import Lookups
from muse.disk.system_calls import Processes, storage_error, translated
from muse.errors import CorruptionError, NotFoundError, StorageError

TEMPORARY_MARK = ".tmp-"
READ_BLOCK_BYTES = 1 << 20
NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
"""Opens a file to write that did not exist, and is not reached through a link."""


def is_same_version(one: os.stat_result, other: os.stat_result) -> bool:
    """Return whether two looks at a path found one file that nobody wrote to in between."""
    return version_of(one) == version_of(other)


def version_of(found: os.stat_result) -> tuple[int, int, int]:
    """Return what changes when a file is written: its size, its time in nanoseconds, its inode."""
    return found.st_size, found.st_mtime_ns, found.st_ino


def temporary_start(name: str) -> str:
    """Return how the name of a temporary file begins that is to be called `name`; a process id is next.

    A name may take all of the 255 bytes a file system allows: only its start is kept.
    """
    return f".{name[:40]}{TEMPORARY_MARK}"


def temporary_path(path: str) -> str:
    """Return a path that no other file has, in the same directory, for a file that is to be at `path`.

    It ends in a random number: processes of two containers may write here, and both have one process id.
    """
    directory, name = os.path.split(path)
    return os.path.join(directory, f"{temporary_start(name)}{os.getpid()}-{int.from_bytes(os.urandom(8))}")


class Storage(Lookups, LockFiles, Processes):
    """The operating system's files, read and replaced as a whole, and all that its roles do."""

    # -- made durable ---------------------------------------------------------------------------

    def sync_directory(self, path: str) -> None:
        """Make the names in a directory durable: after a create or rename, before it is relied on."""
        with translated(path, "sync directory"):
            self._sync_path(path, os.O_RDONLY | os.O_DIRECTORY)

    def make_durable(self, path: str) -> None:
        """Bring a file that is already there, and its name, to the disk: its maker may not have."""
        with translated(path, "sync"):
            self._sync_path(path, os.O_RDONLY | os.O_NOFOLLOW)
        self.sync_directory(os.path.dirname(path))

    def make_young(self, path: str) -> bool:
        """Set the times of a file to now; return False if it is not there or belongs to another user."""
        try:
            self.touch(path)
        except (FileNotFoundError, PermissionError):
            return False
        except OSError as error:
            raise storage_error(error, path, "change the times of") from error
        return True

    def _sync_path(self, path: str, flags: int) -> None:
        descriptor = self.open(path, flags)
        try:
            self.sync_data(descriptor)
        finally:
            self.close(descriptor)

    def make_directories(self, path: str, *, sync: bool = False) -> None:
        """Make `path` and the parents it lacks. With `sync`, each new name is durable on return."""
        if self.exists(path):
            return
        parent = os.path.dirname(path)
        if parent and parent != path:
            self.make_directories(parent, sync=sync)
        with translated(path, "make directory"), contextlib.suppress(FileExistsError):
            self.make_directory(path)
        if sync:
            self.sync_directory(parent or ".")

    # -- read and written as a whole ------------------------------------------------------------

    def read_bytes(self, path: str, *, at_most: int | None = None) -> bytes:
        """Return the whole of a regular file; `NotFoundError` if it does not exist.

        `CorruptionError`, nothing read, for one that is longer than `at_most` bytes: a file that some program
        made may have any length, at no cost on the disk.
        """
        try:
            descriptor = self.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise NotFoundError(f"{path} does not exist") from error
        except OSError as error:
            raise storage_error(error, path, "open") from error
        try:
            with translated(path, "read"):
                found = self.status(descriptor)
                if not stat.S_ISREG(found.st_mode):
                    raise StorageError(f"{path} is not a regular file: it is refused", path=path)
                if at_most is not None and found.st_size > at_most:
                    raise CorruptionError(
                        f"{path} has {found.st_size} bytes, where at most {at_most} can be: it is not read; "
                        "restore it from another copy",
                        path=path,
                    )
                return b"".join(self._blocks(descriptor))
        finally:
            self.close(descriptor)

    def read_settled(self, path: str) -> tuple[bytes, os.stat_result]:
        """Return the whole of a regular file that others may write to, and its status.

        Raises as `read_bytes` does, and `StorageError` for a file that changes while it is read.
        """
        before = self.look(path)
        content = self.read_bytes(path)
        after = self.look(path)
        if before is None or after is None or not is_same_version(before, after):
            raise StorageError(f"{path} changed while it was read: try again once it is written", path=path)
        return content, after

    def _blocks(self, descriptor: int) -> Iterator[bytes]:
        offset = 0
        while block := self.pread(descriptor, READ_BLOCK_BYTES, offset):
            yield block
            offset += len(block)

    def blocks_of(self, path: str, repeated: int) -> Iterator[bytes]:
        """Yield a file in blocks, each after the last `repeated` bytes of the one before."""
        try:
            descriptor = self.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except FileNotFoundError:
            return
        except OSError as error:
            raise storage_error(error, path, "open") from error
        try:
            with translated(path, "read"):
                last = b""
                for block in self._blocks(descriptor):
                    data = last + block
                    yield data
                    last = data[max(len(data) - repeated, 0) :]
        finally:
            self.close(descriptor)

    def write_all(self, descriptor: int, data: bytes) -> None:
        """Write every byte, however many calls that takes. For files nobody else writes."""
        view = memoryview(data)
        while view:
            view = view[self.write(descriptor, bytes(view[:READ_BLOCK_BYTES])) :]

    def write_atomically(
        self, path: str, data: bytes, *, sync: bool = True, sync_name: bool = True, mode: int | None = None
    ) -> None:
        """Replace `path` by `data`: readers and crashes see the old file or the new, nothing else.

        With `sync`, the new bytes are durable before the rename (or the name could point at
        nothing after a power cut) and the name is durable on return. A crash in between leaves the
        old file and a temporary one, whose name holds `TEMPORARY_MARK`. The new file has the
        permissions `mode`, or those of any new file. Who writes many files of one directory syncs it
        once itself, without `sync_name`.
        """
        with self._replacing(path, sync=sync, sync_name=sync_name) as descriptor:
            if mode is not None:
                self.change_mode(descriptor, mode)
            self.write_all(descriptor, data)

    @contextlib.contextmanager
    def replacing(self, path: str) -> Iterator[Callable[[bytes], None]]:
        """Replace `path` by what the block writes with the function it is given, however much that is.

        As with `write_atomically`, it is durable once the block is left; if the block raises, or at a
        crash, the old file stays.
        """
        with self._replacing(path, sync=True) as descriptor:
            yield partial(self.write_all, descriptor)

    @contextlib.contextmanager
    def _replacing(self, path: str, *, sync: bool, sync_name: bool = True) -> Iterator[int]:
        """Give a new file to the block, and `path` to that file after it."""
        directory = os.path.dirname(path)
        self.make_directories(directory, sync=sync)
        temporary = temporary_path(path)
        with translated(path, "write"):
            descriptor = self.open(temporary, NEW_FILE)
            try:
                try:
                    yield descriptor
                    if sync:
                        self.sync_data(descriptor)
                finally:
                    self.close(descriptor)
                self.replace(temporary, path)
            except BaseException:
                with contextlib.suppress(OSError):
                    self.unlink(temporary)
                raise
        if sync and sync_name:
            self.sync_directory(directory)

    def remove(self, path: str) -> None:
        """Remove a file; nothing happens if it does not exist."""
        with translated(path, "remove"), contextlib.suppress(FileNotFoundError):
            self.unlink(path)


LOCAL = Storage()
"""The storage used where none is handed in: this machine's file system."""
