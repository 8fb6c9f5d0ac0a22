"""`muse session list`: lists the sessions, with what is pending in each."""

from typing import Any

import typer

from muse.cli.session.facts import SessionFacts, brief_facts
from muse.cli.shared.options import JsonOption, RepoOption, remember
from muse.cli.shared.output import size_of
from muse.core.op_log import list_sessions


def list_command(ctx: typer.Context, *, repo: RepoOption = None, as_json: JsonOption = False) -> None:
    """List the sessions, with what is pending in each.

    Example: muse session list
    """
    invocation = remember(ctx, repo, as_json=as_json)
    repository = invocation.repository()
    session_ids = list_sessions(repository.root)
    with invocation.output.progress("reading"):
        found = [brief_facts(repository, session_id) for session_id in session_ids]
    if invocation.output.as_json:
        for facts in found:
            invocation.output.record(_brief_record(facts))
        return
    if not found:
        invocation.output.line("No sessions yet: 'muse session append' starts one.")
        return
    rows = [
        (
            facts.session_id,
            facts.entries,
            "?" if facts.pending is None else facts.pending.total(),
            size_of(facts.size_bytes),
            "; ".join([*["archived"] * facts.archived, *[f"{facts.held} held"][: facts.held], *facts.faults]),
        )
        for facts in found
    ]
    invocation.output.table(("SESSION", "ENTRIES", "PENDING", "SIZE", ""), rows)


def _brief_record(facts: SessionFacts) -> dict[str, Any]:
    record = facts.as_record()
    wanted = ("session_id", "entries", "lamport_ts", "size_bytes", "pending", "held", "faults", "archived")
    return {name: record[name] for name in wanted}
