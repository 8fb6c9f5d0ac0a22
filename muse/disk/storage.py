"""The only file I/O of the package: append, sync, atomic replace, locks.

`Storage` has one method for each system call the package makes, and a few composed ones built from
those alone. A test hands in a subclass that counts, fails or loses calls; what it sees is what the
disk would see. Every `OSError` of a composed method becomes a `StorageError` naming the path.
"""

import contextlib
import errno
import itertools
import os
import stat
from collections.abc import Callable, Iterator
from functools import partial

from muse.disk.path_watch import PathWatch, watch_path
from muse.errors import NotFoundError, StorageError

try:
    import fcntl
except ImportError as missing:  # Windows
    raise ImportError(
        "muse needs a POSIX system (O_APPEND writes that never interleave, flock): Linux and macOS are "
        "supported; on Windows use it inside WSL"
    ) from missing

_TEMPORARY_COUNTER = itertools.count()
TEMPORARY_MARK = ".tmp-"
READ_BLOCK_BYTES = 1 << 20

_ADVICE = {
    errno.ENOSPC: "the disk is full: free space and try again",
    errno.EDQUOT: "the disk quota is used up: free space and try again",
    errno.EFBIG: "the file would pass the size limit of the process or file system",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "permission denied: check owner and mode",
    errno.EPERM: "not permitted: check owner and mode",
    errno.EMFILE: "too many open files: close some, or raise the limit",
    errno.ENFILE: "too many open files on this machine",
    errno.ELOOP: "it is a symbolic link, which is refused",
    errno.EISDIR: "it is a directory",
    errno.ENOTDIR: "a part of the path is not a directory",
}


def storage_error(error: OSError, path: str, action: str) -> StorageError:
    """Put `error` in words: what was tried, where, and what to do."""
    advice = _ADVICE.get(error.errno or 0, error.strerror or str(error))
    return StorageError(f"could not {action} {path}: {advice}", path=path, errno=error.errno)


@contextlib.contextmanager
def translated(path: str, action: str) -> Iterator[None]:
    """Raise a `StorageError` in place of any `OSError` from the block."""
    try:
        yield
    except OSError as error:
        raise storage_error(error, path, action) from error


