"""Foresight: whether the ops of a log take effect, told as they come instead of when they are committed."""

import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from muse.apply.domains import read_state
from muse.core.entry import OpEntry
from muse.core.op_log import OpLog
from muse.disk import layout
from muse.domain import ForeseeingPlugin
from muse.history.repository import Repository, TreeFiles
from muse.plugins.registry import find_plugin

_MOST_PENDING_BYTES = 1 << 20
_MOST_BEHIND_BYTES = 1 << 16
_MOST_WORKED_ON_BYTES = 1 << 23
_MOST_OF_PROCESS_BYTES = 1 << 26
_MOST_OF_ONE_FILE_BYTES = 1 << 20
_MOST_SECONDS = 1.0
_MOST_SECONDS_AT_ONCE = 0.05
_MOST_FILE_BYTES_AT_ONCE = 1 << 17

_Take = Callable[[Mapping[str, Any]], str]


class _TooMuchError(Exception):
    """More is to be kept in memory than there is room for."""


class _TooLongError(Exception):
    """It takes more time than there is."""


class _Memory:
    """The bytes that all may still work on. For several threads."""

    def __init__(self, left: int) -> None:
        self._left = left
        self._lock = threading.RLock()  # the garbage collector may give something back at any moment

    def change(self, size: int) -> None:
        """Take some bytes or, with a negative size, give them back."""
        with self._lock:
            if size > self._left:
                raise _TooMuchError
            self._left -= size


_MEMORY = _Memory(_MOST_OF_PROCESS_BYTES)


class _MemoryShare:
    """The bytes that one works on."""

    def __init__(self) -> None:
        self._size = 0

    def take(self, size: int) -> None:
        """Take some more, or raise `_TooMuchError`."""
        if self._size + size > _MOST_WORKED_ON_BYTES:
            raise _TooMuchError
        _MEMORY.change(size)
        self._size += size

    def give_back(self) -> None:
        """Give back all."""
        _MEMORY.change(-self._size)
        self._size = 0


class _CountedFiles(Mapping[str, bytes]):
    """Files, each of which is counted when it is first read."""

    def __init__(self, files: Mapping[str, bytes], count: Callable[[int], None]) -> None:
        self._files = files
        self._count = count
        self._read: set[str] = set()

    def __getitem__(self, path: str) -> bytes:
        content = self._files[path]
        if path not in self._read:
            self._count(len(content))
            self._read.add(path)
        return content

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)

    def __contains__(self, path: object) -> bool:
        return path in self._files


