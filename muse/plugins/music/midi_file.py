"""The music of a MIDI file: its notes, and every other event untouched.

A note is a note_on and its note_off. They are paired first in, first out, for each track, channel and pitch.
Some programs write the end of a note without length before its start. So a note_on that nothing
ends before its pitch starts again takes a note_off that ended nothing at its own tick; otherwise
every later note of that pitch would end one note late. A note_on that never ends and a note_off
that ends nothing are other events.

Writing is a pure function of what the score holds, never of how it was made. At one tick come
first the ends of notes, then the other events in their order, then notes without length, then the
starts of the rest. Reading that back gives the same score, wherever MIDI can tell the notes apart:
of two notes of one pitch and channel, one inside the other, plain MIDI cannot say which ends first.
"""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import zip_longest
from typing import Any

from muse.core import content_id
from muse.errors import DomainError
from muse.plugins.music.midi_bytes import (
    LAST_TICK,
    Event,
    EventFile,
    EventTrack,
    decode,
    encode,
)
from muse.plugins.op_fields import shown

NEUTRAL_RELEASE = 64  # what the MIDI specification has senders use that do not measure it
NEW_FILE_TICKS_PER_BEAT = 480
_NOTE_OFF, _NOTE_ON = 0x8, 0x9
_PITCH_NAMES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
_LIMITS = {
    "pitch": (0, 127),
    "velocity": (1, 127),
    "start_tick": (0, LAST_TICK),
    "duration_ticks": (0, LAST_TICK),
    "channel": (0, 15),
    "release": (0, 127),
}


@dataclass(frozen=True, slots=True)
class Note:
    """One note. Raises DomainError unless every field is an int within MIDI's limits.

    `channel` counts from 0. `release` is the velocity of the note_off, or None when the note ends
    with a note_on of velocity 0. The note ends by tick 2**28 - 1. `ends_first`: a note without length
    whose end is before its start in the file, as some notation programs write grace notes.
    """

    pitch: int
    velocity: int
    start_tick: int
    duration_ticks: int
    channel: int = 0
    release: int | None = NEUTRAL_RELEASE
    ends_first: bool = False

    def __post_init__(self) -> None:
        _check(self)
        if self.duration_ticks and self.ends_first:
            object.__setattr__(self, "ends_first", False)

    @property
    def end_tick(self) -> int:
        return self.start_tick + self.duration_ticks

    @property
    def content_id(self) -> str:
        """Return the id of the note's content in the Muse repository format; the release does not count."""
        return content_id.note_id(
            self.pitch, self.velocity, self.start_tick, self.duration_ticks, self.channel
        )

    def fields(self) -> dict[str, int | None]:
        """Return the fields by name, as an op carries them; `ends_first` only where it is true."""
        return {name: value for name, value in asdict(self).items() if name != "ends_first" or value}

    def summary(self) -> str:
        """Describe the note in a line for people; C4 is pitch 60."""
        name = f"{_PITCH_NAMES[self.pitch % 12]}{self.pitch // 12 - 1}"
        when = f"at {self.start_tick} for {self.duration_ticks}"
        return f"{name} v{self.velocity} {when} on channel {self.channel}"


@dataclass(frozen=True, slots=True)
class Track:
    """One track. `notes` are in the order of their starts; the track ends at `end_tick` or later.

    `chunks_before` are the bytes before the track that MIDI does not define; they are kept as they were.
    """

    others: tuple[Event, ...] = ()
    notes: tuple[Note, ...] = ()
    end_tick: int = 0
    chunks_before: bytes = b""


@dataclass(frozen=True, slots=True)
class MidiScore:
    """A MIDI file. `ticks_per_beat` is negative when the file counts SMPTE frames.

    `header_rest` and `trailer` are the header's bytes after the known fields, and what follows the
    last track.
    """

    format: int = 1
    ticks_per_beat: int = NEW_FILE_TICKS_PER_BEAT
    tracks: tuple[Track, ...] = field(default=(Track(),))
    header_rest: bytes = b""
    trailer: bytes = b""


def read_midi(data: bytes) -> MidiScore:
    """Read a file. Raises DomainError when the bytes are not a MIDI file that can be read."""
    file = decode(data)
    tracks = tuple(_read_track(track) for track in file.tracks)
    return MidiScore(file.format, file.ticks_per_beat, tracks, file.header_rest, file.trailer)


def write_midi(score: MidiScore) -> bytes:
    """Write a file: the same score, the same bytes, in whatever order its notes are."""
    tracks = []
    for track in score.tracks:
        events, _ = lay_out(track.others, {str(index): note for index, note in enumerate(track.notes)})
        tracks.append(EventTrack(events, track.end_tick, track.chunks_before))
    return encode(
        EventFile(score.format, score.ticks_per_beat, tuple(tracks), score.header_rest, score.trailer)
    )


def without_notes(data: bytes) -> bytes:
    """Write the same file without its notes; all else stays, and every track keeps its length."""
    score = read_midi(data)
    bare = tuple(replace(track, notes=()) for track in score.tracks)
    return write_midi(replace(score, tracks=bare))


def notes_of(data: bytes) -> list[tuple[int, Note]]:
    """List every note with its track, sorted: equal lists mean equal notes."""
    tracks = enumerate(read_midi(data).tracks)
    return sorted(((index, note) for index, track in tracks for note in track.notes), key=_sort_key)


def other_events(data: bytes) -> list[list[Event]]:
    """List, for each track, every event that is not part of a note, and the track's end.

    Ticks are absolute, messages whole: equal lists mean equal events.
    """
    return [[*track.others, Event(track.end_tick, b"\xff\x2f\x00")] for track in read_midi(data).tracks]