class Storage:
    """The operating system's files. Methods of the first group are single system calls."""

    # -- one system call each -------------------------------------------------------------------

    def open(self, path: str, flags: int, mode: int = 0o666) -> int:
        return os.open(path, flags | os.O_CLOEXEC, mode)

    def close(self, descriptor: int) -> None:
        os.close(descriptor)

    write = staticmethod(os.write)  # the calls on the hot path, without a frame of Python around them
    pread = staticmethod(os.pread)
    pwrite = staticmethod(os.pwrite)
    seek = staticmethod(os.lseek)

    def status(self, descriptor: int) -> os.stat_result:
        return os.fstat(descriptor)

    def path_status(self, path: str) -> os.stat_result:
        return os.stat(path, follow_symlinks=False)

    def sync_data(self, descriptor: int) -> None:
        """Bring a file's bytes and length to the disk."""
        if hasattr(fcntl, "F_FULLFSYNC"):  # macOS: fsync alone stops at the drive's cache
            fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
        elif hasattr(os, "fdatasync"):
            os.fdatasync(descriptor)
        else:
            os.fsync(descriptor)

    def truncate(self, descriptor: int, length: int) -> None:
        os.ftruncate(descriptor, length)

    def change_mode(self, descriptor: int, mode: int) -> None:
        os.fchmod(descriptor, mode)

    def replace(self, source: str, target: str) -> None:
        os.replace(source, target)

    def unlink(self, path: str) -> None:
        os.unlink(path)

    def make_directory(self, path: str) -> None:
        os.mkdir(path)

    def remove_directory(self, path: str) -> None:
        os.rmdir(path)

    def names(self, path: str) -> Iterator[tuple[str, bool]]:
        """Yield (name, is a directory) for each entry of a directory, in no order, lazily."""
        with os.scandir(path) as entries:
            for entry in entries:
                yield entry.name, entry.is_dir(follow_symlinks=False)

    def watch(self, path: str) -> PathWatch:
        """Watch for `path` being renamed, replaced or deleted: cheaper than looking each time."""
        return watch_path(path)

    def is_running(self, process: int) -> bool:
        """Whether there is a process with this id, whoever it belongs to."""
        try:
            os.kill(process, 0)
        except (ProcessLookupError, OverflowError):
            return False
        except PermissionError:
            pass
        return True

    def lock(self, descriptor: int, *, exclusive: bool = True, wait: bool = True) -> bool:
        """Take an advisory lock on an open file; False if it is held elsewhere and `wait` is off."""
        operation = (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | (0 if wait else fcntl.LOCK_NB)
        try:
            fcntl.flock(descriptor, operation)
        except BlockingIOError:
            return False
        return True

    def unlock(self, descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_UN)

    # -- composed -------------------------------------------------------------------------------

    def look(self, path: str) -> os.stat_result | None:
        """The status of whatever is at `path`, symbolic links not followed; None if nothing is."""
        try:
            return self.path_status(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise storage_error(error, path, "look at") from error

    def exists(self, path: str) -> bool:
        return self.look(path) is not None

    def is_file(self, path: str) -> bool:
        return self.file_size(path) is not None

    def is_directory(self, path: str) -> bool:
        found = self.look(path)
        return found is not None and stat.S_ISDIR(found.st_mode)

    def file_size(self, path: str) -> int | None:
        """The size of a regular file in bytes; None if there is nothing, or something else, at `path`."""
        found = self.look(path)
        return found.st_size if found is not None and stat.S_ISREG(found.st_mode) else None

    def list_directory(self, path: str) -> list[tuple[str, bool]]:
        """(name, is a directory) of each entry, sorted by name; empty if there is no such directory."""
        try:
            return sorted(self.names(path))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise storage_error(error, path, "list") from error

    def sync_directory(self, path: str) -> None:
        """Make the names in a directory durable: after a create or rename, before it is relied on."""
        with translated(path, "sync directory"):
            descriptor = self.open(path, os.O_RDONLY | os.O_DIRECTORY)
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

    def make_durable(self, path: str) -> None:
        """Bring a file that is already there, and its name, to the disk: whoever made it may not have."""
        with translated(path, "sync"):
            descriptor = self.open(path, os.O_RDONLY | os.O_NOFOLLOW)
            try:
                self.sync_data(descriptor)
            finally:
                self.close(descriptor)
        self.sync_directory(os.path.dirname(path))

    def read_bytes(self, path: str) -> bytes:
        """Return the whole of a regular file; `NotFoundError` if there is none."""
        try:
            descriptor = self.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise NotFoundError(f"{path} does not exist") from error
        except OSError as error:
            raise storage_error(error, path, "open") from error
        try:
            with translated(path, "read"):
                if not stat.S_ISREG(self.status(descriptor).st_mode):
                    raise StorageError(f"{path} is not a regular file: it is refused", path=path)
                return b"".join(self._blocks(descriptor))
        finally:
            self.close(descriptor)

    def _blocks(self, descriptor: int) -> Iterator[bytes]:
        offset = 0
        while block := self.pread(descriptor, READ_BLOCK_BYTES, offset):
            yield block
            offset += len(block)

    def write_all(self, descriptor: int, data: bytes) -> None:
        """Write every byte, however many calls that takes. For files nobody else writes."""
        view = memoryview(data)
        while view:
            view = view[self.write(descriptor, bytes(view[:READ_BLOCK_BYTES])) :]

    def write_atomically(self, path: str, data: bytes, *, sync: bool = True, mode: int | None = None) -> None:
        """Replace `path` by `data`: readers and crashes see the old file or the new, nothing else.

        With `sync`, the new bytes are durable before the rename (or the name could point at
        nothing after a power cut) and the name is durable on return. A crash in between leaves the
        old file and a temporary one, whose name holds `TEMPORARY_MARK`. The new file has the
        permissions `mode`, or those of any new file.
        """
        directory, name = os.path.split(path)
        self.make_directories(directory, sync=sync)
        temporary = os.path.join(
            # A name may take all of the 255 bytes a file system allows: keep only its start.
            directory,
            f".{name[:40]}{TEMPORARY_MARK}{os.getpid()}-{next(_TEMPORARY_COUNTER)}",
        )
        with translated(path, "write"):
            try:
                self._write_new(temporary, data, sync=sync, mode=mode)
                self.replace(temporary, path)
            except OSError:
                with contextlib.suppress(OSError):
                    self.unlink(temporary)
                raise
        if sync:
            self.sync_directory(directory)

    @contextlib.contextmanager
    def replacing(self, path: str) -> Iterator[Callable[[bytes], None]]:
        """Replace `path` by what the block writes with the function it is given, however much that is.

        As with `write_atomically`, it is durable once the block is left; if the block raises, or at a
        crash, the old file stands.
        """
        directory, name = os.path.split(path)
        self.make_directories(directory, sync=True)
        mark = f"{TEMPORARY_MARK}{os.getpid()}-{next(_TEMPORARY_COUNTER)}"
        temporary = os.path.join(directory, f".{name[:40]}{mark}")
        with translated(path, "write"):
            descriptor = self.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW)
            try:
                try:
                    yield partial(self.write_all, descriptor)
                    self.sync_data(descriptor)
                finally:
                    self.close(descriptor)
                self.replace(temporary, path)
            except BaseException:
                with contextlib.suppress(OSError):
                    self.unlink(temporary)
                raise
        self.sync_directory(directory)

    def _write_new(self, path: str, data: bytes, *, sync: bool, mode: int | None) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
        descriptor = self.open(path, flags)
        try:
            if mode is not None:
                self.change_mode(descriptor, mode)
            self.write_all(descriptor, data)
            if sync:
                self.sync_data(descriptor)
        finally:
            self.close(descriptor)

    def remove(self, path: str) -> None:
        """Remove a file; nothing happens if there is none."""
        with translated(path, "remove"), contextlib.suppress(FileNotFoundError):
            self.unlink(path)

    @contextlib.contextmanager
    def locked(self, path: str, *, exclusive: bool = True, wait: bool = True) -> Iterator[bool]:
        """Hold a lock on the file `path` (made if missing) while the block runs; many may share one.

        Yields False, without the lock, when it is held elsewhere and `wait` is off. The lock dies
        with the process, so a crash never leaves one behind.
        """
        with translated(path, "open lock file"):
            descriptor = self.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW)
        _HELD_LOCKS.add(descriptor)
        owner = os.getpid()
        try:
            with translated(path, "lock"):
                taken = self.lock(descriptor, exclusive=exclusive, wait=wait)
            yield taken
        finally:
            if os.getpid() == owner:  # a child that was forked meanwhile has closed its copy
                # Unlocked, not just closed: another thread's fork may have copied the descriptor.
                self.unlock(descriptor)
                _HELD_LOCKS.discard(descriptor)
                self.close(descriptor)


_HELD_LOCKS: set[int] = set()


def _leave_locks_to_parent() -> None:
    """Close a forked child's copies of lock files, or the lock would be held until the child ends."""
    for descriptor in _HELD_LOCKS:
        with contextlib.suppress(OSError):
            os.close(descriptor)
    _HELD_LOCKS.clear()


os.register_at_fork(after_in_child=_leave_locks_to_parent)

LOCAL = Storage()
"""The storage used where none is handed in: this machine's file system."""
