"""`muse session append`: takes JSON Lines from stdin into a log."""

from collections.abc import Sequence
from typing import Annotated

import typer

from muse.apply.domains import domain_of_other_files
from muse.cli.session.guarded_line_feeder import GuardedLineFeeder
from muse.cli.session.line_feeder import BareOps, Ineffective, LineFeeder
from muse.cli.shared.options import JsonOption, RepoOption, SessionArgument, remember
from muse.cli.shared.output import Output, standard_input
from muse.core.op_log import OpLog
from muse.core.other_sessions import OtherSessions
from muse.session.foresight import Foresight
from muse.session.guarded_log import GuardedLog
from muse.session.policy import read_policy

_SHOWN = 20


def append(
    ctx: typer.Context,
    *,
    session: SessionArgument,
    actor: Annotated[str | None, typer.Option(help="Who makes the ops that come without an entry.")] = None,
    domain: Annotated[
        str | None, typer.Option(help="The domain of such ops. Default: that of their file.")
    ] = None,
    any_domain: Annotated[
        bool, typer.Option("--any-domain", help="Take ops of domains that no plugin knows, too.")
    ] = False,
    intent: Annotated[str, typer.Option(help="The intent that such ops carry out.")] = "",
    reservation: Annotated[str, typer.Option(help="The reservation that such ops rest on.")] = "",
    repo: RepoOption = None,
    as_json: JsonOption = False,
) -> None:
    """Append ops or entries, read as JSON Lines from stdin. The first one starts the session.

    A line with an op_id is an entry and is stored once, however often it comes, and in one session. Any
    other line is an op and is recorded as an entry of --actor. The first bad line ends the command: all lines
    before it are stored. A line that the session's policy refuses is bad; one that it sets aside is counted.
    Such an op rests on all that is in the session. One without effect as things are now is stored and named.

    Example: muse session append jam-1 --actor anna < ops.jsonl
    """
    invocation = remember(ctx, repo, as_json=as_json)
    repository = invocation.repository()
    any_domain = any_domain or repository.any_domain
    other_domain = domain_of_other_files(repository)
    bare_ops = BareOps(actor, domain, other_domain, intent, reservation, any_domain)
    with (
        OpLog(repository.root, session) as log,
        OtherSessions(repository.root, session, repository.storage) as others,
        invocation.output.progress("appending") as progress,
    ):
        if read_policy(repository.root, session).lets_all_pass:
            foresight = Foresight(repository, log, repository.dag.current_branch)
            feeder = LineFeeder(log, bare_ops, others, foresight)
        else:
            guarded = GuardedLog(repository, log, any_domain=any_domain)
            feeder = GuardedLineFeeder(log, guarded, bare_ops, others)
        try:
            feeder.take(standard_input(), progress)
        finally:
            if not invocation.output.as_json:
                _print_ineffective(invocation.output, feeder.ineffective)
    proposed = feeder.proposed if isinstance(feeder, GuardedLineFeeder) else 0
    counts = {"stored": feeder.stored, "known": feeder.known} | ({"proposed": proposed} if proposed else {})
    if invocation.output.as_json:
        told = [one._asdict() for one in feeder.ineffective]
        invocation.output.record({"session_id": session, **counts, **({"ineffective": told} if told else {})})
    else:
        aside = f", {proposed} set aside: see 'muse session proposals {session}'" if proposed else ""
        invocation.output.line(f"{feeder.stored} stored, {feeder.known} already known{aside}")


def _print_ineffective(output: Output, found: Sequence[Ineffective]) -> None:
    for one in found[:_SHOWN]:
        output.line(f"line {one.line_number} has no effect as things are now: op {one.op_id}: {one.reason}")
    if len(found) > _SHOWN:
        output.line(f"... and {len(found) - _SHOWN} more lines have none")
