"""The files of the working tree are brought up to a branch that moved."""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import cached_property

from muse.disk import layout
from muse.disk.json_file import read_with_digest
from muse.errors import CorruptionError, NotFoundError
from muse.history.commit_record import CommitRecord, executable_paths
from muse.history.repository import Repository
from muse.history.working_tree import WorkingTreeUpdate, update_working_tree


def update_to_branch(
    repository: Repository, branch: str, before: str | None, *, session_id: str = ""
) -> WorkingTreeUpdate:
    """Bring the files from the commit `before` to the head of a branch, if that is checked out.

    A file whose content was recorded in the session of that id is not taken for one that was changed by hand.
    """
    with repository.storage.locked(layout.working_tree_lock_file(repository.root)):
        head = repository.dag.head(branch)  # another process may have moved it on
        if head is None or branch != repository.dag.current_branch():
            return WorkingTreeUpdate()
        versions = _Versions(repository, head, session_id)
        return update_working_tree(
            repository.root,
            repository.objects,
            before=repository.read_tree(before),
            after=repository.read_tree(head),
            known=versions.has,
            executable=executable_paths(repository.dag.read_commit(head)),
            was_executable=executable_paths(repository.dag.read_commit(before)) if before else (),
            came_from_here=versions.is_recorded,
            storage=repository.storage,
        )


class _Versions:
    """The versions of files that a commit and its ancestors hold, or a session; read as far as needed."""

    def __init__(self, repository: Repository, commit_id: str, session_id: str) -> None:
        self._repository = repository
        self._session_id = session_id
        self._commits: Iterable[CommitRecord] = repository.dag.history(commit_id)
        self._seen: set[tuple[str, str]] = set()

    def has(self, path: str, object_id: str) -> bool:
        """Return whether some commit holds the file `path` with this content, or the session does."""
        version = (path, object_id)
        while version not in self._seen:
            commit = next(iter(self._commits), None)
            if commit is None:
                return self.is_recorded(path, object_id)
            manifest = self._repository.dag.read_snapshot(commit["snapshot_id"])["manifest"]
            self._seen.update(manifest.items())
        return True

    def is_recorded(self, path: str, object_id: str) -> bool:
        """Return whether the file of the tree was recorded in the session with this content."""
        return self._recorded.get(path) == object_id

    @cached_property
    def _recorded(self) -> Mapping[str, str]:
        """What was recorded in the session of the files here, path -> object id: see `docs/workdir.md`."""
        path = layout.workdir_file(self._repository.root, layout.WORKDIR_OF_ROOT)
        with suppress(NotFoundError, CorruptionError, KeyError, TypeError):
            base = read_with_digest(path, self._repository.storage)
            if self._session_id and base["session_id"] == self._session_id:
                return {name: row["digest"] for name, row in base["files"].items()}
        return {}
