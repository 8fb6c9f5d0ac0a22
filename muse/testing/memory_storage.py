"""This file system is in memory: its calls do what POSIX says, and nothing is on any disk."""

import errno
import os
import stat
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NoReturn

from muse.disk.path_watch import PathWatch
from muse.disk.storage import Storage

_FIRST_DESCRIPTOR = 1 << 24  # no number that a real file has
_ACCESS = os.O_RDONLY | os.O_WRONLY | os.O_RDWR


@dataclass(slots=True, eq=False)
class Node:
    """A file or directory. The fields from `durable` on are `DiskModelStorage`'s."""

    number: int
    mode: int
    content: bytearray = field(default_factory=bytearray)
    names: dict[str, "Node"] = field(default_factory=dict)
    links: int = 1
    lock_holders: set[int] = field(default_factory=set)
    locked_exclusively: bool = False
    durable: bytes = b""
    unsynced: list[tuple[int, bytes | None]] = field(default_factory=list)
    durable_names: dict[str, "Node"] = field(default_factory=dict)
    unsynced_names: list[dict[str, "Node | None"]] = field(default_factory=list)
    lost_writes: int = 0

    def is_directory(self) -> bool:
        """Tell whether it is a directory."""
        return stat.S_ISDIR(self.mode)


@dataclass(slots=True, eq=False)
class OpenFile:
    """The file behind a descriptor. `lost_writes`: of how many failures to write back it knows."""

    node: Node
    flags: int
    position: int = 0
    lost_writes: int = 0


def fail(code: int, path: str = "") -> NoReturn:
    """Raise the `OSError` that the operating system would raise."""
    raise OSError(code, os.strerror(code), path or None)


