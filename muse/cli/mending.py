"""`muse session check`, `repair` and `recover`: what to do about a damaged log or a lost checkpoint."""

from collections.abc import Iterable
from dataclasses import asdict
from typing import Annotated

import typer

from muse.checks.replay import check_session as check_session_commits
from muse.checks.verify import Finding
from muse.cli.options import JsonOption, RepoOption, SessionArgument, check_session, remember
from muse.cli.output import Output, count_of
from muse.core.op_log import Damage, OpLog
from muse.core.orphan_file import OrphanFile
from muse.disk import layout
from muse.session.live import LiveSession
from muse.upkeep.archive import is_archived, recover_checkpoint


def print_damages(output: Output, damages: Iterable[Damage]) -> None:
    """Print damage for people: where it is, and what is known of it."""
    for damage in damages:
        op = f", op {damage.op_id}" if damage.op_id else ""
        output.line(
            f"{damage.kind} at byte {damage.offset} (line {damage.line}{op}), "
            f"{count_of(damage.length, 'byte')}: {damage.reason}"
        )


def check(
    ctx: typer.Context, *, session: SessionArgument, repo: RepoOption = None, as_json: JsonOption = False
) -> None:
    """List the damage of a log, and where log and checkpoint differ from the commits.

    "torn" is the start of a line whose writer died: it was not acknowledged, so nothing is lost.
    "corrupt" is anything else that is no entry. Exit status 1 if an op may be lost or hidden.

    Example: muse session check jam-1
    """
    invocation = remember(ctx, repo, as_json=as_json)
    output = invocation.output
    repository = invocation.repository()
    check_session(repository, session)
    corrupt = torn = 0
    with OpLog(repository.root, session) as log, output.progress("checking") as progress:
        for damage in log.damages():
            corrupt += damage.kind == "corrupt"
            torn += damage.kind == "torn"
            progress(corrupt + torn)
            if output.as_json:
                output.record(asdict(damage))
            else:
                print_damages(output, [damage])
    held = OrphanFile(layout.held_file(repository.root, session), repository.storage)
    findings = [Finding(held.path, "session", fault) for fault in held.faults()]
    findings += check_session_commits(repository, session)
    for finding in findings:
        if output.as_json:
            output.record({"kind": finding.kind, "path": finding.path, "message": finding.message})
        else:
            output.line(f"{finding.kind}: {finding.message}")
    if not output.as_json and not (findings and not corrupt + torn):
        found = f"{count_of(corrupt, 'place')} corrupt, {torn} torn"
        output.line(f"{found}: 'muse session repair' moves them aside" if corrupt + torn else "No damage.")
    if corrupt or findings:
        raise typer.Exit(1)


def repair(
    ctx: typer.Context, *, session: SessionArgument, repo: RepoOption = None, as_json: JsonOption = False
) -> None:
    """Move the damage of a log to a file beside it.

    The log reads without error afterwards; every good line is where it was, and the bad bytes are
    kept in that file.

    Example: muse session repair jam-1
    """
    invocation = remember(ctx, repo, as_json=as_json)
    output = invocation.output
    repository = invocation.repository()
    check_session(repository, session)
    with OpLog(repository.root, session) as log:
        done = log.repair()
    if output.as_json:
        damages = [asdict(damage) for damage in done.damages]
        output.record({"session_id": session, "side_file": done.side_file, "damages": damages})
    elif done.damages:
        print_damages(output, done.damages)
        output.line(f"Moved to {done.side_file}")
    else:
        output.line("No damage.")


def recover(
    ctx: typer.Context,
    *,
    session: SessionArgument,
    salvage: Annotated[
        bool, typer.Option("--salvage", help="Go on without ops that commits cover and the log lacks.")
    ] = False,
    repo: RepoOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a session's checkpoint agree with history again.

    It is rebuilt from the commits if it was lost, damaged, or is older than they are; that of an
    archived session from its archive.

    Example: muse session recover jam-1
    """
    invocation = remember(ctx, repo, as_json=as_json)
    repository = invocation.repository()
    check_session(repository, session)
    archived = is_archived(repository.root, session, storage=repository.storage)
    if archived:
        rebuilt = recover_checkpoint(repository.root, session, storage=repository.storage)
    else:
        with LiveSession(repository.root, session, salvage=salvage) as live:
            rebuilt = live.recover(salvage=salvage)
    if invocation.output.as_json:
        invocation.output.record({"session_id": session, "rebuilt": rebuilt, "archived": archived})
    elif rebuilt:
        source = "archive" if archived else "commits"
        invocation.output.line(f"The checkpoint is rebuilt from the {source}.")
    else:
        known = "is as it was archived" if archived else "agrees with history"
        invocation.output.line(f"The checkpoint {known}.")
