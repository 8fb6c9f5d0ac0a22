"""`muse blame`: tells which actor made each note or line of a file, and which changed it last."""

from dataclasses import asdict
from typing import Annotated

import typer

from muse.cli.shared.commit_text import SHORT_ID, SHORT_OP_ID
from muse.cli.shared.options import JsonOption, RepoOption, remember
from muse.cli.shared.output import print_error
from muse.views.blame import BlamedPart, Maker, blame_file


def blame(
    ctx: typer.Context,
    *,
    path: Annotated[str, typer.Argument(metavar="FILE", help="A file of the tree.", show_default=False)],
    revision: Annotated[
        str, typer.Option("--rev", metavar="REV", help="A branch, HEAD, or a commit id.")
    ] = "HEAD",
    repo: RepoOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell which actor made each note or line of a file, and which changed it last.

    It shows the ops, their intents and their commits too; --json has all of each. Pending ops do not count.
    Where a log is not what its commit seals, the commit's author is named, the fault is printed on stderr
    and the exit status is 1.

    Example: muse blame song.mid --rev HEAD
    """
    invocation = remember(ctx, repo, as_json=as_json)
    output = invocation.output
    repository = invocation.repository()
    with output.progress("looking back"):
        blamed = blame_file(repository, path, repository.dag.resolve(revision))
    if output.as_json:
        for part in blamed.parts:
            output.record(asdict(part))
    else:
        rows = [_row(part) for part in blamed.parts]
        output.table(("PART", "", "MADE BY", "CHANGED BY", "OP", "INTENT", "COMMIT"), rows)
    for fault in blamed.faults:
        print_error("CorruptionError", fault, as_json=as_json)
    if blamed.faults:
        raise typer.Exit(1)


def _row(part: BlamedPart) -> tuple[str, ...]:
    changed = part.changed
    return (
        part.address,
        part.summary,
        _name(part.made),
        "-" if changed == part.made else _name(changed),
        changed.op_id[:SHORT_OP_ID] or "-",
        changed.intent_id or "-",
        changed.commit_id[:SHORT_ID] or "-",
    )


def _name(maker: Maker) -> str:
    return maker.actor_id or "?"
