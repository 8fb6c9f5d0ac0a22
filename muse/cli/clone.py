"""`muse clone`: makes a replica of a repository."""

import os
from typing import Annotated

import typer

from muse.cli.shared.exchange import PathArgument, open_other, report_exchange
from muse.cli.shared.options import JsonOption, remember
from muse.cli.shared.servers import is_url
from muse.replication.counting_peer import CountingPeer
from muse.replication.transfer import clone as clone_repository


def clone(
    ctx: typer.Context,
    *,
    path: PathArgument,
    directory: Annotated[str, typer.Argument(metavar="DIR", help="A new directory.", show_default=False)],
    as_json: JsonOption = False,
) -> None:
    """Make a replica of a repository in a new directory: its sessions, branches and files.

    If it is cut short, it goes on when it is run again.

    Example: muse clone ../song-of-bob my-copy
    """
    invocation = remember(ctx, None, as_json=as_json)
    root = os.path.abspath(directory)
    with open_other(root, path) as other, invocation.output.progress("cloning"):
        peer = CountingPeer(other)
        exchange = clone_repository(peer, root)
    if not invocation.output.as_json:
        source = path if is_url(path) else os.path.abspath(path)
        invocation.output.line(f"A replica of {source} is in {root}")
    report_exchange(invocation.output, exchange, peer.traffic)
