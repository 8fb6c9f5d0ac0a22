"""`muse watch`: makes a directory a live participant of a session."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from muse.cli.shared.options import JsonOption, current_directory, remember
from muse.cli.shared.output import Output, printable
from muse.cli.shared.servers import client, is_url, remote_peer, require_client
from muse.cli.shared.workdirs import files_directory
from muse.disk import layout
from muse.disk.storage import LOCAL
from muse.disk.tree_watch import require_watching
from muse.history.repository import Repository
from muse.workdir.place import check_is_no_inside
from muse.workdir.watch import Watcher, WatchEvent
from muse.workdir.workdir import Workdir

if TYPE_CHECKING:
    from muse.workdir.server_link import ServerLink

_PATIENCE_SECONDS = 3.0
"""A server that does not answer for so long is away: what is recorded waits here."""

_COLOURS = {"recorded": 2, "brought": 4, "left_out": 1, "waiting": 1}


def watch(
    ctx: typer.Context,
    *,
    session: Annotated[
        str | None,
        typer.Argument(
            metavar="[SESSION]",
            help="Default: the last one of the directory, the only one that is open, or a new one.",
            show_default=False,
        ),
    ] = None,
    actor: Annotated[
        str, typer.Option("--actor", metavar="NAME", help="Whose work it is.", show_default=False)
    ],
    directory: Annotated[
        str | None,
        typer.Option(
            "--dir", metavar="DIR", help="What to watch; made if missing. Default: the repository's."
        ),
    ] = None,
    intent: Annotated[str, typer.Option(help="The intent that the work carries out.")] = "",
    read_only_files: Annotated[
        bool, typer.Option("--read-only-files", help="Never write into the files: only record them.")
    ] = False,
    repo: Annotated[
        str | None,
        typer.Option(
            "--repo",
            metavar="DIR|URL",
            help="The repository, or the address of a server. Default: the one around the current directory.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Record what is saved in a directory, by whatever program, and bring what others do into its files.

    What was changed while nobody watched is recorded first. A file that is being written waits until it is
    quiet. Ctrl-C records what is left, and ends. With `--dir`, each actor works in a directory of its own.
    With the address of a server as `--repo`, it is a replica, and goes on while the server is away. Where a
    file is left out to the end, the exit status is 1.

    Example: muse watch jam-1 --actor anna

    Example: muse watch jam-1 --actor bot --dir ../bot-work --intent "a second voice"

    Example: muse watch jam-1 --actor anna --repo https://muse.example.org --dir song
    """
    require_watching()
    invocation = remember(ctx, repo, as_json=as_json)
    link = None
    if invocation.repo is not None and is_url(invocation.repo):
        link, repository = _replica(invocation.repo, directory or ".")
        workdir = Workdir(repository, None, actor, session_id=session)
    else:
        repository = invocation.repository()
        place = files_directory(repository, directory, may_be_missing=True)
        workdir = Workdir(repository, place, actor, session_id=session)
    report = partial(_report, invocation.output)
    _run(Watcher(workdir, report, intent_id=intent, brings=not read_only_files, link=link))


def _run(watcher: Watcher) -> None:
    with _stopping(watcher.stop):
        if not watcher.run():
            raise typer.Exit(1)


def _replica(url: str, wanted: str) -> "tuple[ServerLink, Repository]":
    """Return the link of the replica at a place to the server, and that, which is made if it is missing."""
    place = os.path.realpath(os.path.join(current_directory(), wanted))
    check_is_no_inside(place, wanted, LOCAL)
    require_client()
    from muse.workdir.server_link import ServerLink  # noqa: PLC0415 - an extra, and slow to import

    find_peer = partial(remote_peer, url, _PATIENCE_SECONDS)
    link = ServerLink(place, LOCAL, find_peer, partial(client, url, _PATIENCE_SECONDS))
    link.clone_if_missing(is_there=LOCAL.exists(layout.repo_file(place)))
    return link, Repository.open(place)


@contextmanager
def _stopping(stop: Callable[[], None]) -> Iterator[None]:
    """Have Ctrl-C and SIGTERM end the watch well; the second Ctrl-C ends it at once."""

    def stop_well(_number: int, _frame: object) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        stop()

    before = {number: signal.signal(number, stop_well) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _report(output: Output, event: WatchEvent) -> None:
    if output.as_json:
        output.record(
            {
                "event": event.kind,
                "time": event.created_at,
                "path": event.path,
                "actor_ids": list(event.actor_ids),
                "change": event.change,
                "what": event.what,
                "op_ids": list(event.op_ids),
            }
        )
        return
    who = ", ".join(event.actor_ids) or ("others" if event.kind == "brought" else "")
    verb = event.change if event.kind == "recorded" else event.kind.replace("_", " ")
    rest = [text for text in (who, event.path, event.what) if text]
    output.coloured(
        [
            (f"{_clock(event.created_at)}  ", None),
            (verb, _COLOURS.get(event.kind)),
            ("".join(f"  {printable(text)}" for text in rest), None),
        ]
    )


def _clock(created_at: str) -> str:
    """Return the time of day, in the place of the reader, of a time as text."""
    from datetime import datetime  # noqa: PLC0415

    return datetime.fromisoformat(created_at).astimezone().strftime("%H:%M:%S")
