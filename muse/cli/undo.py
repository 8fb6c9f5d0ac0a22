"""`muse undo`: takes ops of a session back with new ops."""

from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, Any

import typer

from muse.cli.shared.diffs import print_diffs
from muse.cli.shared.options import JsonOption, RepoOption, remember
from muse.cli.shared.output import Output, count_of, facts_of, print_error
from muse.cli.shared.workdirs import LastSessionArgument, brought_record, print_brought, session_or_last
from muse.core.entry import OpEntry
from muse.errors import MuseError, UsageError
from muse.history.repository import Repository
from muse.session.live import LiveSession
from muse.views.file_diff import diff_states
from muse.views.undo import LeftOp, UndoOutcome, by_actor, by_intent, by_op, named_ops
from muse.views.undo import undo as undo_ops
from muse.workdir.workdir import RecordOutcome, Workdir

_ADDRESSES = 3  # so many are named in a line


def undo(
    ctx: typer.Context,
    *,
    session: LastSessionArgument = None,
    as_actor: Annotated[
        str, typer.Option("--as", metavar="ACTOR", help="The actor that undoes them.", show_default=False)
    ],
    actor: Annotated[str | None, typer.Option(help="Undo all ops of this actor.")] = None,
    intent: Annotated[
        str | None, typer.Option(help="Undo all ops of this intent, such as a prompt or an earlier undo.")
    ] = None,
    op: Annotated[
        list[str] | None, typer.Option(metavar="OP_ID", help="Undo this op; may be given several times.")
    ] = None,
    whole: Annotated[
        str | None, typer.Option("--session", metavar="SESSION", help="Undo all ops of this session.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Append nothing; show how the files would change.")
    ] = False,
    repo: RepoOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take ops of a session back, with new ops that leave the later work of others as it is.

    The new ops are pending until 'muse commit'. Each undo has an intent of its own: undo that intent to take
    the undo back. What others wrote since stays, and is named with the reason. Files here that show the
    session are brought up to date. The exit status is 1 if nothing could be undone, or if a file here is left
    out; ops that are undone already are no failure.

    Example: muse undo --actor bot --as anna

    Example: muse undo jam-1 --intent prompt-7 --as anna --dry-run

    Example: muse undo --session jam-1 --as anna
    """
    invocation = remember(ctx, repo, as_json=as_json)
    output = invocation.output
    named = _check_choice(session, whole, (actor, intent, op or None), as_actor)
    repository = invocation.repository()
    session_id = session_or_last(repository, named)
    with LiveSession(repository.root, session_id) as live, output.progress("undoing"):
        choice = _choice(actor, intent, named_ops(live, op or ()), is_all=whole is not None)
        outcome = undo_ops(live, choice, as_actor, dry_run=dry_run)
    if not output.as_json:
        _print(output, outcome, is_dry=dry_run)
    brought, fault = None, None
    try:
        brought = None if dry_run or not outcome.entries else _bring(repository, session_id)
    except MuseError as error:  # what was appended stays, and its intent is to be known
        fault = error
    if output.as_json:
        output.record(_record(outcome, is_dry=dry_run) | brought_record(brought))
    else:
        print_brought(output, brought)
    if fault is not None:
        message = f"the ops are appended, but the files here could not be brought up to date: {fault}"
        print_error(type(fault).__name__, message, as_json=output.as_json, facts=facts_of(fault))
    if outcome.is_in_vain or fault is not None or (brought and brought.faults):
        raise typer.Exit(1)


def _check_choice(
    session: str | None, whole: str | None, ways: Sequence[str | list[str] | None], as_actor: str
) -> str | None:
    """Return the session, if it is named, once exactly one way is chosen to say what to undo."""
    given = [way for way in (whole, *ways) if way is not None]
    if len(given) != 1:
        raise UsageError(
            "say what to undo in one way: --actor NAME, --intent ID, --op OP_ID or --session SESSION"
        )
    if any("" in (way if isinstance(way, list) else [way]) for way in (*given, as_actor)):
        raise UsageError("an empty text names nobody and nothing: give the actor, intent or op id")
    if session is not None and whole is not None:
        raise UsageError("name the session once: as in 'muse undo SESSION --actor NAME'")
    return session if whole is None else whole


def _bring(repository: Repository, session_id: str) -> RecordOutcome | None:
    """Bring the files here up to date, where it is this session that they show."""
    workdir = Workdir(repository, session_id=session_id)
    return workdir.bring() if workdir.shows(session_id) else None


def _choice(
    actor: str | None, intent: str | None, op_ids: list[str], *, is_all: bool
) -> Callable[[OpEntry], bool]:
    if is_all:
        return lambda _entry: True
    if actor is not None:
        return by_actor(actor)
    return by_op(op_ids) if intent is None else by_intent(intent)


def _record(outcome: UndoOutcome, *, is_dry: bool) -> dict[str, Any]:
    record = {
        "intent_id": outcome.intent_id,
        "op_ids": [entry["op_id"] for entry in outcome.entries],
        "undone": outcome.undone,
        "left": list(map(_left_record, outcome.left)),
        "kept": list(map(_left_record, outcome.kept)),
    }
    if is_dry:
        record["changes"] = [diff.as_record() for diff in diff_states(outcome.before, outcome.after)]
    return record


def _left_record(left: LeftOp) -> dict[str, Any]:
    return {
        "op_id": left.op["op_id"],
        "actor_id": left.op["actor_id"],
        "address": left.address,
        "reason": left.reason,
        "because": None if left.because is None else left.because["op_id"],
        "because_actor_id": None if left.because is None else left.because["actor_id"],
    }


def _print(output: Output, outcome: UndoOutcome, *, is_dry: bool) -> None:
    undone, added = len(outcome.undone), len(outcome.entries)
    would = "would be " if is_dry else ""
    output.line(f"{count_of(undone, 'op')} {would}undone with {count_of(added, 'new op')}")
    if outcome.entries and not is_dry:
        output.line(f"Intent {outcome.intent_id}")
    for group in _grouped(outcome.kept):
        output.line(f"  kept: {_places(group)}: {_why(group)}")
    for group in _grouped(outcome.left):
        output.line(
            f"  left as it is: {_ops(group)} by {group[0].op['actor_id']}, {_places(group)}: {_why(group)}"
        )
    print_diffs(output, diff_states(outcome.before, outcome.after))


def _grouped(items: Iterable[LeftOp]) -> list[list[LeftOp]]:
    """Join what is left for the same reason: of one actor, owed to one other actor."""
    groups: dict[tuple[str, str, str], list[LeftOp]] = {}
    for left in items:
        other = left.because["actor_id"] if left.because else ""
        groups.setdefault((left.reason, left.op["actor_id"], other), []).append(left)
    return list(groups.values())


def _ops(group: Sequence[LeftOp]) -> str:
    op_ids = list(dict.fromkeys(left.op["op_id"] for left in group))
    return op_ids[0] if len(op_ids) == 1 else count_of(len(op_ids), "op")


def _places(group: Sequence[LeftOp]) -> str:
    addresses = list(dict.fromkeys(left.address for left in group))
    more = len(addresses) - _ADDRESSES
    return ", ".join(addresses[:_ADDRESSES]) + (f" and {more} more" if more > 0 else "")


def _why(group: Sequence[LeftOp]) -> str:
    others = list(dict.fromkeys(left.because["op_id"] for left in group if left.because))
    if not others or group[0].because is None:
        return group[0].reason
    ops = f"op {others[0]}" if len(others) == 1 else f"{len(others)} ops"
    return f"{group[0].reason} (by {group[0].because['actor_id']}, {ops})"
