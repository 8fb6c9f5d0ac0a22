"""`muse log`: lists commits."""

from itertools import islice
from typing import Annotated

import typer

from muse.cli.shared.commit_text import SHORT_ID, subject
from muse.cli.shared.options import JsonOption, RepoOption, remember
from muse.history.commit_record import brief_record, covered_count


def log(
    ctx: typer.Context,
    *,
    revision: Annotated[
        str, typer.Argument(metavar="[REV]", help="A branch, HEAD, or a commit id.")
    ] = "HEAD",
    count: Annotated[int | None, typer.Option("-n", min=0, help="How many commits. Default: all.")] = None,
    repo: RepoOption = None,
    as_json: JsonOption = False,
) -> None:
    """List commits, the newest first, each before the commits it builds on.

    Example: muse log -n 5
    """
    invocation = remember(ctx, repo, as_json=as_json)
    repository = invocation.repository()
    if revision == "HEAD" and repository.dag.head(repository.dag.current_branch()) is None:
        if not invocation.output.as_json:
            invocation.output.line("No commits yet.")
        return
    history = islice(repository.dag.children_first(repository.dag.resolve(revision)), count)
    if invocation.output.as_json:
        for record in history:
            invocation.output.record(brief_record(record))
        return
    rows = [
        (
            record["commit_id"][:SHORT_ID],
            record["committed_at"][:19].replace("T", " "),
            record["author"] or "-",
            covered_count(record),
            subject(record),
        )
        for record in history
    ]
    invocation.output.table(("COMMIT", "WHEN (UTC)", "AUTHOR", "OPS", "MESSAGE"), rows)
