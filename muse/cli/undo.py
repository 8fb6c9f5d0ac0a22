"""`muse undo`: takes ops of a session back with new ops."""

from collections.abc import Callable
from typing import Annotated, Any

import typer

from muse.cli.shared.options import JsonOption, RepoOption, SessionArgument, check_session, remember
from muse.cli.shared.output import Output, count_of
from muse.core.entry import OpEntry
from muse.errors import UsageError
from muse.session.live import LiveSession
from muse.views.undo import LeftOp, UndoOutcome, by_actor, by_intent, by_op, named_ops
from muse.views.undo import undo as undo_ops


def undo(
    ctx: typer.Context,
    *,
    session: SessionArgument,
    as_actor: Annotated[
        str, typer.Option("--as", metavar="ACTOR", help="The actor that undoes them.", show_default=False)
    ],
    actor: Annotated[str | None, typer.Option(help="Undo all ops of this actor.")] = None,
    intent: Annotated[str | None, typer.Option(help="Undo all ops of this intent.")] = None,
    op: Annotated[
        list[str] | None, typer.Option(metavar="OP_ID", help="Undo this op; may be given several times.")
    ] = None,
    repo: RepoOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take ops of a session back, with new ops that leave the later work of others as it is.

    The new ops are pending until 'muse commit'. What could not be undone is listed with the reason,
    and the exit status is 1. Each undo has an intent of its own: undo that intent to take the undo back.

    Example: muse undo jam-1 --actor bot --as anna
    """
    invocation = remember(ctx, repo, as_json=as_json)
    output = invocation.output
    if sum(given is not None for given in (actor, intent, op or None)) != 1:
        raise UsageError("say what to undo in one way: --actor NAME, --intent ID, or --op OP_ID")
    if "" in (actor, intent, as_actor, *(op or ())):
        raise UsageError("an empty text names nobody and nothing: give the actor, intent or op id")
    repository = invocation.repository()
    session = check_session(repository, session)
    with LiveSession(repository.root, session) as live, output.progress("undoing"):
        outcome = undo_ops(live, _choice(actor, intent, named_ops(live, op or ())), as_actor)
    if output.as_json:
        output.record(_record(outcome))
    else:
        _print(output, outcome)
    if outcome.left:
        raise typer.Exit(1)


def _choice(actor: str | None, intent: str | None, op_ids: list[str]) -> Callable[[OpEntry], bool]:
    if actor is not None:
        return by_actor(actor)
    return by_op(op_ids) if intent is None else by_intent(intent)


def _record(outcome: UndoOutcome) -> dict[str, Any]:
    return {
        "intent_id": outcome.intent_id,
        "op_ids": [entry["op_id"] for entry in outcome.entries],
        "undone": outcome.undone,
        "left": [
            {
                "op_id": left.op["op_id"],
                "actor_id": left.op["actor_id"],
                "address": left.address,
                "reason": left.reason,
                "because": None if left.because is None else left.because["op_id"],
                "because_actor_id": None if left.because is None else left.because["actor_id"],
            }
            for left in outcome.left
        ],
    }


def _print(output: Output, outcome: UndoOutcome) -> None:
    undone, added = len(outcome.undone), len(outcome.entries)
    output.line(f"{count_of(undone, 'op')} undone with {count_of(added, 'new op')}")
    if outcome.entries:
        output.line(f"Intent {outcome.intent_id}")
    for left in outcome.left:
        output.line(f"  left as it is: {left.op['op_id']} by {left.op['actor_id']}, {_why(left)}")


def _why(left: LeftOp) -> str:
    because = left.because
    by = f" (by {because['actor_id']}, op {because['op_id']})" if because else ""
    return f"{left.address}: {left.reason}{by}"
