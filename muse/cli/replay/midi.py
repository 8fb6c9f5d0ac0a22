"""A MIDI file that is played again: each track is an actor, each note an edit."""

import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from muse.cli.stage.players import DOMAIN, Job, Part, Play
from muse.cli.stage.report import NoteComparison
from muse.disk.storage import LOCAL
from muse.errors import UsageError
from muse.history.repository import Repository
from muse.plugins.music.identified_score import skeleton_of
from muse.plugins.music.midi_file import Track, notes_of, other_events, read_midi
from muse.plugins.music.notes import insert_file, insert_note
from muse.plugins.music.plugin import check_path
from muse.session.live import LiveSession

_PROCESSES = 8
_INLINE_BYTES = 256 << 10  # beyond this, the log names the content and the store has it
_NAME_LENGTH = 40
_TRACK_NAME = b"\xff\x03"


@dataclass(frozen=True, slots=True)
class MidiPiece:
    """A MIDI file that was read, and the name it will have in the repository.

    `DomainError` if it is not a MIDI file whose notes can be edited, `UsageError` if its name cannot be used.
    """

    name: str
    data: bytes
    domain: str = DOMAIN
    remarks: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        skeleton_of(self.data)
        try:
            check_path(self.name)
        except UsageError as error:
            raise UsageError(f"{error}; give a name for the repository with --name") from error

    @property
    def paths(self) -> tuple[str, ...]:
        return (self.name,)

    def prepare(self, live: LiveSession) -> None:
        """Log the file without its notes, which the actors then play."""
        skeleton, names = skeleton_of(self.data)
        inline = len(skeleton) <= _INLINE_BYTES
        if not inline:
            live.repository.objects.put(skeleton)
        op = insert_file(self.name, skeleton, inline=inline)
        if len(names) <= _INLINE_BYTES:  # else the notes are put in without their places
            op["names"] = names.decode()
        live.edit("conductor", DOMAIN, op)

    def jobs(self, root: str, session_id: str, rate: float | None, _scratch: str) -> list[Job]:
        parts = sorted(self._parts(), key=lambda part: len(part.ops), reverse=True)
        shares = [tuple(parts[first::_PROCESSES]) for first in range(min(_PROCESSES, len(parts)))]
        return [
            Job(root, session_id, {part.actor_id: len(part.ops) for part in share}, Play(share, rate))
            for share in shares
        ]

    def _parts(self) -> Iterator[Part]:
        """Make a part of each track that has notes."""
        for index, track in enumerate(read_midi(self.data).tracks):
            if track.notes:
                ops = [
                    insert_note(self.name, f"{index + 1}-{number}", note, track=index)
                    for number, note in enumerate(track.notes, start=1)
                ]
                yield Part(_actor_id(index, track), ops)

    def compare(self, repository: Repository) -> NoteComparison:
        data = LOCAL.read_bytes(os.path.join(repository.root, *self.name.split("/")))
        wanted, found = Counter(notes_of(self.data)), Counter(notes_of(data))
        others_alike = other_events(self.data) == other_events(data)
        return NoteComparison(
            self.name, (wanted & found).total(), wanted.total(), found.total(), others_alike
        )


def _actor_id(index: int, track: Track) -> str:
    """Name the actor of a track by its number, from 1, and the track's own name."""
    names = (message for _, message in track.others if message.startswith(_TRACK_NAME))
    text = next(names, b"")[3:].decode("utf-8", "replace")
    words = re.sub(r"[^\w.-]+", "-", text)[:_NAME_LENGTH].strip("-")
    return f"track-{index + 1}-{words}" if words else f"track-{index + 1}"
