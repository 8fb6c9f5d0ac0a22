"""`muse watch`: makes a directory a live participant of a session."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Annotated

import typer

from muse.cli.shared.options import JsonOption, RepoOption, remember
from muse.cli.shared.output import Output, printable
from muse.cli.shared.workdirs import files_directory
from muse.disk.tree_watch import require_watching
from muse.workdir.watch import Watcher, WatchEvent
from muse.workdir.workdir import Workdir

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
        typer.Option("--dir", metavar="DIR", help="The directory to watch. Default: that of the repository."),
    ] = None,
    intent: Annotated[str, typer.Option(help="The intent that the work carries out.")] = "",
    read_only_files: Annotated[
        bool, typer.Option("--read-only-files", help="Never write into the files: only record them.")
    ] = False,
    repo: RepoOption = None,
    as_json: JsonOption = False,
) -> None:
    """Record what is saved in a directory, by whatever program, and bring what others do into its files.

    What was changed while nobody watched is recorded first. A file that is being written waits until it is
    quiet. Ctrl-C records what is left, and ends. With `--dir`, each actor works in a directory of its own.

    Example: muse watch jam-1 --actor anna

    Example: muse watch jam-1 --actor bot --dir ../bot-work --intent "a second voice"
    """
    require_watching()
    invocation = remember(ctx, repo, as_json=as_json)
    repository = invocation.repository()
    workdir = Workdir(repository, files_directory(repository, directory), actor, session_id=session)
    report = partial(_report, invocation.output)
    watcher = Watcher(workdir, report, intent_id=intent, brings=not read_only_files)
    with _stopping(watcher.stop):
        watcher.run()


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
