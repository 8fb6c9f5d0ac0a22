"""The files of the working tree are brought up to a branch that moved."""

from collections.abc import Iterable, Mapping

from muse.disk import layout
from muse.history.commit_record import CommitRecord, executable_paths
from muse.history.repository import Repository
from muse.history.working_tree import WorkingTreeUpdate, update_working_tree


def update_to_branch(repository: Repository, branch: str, before: Mapping[str, str]) -> WorkingTreeUpdate:
    """Bring the files from `before` to the head of a branch, if it is the one that is checked out."""
    with repository.storage.locked(layout.working_tree_lock_file(repository.root)):
        head = repository.dag.head(branch)  # another process may have moved it on
        if head is None or branch != repository.dag.current_branch():
            return WorkingTreeUpdate()
        return update_working_tree(
            repository.root,
            repository.objects,
            before=before,
            after=repository.read_tree(head),
            known=_Versions(repository, head).has,
            executable=executable_paths(repository.dag.read_commit(head)),
            storage=repository.storage,
        )


class _Versions:
    """The versions of files that a commit and its ancestors hold; read as far back as needed."""

    def __init__(self, repository: Repository, commit_id: str) -> None:
        self._repository = repository
        self._commits: Iterable[CommitRecord] = repository.dag.history(commit_id)
        self._seen: set[tuple[str, str]] = set()

    def has(self, path: str, object_id: str) -> bool:
        """Return whether some commit holds the file `path` with this content."""
        version = (path, object_id)
        while version not in self._seen:
            commit = next(iter(self._commits), None)
            if commit is None:
                return False
            manifest = self._repository.dag.read_snapshot(commit["snapshot_id"])["manifest"]
            self._seen.update(manifest.items())
        return True
