"""`muse session restore`: brings the log of an archived session back."""

from contextlib import suppress

import typer

from muse.cli.shared.options import JsonOption, RepoOption, SessionArgument, check_session, remember
from muse.cli.shared.output import count_of
from muse.errors import NotFoundError
from muse.upkeep.archive import restore_session


def restore(
    ctx: typer.Context, *, session: SessionArgument, repo: RepoOption = None, as_json: JsonOption = False
) -> None:
    """Bring the log of an archived session back, byte for byte.

    Example: muse session restore jam-1
    """
    invocation = remember(ctx, repo, as_json=as_json)
    output = invocation.output
    repository = invocation.repository()
    with suppress(NotFoundError):  # an archive that lost its tombstone is no session until it is restored
        session = check_session(repository, session)
    with output.progress("restoring bytes") as progress:
        outcome = restore_session(repository.root, session, storage=repository.storage, progress=progress)
    entries = outcome.manifest["log"]["entry_count"] if outcome.manifest else None
    if output.as_json:
        output.record({"session_id": session, "entries": entries, "was_live": outcome.was_done})
    elif entries is None:
        output.line(f"Session {session} is live already.")
    else:
        output.line(f"Session {session} is live again: {count_of(entries, 'entry', 'entries')}.")
