"""What the commands on files of a directory share: their options, and how changes are shown."""

import os
from collections.abc import Iterable, Sequence
from typing import Annotated, Any

import typer

from muse.cli.shared.options import Invocation, check_session, current_directory
from muse.cli.shared.output import Output, printable
from muse.core.file.live_or_archived import session_exists
from muse.errors import NotFoundError, UsageError
from muse.history.repository import Repository
from muse.workdir.place import check_is_no_inside, check_place
from muse.workdir.scan import FileFault
from muse.workdir.sessions import NONE_YET, ChosenSession
from muse.workdir.status import ChangedFile
from muse.workdir.workdir import RecordOutcome, Workdir

PathsArgument = Annotated[
    list[str] | None,
    typer.Argument(metavar="[PATH]...", help="Only these files, and those in these directories."),
]
SessionOption = Annotated[
    str | None,
    typer.Option(
        "--session",
        metavar="SESSION",
        help="Default: the last one of this directory, or the only one that is open.",
    ),
]
DirOption = Annotated[
    str | None,
    typer.Option("--dir", metavar="DIR", help="The directory of the files. Default: that of the repository."),
]
LastSessionArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="[SESSION]", help="Default: the last one of this directory, or the only one that is open."
    ),
]
_COLOURS = {"new": 2, "modified": 4, "deleted": 1, "renamed": 0}
_CONFLICT_COLOUR = 3


def files_directory(
    repository: Repository, wanted: str | None, *, may_be_missing: bool = False
) -> str | None:
    """Return the directory of the files; None for that of the repository.

    `NotFoundError` without one, `UsageError` for one that cannot be; see `muse.workdir.place`.
    """
    root = os.path.realpath(repository.root)
    place = root if wanted is None else os.path.realpath(os.path.join(current_directory(), wanted))
    if wanted is None or place == root:
        return None
    check_is_no_inside(place, wanted, repository.storage)
    if not (may_be_missing or repository.storage.is_directory(place)):
        raise NotFoundError(f"there is no directory {wanted}: make it, or name another with --dir")
    check_place(root, repository.storage, place, wanted)
    return place


def tree_paths(
    invocation: Invocation, repository: Repository, paths: Sequence[str] | None, directory: str | None = None
) -> list[str]:
    """Return the paths in the tree of files named on the command line; `UsageError` for one outside of it.

    They start at the current directory, or at that of `--dir` or `--repo`, where one of these is given.
    """
    root = os.path.realpath(directory or repository.root)
    is_named = directory is not None or invocation.repo is not None
    start = root if is_named else os.path.realpath(current_directory())
    found = []
    for path in paths or ():
        inside = os.path.relpath(os.path.normpath(os.path.join(start, path)), root)
        if inside == ".":
            return []
        if inside == ".." or inside.startswith("../"):
            raise UsageError(f"{path} is outside of {root}: name a file in it")
        found.append(inside)
    return found


def session_or_last(repository: Repository, session_id: str | None) -> str:
    """Return the session that is named, else that of this directory, else the only one that is open.

    Raises `UsageError` where it is not known which is meant.
    """
    if session_id is not None:
        return check_session(repository, session_id)
    chosen = Workdir(repository).session()
    if chosen.session_id:
        if not session_exists(repository.root, chosen.session_id, storage=repository.storage):
            raise UsageError(
                f"session {chosen.session_id!r}, {chosen.because}, has no op yet: 'muse record --actor NAME' "
                "begins it"
            )
        return check_session(repository, chosen.session_id)
    if chosen.because == NONE_YET:
        raise UsageError("there is no session yet: 'muse record --actor NAME' begins one")
    raise UsageError(
        f"it is not clear which session is meant ({chosen.because}): 'muse session list' names them"
    )


def print_session(output: Output, chosen: ChosenSession, branch: str) -> None:
    """Say which session it is, and why."""
    named = f"Session {chosen.session_id}, {chosen.because}" if chosen.session_id else "No session"
    output.line(f"{named}; branch {branch}")


def print_changes(output: Output, heading: str, changes: Iterable[ChangedFile]) -> None:
    """Print changes, one a line, below a heading; nothing without any."""
    found = list(changes)
    if not found:
        return
    output.line(heading)
    for change in found:
        output.coloured([("  ", None), (f"{change.kind:<9}", _COLOURS[change.kind]), *_rest(change)])


def _rest(change: ChangedFile) -> list[tuple[str, int | None]]:
    moved = f"{change.from_path} -> {change.path}" if change.from_path else change.path
    edited = " (and edited)" if change.is_edited else ""
    to = printable(change.others_path)
    met = f" (others renamed it to {to})" if to else " (on both sides)"
    meets: list[tuple[str, int | None]] = [(met, _CONFLICT_COLOUR)] if change.meets else []
    return [(f"{printable(moved)}{edited}", None), *meets]


def print_faults(output: Output, faults: Sequence[FileFault]) -> None:
    """Print files that are left out, with the reasons."""
    if faults:
        output.line("Left out:")
    for fault in faults:
        output.line(f"  {fault.path}: {fault.reason}")


def print_brought(output: Output, outcome: RecordOutcome | None) -> None:
    """Print which files got what others did, and which are left out."""
    if outcome is None:
        return
    brought = outcome.brought
    for heading, found in (
        ("written {}, as the session has it", brought and brought.written),
        ("merged {}, with what is not recorded here", brought and brought.merged),
        ("removed {}, as the session has it", brought and brought.removed),
    ):
        for path in found or ():
            output.line(f"  {heading.format(path)}")
    print_faults(output, outcome.faults)


def brought_record(outcome: RecordOutcome | None) -> dict[str, Any]:
    """Return which files got what others did, and which are left out, as JSON has them."""
    brought = None if outcome is None else outcome.brought
    return {
        "brought": {
            "written": [*brought.written, *brought.merged] if brought else [],
            "removed": list(brought.removed) if brought else [],
        },
        "left_out": [] if outcome is None else fault_records(outcome.faults),
    }


def fault_records(faults: Iterable[FileFault]) -> list[dict[str, Any]]:
    """Return files that are left out as JSON has them."""
    return [{"path": fault.path, "reason": fault.reason} for fault in faults]
