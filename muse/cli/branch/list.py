"""`muse branch list`: lists the branches."""

import typer

from muse.cli.shared.commit_text import SHORT_ID, is_narrow, moment_for, subject
from muse.cli.shared.options import JsonOption, RepoOption, remember


def list_command(ctx: typer.Context, *, repo: RepoOption = None, as_json: JsonOption = False) -> None:
    """List the branches, each with its newest commit; the one that HEAD names has a star.

    Example: muse branch list
    """
    invocation = remember(ctx, repo, as_json=as_json)
    dag = invocation.repository().dag
    current, branches = dag.current_branch(), dag.branches()
    if invocation.output.as_json:
        for name, commit_id in branches.items():
            invocation.output.record({"branch": name, "commit_id": commit_id, "is_current": name == current})
        return
    output, rows = invocation.output, []
    for name, commit_id in branches.items():
        record = None if commit_id is None else dag.read_commit(commit_id)
        when = moment_for(output, record["committed_at"]) if record else ""
        shown = (commit_id or "no commit")[:SHORT_ID]
        rows.append(("*" if name == current else "", name, shown, when, subject(record) if record else ""))
    when = "WHEN" if is_narrow(output) else "WHEN (UTC)"
    output.table(("", "BRANCH", "COMMIT", when, "MESSAGE"), rows, cuts_last=True)
