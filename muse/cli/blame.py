"""`muse blame`: tells which actor made each note or line of a file, and which changed it last."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Annotated

import typer
from rich.cells import cell_len

from muse.cli.shared.commit_text import SHORT_ID, SHORT_OP_ID, in_utc
from muse.cli.shared.options import JsonOption, RepoOption, remember
from muse.cli.shared.output import StyledPiece, print_error
from muse.views.blame import BlamedPart, Maker, blame_file

_WIDEST_NAMES = 24  # names beyond this move their own line, not all lines


def blame(
    ctx: typer.Context,
    *,
    path: Annotated[str, typer.Argument(metavar="FILE", help="A file of the tree.", show_default=False)],
    revision: Annotated[
        str, typer.Option("--rev", metavar="REV", help="A branch, HEAD, HEAD~2, or a commit id.")
    ] = "HEAD",
    show_ops: Annotated[
        bool, typer.Option("--ops", help="Show the op that changed each last, and its intent.")
    ] = False,
    repo: RepoOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell which actor made each note or line of a file, and which changed it last.

    The commit and the time are those of the last change; "ada → bob" means that ada made it and bob changed
    it last. --ops shows the ops and their intents too, --json has all of each. Pending ops do not count.
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
        output.styled(_lines(blamed.parts, show_ops=show_ops))
    for fault in blamed.faults:
        print_error("CorruptionError", fault, as_json=as_json)
    if blamed.faults:
        raise typer.Exit(1)


def _lines(parts: Sequence[BlamedPart], *, show_ops: bool) -> Iterator[list[StyledPiece]]:
    """Yield a line for each part, as git lays them out: commit, who, when, number, content."""
    names = [_names(part) for part in parts]
    widest = max((width for width in map(cell_len, names) if width <= _WIDEST_NAMES), default=0)
    digits = len(str(len(parts)))
    for number, (part, name) in enumerate(zip(parts, names, strict=True), 1):
        changed = part.changed
        when = in_utc(changed.when)[:16]
        ops = f" {changed.op_id[:SHORT_OP_ID] or '-'} {changed.intent_id or '-'}" if show_ops else ""
        space = " " * (widest - cell_len(name))
        yield [
            (f"{changed.commit_id[:SHORT_ID]:<{SHORT_ID}}", "yellow"),
            (f" ({name}{space} {when:<16}{ops} {number:>{digits}}) ", "cyan"),
            (_content(part, number), ""),
        ]


def _names(part: BlamedPart) -> str:
    if part.made.actor_id == part.changed.actor_id:
        return _name(part.made)
    return f"{_name(part.made)} → {_name(part.changed)}"


def _content(part: BlamedPart, number: int) -> str:
    """Return a line of a text as it is, anything else with its address."""
    return part.summary if part.address == f"line {number}" else f"{part.address}  {part.summary}".rstrip()


def _name(maker: Maker) -> str:
    return maker.actor_id or "?"
