"""`muse log`: lists commits."""

import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Annotated

import typer

from muse.cli.shared.commit_text import SHORT_ID, author_of, commit_lines, is_narrow, moment_for, subject
from muse.cli.shared.diffs import print_diffs
from muse.cli.shared.options import Invocation, JsonOption, RepoOption, check_session, remember
from muse.cli.shared.workdirs import tree_paths
from muse.core.timestamp import moment_of
from muse.errors import NotFoundError, UsageError
from muse.history.commit_record import CommitRecord, brief_record, covered_count
from muse.history.repository import Repository
from muse.views.commit_filter import CommitFilter, Wanted, check_paths
from muse.views.file_diff import diff_commits

_AGE = re.compile(r"([0-9]{1,5}) ?(minute|hour|day|week|m|h|d|w)s?(?: ago)?\Z")
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def log(
    ctx: typer.Context,
    *,
    revision: Annotated[
        str, typer.Argument(metavar="[REV]", help="A branch, HEAD, HEAD~2, or a commit id.")
    ] = "HEAD",
    count: Annotated[int | None, typer.Option("-n", min=0, help="How many commits. Default: all.")] = None,
    patch: Annotated[bool, typer.Option("--patch", "-p", help="Show what each commit changed.")] = False,
    full: Annotated[bool, typer.Option("--full", help="Show whole messages, with their trailers.")] = False,
    path: Annotated[
        list[str] | None, typer.Option(help="Only commits that changed this file or directory.")
    ] = None,
    actor: Annotated[str | None, typer.Option(help="Only commits with an op of this actor.")] = None,
    intent: Annotated[str | None, typer.Option(help="Only commits with an op of this intent.")] = None,
    session: Annotated[str | None, typer.Option(help="Only commits of this session.")] = None,
    since: Annotated[
        str | None, typer.Option(metavar="WHEN", help="Only later ones: 2026-01-31T12:00, '3 days', 2h.")
    ] = None,
    repo: RepoOption = None,
    as_json: JsonOption = False,
) -> None:
    """List commits, the newest first, each before the commits it builds on.

    Several filters choose the commits that all of them choose. A session is named by its id or its beginning.
    A path that no commit has had is an error.

    Example: muse log -n 5

    Example: muse log -p --path song.mid --actor bot --since '2 days'
    """
    invocation = remember(ctx, repo, as_json=as_json)
    output = invocation.output
    repository = invocation.repository()
    wanted = Wanted(
        paths=tree_paths(invocation, repository, path),
        actor_id=actor,
        intent_id=intent,
        session_id=None if session is None else _session_id(repository, session),
        since=None if since is None else _moment_since(since, datetime.now(UTC)),
    )
    if revision == "HEAD" and repository.dag.head(repository.dag.current_branch()) is None:
        if not output.as_json:
            output.line("No commits yet.")
        return
    limit = None if count is None else min(count, sys.maxsize)
    history = islice(_history(repository, repository.dag.resolve(revision), wanted), limit)
    if output.as_json:
        for record in history:
            output.record(brief_record(record) | _patch(repository, record, patch=patch))
    elif patch or full:
        _print_each(invocation, repository, history, patch=patch, full=full)
    else:
        _print_table(invocation, list(history), is_filtered=wanted != Wanted(paths=[]))


def _history(repository: Repository, start: str, wanted: Wanted) -> Iterator[CommitRecord]:
    """Yield the wanted commits; `NotFoundError` where no commit had a wanted path."""
    is_empty = True
    for record in filter(CommitFilter(repository, wanted), repository.dag.children_first(start)):
        is_empty = False
        yield record
    if is_empty:
        check_paths(repository, repository.dag.children_first(start), wanted.paths)


def _session_id(repository: Repository, name: str) -> str:
    """Return the id of the session that is named; the log of one that history knows may not be here."""
    with suppress(NotFoundError):
        return check_session(repository, name)
    return name


def _patch(repository: Repository, record: CommitRecord, *, patch: bool) -> dict[str, object]:
    if not patch:
        return {}
    diffs = diff_commits(repository, record["parent_commit_id"], record["commit_id"])
    return {"diff": [diff.as_record() for diff in diffs]}


def _print_each(
    invocation: Invocation,
    repository: Repository,
    history: Iterator[CommitRecord],
    *,
    patch: bool,
    full: bool,
) -> None:
    output = invocation.output
    for number, record in enumerate(history):
        if number:
            output.line()
        for text in commit_lines(record, full=full):
            output.line(text)
        if patch:
            output.line()
            print_diffs(output, diff_commits(repository, record["parent_commit_id"], record["commit_id"]))


def _print_table(invocation: Invocation, history: list[CommitRecord], *, is_filtered: bool) -> None:
    if not history and is_filtered:
        invocation.output.line("No commit is as asked for.")
        return
    output = invocation.output
    headings = ["COMMIT", "WHEN (UTC)", "AUTHOR", "OPS", "MESSAGE"]
    rows: list[list[object]] = [
        [
            record["commit_id"][:SHORT_ID],
            moment_for(output, record["committed_at"]),
            author_of(record),
            covered_count(record),
            subject(record),
        ]
        for record in history
    ]
    if is_narrow(output):  # the message needs the room
        headings[1] = "WHEN"
        del headings[3]
        for row in rows:
            del row[3]
    output.table(headings, rows, cuts_last=True)


def _moment_since(text: str, now: datetime) -> datetime:
    """Return the moment that a time or an age names; `UsageError` for anything else."""
    if (age := _AGE.match(text.strip())) is not None:
        return now - timedelta(**{_UNITS[age[2][0]]: int(age[1])})
    try:
        return moment_of(text)
    except ValueError as error:
        raise UsageError(
            f"--since {text!r} is not a time: give 2026-01-31, 2026-01-31T12:00 or an age such as '3 days'"
        ) from error
