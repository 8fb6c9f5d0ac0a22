"""What each actor of the demonstration does with Bach's prelude. Pure: the same edits each time.

An agent takes every fourth measure, and each note through six edits: a sketch an octave too low, a
step late, half as long and on a channel for sketches, which is then brought to its pitch, its place,
its length, a first velocity, and last into its hand's channel. Some notes come out wrong on purpose.
The reviser hears that last edit: it shapes the velocity, or takes a wrong note out and puts the right one in.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from muse.cli.demo.prelude import (
    BEATS_PER_MEASURE,
    COMPOSER,
    SIXTEENTH_TICKS,
    TICKS_PER_BEAT,
    TITLE,
    TOTAL_TICKS,
    ScoreNote,
    prelude_notes,
    velocity_of,
)
from muse.cli.stage.players import Listener
from muse.domain import PatchOp
from muse.plugins.music.identified_score import IdentifiedScore
from muse.plugins.music.midi_bytes import Event, EventFile, EventTrack, encode
from muse.plugins.music.midi_file import Note
from muse.plugins.music.note_ops import NOTE_PREFIX, read_note_edit
from muse.plugins.music.notes import delete_note, insert_note, move_note, mutate_note

PATH: Final = "prelude.mid"
REVISER: Final = "reviser"
AGENTS: Final = 4
_TRACK_OF: Final = {"right": 0, "left": 1}  # each hand has the channel of its track's number
_SKETCH_CHANNEL: Final = 15
_SKETCH_VELOCITY: Final = 40
_WRONG_EVERY: Final = 23
_MICROSECONDS_PER_BEAT: Final = 60_000_000 // 66


def score_notes() -> list[tuple[int, Note]]:
    """Return the notes that the finished file must hold, each with its track."""
    return [(_TRACK_OF[note.voice], _right(note)) for note in prelude_notes()]


def agent_edits(agent: int) -> list[PatchOp]:
    """Return the edits of one agent, counted from 0, in their order: measure by measure."""
    edits: list[PatchOp] = []
    for measure in range(agent + 1, prelude_notes()[-1].measure + 1, AGENTS):
        strokes = [_strokes(index, note) for index, note in _numbered() if note.measure == measure]
        edits.extend(edit for stroke in zip(*strokes, strict=True) for edit in stroke)
    return edits


def reviser_edits() -> int:
    """Count the edits of the reviser: one for a right note, two for a wrong one."""
    return sum(2 if _is_wrong(index) else 1 for index, _ in _numbered())


def base_file() -> bytes:
    """Return the file as it is before the first note: tempo, meter, key, names, and the two hands."""
    whole_piece = (
        _meta(0x01, f"{TITLE}, {COMPOSER}".encode()),
        _meta(0x51, _MICROSECONDS_PER_BEAT.to_bytes(3)),
        _meta(
            0x58, bytes((BEATS_PER_MEASURE, 2, 24, 8))
        ),  # quarters, 24 clocks to each, 8 of 1/32 to a quarter
        _meta(0x59, bytes((0, 0))),  # no sharps or flats, major
    )
    right = (_meta(0x03, b"Right hand"), *whole_piece, _piano(channel=0))
    left = (_meta(0x03, b"Left hand"), _piano(channel=1))
    return encode(EventFile(1, TICKS_PER_BEAT, (_track(right), _track(left))))


def _track(messages: Sequence[bytes]) -> EventTrack:
    return EventTrack(tuple(Event(0, message) for message in messages), TOTAL_TICKS)


def _piano(channel: int) -> bytes:
    return bytes((0xC0 | channel, 0))


def _meta(kind: int, content: bytes) -> bytes:
    return bytes((0xFF, kind, len(content))) + content


def _numbered() -> list[tuple[int, ScoreNote]]:
    return list(enumerate(prelude_notes()))


def _is_wrong(index: int) -> bool:
    return index % _WRONG_EVERY == _WRONG_EVERY // 2


def _right(note: ScoreNote) -> Note:
    channel = _TRACK_OF[note.voice]
    return Note(note.pitch, velocity_of(note), note.start_tick, note.duration_ticks, channel)


def _strokes(index: int, score_note: ScoreNote) -> list[PatchOp]:
    """Return the six edits of one note; a wrong one ends up a semitone too high."""
    name = f"{score_note.measure}-{index}"
    goal = _right(score_note)
    goal = replace(goal, pitch=goal.pitch + _is_wrong(index), velocity=goal.velocity // 8 * 8)
    sketch = Note(
        goal.pitch - 12,
        _SKETCH_VELOCITY,
        goal.start_tick + SIXTEENTH_TICKS,
        goal.duration_ticks // 2,
        _SKETCH_CHANNEL,
    )
    in_pitch = replace(sketch, pitch=goal.pitch)
    in_place = replace(in_pitch, start_tick=goal.start_tick)
    in_length = replace(in_place, duration_ticks=goal.duration_ticks)
    in_voice = replace(in_length, velocity=goal.velocity)
    return [
        insert_note(PATH, name, sketch, track=_TRACK_OF[score_note.voice]),
        mutate_note(PATH, name, sketch, pitch=goal.pitch),
        move_note(PATH, name, in_pitch, goal.start_tick),
        mutate_note(PATH, name, in_place, duration_ticks=goal.duration_ticks),
        mutate_note(PATH, name, in_length, velocity=goal.velocity),
        mutate_note(PATH, name, in_voice, channel=goal.channel),
    ]


class Reviser(Listener):
    """Knows the score by heart, and follows each note."""

    def __init__(self) -> None:
        self._heard = IdentifiedScore()
        self._score = score_notes()
        self._left = len(self._score)

    @property
    def is_done(self) -> bool:
        """Whether every note of the score has been brought in, and answered."""
        return self._left == 0

    def hear(self, op: Mapping[str, Any]) -> Sequence[PatchOp]:
        """Take in an op; answer the last edit of a note."""
        answers: list[PatchOp] = []
        for child in op.get("child_ops", ()):
            edit = read_note_edit(child)
            edit.apply_to(self._heard)
            if "channel" in edit.changes:
                self._left -= 1
                answers += self._revise(child["address"].removeprefix(NOTE_PREFIX))
        return answers

    def _revise(self, name: str) -> list[PatchOp]:
        track, heard = self._heard.notes[name]
        meant = self._meant(track, heard)
        if heard.pitch == meant.pitch:
            return [mutate_note(PATH, name, heard, track=track, velocity=meant.velocity)]
        return [delete_note(PATH, name, heard), insert_note(PATH, f"{name}-right", meant, track=track)]

    def _meant(self, track: int, heard: Note) -> Note:
        """Find the note of the score at the place of `heard`, the nearest in pitch."""
        place = (track, heard.start_tick, heard.duration_ticks)
        there = [
            note for index, note in self._score if (index, note.start_tick, note.duration_ticks) == place
        ]
        return min(there, key=lambda note: abs(note.pitch - heard.pitch))
