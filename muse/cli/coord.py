"""`muse coord`: claim addresses for a while, say what will be done, see what would collide, clear away."""

from typing import Annotated

import typer

from muse.cli.options import Invocation, JsonOption, RepoOption, check_session, help_without_command, remember
from muse.coordination.forecast import Collision
from muse.coordination.record import Intent, Reservation
from muse.coordination.reservations import DEFAULT_TTL_SECONDS, Coordination
from muse.core.op_log import OpLog
from muse.session.guarded_log import GuardedLog, Trespass

app = typer.Typer(
    help="Reservations and intents: reserve, release, renew, intent, list, forecast, prune.",
    rich_markup_mode=None,
    invoke_without_command=True,
)

_FINDING = 1

ActorOption = Annotated[str, typer.Option("--actor", metavar="NAME", help="Who asks.", show_default=False)]
_Addresses = Annotated[
    list[str], typer.Argument(metavar="ADDRESS...", help="Each with all below it.", show_default=False)
]
_Reservation = Annotated[str, typer.Argument(metavar="RESERVATION", help="Its id.", show_default=False)]
_Seconds = Annotated[float, typer.Option("--ttl", metavar="SECONDS", help="How long it stands from now.")]
_Branch = Annotated[
    str | None, typer.Option("--branch", metavar="BRANCH", help="Default: the one HEAD names.")
]
_Run = Annotated[str, typer.Option("--run", metavar="ID", help="The run it is part of. Default: the actor.")]
_Operation = Annotated[str, typer.Option("--operation", metavar="WORD", help="What will be done, in a word.")]


@app.callback()
def _root(ctx: typer.Context, *, repo: RepoOption = None, as_json: JsonOption = False) -> None:
    remember(ctx, repo, as_json=as_json)
    help_without_command(ctx)


@app.command("reserve")
def reserve(
    ctx: typer.Context,
    *,
    addresses: _Addresses,
    actor: ActorOption,
    ttl: _Seconds = DEFAULT_TTL_SECONDS,
    branch: _Branch = None,
    run: _Run = "",
    operation: _Operation = "",
    own_id: Annotated[
        str, typer.Option("--id", metavar="UUID4", help="Its id: asking again with it is no second claim.")
    ] = "",
    repo: RepoOption = None,
    as_json: JsonOption = False,
) -> None:
    """Claim addresses for one actor, all or none. What is held by anyone is refused, and says by whom.

    Example: muse coord reserve song.mid --actor ada --ttl 600
    """
    invocation = remember(ctx, repo, as_json=as_json)
    claim = _coordination(invocation).reserve(
        actor,
        addresses,
        branch=_branch(invocation, branch),
        run_id=run,
        ttl_seconds=ttl,
        operation=operation,
        reservation_id=own_id,
    )
    _print_claim(invocation, claim, f"{actor} holds {', '.join(claim.addresses)}")


@app.command("renew")
def renew(
    ctx: typer.Context,
    *,
    reservation: _Reservation,
    actor: ActorOption,
    ttl: _Seconds = DEFAULT_TTL_SECONDS,
    repo: RepoOption = None,
    as_json: JsonOption = False,
) -> None:
    """Hold on to a reservation. One that expired or was released has to be made anew.

    Example: muse coord renew 5b0e8d2c-... --actor ada --ttl 600
    """
    invocation = remember(ctx, repo, as_json=as_json)
    claim = _coordination(invocation).renew(reservation, actor, ttl_seconds=ttl)
    _print_claim(invocation, claim, f"{actor} goes on holding {', '.join(claim.addresses)}")


