"""`muse push`: brings the ops and commits of this replica to another."""

import typer

from muse.cli.shared.exchange import BranchOption, PathArgument, transfer_branch
from muse.cli.shared.options import JsonOption, RepoOption, remember
from muse.replication.transfer import push as push_branch


def push(
    ctx: typer.Context,
    *,
    path: PathArgument,
    branch: BranchOption = None,
    repo: RepoOption = None,
    as_json: JsonOption = False,
) -> None:
    """Bring the ops and commits of this replica to another, and its files up to date.

    Refused where the other has commits that are not here: pull first.

    Example: muse push ../song-of-bob --branch main
    """
    invocation = remember(ctx, repo, as_json=as_json)
    transfer_branch(invocation, path, lambda own, peer: push_branch(own, peer, branch))
