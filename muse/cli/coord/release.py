"""`muse coord release`: gives a reservation back."""

from typing import Annotated

import typer

from muse.cli.coord.options import ReservationArgument
from muse.cli.coord.plans import coordination_of
from muse.cli.shared.options import ActorOption, JsonOption, RepoOption, remember


def release(
    ctx: typer.Context,
    *,
    reservation: ReservationArgument,
    actor: ActorOption,
    force: Annotated[bool, typer.Option("--force", help="Release another actor's, too.")] = False,
    repo: RepoOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give a reservation back. Later ops that still rest on it are kept out.

    Example: muse coord release 5b0e8d2c-... --actor ada
    """
    invocation = remember(ctx, repo, as_json=as_json)
    stood = coordination_of(invocation).release(reservation, actor, force=force)
    if invocation.output.as_json:
        invocation.output.record({"reservation_id": reservation, "released": stood})
    else:
        invocation.output.line(f"{reservation} {'is released' if stood else 'stood no longer'}")
