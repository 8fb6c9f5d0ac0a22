"""`muse coord intent`: says what will be done."""

from typing import Annotated

import typer

from muse.cli.coord.options import AddressesArgument, BranchOption, OperationOption, RunOption
from muse.cli.coord.plans import branch_of, coordination_of
from muse.cli.shared.options import ActorOption, JsonOption, RepoOption, remember


def intent(
    ctx: typer.Context,
    *,
    addresses: AddressesArgument,
    actor: ActorOption,
    detail: Annotated[str, typer.Option(metavar="TEXT", help="What will be done, for people.")] = "",
    reservation: Annotated[
        str, typer.Option(metavar="ID", help="A reservation of the actor's that it rests on.")
    ] = "",
    branch: BranchOption = None,
    run: RunOption = "",
    operation: OperationOption = "",
    repo: RepoOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say what will be done, so that others can see it coming. Nothing is reserved.

    It lasts as long as its reservation or, without one, for an hour.

    Example: muse coord intent song.mid --actor ada --detail "a slower start"
    """
    invocation = remember(ctx, repo, as_json=as_json)
    said = coordination_of(invocation).intend(
        actor,
        addresses,
        branch=branch_of(invocation, branch),
        run_id=run,
        operation=operation,
        detail=detail,
        reservation_id=reservation,
    )
    if invocation.output.as_json:
        invocation.output.record({"kind": "intent", **said.to_json()})
    else:
        invocation.output.line(f"Intent {said.intent_id}: {actor} on {', '.join(said.addresses)}")
