"""Foresight: whether the ops of a log take effect, told as they come instead of when they are committed."""

import threading
from collections.abc import Callable, Iterable, Mapping
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

_Take = Callable[[Mapping[str, Any]], str]


class Foresight:
    """Follows the ops of a log on the tree of the branch, with the plugins that can. For several threads.

    Each domain is followed on the files of the commit, whatever the others do. An append must not wait for
    it. So it begins where at most 1 MiB of ops is pending, and gives up where more than 64 KiB come at once,
    until the branch moves; a commit tells of each op in any case.
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

    def is_ready(self) -> bool:
        """Return whether it knows the branch as it is now."""
        return self._version is not None and self._version == self._version_now()

    def catch_up(self) -> dict[str, str]:
        """Take in what was appended since; return the reasons for those of it that have no effect, by op id.

        Nothing is told while another thread is at it.
        """
        if not self._lock.acquire(blocking=False):
            return {}
        try:
            return self._taken_in()
        except Exception:  # noqa: BLE001 - a fault of a plugin, or of what is stored: a commit tells it
            self._read_to = None
            return {}
        finally:
            self._lock.release()

    def _taken_in(self) -> dict[str, str]:
        version = self._version_now()
        if version != self._version:
            self._version, self._read_to = version, None
            return self._begin(version[0])
        if self._read_to is None:
            return {}
        start, end = self._read_to, self._log.cut().offset
        if end - start > _MOST_BEHIND_BYTES:
            self._read_to = None
            return {}
        self._read_to = end
        return self._reasons(self._log.scan(start, end)) if start < end else {}

    def _version_now(self) -> tuple[str, object]:
        """Return the branch, and what changes when it moves."""
        branch = self._branch()
        found = self._repository.storage.look(layout.branch_file(self._repository.root, branch))
        return branch, found and (found.st_ino, found.st_mtime_ns, found.st_size)

    def _begin(self, branch: str) -> dict[str, str]:
        """Take in what is pending on the branch as it is now, unless that is much."""
        self._head = self._repository.dag.head(branch)
        cut = self._log.cut()
        if cut.offset - self._log.checkpoints.coverage().cut.offset > _MOST_PENDING_BYTES:
            return {}
        self._files = TreeFiles(self._repository, self._repository.read_tree(self._head))
        self._takers = {}
        pending = self._log.replay_since_checkpoint(until=cut, salvage=True)
        self._read_to = cut.offset
        return self._reasons(pending)

    def _reasons(self, entries: Iterable[OpEntry]) -> dict[str, str]:
        told = ((entry["op_id"], self._take(entry)) for entry in entries)
        return {op_id: reason for op_id, reason in told if reason}

    def _take(self, entry: OpEntry) -> str:
        domain = entry["domain"]
        if domain not in self._takers:
            plugin: object = find_plugin(domain)
            self._takers[domain] = (
                plugin.foresee(
                    self._files,
                    self._repository.objects.get,
                    read_state(self._repository, self._head, domain),
                )
                if isinstance(plugin, ForeseeingPlugin)
                else None
            )
        take = self._takers[domain]
        return take(entry) if take is not None else ""
