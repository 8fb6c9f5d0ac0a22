"""`muse session reject`: keeps a proposed op out of the log."""

from typing import Annotated

import typer

from muse.cli.session.guarded import ProposalArgument, named_proposal, opened_guarded
from muse.cli.shared.options import ActorOption, JsonOption, RepoOption, SessionArgument, remember


def reject(
    ctx: typer.Context,
    *,
    session: SessionArgument,
    proposal: ProposalArgument,
    actor: ActorOption,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why, for its author.")] = "",
    repo: RepoOption = None,
    as_json: JsonOption = False,
) -> None:
    """Keep a proposed op out of the log permanently. The actor that holds its address decides, or its author.

    Example: muse session reject jam-1 6f1c2a34 --actor ada --reason "not in this key"
    """
    invocation = remember(ctx, repo, as_json=as_json)
    with opened_guarded(invocation, session) as guarded:
        settled = guarded.reject(named_proposal(guarded, session, proposal), actor_id=actor, reason=reason)
    if invocation.output.as_json:
        invocation.output.record(settled.to_json())
    else:
        invocation.output.line(f"{settled.proposal_id} is rejected by {settled.decided_by}")
