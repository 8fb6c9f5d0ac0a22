"""`muse session policy`: shows or changes what a session lets in."""

from dataclasses import replace
from typing import Annotated

import typer

from muse.cli.shared.options import JsonOption, RepoOption, SessionArgument, remember
from muse.disk import layout
from muse.session.policy import Policy, read_policy, write_policy


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
    """Show what a session does with ops that come in another actor's way, or change it for later appends.

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
    # With both given, a policy that cannot be read does not keep a new one from being written.
    before = Policy() if len(changes) == len(given) else read_policy(root, session)
    after = replace(before, **changes)  # type: ignore[arg-type]
    write_policy(root, session, after)
    return after
