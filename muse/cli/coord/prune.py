"""`muse coord prune`: removes the records of what is over."""

from typing import Annotated

import typer

from muse.cli.coord.plans import coordination_of
from muse.cli.shared.options import JsonOption, RepoOption, a_number, remember


def prune(
    ctx: typer.Context,
    *,
    days: Annotated[
        float, typer.Option(metavar="DAYS", help="Of what is older than this.", min=0, callback=a_number)
    ] = 7,
    repo: RepoOption = None,
    as_json: JsonOption = False,
) -> None:
    """Remove the records of reservations and intents that are over. Those in force are kept.

    Example: muse coord prune --days 30
    """
    invocation = remember(ctx, repo, as_json=as_json)
    removed = coordination_of(invocation).prune(days=days)
    if invocation.output.as_json:
        invocation.output.record({"removed": removed})
    else:
        invocation.output.line(f"{removed} records are removed")
