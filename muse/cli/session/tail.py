"""`muse session tail`: prints the last entries, and those that follow."""

from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from typing import Annotated

import typer

from muse.cli.shared.entry_line import entry_line
from muse.cli.shared.options import (
    Invocation,
    JsonOption,
    RepoOption,
    SessionArgument,
    check_session,
    remember,
)
from muse.cli.shared.output import abandon_stdout
from muse.core.op_log import OpEntry, OpLog

_FOLLOW_SECONDS = 0.5


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
    address: Annotated[str | None, typer.Option(help="Only addresses that start with this.")] = None,
    repo: RepoOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print the last entries, in the order of the log, and follow it live.

    Example: muse session tail -f jam-1 --actor anna
    """
    invocation = remember(ctx, repo, as_json=as_json)
    repository = invocation.repository()
    session = check_session(repository, session)
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
