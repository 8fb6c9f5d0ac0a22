"""`muse commit`: carries a session's pending ops into history."""

from typing import Annotated

import typer

from muse.cli.shared.author import author_or_person
from muse.cli.shared.options import (
    JsonOption,
    RepoOption,
    SessionArgument,
    SignOption,
    check_session,
    load_signer,
    remember,
)
from muse.cli.shared.output import Output, count_of
from muse.errors import UsageError
from muse.session.commit import CommitOutcome
from muse.session.live import LiveSession


def commit(
    ctx: typer.Context,
    *,
    session: SessionArgument,
    message: Annotated[str, typer.Option("--message", "-m", help="What was done.", show_default=False)],
    author: Annotated[
        str,
        typer.Option(
            envvar="MUSE_AUTHOR", help="Whose commit it is. Default: git's user.name, or the login."
        ),
    ] = "",
    salvage: Annotated[bool, typer.Option("--salvage", help="Commit the good ops of a damaged log.")] = False,
    sign: SignOption = None,
    full: Annotated[bool, typer.Option("--full", help="Store every op in order, not their net.")] = False,
    repo: RepoOption = None,
    as_json: JsonOption = False,
) -> None:
    """Carry a session's pending ops into history.

    One commit is made for each domain, on the branch that HEAD names. The files here are brought up to date,
    except those that were changed by hand. A commit stores the net of its ops: a note inserted and then moved
    is one insert.

    Example: muse commit jam-1 -m "First take" --author Anna
    """
    invocation = remember(ctx, repo, as_json=as_json)
    if not message.strip():
        raise UsageError("the commit message is empty: say what was done, with -m MESSAGE")
    repository = invocation.repository()
    session = check_session(repository, session)
    output = invocation.output
    signer = load_signer(sign)
    with (
        LiveSession(
            repository.root, session, author=author_or_person(author, repository.root), signer=signer
        ) as live,
        output.progress("committing"),
    ):
        outcome = live.commit(message, salvage=salvage, full=full)
    if output.as_json:
        output.record(outcome.as_record())
    else:
        _print_outcome(output, session, outcome)


def _print_outcome(output: Output, session: str, outcome: CommitOutcome) -> None:
    if not outcome.commit_ids:
        output.line(f"Nothing to commit: every op of session {session} is in history.")
        return
    for commit_id in outcome.commit_ids:
        output.line(f"Commit {commit_id}")
    output.line(f"{count_of(outcome.op_count, 'op')} ({outcome.summary})")
    for verb, paths in (("wrote", outcome.written), ("removed", outcome.removed)):
        for path in paths:
            output.line(f"  {verb} {path}")
    for op in outcome.ignored:
        output.line(f"  without effect: {op.address}: {op.reason}")
