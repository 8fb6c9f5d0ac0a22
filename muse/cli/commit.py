"""`muse commit`: carries a session's pending ops into history."""

from typing import Annotated

import typer

from muse.cli.shared.author import author_or_person
from muse.cli.shared.options import (
    JsonOption,
    RepoOption,
    SignOption,
    load_signer,
    remember,
)
from muse.cli.shared.output import Output, count_of
from muse.cli.shared.workdirs import LastSessionArgument, session_or_last
from muse.core.other_sessions import reason
from muse.errors import MuseError, UsageError
from muse.session.commit import CommitOutcome, HandEditedError
from muse.session.live import LiveSession

_SHOWN = 20


def commit(
    ctx: typer.Context,
    *,
    session: LastSessionArgument = None,
    message: Annotated[str, typer.Option("--message", "-m", help="What was done.", show_default=False)],
    author: Annotated[
        str,
        typer.Option(
            envvar="MUSE_AUTHOR", help="Whose commit it is. Default: git's user.name, or the login."
        ),
    ] = "",
    salvage: Annotated[bool, typer.Option("--salvage", help="Commit the good ops of a damaged log.")] = False,
    sign: SignOption = None,
    allow_ineffective: Annotated[
        bool, typer.Option("--allow-ineffective", help="Exit with 0 though some ops had no effect.")
    ] = False,
    full: Annotated[bool, typer.Option("--full", help="Store every op in order, not their net.")] = False,
    repo: RepoOption = None,
    as_json: JsonOption = False,
) -> None:
    """Carry a session's pending ops into history.

    One commit is made for each domain, on the branch that HEAD names. The files here are brought up to date,
    except those that were changed by hand. A commit stores the net of its ops: a note inserted and then moved
    is one insert. Ops that had no effect are listed with the reasons; the commit is made, and the exit status
    is 1.

    Example: muse commit -m "First take"

    Example: muse commit jam-1 -m "First take" --author Anna
    """
    invocation = remember(ctx, repo, as_json=as_json)
    if not message.strip():
        raise UsageError("the commit message is empty: say what was done, with -m MESSAGE")
    repository = invocation.repository()
    session = session_or_last(repository, session)
    output = invocation.output
    signer = load_signer(sign)
    with (
        LiveSession(
            repository.root, session, author=author_or_person(author, repository.root), signer=signer
        ) as live,
        output.progress("committing"),
    ):
        try:
            outcome = live.commit(message, salvage=salvage, full=full)
        except HandEditedError as error:
            if not output.as_json:
                _print_ineffective(output, session, error.outcome)
            raise
        if not outcome.commit_ids:
            _check_history_has_all(live, session)
    if output.as_json:
        output.record(outcome.as_record())
    else:
        _print_outcome(output, session, outcome)
    if outcome.ignored and not allow_ineffective:
        raise typer.Exit(1)


def _check_history_has_all(live: LiveSession, session: str) -> None:
    """Raise `MuseError` if nothing is pending only because a checkpoint of a program says so."""
    checkpoint = live.log.checkpoints.trusted()
    if checkpoint is not None and checkpoint["op_count"] and not checkpoint.get("commit_id"):
        raise MuseError(
            f"nothing is committed: a program's checkpoint has {count_of(checkpoint['op_count'], 'op')} "
            f"of session {session!r}, snapshot {checkpoint['snapshot_id'][:64]!r}; no commit has them; "
            f"'muse session recover {session}' makes them pending"
        )


def _print_outcome(output: Output, session: str, outcome: CommitOutcome) -> None:
    for op_id, holder in outcome.left_out.items():
        output.line(f"left out: op {op_id}: {reason(holder)}")
    if not outcome.commit_ids:
        output.line(f"Nothing to commit: every op of session {session} is in history.")
        return
    for commit_id in outcome.commit_ids:
        output.line(f"Commit {commit_id}")
    output.line(f"{count_of(outcome.op_count, 'op')} ({outcome.summary})")
    for verb, paths in (("wrote", outcome.written), ("removed", outcome.removed)):
        for path in paths:
            output.line(f"  {verb} {path}")
    _print_ineffective(output, session, outcome)


def _print_ineffective(output: Output, session: str, outcome: CommitOutcome) -> None:
    """Say which ops changed nothing, and why: their authors were told only what was known then."""
    if not outcome.ignored:
        return
    count = len({op.op_id for op in outcome.ignored})
    output.line(
        f"{count} of these {count_of(outcome.op_count, 'op')} had no effect; they stay in the log "
        "(--allow-ineffective takes that for success):"
    )
    for op in outcome.ignored[:_SHOWN]:
        output.line(f"  without effect: op {op.op_id}: {op.address}: {op.reason}")
    if len(outcome.ignored) > _SHOWN:
        more = len(outcome.ignored) - _SHOWN
        output.line(f"  ... and {more} more: 'muse session check {session}' lists them all")
