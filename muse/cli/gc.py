"""`muse gc`: removes what nothing needs."""

from typing import Annotated

import typer

from muse.cli.shared.options import JsonOption, RepoOption, remember
from muse.cli.shared.output import count_of, size_of
from muse.upkeep.garbage import GRACE_SECONDS, collect_garbage


def gc(
    ctx: typer.Context,
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go; remove nothing.")] = False,
    grace: Annotated[
        float, typer.Option(min=0, metavar="SECONDS", help="Keep what is younger than this.")
    ] = GRACE_SECONDS,
    repo: RepoOption = None,
    as_json: JsonOption = False,
) -> None:
    """Remove what a crash left behind and nothing needs.

    All that a branch, a session or an archive leads to is kept. Commits wait meanwhile, edits do not.
    It waits a minute at most for commits that are under way.

    Example: muse gc --dry-run
    """
    invocation = remember(ctx, repo, as_json=as_json)
    output = invocation.output
    repository = invocation.repository()
    with output.progress("collecting") as progress:
        collected = collect_garbage(
            repository.root,
            dry_run=dry_run,
            grace_seconds=grace,
            storage=repository.storage,
            progress=progress,
        )
    if output.as_json:
        output.record(
            {
                "dry_run": dry_run,
                "bytes_freed": collected.bytes_freed,
                "commits": len(collected.commits),
                "snapshots": len(collected.snapshots),
                "objects": len(collected.objects),
                "temporary_files": len(collected.temporary_files),
                "archives": len(collected.archives),
                "kept_archives": collected.kept_archives,
                "paths": collected.paths,
            }
        )
        return
    if dry_run:
        for path in collected.paths:
            output.line(path)
    for path in collected.kept_archives:
        output.line(f"Kept {path}: it holds what its session's log does not; 'muse verify' says what to do")
    counted = ", ".join(
        (
            count_of(len(collected.commits), "commit"),
            count_of(len(collected.snapshots), "snapshot"),
            count_of(len(collected.objects), "object"),
            count_of(len(collected.temporary_files) + len(collected.archives), "leftover file"),
        )
    )
    verb = "Would remove" if dry_run else "Removed"
    output.line(f"{verb} {counted}: {size_of(collected.bytes_freed)}")
