"""`muse init`: makes a repository."""

import os
from typing import Annotated

import typer

from muse.cli.shared.options import JsonOption, RepoOption, remember
from muse.errors import UsageError
from muse.history.repo_record import name_for_others
from muse.history.repository import Repository


def init(
    ctx: typer.Context,
    *,
    directory: Annotated[str | None, typer.Argument(metavar="[DIR]", help="Default: here.")] = None,
    domain: Annotated[
        str, typer.Option(help="The domain that other tools are told: code, music or another.")
    ] = "code",
    any_domain: Annotated[
        bool, typer.Option("--any-domain", help="Take ops of domains that no plugin knows, too.")
    ] = False,
    repo: RepoOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a repository. A repository that is there already stays as it is, but for --any-domain.

    The domain of an op follows from its file: MIDI files are music, others are code.

    Example: muse init my-song
    """
    invocation = remember(ctx, repo, as_json=as_json)
    if directory is not None and repo is not None:
        raise UsageError("both DIR and --repo name the new repository: give one of them")
    root = os.path.abspath(directory or invocation.repo or ".")
    repository, created = Repository.init(root, domain=name_for_others(domain), any_domain=any_domain)
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
