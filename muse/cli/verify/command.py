"""`muse verify`: checks every hash, every link, every log and every signature."""

import os
from collections import Counter
from typing import Annotated

import typer

from muse.checks.verify import verify as verify_dag
from muse.cli.shared.options import Invocation, JsonOption, RepoOption, remember
from muse.cli.verify.evidence import gather_evidence
from muse.cli.verify.report import check_logs, finding_record, report_record, report_text
from muse.errors import CorruptionError
from muse.history.repo_record import RepoRecord
from muse.history.repository import Repository


def verify(
    ctx: typer.Context,
    *,
    replay: Annotated[
        bool, typer.Option("--replay", help="Make every commit again from its log, and compare.")
    ] = False,
    require_signatures: Annotated[
        bool, typer.Option("--require-signatures", help="An unsigned commit is a fault.")
    ] = False,
    key: Annotated[
        list[str] | None, typer.Option(metavar="FILE", help="Trust this public key too; may be repeated.")
    ] = None,
    repo: RepoOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check every hash, every link, every log and every signature.

    Each fault is a line. The exit status is 1 if there is one, or if commits cannot be made again because
    the plugin of their domain is not installed here. An unfinished last line is not a fault.

    Example: muse verify --replay
    """
    invocation = remember(ctx, repo, as_json=as_json)
    output = invocation.output
    repository = _repository_to_verify(invocation)
    done: Counter[str] = Counter()
    with output.progress("verifying") as progress:

        def count(kind: str, number: int) -> None:
            done[kind] = number
            progress(done.total())

        report = verify_dag(repository.root, repository.storage, count)
        entries, faults = check_logs(repository, lambda number: count("entry", number))
        evidence = gather_evidence(
            repository,
            replay=replay,
            require_signatures=require_signatures,
            key_files=key or [],
            progress=lambda number: count("op", number),
        )
    findings = [finding_record(finding) for finding in report.findings] + faults
    findings += [finding_record(finding) for finding in evidence.findings]
    if output.as_json:
        output.record({**report_record(report, entries, findings), **evidence.as_record()})
    else:
        for finding in findings:
            output.line(f"{finding['kind']}: {finding['message']}")
        evidence.print(output)
        output.line(report_text(report, entries, len(findings)))
    if findings or not evidence.is_complete:
        raise typer.Exit(1)


def _repository_to_verify(invocation: Invocation) -> Repository:
    """Open the repository; one whose `repo.json` is damaged too, which is then a finding among others."""
    try:
        return invocation.repository()
    except CorruptionError as error:
        root = os.path.dirname(os.path.dirname(error.path))
        return Repository(root, record=RepoRecord(repo_id="", schema_version="", created_at="", domain=""))
