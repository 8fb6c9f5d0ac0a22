"""`muse branch create`: makes a branch."""

from typing import Annotated

import typer

from muse.cli.branch.options import BranchArgument
from muse.cli.shared.commit_text import SHORT_ID
from muse.cli.shared.options import JsonOption, RepoOption, remember
from muse.history.garbage_lock import uncollected


def create(
    ctx: typer.Context,
    *,
    name: BranchArgument,
    at: Annotated[str, typer.Argument(metavar="[AT]", help="The commit that it begins at.")] = "HEAD",
    repo: RepoOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a branch at a commit. HEAD and the files stay as they are: see 'muse branch switch'.

    Example: muse branch create take/2 HEAD~1
    """
    invocation = remember(ctx, repo, as_json=as_json)
    repository = invocation.repository()
    # A commit that no branch leads to is not collected while it is named here.
    with uncollected(repository.root, repository.storage):
        commit_id = repository.dag.resolve(at)
        repository.dag.create_branch(name, commit_id)
    if invocation.output.as_json:
        invocation.output.record({"branch": name, "commit_id": commit_id})
    else:
        invocation.output.line(f"Branch {name} is at commit {commit_id[:SHORT_ID]}.")
