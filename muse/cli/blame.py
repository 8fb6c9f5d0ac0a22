"""`muse blame`: tells which actor made each note or line of a file, and which changed it last."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Annotated

import typer
from rich.cells import cell_len, set_cell_size

from muse.cli.shared.commit_text import SHORT_ID, SHORT_OP_ID, in_utc, is_narrow
from muse.cli.shared.options import JsonOption, RepoOption, check_session, remember
from muse.cli.shared.output import StyledPiece, print_error, printable
from muse.cli.shared.workdirs import SessionOption, tree_paths
from muse.core.file.live_or_archived import session_exists
from muse.errors import CorruptionError
from muse.history.repository import Repository
from muse.views.blame import Blame, BlamedPart, Maker, blame_file, blame_newest
from muse.workdir.workdir import Workdir

_BRIEF_ID = 8
_BRIEF_NAMES = 16
_WIDEST_NAMES = 24  # names beyond this move their own line, not all lines


def blame(
    ctx: typer.Context,
    *,
    path: Annotated[str, typer.Argument(metavar="FILE", help="A file of the tree.", show_default=False)],
    revision: Annotated[
        str | None,
        typer.Option(
            "--rev",
            metavar="REV",
            help="A branch, HEAD, HEAD~2, or a commit id. Default: HEAD with the session's pending ops.",
        ),
    ] = None,
    session: SessionOption = None,
    show_ops: Annotated[
        bool, typer.Option("--ops", help="Show the op that changed each last, and its intent.")
    ] = False,
    repo: RepoOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell which actor made each note or line of a file, and which changed it last.

    The commit and the time are those of the last change, "pending" is what no commit has yet; "ada → bob"
    means that ada made it and bob changed it last. What an undo brought back is the work of those whose it
    was. --ops shows the ops and their intents too, --json has all of each. With --rev, pending ops do not
    count. Where a log is not what its commit seals, the commit's author is named, the fault is printed on
    stderr and the exit status is 1.

    Example: muse blame song.mid --rev HEAD
    """
    invocation = remember(ctx, repo, as_json=as_json)
    output = invocation.output
    repository = invocation.repository()
    with output.progress("looking back"):
        [place] = tree_paths(invocation, repository, [path]) or [path]
        blamed = _blame(repository, place, revision, session)
    if output.as_json:
        for part in blamed.parts:
            output.record(asdict(part))
    else:
        most = max(_BRIEF_NAMES, output.width // 4) if output.is_terminal else 0
        lines = _lines(blamed.parts, show_ops=show_ops, has_room=not is_narrow(output), most=most)
        output.styled(lines, cuts=True)
    for fault in blamed.faults:
        print_error("CorruptionError", fault, as_json=as_json)
    if blamed.faults:
        raise typer.Exit(1)


def _blame(repository: Repository, path: str, revision: str | None, session_id: str | None) -> Blame:
    """Blame a commit, or the newest state of a session: without any, the head of the branch."""
    fault = ""
    if revision is None:
        chosen = session_id or Workdir(repository).session().session_id
        if session_id or (chosen and session_exists(repository.root, chosen, storage=repository.storage)):
            try:
                return blame_newest(repository, path, check_session(repository, chosen))
            except CorruptionError as error:
                fault = str(error)
    blamed = blame_file(repository, path, repository.dag.resolve(revision or "HEAD"))
    if fault and not blamed.faults:
        blamed.faults.append(fault)
    return blamed


def _lines(
    parts: Sequence[BlamedPart], *, show_ops: bool, has_room: bool, most: int
) -> Iterator[list[StyledPiece]]:
    """Yield a line for each part, as git lays them out: commit, who, when, number, content.

    Without `has_room`, the time and the padding of ids are left out; names take `most` columns, 0 for any.
    """
    names = [_brief(_names(part), most) for part in parts]
    widest = max((width for width in map(cell_len, names) if width <= _WIDEST_NAMES), default=0)
    digits = len(str(len(parts)))
    for number, (part, name) in enumerate(zip(parts, names, strict=True), 1):
        changed = part.changed
        when = f" {in_utc(changed.when)[:16]:<16}" if has_room else ""
        commit = (
            _commit(changed).ljust(SHORT_ID) if has_room else _commit(changed)[:_BRIEF_ID].ljust(_BRIEF_ID)
        )
        ops = (
            f" {changed.op_id[:SHORT_OP_ID] or '-'} {printable(changed.intent_id) or '-'}" if show_ops else ""
        )
        space = " " * (widest - cell_len(name))
        yield [
            (commit, "yellow"),
            (f" ({name}{space}{when}{ops} {number:>{digits}}) ", "cyan"),
            (_content(part, number), ""),
        ]


def _brief(names: str, most: int) -> str:
    """Cut names that leave no room for the content: they take `most` columns, 0 for any number."""
    return names if not most or cell_len(names) <= most else f"{set_cell_size(names, most - 1)}…"


def _commit(maker: Maker) -> str:
    return maker.commit_id[:SHORT_ID] or ("pending" if maker.op_id else "")


def _names(part: BlamedPart) -> str:
    if part.made.actor_id == part.changed.actor_id:
        return _name(part.made)
    return f"{_name(part.made)} → {_name(part.changed)}"


def _content(part: BlamedPart, number: int) -> str:
    """Return a line of a text as it is, anything else with its address."""
    return part.summary if part.address == f"line {number}" else f"{part.address}  {part.summary}".rstrip()


def _name(maker: Maker) -> str:
    return printable(maker.actor_id) or "?"
