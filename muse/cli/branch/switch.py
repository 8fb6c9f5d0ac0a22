"""`muse branch switch`: brings the files of a branch here, and lets HEAD name it."""

from typing import Annotated

import typer

from muse.cli.branch.options import BranchArgument
from muse.cli.checkout import bring
from muse.cli.shared.options import JsonOption, RepoOption, remember
from muse.disk import layout
from muse.errors import NotFoundError


def switch(
    ctx: typer.Context,
    *,
    name: BranchArgument,
    force: Annotated[bool, typer.Option("--force", help="Replace files that were changed by hand.")] = False,
    repo: RepoOption = None,
    as_json: JsonOption = False,
) -> None:
    """Bring the files of a branch here, and let HEAD name it: commits go to it from now on.

    It does what 'muse checkout' does, and takes nothing but the name of a branch.

    Example: muse branch switch take/2
    """
    invocation = remember(ctx, repo, as_json=as_json)
    repository = invocation.repository()
    if not (layout.is_branch(name) and repository.dag.has_branch(name)):
        raise NotFoundError(
            f"there is no branch {name!r}: 'muse branch list' lists them, 'muse branch create' makes one"
        )
    bring(invocation, repository, name, force=force)
