"""The command line as a whole: its commands, and what happens with an error."""

import os
from typing import Annotated

import typer

from muse import __version__
from muse.cli import INTERRUPTED, key, token
from muse.cli.blame import blame
from muse.cli.branch import command as branch
from muse.cli.checkout import checkout
from muse.cli.clone import clone
from muse.cli.commit import commit
from muse.cli.coord import command as coord
from muse.cli.demo.command import demo
from muse.cli.diff import diff
from muse.cli.gc import gc
from muse.cli.init import init
from muse.cli.log import log
from muse.cli.prove import prove
from muse.cli.pull import pull
from muse.cli.push import push
from muse.cli.record import record
from muse.cli.repair import repair
from muse.cli.replay.command import replay
from muse.cli.serve import serve
from muse.cli.session import command as session
from muse.cli.shared.options import JsonOption, RepoOption, help_without_command, remember
from muse.cli.shared.output import abandon_stdout, facts_of, prepare_streams, print_error
from muse.cli.show import show
from muse.cli.status import status
from muse.cli.undo import undo
from muse.cli.verify.command import verify
from muse.cli.watch import watch
from muse.errors import MuseError, UsageError

app = typer.Typer(
    name="muse",
    help="An op log for live collaboration, and its way into a verifiable history.",
    rich_markup_mode=None,
    add_completion=False,
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(session.app, name="session")
app.add_typer(branch.app, name="branch")
app.add_typer(key.app, name="key")
app.add_typer(coord.app, name="coord")
app.add_typer(token.app, name="token")


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


app.command("init")(init)
app.command("status")(status)
app.command("record")(record)
app.command("watch")(watch)
app.command("commit")(commit)
app.command("log")(log)
app.command("show")(show)
app.command("diff")(diff)
app.command("verify")(verify)
app.command("prove")(prove)
app.command("blame")(blame)
app.command("undo")(undo)
app.command("repair")(repair)
app.command("gc")(gc)
app.command("checkout")(checkout)
app.command("clone")(clone)
app.command("pull")(pull)
app.command("push")(push)
app.command("demo")(demo)
app.command("replay")(replay)
app.command("serve")(serve)


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
