"""`muse session policy`, `proposals`, `accept` and `reject`: what a session lets in, and who decides."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Annotated

import typer

from muse.cli.coord import ActorOption
from muse.cli.entry_line import entry_line
from muse.cli.options import Invocation, JsonOption, RepoOption, SessionArgument, check_session, remember
from muse.core.op_log import OpLog
from muse.disk import layout
from muse.errors import NotFoundError
from muse.session.guarded_log import GuardedLog
from muse.session.policy import Policy, read_policy, write_policy
from muse.session.proposals import Proposal

_Proposal = Annotated[
    str, typer.Argument(metavar="PROPOSAL", help="Its op id, or how that starts.", show_default=False)
]
_SHORTEST_NAME = 4


def policy(
    ctx: typer.Context,
    *,
    session: SessionArgument,
    reservations: Annotated[
        str | None,
        typer.Option(metavar="RULE", help="On what another holds: off, advisory, refuse or propose."),
    ] = None,
    stale_reads: Annotated[
        str | None, typer.Option(metavar="RULE", help="Past what was read: off, report or propose.")
    ] = None,
    repo: RepoOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what becomes of ops that come in another's way, or change it: for all appends from now on.

    Example: muse session policy jam-1 --reservations refuse --stale-reads propose
    """
    invocation = remember(ctx, repo, as_json=as_json)
    repository = invocation.repository()
    layout.check_session_id(session)
    if reservations is None and stale_reads is None:
        found = read_policy(repository.root, session)
    else:
        found = _changed(repository.root, session, reservations, stale_reads)
    if invocation.output.as_json:
        invocation.output.record({"session_id": session, **found.to_json()})
    else:
        invocation.output.line(f"Reservations  {found.reservations}")
        invocation.output.line(f"Stale reads   {found.stale_reads}")


def _changed(root: str, session: str, reservations: str | None, stale_reads: str | None) -> Policy:
    given = {"reservations": reservations, "stale_reads": stale_reads}
    changes = {name: rule for name, rule in given.items() if rule is not None}
    # With both given, a policy that cannot be read is no obstacle to writing it anew.
    before = Policy() if len(changes) == len(given) else read_policy(root, session)
    after = replace(before, **changes)  # type: ignore[arg-type]
    write_policy(root, session, after)
    return after


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
    with _opened(invocation, session) as guarded:
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


def accept(
    ctx: typer.Context,
    *,
    session: SessionArgument,
    proposal: _Proposal,
    actor: ActorOption,
    repo: RepoOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let a proposed op into the log, under its own op id. Who holds its address decides.

    Example: muse session accept jam-1 6f1c2a34 --actor ada
    """
    invocation = remember(ctx, repo, as_json=as_json)
    with _opened(invocation, session) as guarded:
        receipt = guarded.accept(_named(guarded, session, proposal), actor_id=actor)
    if invocation.output.as_json:
        invocation.output.record(receipt.to_json())
    else:
        invocation.output.line(f"{receipt.op_id} is in the log, Lamport {receipt.lamport_ts}")


def reject(
    ctx: typer.Context,
    *,
    session: SessionArgument,
    proposal: _Proposal,
    actor: ActorOption,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why, for its author.")] = "",
    repo: RepoOption = None,
    as_json: JsonOption = False,
) -> None:
    """Set a proposed op aside for good. Who holds its address decides, or its author takes it back.

    Example: muse session reject jam-1 6f1c2a34 --actor ada --reason "not in this key"
    """
    invocation = remember(ctx, repo, as_json=as_json)
    with _opened(invocation, session) as guarded:
        settled = guarded.reject(_named(guarded, session, proposal), actor_id=actor, reason=reason)
    if invocation.output.as_json:
        invocation.output.record(settled.to_json())
    else:
        invocation.output.line(f"{settled.proposal_id} is rejected by {settled.decided_by}")


@contextmanager
def _opened(invocation: Invocation, session: str) -> Iterator[GuardedLog]:
    """Open a session that is there, be it only with its policy and proposals."""
    repository = invocation.repository()
    proposals_file = layout.proposals_file(repository.root, session)
    if not repository.storage.exists(proposals_file):
        check_session(repository, session)
    with OpLog(repository.root, session) as log:
        yield GuardedLog(repository, log)


def _named(guarded: GuardedLog, session: str, name: str) -> str:
    """Return the id of the proposal that is named so, or the only one whose id starts so."""
    found = [one.proposal_id for one in guarded.proposals(settled=True) if one.proposal_id.startswith(name)]
    if name in found:
        return name
    if len(name) < _SHORTEST_NAME or len(found) != 1:
        raise NotFoundError(
            f"session {session!r} has {len(found)} proposals that start with {name!r}: see "
            f"'muse session proposals {session}'"
        )
    return found[0]