class InMemoryStorage(Storage):
    """Files, directories and locks of one process, in memory; for many threads, not across a fork.

    Relative paths start at the root. There are no symbolic links and no permissions.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition(threading.RLock())
        self._numbers = iter(range(1, 1 << 60))
        self._descriptors = iter(range(_FIRST_DESCRIPTOR, 1 << 30))
        self._root = self._new_node(stat.S_IFDIR | 0o777)
        self._open: dict[int, OpenFile] = {}

    # -- what a disk beneath is told ------------------------------------------------------------

    def _wrote(self, node: Node, offset: int, data: bytes | None) -> None:
        """Note that `data` was written at `offset`; None means that the file was cut to `offset` bytes."""

    def _named(self, directory: Node, names: dict[str, Node | None]) -> None:
        """Note names that were made or, with None, removed; those of one rename come together."""

    def _sync(self, file: OpenFile) -> None:
        """Bring a file's bytes, or a directory's names, to the disk."""

    # -- paths ----------------------------------------------------------------------------------

    def _new_node(self, mode: int) -> Node:
        return Node(next(self._numbers), mode)

    def _find(self, path: str) -> Node:
        node = self._root
        for name in os.path.normpath(f"/{path}").split("/"):
            if name:
                if not node.is_directory():
                    fail(errno.ENOTDIR, path)
                node = node.names.get(name) or fail(errno.ENOENT, path)
        return node

    def _place(self, path: str) -> tuple[Node, str]:
        """Return the directory that `path` is in, and its name there."""
        parent, name = os.path.split(os.path.normpath(f"/{path}"))
        directory = self._find(parent)
        if not directory.is_directory():
            fail(errno.ENOTDIR, path)
        if len(name.encode()) > 255:
            fail(errno.ENAMETOOLONG, path)
        return directory, name

    def _enter(self, directory: Node, names: dict[str, Node | None]) -> None:
        for name, node in names.items():
            if node is None:
                del directory.names[name]
            else:
                directory.names[name] = node
        self._named(directory, names)

    # -- one system call each -------------------------------------------------------------------

    def open(self, path: str, flags: int, mode: int = 0o666) -> int:
        with self._changed:
            directory, name = self._place(path)
            node = directory.names.get(name) if name else self._root
            if node is None:
                if not flags & os.O_CREAT:
                    fail(errno.ENOENT, path)
                node = self._new_node(stat.S_IFREG | mode & ~0o022)
                self._enter(directory, {name: node})
            elif flags & os.O_CREAT and flags & os.O_EXCL:
                fail(errno.EEXIST, path)
            if node.is_directory() and flags & (_ACCESS | os.O_CREAT):
                fail(errno.EISDIR, path)
            if flags & os.O_DIRECTORY and not node.is_directory():
                fail(errno.ENOTDIR, path)
            descriptor = next(self._descriptors)
            self._open[descriptor] = OpenFile(node, flags, lost_writes=node.lost_writes)
            if flags & os.O_TRUNC:
                self.truncate(descriptor, 0)
            return descriptor

    def close(self, descriptor: int) -> None:
        with self._changed:
            self.unlock(descriptor)
            del self._open[descriptor]

    def _file(self, descriptor: int, *, to_write: bool = False) -> OpenFile:
        file = self._open.get(descriptor) or fail(errno.EBADF)
        access = file.flags & _ACCESS
        if to_write and (file.node.is_directory() or access == os.O_RDONLY):
            fail(errno.EBADF)
        return file

    def write(self, descriptor: int, data: Any, /) -> int:
        """Write at the end or at the place of the descriptor; return how many bytes."""
        with self._changed:
            file = self._file(descriptor, to_write=True)
            if file.flags & os.O_APPEND:
                file.position = len(file.node.content)
            self.pwrite(descriptor, data, file.position)
            file.position += len(data)
            return len(data)

    def pwrite(self, descriptor: int, data: Any, offset: int, /) -> int:
        """Write at a place; return how many bytes."""
        with self._changed:
            node = self._file(descriptor, to_write=True).node
            place(node.content, offset, bytes(data))
            self._wrote(node, offset, bytes(data))
            return len(data)

    def pread(self, descriptor: int, length: int, offset: int, /) -> bytes:
        """Return up to `length` bytes from a place."""
        with self._changed:
            file = self._file(descriptor)
            if file.node.is_directory():
                fail(errno.EISDIR)
            if file.flags & _ACCESS == os.O_WRONLY:
                fail(errno.EBADF)
            return bytes(file.node.content[offset : offset + length])

    def seek(self, descriptor: int, position: int, how: int, /) -> int:
        """Move the place of the descriptor; return where it is."""
        with self._changed:
            file = self._file(descriptor)
            base = {os.SEEK_SET: 0, os.SEEK_CUR: file.position, os.SEEK_END: len(file.node.content)}[how]
            if base + position < 0:
                fail(errno.EINVAL)
            file.position = base + position
            return file.position

    def status(self, descriptor: int) -> os.stat_result:
        with self._changed:
            return self._status(self._file(descriptor).node)

    def path_status(self, path: str) -> os.stat_result:
        with self._changed:
            return self._status(self._find(path))

    def _status(self, node: Node) -> os.stat_result:
        return os.stat_result((node.mode, node.number, 0, node.links, 0, 0, len(node.content), 0, 0, 0))

    def sync_data(self, descriptor: int) -> None:
        with self._changed:
            self._sync(self._file(descriptor))

    def truncate(self, descriptor: int, length: int) -> None:
        with self._changed:
            node = self._file(descriptor, to_write=True).node
            resize(node.content, length)
            self._wrote(node, length, None)

    def change_mode(self, descriptor: int, mode: int) -> None:
        with self._changed:
            node = self._file(descriptor).node
            node.mode = stat.S_IFMT(node.mode) | mode

    def replace(self, source: str, target: str) -> None:
        with self._changed:
            node = self._find(source)
            old_directory, old_name = self._place(source)
            new_directory, new_name = self._place(target)
            replaced = new_directory.names.get(new_name)
            if replaced is node:
                return
            if replaced is not None:
                self._check_replaceable(replaced, node, target)
                replaced.links -= 1
            if old_directory is new_directory:
                self._enter(old_directory, {new_name: node, old_name: None})
            else:
                self._enter(new_directory, {new_name: node})
                self._enter(old_directory, {old_name: None})

    def _check_replaceable(self, replaced: Node, node: Node, target: str) -> None:
        if replaced.is_directory() and not node.is_directory():
            fail(errno.EISDIR, target)
        if node.is_directory() and not replaced.is_directory():
            fail(errno.ENOTDIR, target)
        if replaced.names:
            fail(errno.ENOTEMPTY, target)

    def link(self, path: str, other: str) -> None:
        with self._changed:
            node = self._find(path)
            directory, name = self._place(other)
            if name in directory.names:
                fail(errno.EEXIST, other)
            node.links += 1
            self._enter(directory, {name: node})

    def exchange(self, one: str, other: str) -> bool:
        with self._changed:
            first, second = self._find(one), self._find(other)
            (directory, name), (other_directory, other_name) = self._place(one), self._place(other)
            if directory is other_directory:
                self._enter(directory, {name: second, other_name: first})
            else:
                self._enter(directory, {name: second})
                self._enter(other_directory, {other_name: first})
            return True

    def is_open_to_write(self, path: str) -> bool:
        with self._changed:
            node = self._find(path)
            return any(file.node is node and file.flags & _ACCESS for file in self._open.values())

    def unlink(self, path: str) -> None:
        with self._changed:
            node = self._find(path)
            if node.is_directory():
                fail(errno.EISDIR, path)
            directory, name = self._place(path)
            node.links -= 1
            self._enter(directory, {name: None})

    def touch(self, path: str) -> None:
        with self._changed:
            self._find(path)

    def make_directory(self, path: str) -> None:
        with self._changed:
            directory, name = self._place(path)
            if not name or name in directory.names:
                fail(errno.EEXIST, path)
            self._enter(directory, {name: self._new_node(stat.S_IFDIR | 0o755)})

    def remove_directory(self, path: str) -> None:
        with self._changed:
            node = self._find(path)
            if not node.is_directory():
                fail(errno.ENOTDIR, path)
            if node.names:
                fail(errno.ENOTEMPTY, path)
            directory, name = self._place(path)
            self._enter(directory, {name: None})

    def names(self, path: str) -> Iterator[tuple[str, bool]]:
        with self._changed:
            node = self._find(path)
            if not node.is_directory():
                fail(errno.ENOTDIR, path)
            return iter([(name, child.is_directory()) for name, child in node.names.items()])

    def watch(self, path: str) -> PathWatch:  # noqa: ARG002 - nothing watches: looking is cheap here
        return PathWatch.always()

    def lock(self, descriptor: int, *, exclusive: bool = True, wait: bool = True) -> bool:
        with self._changed:
            node = self._file(descriptor).node
            self.unlock(descriptor)
            while node.lock_holders and (exclusive or node.locked_exclusively):
                if not wait:
                    return False
                self._changed.wait()
            node.lock_holders.add(descriptor)
            node.locked_exclusively = exclusive
            return True

    def unlock(self, descriptor: int) -> None:
        with self._changed:
            self._file(descriptor).node.lock_holders.discard(descriptor)
            self._changed.notify_all()


def place(content: bytearray, offset: int, data: bytes) -> None:
    """Write `data` into `content` at `offset`; a gap before it reads as NULs."""
    if offset > len(content):
        resize(content, offset)
    content[offset : offset + len(data)] = data


def resize(content: bytearray, length: int) -> None:
    """Cut content to `length` bytes, or fill it up with NULs."""
    if length < len(content):
        del content[length:]
    else:
        content.extend(bytes(length - len(content)))