class Foresight:
    """Follows the ops of a log on the tree of the branch, with the plugins that can. For several threads.

    Each domain is followed on the files of the commit, whatever the others do. An append must not wait for
    it. So it begins where at most 1 MiB of ops is pending, and gives up where more than 64 KiB come at once,
    until the branch moves; a commit tells of each op in any case. So it does where it would work on more than
    8 MiB of files and ops, or all of a process on more than 64 MiB: texts take many times that in memory; on
    a file of more than 1 MiB; and where it works for more than a second, as each op may cost a whole file.
    """

    def __init__(self, repository: Repository, log: OpLog, branch: Callable[[], str]) -> None:
        self._repository = repository
        self._log = log
        self._branch = branch
        self._lock = threading.Lock()
        self._version: object = None
        self._head: str | None = None
        self._files: Mapping[str, bytes] = {}
        self._takers: dict[str, _Take | None] = {}
        self._read_to: int | None = None  # None: given up
        self._share = _MemoryShare()
        self._file_bytes = 0
        self._is_hurried = False
        self._slow_version: object = None  # that on which an op took long
        weakref.finalize(self, self._share.give_back)

    def is_ready(self) -> bool:
        """Return whether it knows the branch as it is now, and what it works on is little, or nothing."""
        if self._version is None or self._version != self._version_now():
            return False
        is_quick = self._version != self._slow_version and self._file_bytes <= _MOST_FILE_BYTES_AT_ONCE
        return self._read_to is None or is_quick

    def catch_up(self, *, at_once: bool = False) -> dict[str, str]:
        """Take in what was appended since; return the reasons for those of it that have no effect, by op id.

        Nothing is told while another thread is at it, nor `at_once` where it is not ready. If it turns out
        then that it takes long, it is not ready any more, and begins again with the next call that may wait.
        """
        if at_once and not self.is_ready():
            return {}
        if not self._lock.acquire(blocking=False):
            return {}
        try:
            self._is_hurried = at_once
            return self._taken_in()
        except _TooLongError:
            if at_once:
                self._slow_version, self._version = self._version, None
            self._give_up()
            return {}
        except Exception:  # noqa: BLE001 - a fault of a plugin, of what is stored, or too much: a commit tells
            self._give_up()
            return {}
        finally:
            self._lock.release()

    def _taken_in(self) -> dict[str, str]:
        version = self._version_now()
        if version != self._version:
            self._version = version
            self._give_up()
            return self._begin(version[0])
        if self._read_to is None:
            return {}
        start, end = self._read_to, self._log.cut().offset
        if end - start > _MOST_BEHIND_BYTES:
            self._give_up()
            return {}
        self._read_to = end
        self._share.take(end - start)
        return self._reasons(self._log.scan(start, end)) if start < end else {}

    def _give_up(self) -> None:
        """Keep nothing until the branch moves."""
        self._read_to = None
        self._files, self._takers = {}, {}
        self._file_bytes = 0
        self._share.give_back()

    def _version_now(self) -> tuple[str, object]:
        """Return the branch, and what changes when it moves."""
        branch = self._branch()
        found = self._repository.storage.look(layout.branch_file(self._repository.root, branch))
        return branch, found and (found.st_ino, found.st_mtime_ns, found.st_size)

    def _begin(self, branch: str) -> dict[str, str]:
        """Take in what is pending on the branch as it is now, unless that is much."""
        self._head = self._repository.dag.head(branch)
        cut = self._log.cut()
        pending_bytes = cut.offset - self._log.checkpoints.coverage().cut.offset
        if pending_bytes > _MOST_PENDING_BYTES:
            return {}
        self._share.take(pending_bytes)
        files = TreeFiles(self._repository, self._repository.read_tree(self._head))
        self._files = _CountedFiles(files, self._count_file)
        pending = self._log.replay_since_checkpoint(until=cut, salvage=True)
        self._read_to = cut.offset
        return self._reasons(pending)

    def _reasons(self, entries: Iterable[OpEntry]) -> dict[str, str]:
        until = time.thread_time() + (_MOST_SECONDS_AT_ONCE if self._is_hurried else _MOST_SECONDS)
        reasons: dict[str, str] = {}
        for entry in entries:
            if reason := self._take(entry):
                reasons[entry["op_id"]] = reason
            if time.thread_time() > until:
                raise _TooLongError
        return reasons

    def _take(self, entry: OpEntry) -> str:
        domain = entry["domain"]
        if domain not in self._takers:
            plugin: object = find_plugin(domain)
            self._takers[domain] = (
                plugin.foresee(
                    self._files,
                    self._fetch,
                    _CountedFiles(read_state(self._repository, self._head, domain), self._count_file),
                )
                if isinstance(plugin, ForeseeingPlugin)
                else None
            )
        take = self._takers[domain]
        return take(entry) if take is not None else ""

    def _fetch(self, object_id: str) -> bytes:
        content = self._repository.objects.get(object_id)
        self._count_file(len(content))
        return content

    def _count_file(self, size: int) -> None:
        """Count a file that is read. An op may cost as much as all of it, or several times that."""
        if size > _MOST_OF_ONE_FILE_BYTES:
            raise _TooMuchError
        self._file_bytes += size
        if self._is_hurried and self._file_bytes > _MOST_FILE_BYTES_AT_ONCE:
            raise _TooLongError
        self._share.take(size)
