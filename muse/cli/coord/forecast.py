"""`muse coord forecast`: says which plans would collide."""

from typing import Annotated

import typer

from muse.cli.coord.options import BranchOption
from muse.cli.coord.plans import branch_of, coordination_of, kind_of
from muse.cli.shared.options import JsonOption, RepoOption, remember
from muse.coordination.forecast import Collision
from muse.coordination.record import Intent, Reservation

_FINDING = 1


def forecast(
    ctx: typer.Context,
    *,
    addresses: Annotated[
        list[str] | None, typer.Argument(metavar="[ADDRESS...]", help="Where work is about to be done.")
    ] = None,
    actor: Annotated[
        str, typer.Option(metavar="NAME", help="Whose work that is or, without addresses, whose collisions.")
    ] = "",
    branch: BranchOption = None,
    repo: RepoOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say which plans of different actors would collide: on one branch, on addresses that touch.

    The exit status is 1 if any would.

    Example: muse coord forecast song.mid --actor bob
    """
    invocation = remember(ctx, repo, as_json=as_json)
    coordination = coordination_of(invocation)
    found = coordination.forecast(addresses or (), party=actor, branch=branch_of(invocation, branch))
    for collision in found:
        if invocation.output.as_json:
            invocation.output.record(collision.to_json())
        else:
            invocation.output.line(_sentence(collision))
    if found:
        raise typer.Exit(_FINDING)
    if not invocation.output.as_json:
        invocation.output.line("Nothing would collide.")


def _sentence(collision: Collision) -> str:
    first = f"{_name(collision.first)} and " if collision.first else ""
    return f"{collision.address}: {first}{_name(collision.second)}"


def _name(plan: Reservation | Intent) -> str:
    said = plan.detail if isinstance(plan, Intent) else plan.operation
    return f"{plan.actor_id}'s {kind_of(plan)} of {', '.join(plan.addresses)}{f' ({said})' if said else ''}"
