"""`muse coord list`: the reservations and intents there are."""

from typing import Annotated

import typer

from muse.cli.coord.plans import coordination_of, kind_of
from muse.cli.shared.options import Invocation, JsonOption, RepoOption, check_session, remember
from muse.coordination.record import Intent, Reservation
from muse.core.op_log import OpLog
from muse.session.guarded_log import GuardedLog, Trespass

_FINDING = 1


def list_command(
    ctx: typer.Context,
    *,
    branch: Annotated[str | None, typer.Option(metavar="BRANCH", help="Default: all.")] = None,
    session: Annotated[
        str | None, typer.Option(metavar="SESSION", help="Also: ops in it on addresses that others hold.")
    ] = None,
    repo: RepoOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the reservations and intents that are in force.

    With --session, also the ops that came into the session past its policy, by other tools for example; the
    exit status is then 1.

    Example: muse coord list --session jam-1
    """
    invocation = remember(ctx, repo, as_json=as_json)
    output, coordination = invocation.output, coordination_of(invocation)
    plans: list[Reservation | Intent] = [
        *coordination.reservations(branch=branch),
        *coordination.intents(branch=branch),
    ]
    faults = coordination.faults()
    found = [] if session is None else _trespasses(invocation, session)
    if output.as_json:
        for plan in plans:
            output.record({"kind": kind_of(plan), **plan.to_json()})
        for trespass in found:
            output.record(
                {"kind": "trespass", "entry": trespass.entry, "claim": trespass.reservation.to_json()}
            )
        for fault in faults:
            output.record({"kind": "fault", "reason": fault})
    else:
        if plans:
            headings = ("KIND", "ID", "ACTOR", "BRANCH", "ADDRESSES", "OPERATION", "UNTIL", "EPOCH")
            output.table(headings, [_row(plan) for plan in plans])
        else:
            output.line("Nothing is reserved or intended: see 'muse coord reserve'.")
        for trespass in found:
            output.line(
                f"Past the policy: op {trespass.entry['op_id']} by {trespass.entry['actor_id']}, on what "
                f"{trespass.reservation.actor_id} holds"
            )
        for fault in faults:
            output.line(f"Not read: {fault}")
    if found:
        raise typer.Exit(_FINDING)


def _trespasses(invocation: Invocation, session: str) -> list[Trespass]:
    repository = invocation.repository()
    session = check_session(repository, session)
    with OpLog(repository.root, session) as log, invocation.output.progress("reading"):
        return GuardedLog(repository, log).trespasses()


def _row(plan: Reservation | Intent) -> tuple[object, ...]:
    own, until, epoch = (
        (plan.reservation_id, plan.expires_at, str(plan.epoch or "not made here"))
        if isinstance(plan, Reservation)
        else (plan.intent_id, "", "")
    )
    what = (plan.actor_id, plan.branch, ", ".join(plan.addresses), plan.operation)
    return (kind_of(plan), own, *what, until, epoch)
