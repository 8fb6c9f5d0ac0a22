"""`muse replay`: makes a finished work again, live, edit by edit, with the same outcome."""

import os
from collections.abc import Collection
from typing import Annotated, Protocol

import typer

from muse.cli.replay.commits import make_commits, tell
from muse.cli.replay.git_history import COMMITS, read_git_commits, read_git_history
from muse.cli.replay.midi import MidiPiece
from muse.cli.replay.player import ScriptPiece
from muse.cli.replay.script import Script
from muse.cli.replay.text_shares import ACTORS, share_text
from muse.cli.replay.trace import is_trace, read_trace, trace_name
from muse.cli.shared.options import Invocation, JsonOption, RepoOption, a_number, remember
from muse.cli.shared.output import Output
from muse.cli.stage.audience import audience_for
from muse.cli.stage.performance import perform
from muse.cli.stage.places import (
    free_directory,
    free_session_id,
    open_or_make,
    require_free_paths,
    session_id_from,
)
from muse.cli.stage.players import Job
from muse.cli.stage.report import Comparison, conclude, present
from muse.core.file.live_or_archived import session_exists
from muse.disk import layout
from muse.disk.scratch import scratch_directory
from muse.disk.storage import LOCAL
from muse.errors import DomainError, NotFoundError, UsageError
from muse.history.repository import Repository
from muse.plugins.code.encodings import detect
from muse.session.live import LiveSession

_DIRECTORY = "muse-replay"
_FILE_BYTES = 64 << 20
_TEXT_BYTES = 4 << 20
_MIDI_MAGIC = b"MThd"
_MIDI_ENDINGS = (".mid", ".midi", ".rmi")


_Source = Annotated[
    str,
    typer.Argument(
        metavar="SOURCE",
        help="A MIDI file, an editing trace, a git repository or a text.",
        show_default=False,
    ),
]
_Name = Annotated[
    str | None,
    typer.Option(help="The file's name in the repository; of a git history, a directory for it."),
]
_Limit = Annotated[
    int | None,
    typer.Option(min=1, max=100_000, help=f"How many commits of git, the newest. Default: {COMMITS}."),
]


class Piece(Protocol):
    """What is replayed: its jobs, and how the outcome is compared."""

    @property
    def name(self) -> str:
        """The name for people."""

    @property
    def domain(self) -> str:
        """The domain of its ops."""

    @property
    def paths(self) -> Collection[str]:
        """The places of its files."""

    @property
    def remarks(self) -> tuple[str, ...]:
        """Remarks for people, before it starts."""

    def prepare(self, live: LiveSession) -> None:
        """Log what is there before the actors start."""

    def jobs(self, root: str, session_id: str, rate: float | None, scratch: str) -> list[Job]:
        """Share the work out to processes, which may write below `scratch`."""

    def compare(self, repository: Repository) -> Comparison:
        """Compare what is in the repository with what was wanted."""


_AsCommits = Annotated[
    bool,
    typer.Option("--as-commits", help="Make each commit of git a commit here, as fast as it goes."),
]


