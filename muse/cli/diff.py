"""`muse diff`: shows what differs between a session and the files here, or between two commits."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated

import typer

from muse.cli.shared.diffs import print_diffs
from muse.cli.shared.options import Invocation, JsonOption, RepoOption, remember
from muse.cli.shared.output import print_error
from muse.cli.shared.workdirs import SessionOption, tree_paths
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
        _diff_files(invocation, repository, session, tree_paths(invocation, repository, paths))
        return
    if session is not None:
        raise UsageError("--session is for the files here: leave it out, or leave out --commit")
    before, after, wanted = _sides(repository, commit, [_tree_path(path) for path in paths or ()])
    print_diffs(invocation.output, diff_commits(repository, before, after, wanted))


def _diff_files(
    invocation: Invocation, repository: Repository, session: str | None, wanted: list[str]
) -> None:
    """Show how the files here differ from the newest state of the session."""
    before, after, faults = Workdir(repository, session_id=session).contents(wanted)
    print_diffs(invocation.output, diff_states(before, after))
    for fault in faults:
        print_error("StorageError", f"{fault.path}: {fault.reason}", as_json=invocation.output.as_json)
    if faults:
        raise typer.Exit(1)


def _tree_path(path: str) -> str:
    return path.removeprefix("./").rstrip("/")


def _sides(repository: Repository, commit: str, names: Sequence[str]) -> tuple[str, str, Sequence[str]]:
    """Return the two commits, and the paths among `names`: the first may name the second commit."""
    dag = repository.dag
    if _RANGE in commit:
        first, _, second = commit.partition(_RANGE)
        return dag.resolve(first or "HEAD"), dag.resolve(second or "HEAD"), names
    before, head = dag.resolve(commit), dag.resolve("HEAD")
    if not names:
        return before, head, names
    known = [*repository.read_tree(before), *repository.read_tree(head)]
    is_path = any(is_within(path, names[:1]) for path in known)
    with suppress(NotFoundError):
        other = dag.resolve(names[0])
        if is_path:
            raise UsageError(
                f"{names[0]!r} names a commit and a path: write --commit {commit}..{names[0]}, "
                f"or --commit {commit}..HEAD {names[0]} for the path"
            )
        return before, other, names[1:]
    return before, head, names
