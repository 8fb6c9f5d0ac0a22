"""`muse coord renew`: makes a reservation last longer."""

import typer

from muse.cli.coord.options import ReservationArgument, SecondsOption
from muse.cli.coord.plans import coordination_of, print_reservation
from muse.cli.shared.options import ActorOption, JsonOption, RepoOption, remember
from muse.coordination.reservations import DEFAULT_TTL_SECONDS


def renew(
    ctx: typer.Context,
    *,
    reservation: ReservationArgument,
    actor: ActorOption,
    ttl: SecondsOption = DEFAULT_TTL_SECONDS,
    repo: RepoOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a reservation last longer. One that expired or was released has to be made again.

    Example: muse coord renew 5b0e8d2c-... --actor ada --ttl 600
    """
    invocation = remember(ctx, repo, as_json=as_json)
    reserved = coordination_of(invocation).renew(reservation, actor, ttl_seconds=ttl)
    print_reservation(invocation, reserved, f"{actor} goes on holding {', '.join(reserved.addresses)}")