def replay(
    ctx: typer.Context,
    *,
    source: _Source,
    session: Annotated[
        str | None, typer.Option(help="A new session's id. Default: from the source's name.")
    ] = None,
    rate: Annotated[str, typer.Option(help="Edits a second of each actor, or max.")] = "100",
    commit_every: Annotated[
        float, typer.Option(min=0.05, metavar="SECONDS", callback=a_number, help="How often to commit.")
    ] = 1.0,
    name: _Name = None,
    actors: Annotated[
        int | None, typer.Option(min=1, max=64, help=f"How many type a text. Default: {ACTORS}.")
    ] = None,
    limit: _Limit = None,
    as_commits: _AsCommits = False,
    repo: RepoOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make something again, live, from its edits.

    Muse sees from its content what SOURCE is. In a MIDI file each track is an actor, each note an edit. In an
    editing trace (JSON, mostly .json.gz) each agent is an actor with a replica of its own, and sees what it
    saw then. In the directory of a git repository each commit's author is an actor. Any other text is typed
    word by word by several agents at once. It ends with a check that the outcome is exactly the same. Outside
    a repository, a new directory is made here: muse-replay, or muse-replay-2 and so on. With --as-commits,
    the commits of git keep their messages, authors, times and executable files; what is left out is said.

    Example: muse replay song.mid --rate 200

    Example: muse replay trace.json.gz --rate max

    Example: muse replay ~/my-project --limit 50

    Example: muse replay ~/my-project --as-commits

    Example: muse replay essay.txt --actors 3
    """
    invocation = remember(ctx, repo, as_json=as_json)
    if as_commits:
        _refuse(actors, "--actors", "a text file")
        _replay_commits(invocation, source, name, limit, session)
    else:
        edits_per_second, piece = _rate(rate), _piece(source, name, actors, limit)
        _replay_edits(invocation, piece, session, edits_per_second, commit_every)


def _replay_edits(
    invocation: Invocation, piece: Piece, session: str | None, rate: float | None, commit_seconds: float
) -> None:
    """Play a piece in the session that is asked for, or in a new one with the name of the source."""
    repository = _place(invocation, session, piece)
    named = session_id_from(os.path.splitext(piece.name)[0], "replay")
    session_id = session or free_session_id(repository, named)
    _perform(piece, repository, session_id, invocation.output, rate=rate, commit_seconds=commit_seconds)


def _replay_commits(
    invocation: Invocation, source: str, name: str | None, limit: int | None, session: str | None
) -> None:
    """Make the commits of a git repository again; exit with 1 if the outcome is not the same."""
    path = os.path.realpath(source)
    if not LOCAL.is_directory(path):
        raise UsageError(f"--as-commits is for the directory of a git repository, which {source} is not")
    history = read_git_commits(path, _prefix(name), limit)
    piece = ScriptPiece(history.script)
    repository = _place(invocation, session, piece)
    session_id = session or free_session_id(repository, session_id_from(piece.name, "replay"))
    with LiveSession(repository.root, session_id) as live:
        is_same = tell(invocation.output, live, history, make_commits(live, history, invocation.output))
    if not is_same:
        raise typer.Exit(1)


def _prefix(name: str | None) -> str:
    return f"{name.rstrip('/')}/" if name else ""


def _perform(
    piece: Piece,
    repository: Repository,
    session_id: str,
    output: Output,
    *,
    rate: float | None,
    commit_seconds: float,
) -> None:
    """Play a piece in a session, and print what came out."""
    if not output.as_json:
        output.line(f"{piece.name}, in {repository.root}, session {session_id}")
        for remark in piece.remarks:
            output.line(remark)
    with (
        LiveSession(repository.root, session_id, author="muse replay") as live,
        scratch_directory("muse-replay-") as scratch,
    ):
        live.heal()
        piece.prepare(live)
        with audience_for(output) as audience:
            performance = perform(
                live,
                piece.jobs(repository.root, session_id, rate, scratch),
                title=f"Replay of {piece.name}",
                commit_seconds=commit_seconds,
                audience=audience,
            )
        present(conclude(live, performance, piece.compare(repository)), output)


def _rate(text: str) -> float | None:
    if text == "max":
        return None
    try:
        rate = float(text)
    except ValueError:
        rate = 0
    if not 0.1 <= rate <= 1_000_000:
        raise UsageError(
            f"the rate must be a number from 0.1 to 1000000 (edits a second) or 'max', not {text!r}"
        )
    return rate


def _piece(source: str, name: str | None, actors: int | None, limit: int | None) -> Piece:
    """Read what is to be replayed, before anything is made; `UsageError` for what cannot be replayed."""
    path = os.path.realpath(source)
    if LOCAL.is_directory(path):
        _refuse(actors, "--actors", "a text file")
        return ScriptPiece(read_git_history(path, _prefix(name), limit))
    _refuse(limit, "--limit", "a git repository")
    data = _read(source, path)
    base = os.path.basename(source)
    ending = os.path.splitext(base)[1].lower()
    try:
        if data.startswith(_MIDI_MAGIC) or ending in _MIDI_ENDINGS:
            _refuse(actors, "--actors", "a text file")
            return MidiPiece(name or base, data)
        if is_trace(data) or ending == ".gz":
            _refuse(actors, "--actors", "a text file")
            return ScriptPiece(read_trace(data, name or trace_name(base)))
        return ScriptPiece(_typed(data, name or base, actors))
    except DomainError as error:
        raise DomainError(f"{source}: {error}", path=source) from error


def _typed(data: bytes, path: str, actors: int | None) -> Script:
    encoding = detect(data)
    if encoding is None:
        raise DomainError(
            "this is not a MIDI file, not an editing trace, and not a text in UTF-8 or UTF-16 with a mark"
        )
    if len(data) > _TEXT_BYTES:
        raise DomainError(f"the text has {len(data)} bytes: at most {_TEXT_BYTES} are typed")
    return share_text(data.decode(encoding), encoding, path, actors or ACTORS)


def _refuse(value: int | None, option: str, kind: str) -> None:
    if value is not None:
        raise UsageError(f"{option} is for {kind}, which this is not: leave it out")


def _read(source: str, path: str) -> bytes:
    size = LOCAL.file_size(path)
    if size is None:
        raise NotFoundError(f"{source} is not a file or directory: give the path of what is to be replayed")
    if size > _FILE_BYTES:
        raise UsageError(f"{source} has {size} bytes: at most {_FILE_BYTES} are replayed")
    return LOCAL.read_bytes(path)


def _place(invocation: Invocation, session: str | None, piece: Piece) -> Repository:
    """Find or make the repository, once it is clear that the session and the files have room in it."""
    if session is not None:
        layout.check_session_id(session)
    repository = _found_repository(invocation)
    if repository is None:
        return open_or_make(invocation.repo or free_directory(_DIRECTORY), piece.domain)
    require_free_paths(
        repository, piece.paths, "give another name with --name, or another repository with --repo"
    )
    if session is not None and session_exists(repository.root, session):
        raise UsageError(f"session {session!r} is there already: give a new id, or leave --session out")
    return repository


def _found_repository(invocation: Invocation) -> Repository | None:
    if invocation.repo is not None and not LOCAL.exists(os.path.join(os.path.abspath(invocation.repo))):
        return None
    try:
        return invocation.repository()
    except NotFoundError:
        if invocation.repo is None or not LOCAL.list_directory(os.path.abspath(invocation.repo)):
            return None
        raise
