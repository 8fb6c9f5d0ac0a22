"""`muse repair`: mends this replica from another one."""

import os
from typing import Annotated

import typer

from muse.checks.finding import Finding
from muse.cli.shared.exchange import mended_records, open_other, print_mended, raise_unsound, session_record
from muse.cli.shared.options import (
    Invocation,
    JsonOption,
    RepoOption,
    current_directory,
    remember,
    repository_to_check,
)
from muse.cli.verify.report import finding_record, report_text
from muse.disk import layout
from muse.disk.storage import LOCAL
from muse.errors import NotFoundError
from muse.replication.repair import Repaired, repair_from


def repair(
    ctx: typer.Context,
    *,
    source: Annotated[
        str,
        typer.Option(
            "--from",
            metavar="PATH|URL",
            help="The other replica's directory, or the address of its server (MUSE_TOKEN holds the token).",
            show_default=False,
        ),
    ],
    repo: RepoOption = None,
    as_json: JsonOption = False,
) -> None:
    """Mend what 'muse verify' finds with what another replica has.

    Damaged bytes are kept, in .muse/damaged or beside the log they were in. What could not be mended is
    named, and the exit status is 1 then.

    Example: muse repair --from ../song-of-bob
    """
    invocation = remember(ctx, repo, as_json=as_json)
    root = _root(invocation)
    with open_other(root, source) as other, invocation.output.progress("mending") as progress:
        repaired = repair_from(root, other, progress=progress)
    _report(invocation, repaired)
    raise_unsound(repaired.sessions)
    if not repaired.is_sound:
        raise typer.Exit(1)


def _root(invocation: Invocation) -> str:
    """Return where the repository is, even if its `repo.json` is lost."""
    try:
        return repository_to_check(invocation).root
    except NotFoundError:
        root = os.path.abspath(invocation.repo or current_directory())
        if not LOCAL.is_directory(layout.muse_directory(root)):
            raise
        return root


def _report(invocation: Invocation, repaired: Repaired) -> None:
    output, left = invocation.output, repaired.report.findings
    if output.as_json:
        output.record(
            {
                "sound": repaired.is_sound,
                "mended": mended_records(repaired.mended),
                "sessions": [session_record(outcome) for outcome in repaired.sessions],
                "not_mended": [finding_record(finding) for finding in left],
                "failed": list(repaired.failed),
            }
        )
        return
    print_mended(output, repaired.mended)
    for session in repaired.sessions:
        for fault in session.faults:
            output.line(f"{session.session_id}: {fault}")
    for reason in repaired.failed:
        output.line(f"Not to be had: {reason}")
    for finding in left:
        output.line(_left_text(finding))
    output.line(report_text(repaired.report))


def _left_text(finding: Finding) -> str:
    return f"Not mended: {finding.kind}: {finding.message}"
