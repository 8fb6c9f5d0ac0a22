"""`muse init`: makes a repository."""

import os
from typing import Annotated

import typer

from muse.cli.shared.options import JsonOption, RepoOption, remember
from muse.errors import UsageError
from muse.history.repository import Repository


def init(
    ctx: typer.Context,
    *,
    directory: Annotated[str | None, typer.Argument(metavar="[DIR]", help="Default: here.")] = None,
    domain: Annotated[str, typer.Option(help="The domain of most of its ops.")] = "music",
    repo: RepoOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a repository. A repository that is there already stays as it is.

    Example: muse init my-song
    """
    invocation = remember(ctx, repo, as_json=as_json)
    if directory is not None and repo is not None:
        raise UsageError("both DIR and --repo name the new repository: give one of them")
    root = os.path.abspath(directory or invocation.repo or ".")
    repository, created = Repository.init(root, domain=domain)
    if invocation.output.as_json:
        invocation.output.record(
            {
                "repository": repository.root,
                "repo_id": repository.repo_id,
                "domain": repository.domain,
                "created": created,
            }
        )
    else:
        state = "A new Muse repository is" if created else "There is a Muse repository already"
        invocation.output.line(f"{state} in {repository.root}")