def pair_notes(events: Sequence[Event]) -> list[tuple[int, int]]:
    """Find the notes among `events`: the index of each one's start and end, in order of starts."""
    sounds: dict[tuple[int, int], list[int]] = {}
    for index, (_, message) in enumerate(events):
        if message[0] >> 4 in {_NOTE_ON, _NOTE_OFF}:
            sounds.setdefault((message[0] & 0xF, message[1]), []).append(index)
    return sorted(pair for indexes in sounds.values() for pair in _pair_one_pitch(events, indexes))


def _pair_one_pitch(events: Sequence[Event], indexes: Sequence[int]) -> Iterable[tuple[int, int]]:
    """Pair the starts and ends of one channel and pitch, which are at `indexes`."""
    sounding: deque[int] = deque()
    stray_ends: deque[int] = deque()  # those at the tick at hand that ended nothing
    for index, following in zip_longest(indexes, indexes[1:]):
        if stray_ends and events[stray_ends[0]].tick < events[index].tick:
            stray_ends.clear()
        if not _starts_note(events[index].message):
            if sounding:
                yield (sounding.popleft(), index)
            else:
                stray_ends.append(index)
        elif stray_ends and (following is None or _starts_note(events[following].message)):
            yield (index, stray_ends.popleft())
        else:
            sounding.append(index)


def note_between(events: Sequence[Event], on: int, off: int) -> Note:
    """Build the note whose start and end are the events at `on` and `off`."""
    start, end = events[on], events[off]
    status, pitch, velocity = start.message
    release = end.message[2] if end.message[0] >> 4 == _NOTE_OFF else None
    return Note(pitch, velocity, start.tick, end.tick - start.tick, status & 0xF, release, off < on)


def can_pair(start: Event, end: Event) -> bool:
    """Tell whether `start` is a note_on and `end` one that may end it."""
    if not (_starts_note(start.message) and start.tick <= end.tick and len(end.message) == 3):
        return False
    ends = end.message[0] >> 4 == _NOTE_OFF or (end.message[0] >> 4 == _NOTE_ON and not end.message[2])
    return ends and (end.message[0] & 0xF, end.message[1]) == (start.message[0] & 0xF, start.message[1])


def lay_out(
    others: Sequence[Event], notes: Mapping[str, Note]
) -> tuple[tuple[Event, ...], dict[str, tuple[int, int]]]:
    """Order the events of a track; also return, by note id, the index of its start and of its end.

    The order is the one that the head of this module describes. Where there is a note_on without an end at a
    tick, the notes of its pitch start before it, so that it remains the one without an end.
    """
    unended: dict[tuple[int, int, int], int] = {}
    entries: list[tuple[Any, ...]] = []
    for slot, event in enumerate(others):
        entries.append((event.tick, 1, slot, 1, event, "", 0))
        if _starts_note(event.message):
            unended.setdefault((event.tick, event.message[0] & 0xF, event.message[1]), slot)
    for entity_id, note in notes.items():
        slot = unended.get((note.start_tick, note.channel, note.pitch), len(others))
        entries += _entries_of(entity_id, note, slot)
    entries.sort()
    places: dict[str, list[int]] = {entity_id: [0, 0] for entity_id in notes}
    for index, (*_, entity_id, which) in enumerate(entries):
        if entity_id in places:
            places[entity_id][which] = index
    return tuple(entry[-3] for entry in entries), {key: (on, off) for key, (on, off) in places.items()}


def _entries_of(entity_id: str, note: Note, slot: int) -> Iterable[tuple[Any, ...]]:
    """Return the sort keys of a note's start and end: tick, rank, then what breaks ties.

    Both sort notes of one pitch alike, so that pairing first in, first out finds them again.
    """
    release = -1 if note.release is None else note.release
    tie = (note.channel, note.pitch, note.velocity, release, entity_id)
    start, end = Event(note.start_tick, _on(note)), Event(note.end_tick, _off(note))
    yield (note.start_tick, 1, slot, 0, note.end_tick, note.ends_first, *tie, 0, start, entity_id, 0)
    if note.duration_ticks or note.ends_first:
        yield (note.end_tick, 0, note.start_tick, *tie, end, entity_id, 1)
    else:
        yield (note.end_tick, 1, slot, 0, note.end_tick, False, *tie, 1, end, entity_id, 1)


def _on(note: Note) -> bytes:
    return bytes((_NOTE_ON << 4 | note.channel, note.pitch, note.velocity))


def _off(note: Note) -> bytes:
    if note.release is None:
        return bytes((_NOTE_ON << 4 | note.channel, note.pitch, 0))
    return bytes((_NOTE_OFF << 4 | note.channel, note.pitch, note.release))


def _starts_note(message: bytes) -> bool:
    return message[0] >> 4 == _NOTE_ON and message[2] > 0


def _read_track(track: EventTrack) -> Track:
    pairs = pair_notes(track.events)
    notes = tuple(note_between(track.events, on, off) for on, off in pairs)
    paired = {index for pair in pairs for index in pair}
    others = tuple(event for index, event in enumerate(track.events) if index not in paired)
    return Track(others, notes, track.end_tick, track.chunks_before)


def _sort_key(placed: tuple[int, Note]) -> tuple[int, ...]:
    index, note = placed
    release = -1 if note.release is None else note.release
    return (index, note.start_tick, note.end_tick, note.channel, note.pitch, note.velocity, release)


def _check(note: Note) -> None:
    for name, (low, high) in _LIMITS.items():
        value = getattr(note, name)
        if value is None and name == "release":
            continue
        if type(value) is not int or not low <= value <= high:
            raise DomainError(f"a note's {name} is a whole number from {low} to {high}, not {shown(value)}")
    if note.end_tick > LAST_TICK:
        raise DomainError(f"a note ends by tick {LAST_TICK}, not at {note.end_tick}")
