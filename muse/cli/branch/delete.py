"""`muse branch delete`: removes the name of a line of commits."""

from typing import Annotated

import typer

from muse.cli.branch.options import BranchArgument
from muse.cli.shared.commit_text import SHORT_ID
from muse.cli.shared.options import JsonOption, RepoOption, remember
from muse.cli.shared.output import count_of
from muse.disk import layout
from muse.errors import NotFoundError, UsageError


def delete(
    ctx: typer.Context,
    *,
    name: BranchArgument,
    force: Annotated[
        bool, typer.Option("--force", help="Delete it though no other branch has all of its commits.")
    ] = False,
    repo: RepoOption = None,
    as_json: JsonOption = False,
) -> None:
    """Delete a branch whose commits another branch has too.

    With --force its own commits leave history with it: their ops are pending again after 'muse session
    recover', and 'muse gc' may remove them. The branch that HEAD names is never deleted.

    Example: muse branch delete take/2
    """
    invocation = remember(ctx, repo, as_json=as_json)
    repository = invocation.repository()
    dag = repository.dag
    branches = dag.branches()
    if not layout.is_branch(name) or name not in branches:
        raise NotFoundError(f"there is no branch {name!r}: see 'muse branch list'")
    tip = branches.pop(name)
    kept = {record["commit_id"] for record in dag.reachable(branches.values())}
    lost = sum(record["commit_id"] not in kept for record in dag.reachable([tip]))
    if lost and not force and name != dag.current_branch():
        raise UsageError(
            f"branch {name!r} has {count_of(lost, 'commit')} that no other branch has: bring them into "
            "another one, or delete it with --force"
        )
    dag.delete_branch(name, tip)
    if invocation.output.as_json:
        invocation.output.record({"branch": name, "commit_id": tip, "lost": lost})
    else:
        was = f"it was at commit {tip[:SHORT_ID]}" if tip else "it had no commit"
        invocation.output.line(f"Branch {name} is deleted; {was}.")