@app.command("release")
def release(
    ctx: typer.Context,
    *,
    reservation: _Reservation,
    actor: ActorOption,
    force: Annotated[bool, typer.Option("--force", help="Release another actor's, too.")] = False,
    repo: RepoOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give a reservation back. Ops that still rest on it are fenced off, however late they come.

    Example: muse coord release 5b0e8d2c-... --actor ada
    """
    invocation = remember(ctx, repo, as_json=as_json)
    stood = _coordination(invocation).release(reservation, actor, force=force)
    if invocation.output.as_json:
        invocation.output.record({"reservation_id": reservation, "released": stood})
    else:
        invocation.output.line(f"{reservation} {'is released' if stood else 'stood no longer'}")


@app.command("intent")
def intent(
    ctx: typer.Context,
    *,
    addresses: _Addresses,
    actor: ActorOption,
    detail: Annotated[str, typer.Option(metavar="TEXT", help="What will be done, for people.")] = "",
    reservation: Annotated[
        str, typer.Option(metavar="ID", help="A reservation of the actor's that it rests on.")
    ] = "",
    branch: _Branch = None,
    run: _Run = "",
    operation: _Operation = "",
    repo: RepoOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say what will be done, so that others can see it coming. Nothing is claimed.

    It stands as long as its reservation or, without one, for an hour.

    Example: muse coord intent song.mid --actor ada --detail "a slower start"
    """
    invocation = remember(ctx, repo, as_json=as_json)
    said = _coordination(invocation).intend(
        actor,
        addresses,
        branch=_branch(invocation, branch),
        run_id=run,
        operation=operation,
        detail=detail,
        reservation_id=reservation,
    )
    if invocation.output.as_json:
        invocation.output.record({"kind": "intent", **said.to_json()})
    else:
        invocation.output.line(f"Intent {said.intent_id}: {actor} on {', '.join(said.addresses)}")


@app.command("list")
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
    """List the reservations and intents that stand.

    With --session, also the ops that came into it past its policy, by other tools for example: that is
    a finding, exit status 1.

    Example: muse coord list --session jam-1
    """
    invocation = remember(ctx, repo, as_json=as_json)
    output, coordination = invocation.output, _coordination(invocation)
    plans: list[Reservation | Intent] = [
        *coordination.reservations(branch=branch),
        *coordination.intents(branch=branch),
    ]
    faults = coordination.faults()
    found = [] if session is None else _trespasses(invocation, session)
    if output.as_json:
        for plan in plans:
            output.record({"kind": _kind(plan), **plan.to_json()})
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
    check_session(repository, session)
    with OpLog(repository.root, session) as log, invocation.output.progress("reading"):
        return GuardedLog(repository, log).trespasses()


@app.command("forecast")
def forecast(
    ctx: typer.Context,
    *,
    addresses: Annotated[
        list[str] | None, typer.Argument(metavar="[ADDRESS...]", help="Where work is about to be done.")
    ] = None,
    actor: Annotated[
        str, typer.Option(metavar="NAME", help="Whose work that is or, without addresses, whose collisions.")
    ] = "",
    branch: _Branch = None,
    repo: RepoOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say which plans would collide: of different actors, on one branch, on addresses that touch.

    Exit status 1 if any would.

    Example: muse coord forecast song.mid --actor bob
    """
    invocation = remember(ctx, repo, as_json=as_json)
    coordination = _coordination(invocation)
    found = coordination.forecast(addresses or (), party=actor, branch=_branch(invocation, branch))
    for collision in found:
        if invocation.output.as_json:
            invocation.output.record(collision.to_json())
        else:
            invocation.output.line(_sentence(collision))
    if found:
        raise typer.Exit(_FINDING)
    if not invocation.output.as_json:
        invocation.output.line("Nothing would collide.")


@app.command("prune")
def prune(
    ctx: typer.Context,
    *,
    days: Annotated[float, typer.Option(metavar="DAYS", help="Of what is older than this.", min=0)] = 7,
    repo: RepoOption = None,
    as_json: JsonOption = False,
) -> None:
    """Remove the records of reservations and intents that are over. Those that stand are kept.

    Example: muse coord prune --days 30
    """
    invocation = remember(ctx, repo, as_json=as_json)
    removed = _coordination(invocation).prune(days=days)
    if invocation.output.as_json:
        invocation.output.record({"removed": removed})
    else:
        invocation.output.line(f"{removed} records are removed")


def _sentence(collision: Collision) -> str:
    first = f"{_name(collision.first)} and " if collision.first else ""
    return f"{collision.address}: {first}{_name(collision.second)}"


def _name(plan: Reservation | Intent) -> str:
    said = plan.detail if isinstance(plan, Intent) else plan.operation
    return f"{plan.actor_id}'s {_kind(plan)} of {', '.join(plan.addresses)}{f' ({said})' if said else ''}"


def _kind(plan: Reservation | Intent) -> str:
    return "reservation" if isinstance(plan, Reservation) else "intent"


def _row(plan: Reservation | Intent) -> tuple[object, ...]:
    own, until, epoch = (
        (plan.reservation_id, plan.expires_at, str(plan.epoch or "not granted"))
        if isinstance(plan, Reservation)
        else (plan.intent_id, "", "")
    )
    what = (plan.actor_id, plan.branch, ", ".join(plan.addresses), plan.operation)
    return (_kind(plan), own, *what, until, epoch)


def _print_claim(invocation: Invocation, claim: Reservation, sentence: str) -> None:
    if invocation.output.as_json:
        invocation.output.record({"kind": "reservation", **claim.to_json()})
    else:
        invocation.output.line(f"{sentence} until {claim.expires_at}")
        invocation.output.line(f"Reservation {claim.reservation_id}, epoch {claim.epoch}")


def _coordination(invocation: Invocation) -> Coordination:
    return invocation.repository().coordination


def _branch(invocation: Invocation, branch: str | None) -> str:
    return invocation.repository().dag.current_branch() if branch is None else branch
