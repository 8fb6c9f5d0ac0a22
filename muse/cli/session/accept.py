"""`muse session accept`: lets a proposed op into the log."""

import typer

from muse.cli.session.guarded import ProposalArgument, named_proposal, opened_guarded
from muse.cli.shared.options import ActorOption, JsonOption, RepoOption, SessionArgument, remember


def accept(
    ctx: typer.Context,
    *,
    session: SessionArgument,
    proposal: ProposalArgument,
    actor: ActorOption,
    repo: RepoOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let a proposed op into the log, under its own op id. The actor that holds its address decides.

    Example: muse session accept jam-1 6f1c2a34 --actor ada
    """
    invocation = remember(ctx, repo, as_json=as_json)
    with opened_guarded(invocation, session) as guarded:
        receipt = guarded.accept(named_proposal(guarded, session, proposal), actor_id=actor)
    if invocation.output.as_json:
        invocation.output.record(receipt.to_json())
    else:
        invocation.output.line(f"{receipt.op_id} is in the log, Lamport {receipt.lamport_ts}")
