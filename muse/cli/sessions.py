"""`muse session`: look at logs, append to them, follow them, check and mend them."""

from collections import Counter, deque
from collections.abc import Iterator
from contextlib import suppress
from typing import Annotated, Any

import typer

from muse.apply.domains import check_of
from muse.cli.archiving import archive, restore
from muse.cli.conflicts import conflicts
from muse.cli.entry_line import entry_line
from muse.cli.feed import BareOps, LineFeeder
from muse.cli.graph.command import graph
from muse.cli.guarded_feed import GuardedLineFeeder
from muse.cli.mending import check, print_damages, recover, repair
from muse.cli.merging import merge
from muse.cli.options import (
    Invocation,
    JsonOption,
    RepoOption,
    SessionArgument,
    check_session,
    help_without_command,
    remember,
)
from muse.cli.output import abandon_stdout, count_of, size_of
from muse.cli.policy import accept, policy, proposals, reject
from muse.cli.session_facts import SessionFacts, brief_facts, gather_facts
from muse.cli.state import chosen_point, show_state
from muse.cli.syncing import sync
from muse.core.op_log import OpEntry, OpLog, list_sessions
from muse.errors import UsageError
from muse.session.guarded_log import GuardedLog
from muse.session.policy import read_policy

app = typer.Typer(
    help="Live sessions: list, show, append, tail, and mend.",
    rich_markup_mode=None,
    invoke_without_command=True,
)
_FOLLOW_SECONDS = 0.5
_PARENTS_SHOWN = 5


@app.callback()
def _root(ctx: typer.Context, *, repo: RepoOption = None, as_json: JsonOption = False) -> None:
    remember(ctx, repo, as_json=as_json)
    help_without_command(ctx)


@app.command("list")
def list_command(ctx: typer.Context, *, repo: RepoOption = None, as_json: JsonOption = False) -> None:
    """List the sessions, with what is pending in each.

    Example: muse session list
    """
    invocation = remember(ctx, repo, as_json=as_json)
    repository = invocation.repository()
    session_ids = list_sessions(repository.root)
    with invocation.output.progress("reading"):
        found = [brief_facts(repository, session_id) for session_id in session_ids]
    if invocation.output.as_json:
        for facts in found:
            invocation.output.record(_brief_record(facts))
        return
    if not found:
        invocation.output.line("No sessions yet: 'muse session append' starts one.")
        return
    rows = [
        (
            facts.session_id,
            facts.entries,
            "?" if facts.pending is None else facts.pending.total(),
            size_of(facts.size_bytes),
            "; ".join([*["archived"] * facts.archived, *[f"{facts.held} held"][: facts.held], *facts.faults]),
        )
        for facts in found
    ]
    invocation.output.table(("SESSION", "ENTRIES", "PENDING", "SIZE", ""), rows)


def _brief_record(facts: SessionFacts) -> dict[str, Any]:
    record = facts.as_record()
    wanted = ("session_id", "entries", "lamport_ts", "size_bytes", "pending", "held", "faults", "archived")
    return {name: record[name] for name in wanted}


