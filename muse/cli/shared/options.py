"""The options that every command has, and what they mean."""

import os
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from muse.cli.shared.output import Output
from muse.errors import CorruptionError, NotFoundError

# What the help of a command needs no part of is imported where it is used: the help is there at once.
if TYPE_CHECKING:
    from muse.history.repository import Repository
    from muse.history.signing import Signer

RepoOption = Annotated[
    str | None,
    typer.Option(
        "--repo", metavar="DIR", help="The repository. Default: the one around the current directory."
    ),
]


def a_number(value: float) -> float:
    """Return the value of an option; raise `typer.BadParameter` for "nan", which passes every bound."""
    if value != value:  # noqa: PLR0124 - only nan differs from itself
        raise typer.BadParameter("it must be a number, not nan")
    return value


JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs, one object a line.")]
SessionArgument = Annotated[
    str, typer.Argument(metavar="SESSION", help="The session's id.", show_default=False)
]
SignOption = Annotated[str | None, typer.Option(metavar="KEYFILE", help="Sign with this private key.")]
ActorOption = Annotated[str, typer.Option("--actor", metavar="NAME", help="Who asks.", show_default=False)]


def current_directory() -> str:
    """Return where the command was called; `NotFoundError` if that directory is gone."""
    try:
        return os.getcwd()
    except FileNotFoundError as error:
        raise NotFoundError("the current directory is gone: change to another, or use --repo DIR") from error


def load_signer(path: str | None) -> "Signer | None":
    """Read the private key in a file, if one is named."""
    if path is None:
        return None
    from muse.history.signing import Signer  # noqa: PLC0415

    return Signer.load(os.path.join(current_directory(), path))


@dataclass(frozen=True, slots=True)
class Invocation:
    """The repository and the output that the options ask for, given before the command or after it."""

    repo: str | None
    output: Output

    def repository(self) -> "Repository":
        """Open the repository; `NotFoundError` if it is missing."""
        from muse.history.repository import Repository  # noqa: PLC0415

        if self.repo is None:
            return Repository.find(current_directory())
        return Repository.open(os.path.abspath(self.repo))


def remember(ctx: typer.Context, repo: str | None, *, as_json: bool) -> Invocation:
    """Join the options of this command with those given before it."""
    before = ctx.obj if isinstance(ctx.obj, Invocation) else Invocation(None, Output(as_json=False))
    chosen = before.repo if repo is None else repo
    invocation = Invocation(chosen, Output(as_json=as_json or before.output.as_json))
    ctx.obj = invocation
    return invocation


def repository_to_check(invocation: Invocation) -> "Repository":
    """Open the repository; one whose `repo.json` is damaged too, which is then a finding among others."""
    from muse.history.repo_record import RepoRecord  # noqa: PLC0415
    from muse.history.repository import Repository  # noqa: PLC0415

    try:
        return invocation.repository()
    except CorruptionError as error:
        root = os.path.dirname(os.path.dirname(error.path))
        return Repository(root, record=RepoRecord(repo_id="", schema_version="", created_at="", domain=""))


def check_session(repository: "Repository", session_id: str) -> str:
    """Return the id of the session that is named, in full or by its first 4 or more characters.

    Raises `NotFoundError` if there is no such session, `UsageError` if several begin so.
    """
    from muse.core.file.live_or_archived import check_session_exists  # noqa: PLC0415
    from muse.core.session_directory import list_sessions  # noqa: PLC0415
    from muse.history.revision import PREFIX_LENGTH, one_beginning_with  # noqa: PLC0415

    with suppress(NotFoundError):
        return check_session_exists(repository.root, session_id, storage=repository.storage)
    known = list_sessions(repository.root) if len(session_id) >= PREFIX_LENGTH else []
    found = one_beginning_with(session_id, known, "sessions")
    return found or check_session_exists(repository.root, session_id, storage=repository.storage)


def help_without_command(ctx: typer.Context) -> None:
    """Print the help and leave, when no command was given."""
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help(), err=True)
        raise typer.Exit(2)


def command_group(purpose: str) -> typer.Typer:
    """Make a command that has commands of its own, and says which when it is called without one."""
    group = typer.Typer(help=purpose, rich_markup_mode=None, invoke_without_command=True)

    @group.callback()
    def root(ctx: typer.Context, *, repo: RepoOption = None, as_json: JsonOption = False) -> None:
        remember(ctx, repo, as_json=as_json)
        help_without_command(ctx)

    return group
