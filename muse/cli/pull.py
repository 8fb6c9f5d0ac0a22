"""`muse pull`: brings another replica's ops and commits here."""

import typer

from muse.cli.shared.exchange import BranchOption, PathArgument, transfer_branch
from muse.cli.shared.options import JsonOption, RepoOption, SignOption, load_signer, remember
from muse.replication.transfer import pull as pull_branch


def pull(
    ctx: typer.Context,
    *,
    path: PathArgument,
    branch: BranchOption = None,
    sign: SignOption = None,
    repo: RepoOption = None,
    as_json: JsonOption = False,
) -> None:
    """Bring another replica's ops and commits here, and the files up to date.

    Files that were changed by hand stay as they are, and are named. What is lost or damaged here of the
    branch is mended. A merge is made if both sides have commits of their own.

    Example: muse pull ../song-of-bob

    Example: muse pull https://muse.example.org
    """
    invocation = remember(ctx, repo, as_json=as_json)
    signer = load_signer(sign)
    transfer_branch(invocation, path, lambda own, peer: pull_branch(own, peer, branch, signer=signer))
