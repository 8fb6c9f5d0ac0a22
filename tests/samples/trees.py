"""The files that a branch holds."""

from muse.history.repository import Repository, TreeFiles


def committed_files(repository: Repository, revision: str = "main") -> dict[str, bytes]:
    """Return the path and the content of each file of a branch's head, or of another revision."""
    commit_id = repository.dag.resolve(revision)
    return dict(TreeFiles(repository, repository.read_tree(commit_id)))