@app.command("show")
def show(
    ctx: typer.Context,
    *,
    session: SessionArgument,
    at: Annotated[str | None, typer.Option(metavar="OP_ID", help="Its files, up to this op.")] = None,
    lamport: Annotated[int | None, typer.Option(metavar="N", help="Its files, up to this stamp.")] = None,
    time: Annotated[
        str | None, typer.Option(metavar="ISO", help="Its files at this time, by each actor's clock.")
    ] = None,
    out: Annotated[
        str | None, typer.Option(metavar="DIR", help="Write those files to a new or empty directory.")
    ] = None,
    repo: RepoOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one session: its actors, its domains, what is pending, its checkpoint, its damage if any.

    With --at, --lamport or --time: its files with all ops up to there, in the total order, on the
    files from before its first commit.

    Example: muse session show jam-1 --time 2026-01-31T12:00 --out then
    """
    invocation = remember(ctx, repo, as_json=as_json)
    output = invocation.output
    repository = invocation.repository()
    check_session(repository, session)
    point = chosen_point(at, lamport, time)
    if point is not None:
        show_state(invocation, session, point, out)
        return
    if out is not None:
        raise UsageError("--out takes the files of a point: say which with --at, --lamport or --time")
    with output.progress("reading") as progress:
        facts = gather_facts(repository, session, progress)
    if output.as_json:
        output.record(facts.as_record())
        return
    output.line(f"Session     {facts.session_id}")
    archived = ", archived" if facts.archived else ""
    output.line(f"Entries     {facts.entries} ({size_of(facts.size_bytes)}{archived})")
    output.line(f"Lamport     {facts.lamport_ts}")
    output.line(f"Checkpoint  {_checkpoint_text(facts)}")
    pending = "unknown" if facts.pending is None else count_of(facts.pending.total(), "op")
    output.line(f"Pending     {pending}")
    if facts.held:
        output.line(f"Held        {_held_text(facts)}")
    output.line()
    rows = [(name, actor.entries, actor.lamport_ts) for name, actor in sorted(facts.actors.items())]
    output.table(("ACTOR", "ENTRIES", "LAST LAMPORT"), rows)
    output.line()
    waiting = facts.pending or Counter()
    rows = [(name, count, waiting.get(name, 0)) for name, count in sorted(facts.domains.items())]
    output.table(("DOMAIN", "ENTRIES", "PENDING"), rows)
    for fault in facts.faults:
        output.line(f"Fault: {fault}")
    print_damages(output, facts.damages)


def _held_text(facts: SessionFacts) -> str:
    """Say how many entries wait, and for which parents."""
    held = count_of(facts.held, "entry", "entries")
    if not facts.missing_parents:
        return f"{held}, whose parents have come by another way: the next merge or commit takes them in"
    shown = ", ".join(facts.missing_parents[:_PARENTS_SHOWN])
    more = len(facts.missing_parents) - _PARENTS_SHOWN
    return f"{held}, until these parents come: {shown}" + (f" and {more} more" if more > 0 else "")


def _checkpoint_text(facts: SessionFacts) -> str:
    if facts.checkpoint is None:
        return "none" if not facts.faults else "unreadable"
    commit = facts.checkpoint.get("commit_id", "")[:12] or "an unnamed commit"
    covered = count_of(facts.checkpoint["op_count"], "op")
    return f"{covered} in commit {commit}, {facts.checkpoint['created_at']}"


@app.command("append")
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

    A line with an op_id is an entry, stored once however often it comes; any other is an op,
    recorded as an entry of --actor. The first bad line ends it: all before it are stored. One that the
    session's policy refuses is bad; one that it sets aside is counted.

    Example: muse session append jam-1 --actor anna < ops.jsonl
    """
    invocation = remember(ctx, repo, as_json=as_json)
    repository = invocation.repository()
    domain = domain or repository.domain
    bare_ops = BareOps(actor, domain, intent, reservation, check_of(domain))
    with OpLog(repository.root, session) as log, invocation.output.progress("appending") as progress:
        is_open = read_policy(repository.root, session).lets_all_pass
        feed = (
            LineFeeder(log, bare_ops)
            if is_open
            else GuardedLineFeeder(log, GuardedLog(repository, log), bare_ops)
        )
        feed.take(typer.get_binary_stream("stdin"), progress)
    proposed = feed.proposed if isinstance(feed, GuardedLineFeeder) else 0
    counts = {"stored": feed.stored, "known": feed.known} | ({"proposed": proposed} if proposed else {})
    if invocation.output.as_json:
        invocation.output.record({"session_id": session, **counts})
    else:
        aside = f", {proposed} set aside: see 'muse session proposals {session}'" if proposed else ""
        invocation.output.line(f"{feed.stored} stored, {feed.known} already known{aside}")


@app.command("tail")
def tail(
    ctx: typer.Context,
    *,
    session: SessionArgument,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with what arrives, until Ctrl-C.")
    ] = False,
    count: Annotated[int, typer.Option("-n", min=0, help="How many of the last entries.")] = 10,
    actor: Annotated[str | None, typer.Option(help="Only entries of this actor.")] = None,
    domain: Annotated[str | None, typer.Option(help="Only entries of this domain.")] = None,
    address: Annotated[str | None, typer.Option(help="Only addresses that start so.")] = None,
    repo: RepoOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print the last entries, in the order of the log, and follow it live.

    Example: muse session tail -f jam-1 --actor anna
    """
    invocation = remember(ctx, repo, as_json=as_json)
    repository = invocation.repository()
    check_session(repository, session)
    wanted = {"actor": actor, "domain": domain, "address": address}
    # A reader that has seen enough, and Ctrl-C, are how following is meant to end.
    with suppress(BrokenPipeError, KeyboardInterrupt), OpLog(repository.root, session) as log:
        try:
            for entry in _last_and_next(log, count, follow=follow, wanted=wanted):
                _print_entry(invocation, entry)
        except BrokenPipeError:
            abandon_stdout()
            raise


def _last_and_next(
    log: OpLog, count: int, *, follow: bool, wanted: dict[str, str | None]
) -> Iterator[OpEntry]:
    cut = log.cut()
    yield from deque(log.entries(until=cut, **wanted), maxlen=count)  # type: ignore[arg-type]
    if follow:
        with log.follow(since=cut, **wanted) as follower:
            while True:
                if (entry := follower.next_within(_FOLLOW_SECONDS)) is not None:
                    yield entry


def _print_entry(invocation: Invocation, entry: OpEntry) -> None:
    if invocation.output.as_json:
        invocation.output.record(entry)
    else:
        invocation.output.line(entry_line(entry))


app.command("graph")(graph)
app.command("conflicts")(conflicts)
app.command("sync")(sync)
app.command("merge")(merge)
app.command("policy")(policy)
app.command("proposals")(proposals)
app.command("accept")(accept)
app.command("reject")(reject)
app.command("archive")(archive)
app.command("restore")(restore)
app.command("check")(check)
app.command("repair")(repair)
app.command("recover")(recover)
