"""`muse verify`: checks every hash, every link, every log and every signature."""

import os
from collections import Counter
from typing import Annotated

import typer

from muse.checks.verify import verify_repository
from muse.cli.shared.options import JsonOption, RepoOption, current_directory, remember, repository_to_check
from muse.cli.verify.evidence import evidence_record, print_evidence
from muse.cli.verify.report import report_record, report_text


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
    repository = repository_to_check(invocation)
    done: Counter[str] = Counter()
    with output.progress("verifying") as progress:

        def count(kind: str, number: int) -> None:
            done[kind] = number
            progress(done.total())

        report = verify_repository(
            repository.root,
            repository.storage,
            replay=replay,
            require_signatures=require_signatures,
            key_files=[os.path.join(current_directory(), path) for path in key or []],
            progress=count,
        )
    if output.as_json:
        output.record({**report_record(report), **evidence_record(report)})
    else:
        for finding in report.findings:
            output.line(f"{finding.kind}: {finding.message}")
        print_evidence(report, output)
        output.line(report_text(report))
    if report.findings or not report.is_complete:
        raise typer.Exit(1)
