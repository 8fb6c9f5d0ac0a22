"""The command line as a whole: its commands, and what becomes of an error."""

import os
from typing import Annotated

import typer

from muse import __version__
from muse.cli import (
    INTERRUPTED,
    archiving,
    blame,
    checkout,
    commits,
    coord,
    keys,
    prove,
    serve,
    sessions,
    syncing,
    tokens,
    undo,
)
from muse.cli.demo import command as demo
from muse.cli.options import JsonOption, RepoOption, help_without_command, remember
from muse.cli.output import abandon_stdout, facts_of, prepare_streams, print_error
from muse.cli.replay import command as replay
from muse.core.timestamp import now_text
from muse.errors import MuseError, UsageError
from muse.history.repository import Repository

app = typer.Typer(
    name="muse",
    help="An op log for live collaboration, and its way into a verifiable history.",
    rich_markup_mode=None,
    add_completion=False,
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(sessions.app, name="session")
app.add_typer(keys.app, name="key")
app.add_typer(coord.app, name="coord")
app.add_typer(tokens.app, name="token")


def _print_version(wanted: bool) -> None:  # noqa: FBT001 - Typer calls it so
    if wanted:
        typer.echo(f"muse {__version__}")
        raise typer.Exit


@app.callback()
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


@app.command("init")
def init(
    ctx: typer.Context,
    *,
    directory: Annotated[str | None, typer.Argument(metavar="[DIR]", help="Default: here.")] = None,
    domain: Annotated[str, typer.Option(help="The domain of most of its ops.")] = "music",
    repo: RepoOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a repository. One that is there already stays as it is.

    Example: muse init my-song
    """
    invocation = remember(ctx, repo, as_json=as_json)
    if directory is not None and repo is not None:
        raise UsageError("both DIR and --repo name the new repository: give one of them")
    root = os.path.abspath(directory or invocation.repo or ".")
    repository, created = Repository.init(root, now=now_text(), domain=domain)
    if invocation.output.as_json:
        invocation.output.record(
            {
                "repository": repository.root,
                "repo_id": repository.repo_id,
                "domain": repository.domain,
                "created": created,
            }
        )
    else:
        state = "A new Muse repository is" if created else "There is a Muse repository already"
        invocation.output.line(f"{state} in {repository.root}")


app.command("commit")(commits.commit)
app.command("log")(commits.log)
app.command("show")(commits.show)
app.command("verify")(commits.verify)
app.command("prove")(prove.prove)
app.command("blame")(blame.blame)
app.command("undo")(undo.undo)
app.command("gc")(archiving.collect)
app.command("checkout")(checkout.checkout)
app.command("clone")(syncing.clone)
app.command("pull")(syncing.pull)
app.command("push")(syncing.push)
app.command("demo")(demo.demo)
app.command("replay")(replay.replay)
app.command("serve")(serve.serve)


def run(arguments: list[str]) -> int:
    """Run one command and return its exit status; an error is one line on stderr, never a traceback."""
    as_json = "--json" in arguments
    prepare_streams()
    try:
        return typer.main.get_command(app).main(arguments, prog_name="muse", standalone_mode=False) or 0
    except typer.TyperException as error:
        hint = f"{error.format_message().rstrip('.')}; see 'muse --help'"
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
