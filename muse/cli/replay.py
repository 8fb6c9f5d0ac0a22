"""`muse replay`: a MIDI file is played in again, note by note, and comes out the same."""

import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import typer

from muse.cli.audience import audience_for
from muse.cli.options import Invocation, JsonOption, RepoOption, remember
from muse.cli.performance import perform
from muse.cli.places import free_directory, free_session_id, open_or_make, require_free_path, session_id_from
from muse.cli.players import DOMAIN, Job, Part, Play
from muse.cli.report import Comparison, conclude, present
from muse.core import layout
from muse.core.storage import LOCAL
from muse.errors import DomainError, NotFoundError, UsageError
from muse.plugins.midi_file import Track, notes_of, other_events, read_midi, without_notes
from muse.plugins.music import check_path
from muse.plugins.notes import insert_file, insert_note
from muse.repository import Repository
from muse.session import LiveSession

_DIRECTORY = "muse-replay"
_PROCESSES = 8
_FILE_BYTES = 64 << 20
_INLINE_BYTES = 256 << 10  # beyond this, the log names the content and the store has it
_NAME_LENGTH = 40
_TRACK_NAME = b"\xff\x03"


@dataclass(frozen=True, slots=True)
class _Source:
    """A MIDI file that was read, and the name it will have in the repository."""

    name: str
    data: bytes


def replay(
    ctx: typer.Context,
    *,
    file: Annotated[str, typer.Argument(metavar="FILE.mid", help="The MIDI file.", show_default=False)],
    session: Annotated[
        str | None, typer.Option(help="A new session's id. Default: from the file's name.")
    ] = None,
    rate: Annotated[str, typer.Option(help="Edits a second of each actor, or max.")] = "100",
    commit_every: Annotated[
        float, typer.Option(min=0.05, metavar="SECONDS", help="How often to commit.")
    ] = 1.0,
    name: Annotated[str | None, typer.Option(help="The file's name in the repository.")] = None,
    repo: RepoOption = None,
    as_json: JsonOption = False,
) -> None:
    """Play a MIDI file into a session, live.

    Each track is an actor, each note an edit. It ends with a check that the file in the repository has
    every note and every other event of FILE. Outside a repository, a new directory is made here:
    muse-replay, or muse-replay-2 and so on.

    Example: muse replay song.mid --rate 200
    """
    invocation = remember(ctx, repo, as_json=as_json)
    edits_per_second = _rate(rate)
    source = _read_source(file, name)
    repository = _place(invocation, session, source.name)
    session_id = session or free_session_id(
        repository, session_id_from(os.path.splitext(source.name)[0], "replay")
    )
    output = invocation.output
    if not output.as_json:
        output.line(f"{source.name}, in {repository.root}, session {session_id}")
    with LiveSession(repository.root, session_id, author="muse replay") as live:
        _insert_skeleton(live, source)
        with audience_for(output) as audience:
            performance = perform(
                live,
                _jobs(repository.root, session_id, source, edits_per_second),
                title=f"Replay of {source.name}",
                commit_seconds=commit_every,
                audience=audience,
            )
        present(conclude(live, performance, _compared(repository.root, source)), output)


def _rate(text: str) -> float | None:
    if text == "max":
        return None
    try:
        rate = float(text)
    except ValueError:
        rate = 0
    if not 0.1 <= rate <= 1_000_000:
        raise UsageError(f"rate {text!r} is none: give edits a second, 0.1 to 1000000, or 'max'")
    return rate


def _read_source(file: str, name: str | None) -> _Source:
    """Read the file, before anything is made; `UsageError` if it is no MIDI file or has no good name."""
    path = os.path.realpath(file)
    size = LOCAL.file_size(path)
    if size is None:
        raise NotFoundError(f"{file} is not a file: give the path of a MIDI file")
    if size > _FILE_BYTES:
        raise UsageError(f"{file} has {size} bytes: at most {_FILE_BYTES} are replayed")
    data = LOCAL.read_bytes(path)
    try:
        read_midi(data)
    except DomainError as error:
        raise DomainError(f"{file}: {error}", path=file) from error
    chosen = os.path.basename(file) if name is None else name
    try:
        check_path(chosen)
    except UsageError as error:
        raise UsageError(f"{error}; give a name for the repository with --name") from error
    return _Source(chosen, data)


def _place(invocation: Invocation, session: str | None, name: str) -> Repository:
    """Find or make the repository, once it is clear that the session and the file have room in it."""
    if session is not None:
        layout.check_session_id(session)
    repository = _found_repository(invocation)
    if repository is None:
        return open_or_make(invocation.repo or free_directory(_DIRECTORY))
    require_free_path(repository, name, "give another name with --name, or another repository with --repo")
    if session is not None and LOCAL.exists(layout.ops_file(repository.root, session)):
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


def _insert_skeleton(live: LiveSession, source: _Source) -> None:
    """Log the file without its notes, which the actors then play in."""
    skeleton = without_notes(source.data)
    inline = len(skeleton) <= _INLINE_BYTES
    if not inline:
        live.repository.objects.put(skeleton)
    live.edit("conductor", DOMAIN, insert_file(source.name, skeleton, inline=inline))


def _jobs(root: str, session_id: str, source: _Source, rate: float | None) -> list[Job]:
    parts = sorted(_parts(source), key=lambda part: len(part.ops), reverse=True)
    shares = [tuple(parts[first::_PROCESSES]) for first in range(min(_PROCESSES, len(parts)))]
    return [
        Job(root, session_id, {part.actor_id: len(part.ops) for part in share}, Play(share, rate))
        for share in shares
    ]


def _parts(source: _Source) -> Iterator[Part]:
    """Make a part of each track that has notes."""
    for index, track in enumerate(read_midi(source.data).tracks):
        if track.notes:
            ops = [
                insert_note(source.name, f"{index + 1}-{number}", note, track=index)
                for number, note in enumerate(track.notes, start=1)
            ]
            yield Part(_actor_id(index, track), ops)


def _actor_id(index: int, track: Track) -> str:
    """Name the actor of a track by its number, from 1, and the track's own name."""
    names = (message for _, message in track.others if message.startswith(_TRACK_NAME))
    text = next(names, b"")[3:].decode("utf-8", "replace")
    words = re.sub(r"[^\w.-]+", "-", text)[:_NAME_LENGTH].strip("-")
    return f"track-{index + 1}-{words}" if words else f"track-{index + 1}"


def _compared(root: str, source: _Source) -> Comparison:
    data = LOCAL.read_bytes(os.path.join(root, *source.name.split("/")))
    wanted, found = Counter(notes_of(source.data)), Counter(notes_of(data))
    others_alike = other_events(source.data) == other_events(data)
    return Comparison(source.name, (wanted & found).total(), wanted.total(), found.total(), others_alike)
