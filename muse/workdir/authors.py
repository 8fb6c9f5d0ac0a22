"""Tells who did what is brought into files, by the ops that others appended since the last look."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from muse.core.address import addresses_of, touch
from muse.core.entry import OpEntry
from muse.core.op_log import OpLog
from muse.errors import MuseError
from muse.history.repository import Repository
from muse.workdir.log_version import log_version
from muse.workdir.record import shortly, summary_of


@dataclass(slots=True)
class RecentOps:
    """Ops of others, in the order of the log."""

    entries: list[OpEntry] = field(default_factory=list)

    def of(self, path: str) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
        """Return in words what was done to a file, who did it if that is known, and by which ops."""
        found = list(self._of(path))
        what = shortly(summary_of(entry["domain_op"]) for entry in found)
        actors = dict.fromkeys(entry["actor_id"] for entry in found)
        return what or "as the session has it", tuple(actors), tuple(entry["op_id"] for entry in found)

    def _of(self, path: str) -> Iterator[OpEntry]:
        for entry in self.entries:
            if any(address and touch(address, path) for address in addresses_of(entry["domain_op"])):
                yield entry


class Authors:
    """Reads what others appended to a session, from where the last look that brought something began."""

    def __init__(self, repository: Repository, actor_id: str) -> None:
        self._repository = repository
        self._actor_id = actor_id
        self._session_id: str | None = None  # "" while looks go by in which it is not known
        self._read_to = self._began_at = 0

    def begin(self, session_id: str) -> None:
        """Note that a look at the session begins, "" where it is not known yet which that will be."""
        version = log_version(self._repository, session_id)
        self._began_at = version[0] if version else 0
        if session_id != self._session_id:
            # Where it was not known before, nothing of it was here.
            self._read_to = 0 if self._session_id == "" else self._began_at
            self._session_id = session_id

    def since_last(self, session_id: str) -> RecentOps:
        """Return what others appended; nothing at the first look at a known session, or if it fails."""
        since, self._read_to = self._read_to, self._began_at
        if session_id != self._session_id:
            if self._session_id:
                return RecentOps()
            self._session_id, since = session_id, 0
        try:
            with OpLog(self._repository.root, session_id, storage=self._repository.storage) as log:
                found = [one for one in log.entries(since=since) if one["actor_id"] != self._actor_id]
        except MuseError:  # what is brought does not depend on it
            return RecentOps()
        return RecentOps(found)
