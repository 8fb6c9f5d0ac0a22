"""`muse session archive`: packs the log of a finished session."""

from typing import Annotated, Any

import typer

from muse.cli.shared.options import JsonOption, RepoOption, SessionArgument, check_session, remember
from muse.cli.shared.output import count_of, size_of
from muse.core.entry import is_op_id
from muse.core.file.archive_manifest import ArchiveManifest
from muse.errors import UsageError
from muse.upkeep.archive import archive_session


def archive(
    ctx: typer.Context,
    *,
    session: SessionArgument,
    abandon_pending: Annotated[
        bool, typer.Option("--abandon-pending", help="Archive ops too that no commit has.")
    ] = False,
    abandon: Annotated[
        list[str] | None,
        typer.Option(
            "--abandon", metavar="OP_ID", help="Archive this one though no commit has it; may be repeated."
        ),
    ] = None,
    repo: RepoOption = None,
    as_json: JsonOption = False,
) -> None:
    """Pack a session's log into a compressed file.

    No program may be writing to the log. It can be read as before, and takes no more ops until it is
    restored. A log with pending ops is refused unless you abandon them, all or each by its id; the archive
    says which ops these were.

    Example: muse session archive jam-1
    """
    if abandon and abandon_pending:
        raise UsageError(
            "--abandon-pending abandons all pending ops, --abandon those named: give one of them"
        )
    if wrong := [op_id for op_id in abandon or () if not is_op_id(op_id)]:
        raise UsageError(f"{wrong[0]!r} is not an op id: a lower-case UUID4 is expected")
    invocation = remember(ctx, repo, as_json=as_json)
    output = invocation.output
    repository = invocation.repository()
    session = check_session(repository, session)
    with output.progress("archiving bytes") as progress:
        outcome = archive_session(
            repository.root,
            session,
            abandon_pending=abandon_pending or frozenset(abandon or ()),
            storage=repository.storage,
            progress=progress,
        )
    assert outcome.manifest is not None  # noqa: S101 - only a restore has none
    if output.as_json:
        output.record({**archive_record(outcome.manifest), "was_archived": outcome.was_done})
    elif outcome.was_done:
        output.line(f"Session {session} is archived already.")
    else:
        log, packed = outcome.manifest["log"], outcome.manifest["archive"]
        sizes = f"{size_of(log['size_bytes'])} in {size_of(packed['size_bytes'])}"
        output.line(
            f"Session {session} is archived: {count_of(log['entry_count'], 'entry', 'entries')}, {sizes}."
        )
        if abandoned := outcome.manifest["abandoned"]["op_count"]:
            output.line(f"{count_of(abandoned, 'pending op is', 'pending ops are')} abandoned.")


def archive_record(manifest: ArchiveManifest) -> dict[str, Any]:
    """Return the facts of an archive for programs, without the table of its frames."""
    log, packed = manifest["log"], manifest["archive"]
    return {
        "session_id": manifest["session_id"],
        "archived_at": manifest["archived_at"],
        "entries": log["entry_count"],
        "size_bytes": log["size_bytes"],
        "log_sha256": log["sha256"],
        "archive_size_bytes": packed["size_bytes"],
        "archive_sha256": packed["sha256"],
        "commits": [commit["commit_id"] for commit in manifest["commits"]],
        "abandoned": dict(manifest["abandoned"]),
    }
