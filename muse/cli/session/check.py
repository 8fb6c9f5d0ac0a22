"""`muse session check`: lists what is damaged, and what does not agree with history."""

from dataclasses import asdict

import typer

from muse.checks.logs import check_orphans
from muse.checks.sealed_ops import check_session as check_session_commits
from muse.cli.session.damages import print_damages
from muse.cli.shared.options import JsonOption, RepoOption, SessionArgument, check_session, remember
from muse.cli.shared.output import count_of
from muse.core.op_log import OpLog


def check(
    ctx: typer.Context, *, session: SessionArgument, repo: RepoOption = None, as_json: JsonOption = False
) -> None:
    """List the damage of a log, and where log and checkpoint differ from the commits.

    "torn" is the start of a line whose writer died: it was not acknowledged, so nothing is lost.
    "corrupt" is anything else that is not an entry. The exit status is 1 if an op may be lost or hidden.

    Example: muse session check jam-1
    """
    invocation = remember(ctx, repo, as_json=as_json)
    output = invocation.output
    repository = invocation.repository()
    session = check_session(repository, session)
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
    findings = check_orphans(repository.root, session, repository.storage)
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
