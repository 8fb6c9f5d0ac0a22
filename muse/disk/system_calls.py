"""The system calls on files that the package makes: one method each, and their errors in words."""

import contextlib
import errno
import os
from collections.abc import Iterator

from muse.disk.exchange import exchange
from muse.disk.path_watch import PathWatch, watch_path
from muse.disk.writers import is_open_to_write
from muse.errors import StorageError

try:
    import fcntl
except ImportError as missing:  # Windows
    raise ImportError(
        "muse needs a POSIX system (O_APPEND writes that never interleave, flock): Linux and macOS are "
        "supported; on Windows use it inside WSL"
    ) from missing

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


class OpenFiles:
    """The calls on open files."""

    def open(self, path: str, flags: int, mode: int = 0o666) -> int:
        """Open a file and return its descriptor, which a program that is started does not inherit."""
        return os.open(path, flags | os.O_CLOEXEC, mode)

    def close(self, descriptor: int) -> None:
        """Close a descriptor."""
        os.close(descriptor)

    write = staticmethod(os.write)  # the calls on the hot path, without a frame of Python around them
    pread = staticmethod(os.pread)
    pwrite = staticmethod(os.pwrite)
    seek = staticmethod(os.lseek)

    @property
    def calls_the_system(self) -> bool:
        """Whether `write` and `seek` are the system's own, so that a caller may make these two itself."""
        return self.write is os.write and self.seek is os.lseek

    @property
    def reads_from_the_system(self) -> bool:
        """Whether `pread` is the system's own, so that a caller may make it itself."""
        return self.pread is os.pread

    def status(self, descriptor: int) -> os.stat_result:
        """Return the status of an open file."""
        return os.fstat(descriptor)

    def sync_data(self, descriptor: int) -> None:
        """Bring a file's bytes and length to the disk."""
        if hasattr(fcntl, "F_FULLFSYNC"):  # macOS: fsync alone stops at the drive's cache
            fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
        elif hasattr(os, "fdatasync"):
            os.fdatasync(descriptor)
        else:
            os.fsync(descriptor)

    def truncate(self, descriptor: int, length: int) -> None:
        """Cut an open file to `length` bytes, or fill it up with NULs."""
        os.ftruncate(descriptor, length)

    def change_mode(self, descriptor: int, mode: int) -> None:
        """Set the permissions of an open file."""
        os.fchmod(descriptor, mode)

    def lock(self, descriptor: int, *, exclusive: bool = True, wait: bool = True) -> bool:
        """Take an advisory lock on an open file; False if another has it and `wait` is off."""
        operation = (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | (0 if wait else fcntl.LOCK_NB)
        try:
            fcntl.flock(descriptor, operation)
        except BlockingIOError:
            return False
        return True

    def unlock(self, descriptor: int) -> None:
        """Give back a lock that `lock` took."""
        fcntl.flock(descriptor, fcntl.LOCK_UN)


class Paths:
    """The calls on paths."""

    def path_status(self, path: str) -> os.stat_result:
        """Return the status of what is at a path; a link is not followed."""
        return os.stat(path, follow_symlinks=False)

    def replace(self, source: str, target: str) -> None:
        """Rename a file, in place of what is at `target`, at one moment."""
        os.replace(source, target)

    def link(self, path: str, other: str) -> None:
        """Give a file a second name, unless something has that name."""
        os.link(path, other)

    def exchange(self, one: str, other: str) -> bool:
        """Exchange what two paths lead to, at one moment; False where that cannot be."""
        return exchange(one, other)

    def unlink(self, path: str) -> None:
        """Remove a file's name."""
        os.unlink(path)

    def touch(self, path: str) -> None:
        """Set the times of a file to now."""
        os.utime(path, follow_symlinks=False)

    def make_directory(self, path: str) -> None:
        """Make a directory in one that is there."""
        os.mkdir(path)

    def remove_directory(self, path: str) -> None:
        """Remove a directory that is empty."""
        os.rmdir(path)

    def names(self, path: str) -> Iterator[tuple[str, bool]]:
        """Yield (name, is a directory) for each entry of a directory, in no order, lazily."""
        with os.scandir(path) as entries:
            for entry in entries:
                yield entry.name, entry.is_dir(follow_symlinks=False)

    def watch(self, path: str) -> PathWatch:
        """Watch for `path` being renamed, replaced or deleted: cheaper than looking each time."""
        return watch_path(path)

    def is_open_to_write(self, path: str) -> bool | None:
        """Return whether some process has a file open to write; None where the system does not tell."""
        return is_open_to_write(path)


class Processes:
    """The calls on other processes."""

    def is_running(self, process: int) -> bool:
        """Return whether there is a process with this id, of any user."""
        try:
            os.kill(process, 0)
        except (ProcessLookupError, OverflowError):
            return False
        except PermissionError:
            pass
        return True
