"""`muse session recover`: makes a session's checkpoint agree with history again."""

from typing import Annotated

import typer

from muse.cli.shared.options import JsonOption, RepoOption, SessionArgument, check_session, remember
from muse.session.live import LiveSession
from muse.upkeep.archive import is_archived, recover_checkpoint


def recover(
    ctx: typer.Context,
    *,
    session: SessionArgument,
    salvage: Annotated[
        bool, typer.Option("--salvage", help="Go on without ops that commits cover and the log lacks.")
    ] = False,
    repo: RepoOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a session's checkpoint agree with history again.

    It is rebuilt from the commits if it was lost, damaged, or is older than they are; that of an
    archived session from its archive.

    Example: muse session recover jam-1
    """
    invocation = remember(ctx, repo, as_json=as_json)
    repository = invocation.repository()
    session = check_session(repository, session)
    archived = is_archived(repository.root, session, storage=repository.storage)
    if archived:
        rebuilt = recover_checkpoint(repository.root, session, storage=repository.storage)
    else:
        with LiveSession(repository.root, session, salvage=salvage) as live:
            rebuilt = live.recover(salvage=salvage)
    if invocation.output.as_json:
        invocation.output.record({"session_id": session, "rebuilt": rebuilt, "archived": archived})
    elif rebuilt:
        source = "archive" if archived else "commits"
        invocation.output.line(f"The checkpoint is rebuilt from the {source}.")
    else:
        known = "is as it was archived" if archived else "agrees with history"
        invocation.output.line(f"The checkpoint {known}.")
