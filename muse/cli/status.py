"""`muse status`: says how the files here and a session differ."""

from typing import Annotated

import typer

from muse.cli.shared.options import JsonOption, RepoOption, remember
from muse.cli.shared.workdirs import (
    DirOption,
    PathsArgument,
    SessionOption,
    fault_records,
    files_directory,
    print_changes,
    print_faults,
    print_session,
    tree_paths,
)
from muse.workdir.workdir import Workdir


def status(
    ctx: typer.Context,
    *,
    paths: PathsArgument = None,
    directory: DirOption = None,
    session: SessionOption = None,
    actor: Annotated[str, typer.Option(metavar="NAME", help="Whose session, where none was used yet.")] = "",
    repo: RepoOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say what was changed here, and what others did in the session that is not here yet.

    The files are compared with the newest state of the session, committed and pending. Nothing is recorded.

    Example: muse status
    """
    invocation = remember(ctx, repo, as_json=as_json)
    repository, output = invocation.repository(), invocation.output
    place = files_directory(repository, directory)
    wanted = tree_paths(invocation, repository, paths, place)
    found = Workdir(repository, place, actor, session_id=session).status(wanted)
    if output.as_json:
        output.record(
            {
                "session_id": found.session.session_id,
                "session_because": found.session.because,
                "branch": found.branch,
                "here": [change.as_record() for change in found.here],
                "ahead": [change.as_record() for change in found.ahead],
                "left_out": fault_records(found.faults),
            }
        )
    else:
        print_session(output, found.session, found.branch)
        print_changes(output, "Changed here, for 'muse record':", found.here)
        print_changes(output, "Changed in the session, not here yet:", found.ahead)
        print_faults(output, found.faults)
        if not (found.here or found.ahead or found.faults):
            output.line("Nothing differs.")
    if found.faults:
        raise typer.Exit(1)
