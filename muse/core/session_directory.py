"""The directory of one session: where its files are, and whether a new one may begin."""

import os
from dataclasses import dataclass

from muse.core.entry import Limits
from muse.core.file.live_or_archived import session_exists
from muse.disk import layout
from muse.disk.storage import LOCAL, Storage
from muse.errors import UsageError


def list_sessions(repo_root: str | os.PathLike[str], *, storage: Storage = LOCAL) -> list[str]:
    """Return the ids of all sessions in the repository, archived ones too, sorted."""
    root = os.fspath(repo_root)
    return [
        name
        for name in names_of_sessions(root, storage=storage)
        if session_exists(root, name, storage=storage)
    ]


def names_of_sessions(root: str, *, storage: Storage = LOCAL) -> list[str]:
    """Return the names of all directories that a session may have, sorted; not each has a log."""
    return [
        name
        for name, is_directory in storage.list_directory(layout.op_log_directory(root))
        if is_directory and layout.is_session_id(name)
    ]


@dataclass(frozen=True, slots=True)
class SessionDirectory:
    """The directory of session `session_id` in the repository at `root`. Nothing is made before `prepare`."""

    root: str
    session_id: str
    storage: Storage
    limits: Limits

    @property
    def log_path(self) -> str:
        """The path of the log, `ops.jsonl`."""
        return layout.ops_file(self.root, self.session_id)

    @property
    def lock_path(self) -> str:
        """The path of the file that is locked by anyone who appends ready entries."""
        return layout.session_lock_file(self.root, self.session_id)

    @property
    def index_path(self) -> str:
        """The path of the index of op ids, a cache."""
        return layout.op_index_file(self.root, self.session_id)

    @property
    def checkpoint_path(self) -> str:
        """The path of the checkpoint."""
        return layout.checkpoint_file(self.root, self.session_id)

    @property
    def orphans_path(self) -> str:
        """The path of the file of orphans."""
        return layout.orphans_file(self.root, self.session_id)

    def has_log_file(self) -> bool:
        """Tell whether the log exists, live: an archived one is elsewhere."""
        return self.storage.exists(self.log_path)

    def prepare(self) -> None:
        """Make the directory; raise `UsageError` where no log may begin."""
        self._refuse_lost_log()
        directory = layout.session_directory(self.root, self.session_id)
        if not self.storage.exists(directory):
            self._refuse_one_too_many()
            self.storage.make_directories(directory)
        self._refuse_twin()

    def _refuse_lost_log(self) -> None:
        """Refuse to begin a log where an archive lacks its tombstone: the archive has the session's ops."""
        archive = layout.manifest_file(self.root, self.session_id)
        is_here = session_exists(self.root, self.session_id, storage=self.storage)
        if self.storage.exists(archive) and not is_here:
            raise UsageError(
                f"session {self.session_id!r} has an archive, {archive}, and neither log nor tombstone: "
                f"'muse session restore {self.session_id}' brings its log back, or choose another session id"
            )

    def _refuse_one_too_many(self) -> None:
        """Refuse to begin a session where the repository has as many as it may."""
        sessions = layout.op_log_directory(self.root)
        if self.storage.has_fewer_directories(sessions, self.limits.sessions):
            return  # without a look at each of them
        count = len(list_sessions(self.root, storage=self.storage))
        if count >= self.limits.sessions:
            raise UsageError(f"the repository has {count} sessions, its limit: archive some")

    def _refuse_twin(self) -> None:
        """Refuse a directory that is another session's: a file system that folds case has one for both."""
        sessions = layout.op_log_directory(self.root)
        if not self.storage.folds_case(sessions):
            return
        names = [name for name, _ in self.storage.list_directory(sessions)]
        if self.session_id in names:
            return
        twin = next((name for name in names if name.casefold() == self.session_id.casefold()), None)
        if twin is not None:
            raise UsageError(
                f"session {twin!r} differs from {self.session_id!r} by case alone, and the file system of "
                f"{sessions} can hold only one of them: keep a repository that has both on another one"
            )
