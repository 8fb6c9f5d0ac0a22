"""`muse checkout`: brings the files here to a commit."""

from collections.abc import Iterable
from typing import Annotated

import typer

from muse.cli.shared.options import Invocation, JsonOption, RepoOption, remember
from muse.disk import layout
from muse.errors import MuseError
from muse.history.commit_record import executable_paths
from muse.history.repository import Repository
from muse.history.working_tree import WorkingTreeUpdate, files_in_the_way, update_working_tree

_UNKNOWN = ""  # no object has this id


class ChangedByHandError(MuseError):
    """Files that a checkout would replace were changed by hand. `paths` names them."""

    def __init__(self, paths: Iterable[str], message: str) -> None:
        super().__init__(message)
        self.paths = tuple(paths)


def checkout(
    ctx: typer.Context,
    *,
    revision: Annotated[
        str, typer.Argument(metavar="[REV]", help="A branch, HEAD, or a commit id.")
    ] = "HEAD",
    force: Annotated[bool, typer.Option("--force", help="Replace files that were changed by hand.")] = False,
    repo: RepoOption = None,
    as_json: JsonOption = False,
) -> None:
    """Bring the files here to a commit. Files that no commit has stay as they are.

    A branch becomes the one that HEAD names, and commits go to it. A commit id only brings its
    files: HEAD stays on its branch, and 'muse checkout' alone brings that branch's files back.

    Example: muse checkout 1f2e3d4c
    """
    invocation = remember(ctx, repo, as_json=as_json)
    bring(invocation, invocation.repository(), revision, force=force)


def bring(invocation: Invocation, repository: Repository, revision: str, *, force: bool) -> None:
    """Bring the files to a commit or a branch, and say what was changed.

    Raises `ChangedByHandError` about files that were left as they are.
    """
    with invocation.output.progress("checking out"):
        commit_id, branch, update = _check_out(repository, revision, force=force)
    if invocation.output.as_json:
        invocation.output.record(
            {
                "commit_id": commit_id,
                "branch": branch,
                "written": update.written,
                "removed": update.removed,
                "kept": update.kept,
            }
        )
    else:
        for verb, paths in (("wrote", update.written), ("removed", update.removed)):
            for path in paths:
                invocation.output.line(f"{verb} {path}")
        place = f"commit {commit_id}" if commit_id else "no commit yet"
        invocation.output.line(f"Files are those of {place}; HEAD is on branch {branch}.")
    if update.kept:
        raise ChangedByHandError(update.kept, _kept_message(update.kept))


def _check_out(
    repository: Repository, revision: str, *, force: bool
) -> tuple[str | None, str, WorkingTreeUpdate]:
    """Bring the files to `revision`; return the commit that it is, the branch of HEAD, and what was changed.

    While it is at work, no commit brings its files: what is read here is what they come from.
    """
    with repository.storage.locked(layout.working_tree_lock_file(repository.root)):
        dag = repository.dag
        becomes_head = revision in set(dag.branch_names())
        commit_id = dag.head(revision) if becomes_head else dag.resolve(revision)
        branch = revision if becomes_head else dag.current_branch()
        update = _bring_files(repository, commit_id, force=force)
        if becomes_head:
            # The files first: a crash in between leaves HEAD where commits went so far.
            dag.set_current_branch(branch)
    return commit_id, branch, update


def _kept_message(paths: Iterable[str]) -> str:
    return f"left as they are, as these are not plain files: {', '.join(paths)}; move them away and try again"


def _bring_files(repository: Repository, commit_id: str | None, *, force: bool) -> WorkingTreeUpdate:
    after = repository.read_tree(commit_id)
    head = repository.read_tree(repository.dag.head(repository.dag.current_branch()))
    versions, could_run = _versions(repository, commit_id)

    def known(path: str, object_id: str) -> bool:
        return (path, object_id) in versions

    def replaceable(path: str, object_id: str) -> bool:
        return known(path, object_id) or path in head or path in after

    # The tree may be at any commit, an earlier checkout's too: so every path of history is looked at.
    before = {path: _UNKNOWN for path, _ in versions}
    if not force:
        kept = files_in_the_way(
            repository.root, before=before, after=after, known=known, storage=repository.storage
        )
        if kept:
            raise ChangedByHandError(
                kept,
                f"changed by hand, or in no commit yet: {', '.join(kept)}; nothing was touched: record and "
                "commit them, save your versions under other names, or replace them with --force",
            )
    may_run = (
        frozenset[str]() if commit_id is None else executable_paths(repository.dag.read_commit(commit_id))
    )
    return update_working_tree(
        repository.root,
        repository.objects,
        before=before,
        after=after,
        known=replaceable if force else known,
        executable=may_run,
        was_executable=could_run,
        storage=repository.storage,
    )


def _versions(repository: Repository, commit_id: str | None) -> tuple[set[tuple[str, str]], set[str]]:
    """Collect every version of every file in the history of each branch and of `commit_id`.

    And the files that could be run by one of these commits.
    """
    found: set[tuple[str, str]] = set()
    could_run: set[str] = set()
    for record in repository.dag.reachable({*repository.dag.branches().values(), commit_id}):
        found.update(repository.dag.read_snapshot(record["snapshot_id"])["manifest"].items())
        could_run |= executable_paths(record)
    return found, could_run
