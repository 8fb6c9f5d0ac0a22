"""`muse session conflicts`: lists the edits that came in each other's way."""

from typing import Any

import typer

from muse.cli.session.ineffective import ineffective_record, print_ineffective
from muse.cli.shared.commit_text import SHORT_ID, SHORT_OP_ID
from muse.cli.shared.options import JsonOption, RepoOption, SessionArgument, check_session, remember
from muse.cli.shared.output import count_of
from muse.core.entry import OpEntry
from muse.views.ineffective import ineffective_ops
from muse.views.overlaps import SessionOverlap, session_overlaps


def conflicts(
    ctx: typer.Context, *, session: SessionArgument, repo: RepoOption = None, as_json: JsonOption = False
) -> None:
    """List edits of one thing by two actors who had not seen each other's edit, and say which one was kept.

    Nothing is lost: the overwritten edit is in the log, and its author can make it again. Ops that had no
    effect at all are listed too, with the reasons.

    Example: muse session conflicts jam-1
    """
    invocation = remember(ctx, repo, as_json=as_json)
    output = invocation.output
    repository = invocation.repository()
    session = check_session(repository, session)
    with output.progress("looking for overlaps"):
        found = session_overlaps(repository, session)
        without_effect = ineffective_ops(repository, session)
    if output.as_json:
        for overlap in found:
            output.record(_record(overlap))
        for op in without_effect:
            output.record(ineffective_record(op))
        return
    if found:
        output.line(f"{count_of(len(found), 'overlap')} in session {session}")
        headings = ("WHEN", "ADDRESS", "STANDS", "IN", "OVERWRITTEN", "IN", "WHY")
        output.table(headings, [_row(overlap) for overlap in found])
    else:
        output.line(f"No edits of session {session} came in each other's way.")
    print_ineffective(output, without_effect)


def _row(overlap: SessionOverlap) -> tuple[str, ...]:
    later = max(overlap.kept, overlap.overwritten, key=lambda entry: entry["lamport_ts"])
    return (
        later["created_at"].removesuffix("+00:00"),
        overlap.address,
        _name(overlap.kept),
        overlap.kept_in[:SHORT_ID] or "pending",
        "both stand: " * overlap.both_stand + _name(overlap.overwritten),
        overlap.overwritten_in[:SHORT_ID] or "pending",
        overlap.reason,
    )


def _name(entry: OpEntry) -> str:
    return f"{entry['actor_id']} {entry['op_id'][:SHORT_OP_ID]}"


def _record(overlap: SessionOverlap) -> dict[str, Any]:
    return {
        "domain": overlap.domain,
        "address": overlap.address,
        "reason": overlap.reason,
        "both_stand": overlap.both_stand,
        "kept": _entry_record(overlap.kept, overlap.kept_in),
        "overwritten": _entry_record(overlap.overwritten, overlap.overwritten_in),
    }


def _entry_record(entry: OpEntry, commit_id: str) -> dict[str, Any]:
    """Say which op it is, and in which commit; null while it is pending."""
    names = ("op_id", "actor_id", "lamport_ts", "created_at", "intent_id")
    return {**{name: entry[name] for name in names}, "commit_id": commit_id or None}  # type: ignore[literal-required]
