"""`muse session merge`: brings the entries of another log into a session's log."""

import os
from contextlib import closing
from typing import Annotated, Any

import typer

from muse.cli.shared.exchange import is_same_place, reason_lines, reason_records
from muse.cli.shared.options import JsonOption, RepoOption, SessionArgument, check_session, remember
from muse.core.file.log_file import LogFile
from muse.core.file.session_file import SessionFile
from muse.core.op_log import MergeResult, OpLog
from muse.core.other_sessions import OtherSessions
from muse.disk import layout
from muse.disk.storage import LOCAL
from muse.errors import ConflictError, NotFoundError, UsageError
from muse.history.repository import Repository


class MergeError(ConflictError):
    """Some entries did not come in."""

    def __init__(self, result: MergeResult) -> None:
        super().__init__(
            f"{result.conflicts} in conflict and {result.refused} refused did not come in, all others did: "
            "the output says why"
        )


def merge(
    ctx: typer.Context,
    *,
    session: SessionArgument,
    source: Annotated[
        str,
        typer.Argument(metavar="SOURCE", help="A repository, or an ops.jsonl file.", show_default=False),
    ],
    from_session: Annotated[
        str | None,
        typer.Option(metavar="ID", help="The session of that repository. Default: the same id."),
    ] = None,
    repo: RepoOption = None,
    as_json: JsonOption = False,
) -> None:
    """Bring the new entries of another log into a session, each once, in any order.

    Entries whose parents are not here are held until the parents come. Entries that may not enter, or that
    another session here holds, are refused; the others come in, and the exit status is 1. SOURCE is only
    read.

    Example: muse session merge jam-1 ../song-of-bob
    """
    invocation = remember(ctx, repo, as_json=as_json)
    output = invocation.output
    repository = invocation.repository()
    with (
        closing(_open_source(repository, session, source, from_session)) as file,
        OpLog(repository.root, session) as log,
        OtherSessions(repository.root, session, repository.storage) as others,
        output.progress("merging") as progress,
    ):
        result = log.merge(file, holders=others.holders, progress=progress)
    if output.as_json:
        output.record({"session_id": session, **result_record(result)})
    else:
        output.line(
            f"{result.added} added, {result.known} known, {result.orphans} held, "
            f"{result.conflicts} in conflict, {result.refused} refused"
        )
        for line in reason_lines(result.reasons):
            output.line(line)
        if result.orphans:
            output.line(f"'muse session show {session}' says which parents the held ones wait for")
    if result.conflicts or result.refused:
        raise MergeError(result)


def result_record(result: MergeResult) -> dict[str, Any]:
    """Return the outcome of a merge, for programs."""
    return {
        "added": result.added,
        "known": result.known,
        "held": result.orphans,
        "conflicts": result.conflicts,
        "refused": result.refused,
        "reasons": reason_records(result.reasons),
    }


def _open_source(repository: Repository, session: str, source: str, from_session: str | None) -> LogFile:
    """Open the log that is meant; `UsageError` if it is missing, or ops would come into two sessions."""
    path = os.path.realpath(source)
    if LOCAL.is_directory(path):
        other = Repository.open(path)
        name = check_session(other, layout.check_session_id(from_session or session))
        if name != session and is_same_place(layout.repo_file(repository.root), layout.repo_file(path)):
            raise _two_sessions(name, session)
        return SessionFile(other.root, name, other.storage)
    if from_session is not None:
        raise UsageError(f"{source} is not a repository: --from-session names a session of one")
    if not LOCAL.exists(path):
        raise NotFoundError(f"{source} is not there: name a repository or an ops.jsonl file")
    directory = layout.op_log_directory(repository.root)
    name = os.path.basename(os.path.dirname(path))
    if name != session and is_same_place(os.path.dirname(os.path.dirname(path)), directory):
        raise _two_sessions(name, session)
    return LogFile(path, LOCAL)


def _two_sessions(name: str, session: str) -> UsageError:
    return UsageError(
        f"session {name!r} is of this repository too: its ops would come into history twice, from there and "
        f"from {session!r}"
    )
