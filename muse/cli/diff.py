"""`muse diff`: shows what differs between a session and the files here, or between two commits."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Annotated

import typer

from muse.cli.shared.diffs import print_diffs
from muse.cli.shared.options import Invocation, JsonOption, RepoOption, remember
from muse.cli.shared.output import print_error
from muse.cli.shared.workdirs import DirOption, SessionOption, files_directory, tree_paths
from muse.errors import NotFoundError, UsageError
from muse.history.repository import Repository
from muse.views.file_diff import diff_commits, diff_states, is_within
from muse.workdir.workdir import Workdir

_RANGE = ".."


def diff(
    ctx: typer.Context,
    *,
    paths: Annotated[
        list[str] | None,
        typer.Argument(metavar="[B] [PATH]...", help="The other commit, and files or directories."),
    ] = None,
    commit: Annotated[
        str | None,
        typer.Option("--commit", metavar="A", help="The commit to compare with; A..B names both."),
    ] = None,
    directory: DirOption = None,
    session: SessionOption = None,
    repo: RepoOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what differs from the session to the files here, or from commit A to commit B (default: HEAD).

    Texts are compared line by line, MIDI files note by note. A commit is named as in 'muse log': HEAD~2, a
    branch, the first digits of an id. In a pipe the diff of texts is one that 'patch' and 'git apply' read.
    Files here that cannot be read are named on stderr, and the exit status is 1.

    Example: muse diff song.mid

    Example: muse diff --commit HEAD~2

    Example: muse diff --commit HEAD~2 HEAD~1 song.mid
    """
    invocation = remember(ctx, repo, as_json=as_json)
    repository = invocation.repository()
    if commit is None:
        place = files_directory(repository, directory)
        try:
            wanted = tree_paths(invocation, repository, paths, place)
            _diff_files(invocation, Workdir(repository, place, session_id=session), wanted)
        except NotFoundError:
            _check_names_no_commit(repository, paths or ())
            raise
        return
    for option, value in (("--session", session), ("--dir", directory)):
        if value is not None:
            raise UsageError(f"{option} is for the files here: leave it out, or leave out --commit")
    before, after, wanted = _sides(
        repository, commit, paths or (), partial(tree_paths, invocation, repository)
    )
    print_diffs(invocation.output, diff_commits(repository, before, after, wanted))


def _diff_files(invocation: Invocation, workdir: Workdir, wanted: list[str]) -> None:
    """Show how the files here differ from the newest state of the session."""
    before, after, faults = workdir.contents(wanted)
    print_diffs(invocation.output, diff_states(before, after))
    for fault in faults:
        print_error("StorageError", f"{fault.path}: {fault.reason}", as_json=invocation.output.as_json)
    if faults:
        raise typer.Exit(1)


def _check_names_no_commit(repository: Repository, names: Sequence[str]) -> None:
    """Raise `UsageError` if the first of some names, which is no file, is a commit."""
    for name in names[:1]:
        with suppress(NotFoundError):
            repository.dag.resolve(name.partition(_RANGE)[0])
            raise UsageError(f"{name!r} is no file, it names a commit: write --commit {name}")


def _sides(
    repository: Repository,
    commit: str,
    names: Sequence[str],
    in_tree: Callable[[Sequence[str]], list[str]],
) -> tuple[str, str, list[str]]:
    """Return the two commits, and the paths `in_tree` among `names`: the first may name the second commit."""
    dag = repository.dag
    if _RANGE in commit:
        first, _, second = commit.partition(_RANGE)
        return dag.resolve(first or "HEAD"), dag.resolve(second or "HEAD"), in_tree(names)
    before, head = dag.resolve(commit), dag.resolve("HEAD")
    if not names:
        return before, head, []

    def is_there(name: str) -> bool:
        place = in_tree([name])
        return any(is_within(path, place) for side in (before, head) for path in repository.read_tree(side))

    try:
        other = dag.resolve(names[0])
    except NotFoundError:
        if names[0].startswith("HEAD~") and not is_there(names[0]):
            raise
        return before, head, in_tree(names)
    if is_there(names[0]):
        raise UsageError(
            f"{names[0]!r} names a commit and a path: write --commit {commit}..{names[0]}, "
            f"or --commit {commit}..HEAD {names[0]} for the path"
        )
    return before, other, in_tree(names[1:])
