"""`muse session show`: shows one session, or its files as they were."""

from collections import Counter
from typing import Annotated

import typer

from muse.cli.session.damages import print_damages
from muse.cli.session.facts import SessionFacts, gather_facts
from muse.cli.session.state import chosen_point, show_state
from muse.cli.shared.options import JsonOption, RepoOption, SessionArgument, check_session, remember
from muse.cli.shared.output import count_of, size_of
from muse.errors import UsageError

_PARENTS_SHOWN = 5


def show(
    ctx: typer.Context,
    *,
    session: SessionArgument,
    at: Annotated[str | None, typer.Option(metavar="OP_ID", help="Its files, up to this op.")] = None,
    lamport: Annotated[int | None, typer.Option(metavar="N", help="Its files, up to this stamp.")] = None,
    time: Annotated[
        str | None, typer.Option(metavar="ISO", help="Its files at this time, by each actor's clock.")
    ] = None,
    out: Annotated[
        str | None, typer.Option(metavar="DIR", help="Write those files to a new or empty directory.")
    ] = None,
    repo: RepoOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one session: its actors, its domains, what is pending, its checkpoint, its damage if any.

    With --at, --lamport or --time: its files with all ops up to there, in the total order, on the
    files from before its first commit.

    Example: muse session show jam-1 --time 2026-01-31T12:00 --out then
    """
    invocation = remember(ctx, repo, as_json=as_json)
    output = invocation.output
    repository = invocation.repository()
    session = check_session(repository, session)
    point = chosen_point(session, at, lamport, time)
    if point is not None:
        show_state(invocation, session, point, out)
        return
    if out is not None:
        raise UsageError("--out takes the files of a point: say which with --at, --lamport or --time")
    with output.progress("reading") as progress:
        facts = gather_facts(repository, session, progress)
    if output.as_json:
        output.record(facts.as_record())
        return
    output.line(f"Session     {facts.session_id}")
    archived = ", archived" if facts.archived else ""
    output.line(f"Entries     {facts.entries} ({size_of(facts.size_bytes)}{archived})")
    output.line(f"Lamport     {facts.lamport_ts}")
    output.line(f"Checkpoint  {_checkpoint_text(facts)}")
    pending = "unknown" if facts.pending is None else count_of(facts.pending.total(), "op")
    output.line(f"Pending     {pending}")
    if facts.held:
        output.line(f"Held        {_held_text(facts)}")
    output.line()
    rows = [(name, actor.entries, actor.lamport_ts) for name, actor in sorted(facts.actors.items())]
    output.table(("ACTOR", "ENTRIES", "LAST LAMPORT"), rows)
    output.line()
    waiting = facts.pending or Counter()
    rows = [(name, count, waiting.get(name, 0)) for name, count in sorted(facts.domains.items())]
    output.table(("DOMAIN", "ENTRIES", "PENDING"), rows)
    for fault in facts.faults:
        output.line(f"Fault: {fault}")
    print_damages(output, facts.damages)


def _held_text(facts: SessionFacts) -> str:
    """Say how many entries wait, and for which parents."""
    held = count_of(facts.held, "entry", "entries")
    if not facts.missing_parents:
        return f"{held}, whose parents have come by another way: the next merge or commit takes them in"
    shown = ", ".join(facts.missing_parents[:_PARENTS_SHOWN])
    more = len(facts.missing_parents) - _PARENTS_SHOWN
    return f"{held}, until these parents come: {shown}" + (f" and {more} more" if more > 0 else "")


def _checkpoint_text(facts: SessionFacts) -> str:
    if facts.checkpoint is None:
        return "none" if not facts.faults else "unreadable"
    commit_id, snapshot = facts.checkpoint.get("commit_id", ""), facts.checkpoint["snapshot_id"]
    place = (
        f"commit {commit_id[:12]}" if commit_id else f"snapshot {snapshot[:64]} of a program, in no commit"
    )
    covered = count_of(facts.checkpoint["op_count"], "op")
    return f"{covered} in {place}, {facts.checkpoint['created_at']}"
