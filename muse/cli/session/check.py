"""`muse session check`: lists what is damaged, and what does not agree with history."""

from dataclasses import asdict

import typer

from muse.checks.logs import check_orphans
from muse.checks.sealed_ops import check_session as check_session_commits
from muse.cli.session.damages import print_damages
from muse.cli.session.ineffective import ineffective_record, print_ineffective
from muse.cli.shared.options import JsonOption, RepoOption, SessionArgument, check_session, remember
from muse.cli.shared.output import Output, count_of
from muse.core.op_log import OpLog
from muse.errors import MuseError
from muse.history.repository import Repository
from muse.views.ineffective import ineffective_ops


def check(
    ctx: typer.Context, *, session: SessionArgument, repo: RepoOption = None, as_json: JsonOption = False
) -> None:
    """List the damage of a log, and where log and checkpoint differ from the commits.

    "torn" is the start of a line whose writer died: it was not acknowledged, so nothing is lost.
    "corrupt" is anything else that is not an entry. The exit status is 1 if an op may be lost or hidden.
    Ops without effect are listed too, with the reasons; they do not change the exit status.

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
    is_faulty = bool(corrupt or findings)
    _tell_ineffective(output, repository, session, is_faulty=is_faulty)
    if is_faulty:
        raise typer.Exit(1)


def _tell_ineffective(output: Output, repository: Repository, session: str, *, is_faulty: bool) -> None:
    """List the ops without effect, as far as a log that is faulty lets them be found."""
    try:
        with output.progress("looking for ops without effect") as progress:
            found = ineffective_ops(repository, session, salvage=True, progress=progress)
    except MuseError:
        if is_faulty:
            return  # what is damaged was told
        raise
    if output.as_json:
        for op in found:
            output.record(ineffective_record(op))
    else:
        print_ineffective(output, found)
