"""`muse session repair`: moves the damage of a log aside."""

from dataclasses import asdict

import typer

from muse.cli.session.damages import print_damages
from muse.cli.shared.options import JsonOption, RepoOption, SessionArgument, check_session, remember
from muse.core.op_log import OpLog


def repair(
    ctx: typer.Context, *, session: SessionArgument, repo: RepoOption = None, as_json: JsonOption = False
) -> None:
    """Move the damage of a log to a file beside it.

    The log reads without error afterwards; every good line is where it was, and the bad bytes are
    kept in that file.

    Example: muse session repair jam-1
    """
    invocation = remember(ctx, repo, as_json=as_json)
    output = invocation.output
    repository = invocation.repository()
    session = check_session(repository, session)
    with OpLog(repository.root, session) as log:
        done = log.repair()
    if output.as_json:
        damages = [asdict(damage) for damage in done.damages]
        output.record({"session_id": session, "side_file": done.side_file, "damages": damages})
    elif done.damages:
        print_damages(output, done.damages)
        output.line(f"Moved to {done.side_file}")
    else:
        output.line("No damage.")
