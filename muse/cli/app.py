"""The command line as a whole: its commands, and what happens with an error."""

import os
from collections.abc import Sequence
from typing import Annotated

import typer

from muse import __version__
from muse.cli import INTERRUPTED
from muse.cli.commands import COMMANDS, CommandRow
from muse.cli.shared.options import JsonOption, RepoOption, help_without_command, remember
from muse.cli.shared.output import abandon_stdout, facts_of, prepare_streams, print_error
from muse.compat.lazy import lazy_names
from muse.core.compiled import FORM
from muse.errors import MuseError, UsageError


def make_app(wanted: Sequence[str] | None = None) -> typer.Typer:
    """Return the command line. Only the `wanted` commands are read, the others are names and help."""
    app = typer.Typer(
        name="muse",
        help="An op log for live collaboration, and its way into a verifiable history.",
        rich_markup_mode=None,
        add_completion=False,
        invoke_without_command=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_root)
    for row in COMMANDS:
        if wanted is None or row.name in wanted:
            _add(app, row)
        elif row.is_group:
            app.add_typer(typer.Typer(help=row.help), name=row.name)
        else:
            app.command(row.name, help=row.help)(_unread)
    return app


def _add(app: typer.Typer, row: CommandRow) -> None:
    name = "app" if row.is_group else row.name
    find, _ = lazy_names(row.module, {name: row.module})
    found = find(name)
    if isinstance(found, typer.Typer):
        app.add_typer(found, name=row.name)
    elif callable(found):
        app.command(row.name)(found)


def _unread() -> None:
    raise AssertionError("a command that is called is read first")


def _wanted(arguments: Sequence[str]) -> list[str]:
    """Return the command that is called: the first argument that is no option, and no option's value."""
    is_value = False
    for argument in arguments:
        if not is_value and not argument.startswith("-"):
            return [argument]
        is_value = argument == "--repo"
    return []


def _print_version(wanted: bool) -> None:  # noqa: FBT001 - Typer calls it so
    if wanted:
        typer.echo(f"muse {__version__} ({FORM})")
        raise typer.Exit


def _root(
    ctx: typer.Context,
    *,
    repo: RepoOption = None,
    as_json: JsonOption = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    del version
    remember(ctx, repo, as_json=as_json)
    help_without_command(ctx)


def run(arguments: list[str]) -> int:
    """Run one command and return its exit status; an error is one line on stderr, never a traceback."""
    as_json = "--json" in arguments
    prepare_streams()
    try:
        command = typer.main.get_command(make_app(_wanted(arguments)))
        return command.main(arguments, prog_name="muse", standalone_mode=False) or 0
    except typer.TyperException as error:
        context: typer.Context | None = getattr(error, "ctx", None)
        command_name = context.command_path if context else "muse"
        hint = f"{error.format_message().rstrip('.')}; see '{command_name} --help'"
        print_error("UsageError", hint, as_json=as_json)
        return 2
    except MuseError as error:
        print_error(type(error).__name__, str(error), as_json=as_json, facts=facts_of(error))
        return 2 if isinstance(error, UsageError) else 1
    except OSError as error:
        abandon_stdout()
        print_error("StorageError", f"the operating system refused: {error}", as_json=as_json)
        return 1
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except Exception as error:
        if os.environ.get("MUSE_TRACEBACK"):
            raise
        message = f"a fault of muse itself: {error!r}; MUSE_TRACEBACK=1 shows where"
        print_error("InternalError", message, as_json=as_json)
        return 1
