"""`muse session proposals`: lists the ops that are set aside."""

from typing import Annotated

import typer

from muse.cli.session.guarded import opened_guarded
from muse.cli.shared.entry_line import entry_line
from muse.cli.shared.options import Invocation, JsonOption, RepoOption, SessionArgument, remember
from muse.session.proposals import Proposal


def proposals(
    ctx: typer.Context,
    *,
    session: SessionArgument,
    all_of_them: Annotated[bool, typer.Option("--all", help="The decided ones, too.")] = False,
    repo: RepoOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the ops that are set aside, in the order they came.

    Example: muse session proposals jam-1
    """
    invocation = remember(ctx, repo, as_json=as_json)
    with opened_guarded(invocation, session) as guarded:
        found = guarded.proposals(settled=all_of_them)
    for proposal in found:
        if invocation.output.as_json:
            invocation.output.record(proposal.to_json())
        else:
            _print(invocation, proposal)
    if not found and not invocation.output.as_json:
        invocation.output.line(f"No ops of session {session} are set aside.")


def _print(invocation: Invocation, proposal: Proposal) -> None:
    stamp = proposal.entry["lamport_ts"] or 0  # a draft has none yet
    shown = entry_line({**proposal.entry, "lamport_ts": stamp})  # type: ignore[typeddict-item]
    decided = f", {proposal.state} by {proposal.decided_by or 'nobody here'}" * (proposal.state != "open")
    invocation.output.line(f"{proposal.proposal_id}{decided}")
    invocation.output.line(f"  {shown}")
    invocation.output.line(f"  {proposal.kind}: {proposal.reason}")
