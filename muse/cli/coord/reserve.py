"""`muse coord reserve`: keeps addresses for one actor for a while."""

from typing import Annotated

import typer

from muse.cli.coord.options import AddressesArgument, BranchOption, OperationOption, RunOption, SecondsOption
from muse.cli.coord.plans import branch_of, coordination_of, print_reservation
from muse.cli.shared.options import ActorOption, JsonOption, RepoOption, remember
from muse.coordination.reservations import DEFAULT_TTL_SECONDS


def reserve(
    ctx: typer.Context,
    *,
    addresses: AddressesArgument,
    actor: ActorOption,
    ttl: SecondsOption = DEFAULT_TTL_SECONDS,
    branch: BranchOption = None,
    run: RunOption = "",
    operation: OperationOption = "",
    own_id: Annotated[
        str,
        typer.Option("--id", metavar="UUID4", help="Its id: to ask again with it reserves nothing twice."),
    ] = "",
    repo: RepoOption = None,
    as_json: JsonOption = False,
) -> None:
    """Reserve addresses for one actor, all of them or none. If another actor holds one, the error says which.

    Example: muse coord reserve song.mid --actor ada --ttl 600
    """
    invocation = remember(ctx, repo, as_json=as_json)
    reserved = coordination_of(invocation).reserve(
        actor,
        addresses,
        branch=branch_of(invocation, branch),
        run_id=run,
        ttl_seconds=ttl,
        operation=operation,
        reservation_id=own_id,
    )
    print_reservation(invocation, reserved, f"{actor} holds {', '.join(reserved.addresses)}")
