"""`muse session sync`: brings two replicas to the same ops."""

from typing import Annotated

import typer

from muse.cli.shared.exchange import (
    PathArgument,
    open_other,
    print_sessions,
    raise_unsound,
    session_record,
    traffic_record,
    traffic_text,
)
from muse.cli.shared.options import JsonOption, RepoOption, remember
from muse.replication.counting_peer import CountingPeer
from muse.replication.local_peer import LocalPeer
from muse.replication.sync import SessionSync, sync_sessions


def sync(
    ctx: typer.Context,
    *,
    path: PathArgument,
    sessions: Annotated[
        list[str] | None, typer.Argument(metavar="[SESSION]...", help="Default: all of both sides.")
    ] = None,
    repo: RepoOption = None,
    as_json: JsonOption = False,
) -> None:
    """Bring the ops of this replica and another together, both ways.

    A session that only one side has is made on the other. Cut short, it goes on when it is run again.

    Example: muse session sync ../song-of-bob jam-1

    Example: muse session sync http://127.0.0.1:7437
    """
    invocation = remember(ctx, repo, as_json=as_json)
    output = invocation.output
    root = invocation.repository().root
    outcomes: list[SessionSync] = []
    with LocalPeer(root) as own, open_other(root, path) as other, output.progress("sessions") as progress:
        peer = CountingPeer(other)
        for outcome in sync_sessions(own, peer, tuple(sessions or ())):
            outcomes.append(outcome)
            progress(len(outcomes))
            if output.as_json:
                output.record(session_record(outcome))
    if output.as_json:
        output.record({"sessions": len(outcomes), "traffic": traffic_record(peer.traffic)})
    else:
        print_sessions(output, outcomes)
        output.line(traffic_text(peer.traffic))
    raise_unsound(outcomes)
