"""`muse session append`: takes JSON Lines from stdin into a log."""

from typing import Annotated

import typer

from muse.apply.domains import check_of
from muse.cli.session.guarded_line_feeder import GuardedLineFeeder
from muse.cli.session.line_feeder import BareOps, LineFeeder
from muse.cli.shared.options import JsonOption, RepoOption, SessionArgument, remember
from muse.cli.shared.output import standard_input
from muse.core.op_log import OpLog
from muse.core.other_sessions import OtherSessions
from muse.session.guarded_log import GuardedLog
from muse.session.policy import read_policy


def append(
    ctx: typer.Context,
    *,
    session: SessionArgument,
    actor: Annotated[str | None, typer.Option(help="Who makes the ops that come without an entry.")] = None,
    domain: Annotated[
        str | None, typer.Option(help="The domain of such ops. Default: the repository's.")
    ] = None,
    intent: Annotated[str, typer.Option(help="The intent that such ops carry out.")] = "",
    reservation: Annotated[str, typer.Option(help="The reservation that such ops rest on.")] = "",
    repo: RepoOption = None,
    as_json: JsonOption = False,
) -> None:
    """Append ops or entries, read as JSON Lines from stdin. The first one starts the session.

    A line with an op_id is an entry and is stored once, however often it comes, and in one session. Any
    other line is an op and is recorded as an entry of --actor. The first bad line ends the command: all lines
    before it are stored. A line that the session's policy refuses is bad; one that it sets aside is counted.

    Example: muse session append jam-1 --actor anna < ops.jsonl
    """
    invocation = remember(ctx, repo, as_json=as_json)
    repository = invocation.repository()
    domain = domain or repository.domain
    bare_ops = BareOps(actor, domain, intent, reservation, check_of(domain))
    with (
        OpLog(repository.root, session) as log,
        OtherSessions(repository.root, session, repository.storage) as others,
        invocation.output.progress("appending") as progress,
    ):
        if read_policy(repository.root, session).lets_all_pass:
            feeder = LineFeeder(log, bare_ops, others)
        else:
            feeder = GuardedLineFeeder(log, GuardedLog(repository, log), bare_ops, others)
        feeder.take(standard_input(), progress)
    proposed = feeder.proposed if isinstance(feeder, GuardedLineFeeder) else 0
    counts = {"stored": feeder.stored, "known": feeder.known} | ({"proposed": proposed} if proposed else {})
    if invocation.output.as_json:
        invocation.output.record({"session_id": session, **counts})
    else:
        aside = f", {proposed} set aside: see 'muse session proposals {session}'" if proposed else ""
        invocation.output.line(f"{feeder.stored} stored, {feeder.known} already known{aside}")
