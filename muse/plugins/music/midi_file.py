"""The music of a MIDI file: its notes, and every other event untouched.

A score that was read and not changed is written as it was, to the byte. Where notes were changed, what
was read keeps its place, as `layout` describes. Reading gives the same score again, wherever MIDI can
tell the notes apart: of two notes of one pitch and channel, one inside the other, plain MIDI cannot say
which ends first.
"""

from collections import deque
from dataclasses import dataclass, field, replace

from muse.plugins.music.layout import lay_out
from muse.plugins.music.midi_bytes import END_OF_TRACK, Envelope, Event, EventFile, EventTrack, decode, encode
from muse.plugins.music.note import NEUTRAL_RELEASE, Note, note_between, pair_notes

__all__ = [
    "NEUTRAL_RELEASE",
    "NEW_FILE_TICKS_PER_BEAT",
    "MidiScore",
    "Note",
    "Track",
    "notes_of",
    "other_events",
    "read_midi",
    "write_midi",
]

NEW_FILE_TICKS_PER_BEAT = 480


@dataclass(frozen=True, slots=True)
class Track:
    """One track. `notes` are in the order of their starts; the track ends at `end_tick` or later.

    `chunks_before` are the bytes before the track that MIDI does not define. `read` is the
    track that was read, if it was: as long as `others` are its own, they keep their places in it.
    """

    others: tuple[Event, ...] = ()
    notes: tuple[Note, ...] = ()
    end_tick: int = 0
    chunks_before: bytes = b""
    read: EventTrack | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class MidiScore:
    """A MIDI file. `ticks_per_beat` is negative when the file counts SMPTE frames.

    `header_rest` and `trailer` are the header's bytes after the known fields, and what follows the
    last track; `stated_tracks` what the header says where that is wrong; `envelope` a RIFF file around it.
    """

    format: int = 1
    ticks_per_beat: int = NEW_FILE_TICKS_PER_BEAT
    tracks: tuple[Track, ...] = field(default=(Track(),))
    header_rest: bytes = b""
    trailer: bytes = b""
    stated_tracks: int | None = None
    envelope: Envelope | None = None


def read_midi(data: bytes) -> MidiScore:
    """Read a file. Raises DomainError when the bytes are not a MIDI file that can be read."""
    file = decode(data)
    return MidiScore(
        file.format,
        file.ticks_per_beat,
        tuple(map(_read_track, file.tracks)),
        file.header_rest,
        file.trailer,
        file.stated_tracks,
        file.envelope,
    )


def write_midi(score: MidiScore) -> bytes:
    """Write a file: the same score, the same bytes, in whatever order its notes are."""
    stated = score.stated_tracks
    if stated is not None and any(track.read is None for track in score.tracks[stated:]):
        stated = None
    return encode(
        EventFile(
            score.format,
            score.ticks_per_beat,
            tuple(map(_event_track, score.tracks)),
            score.header_rest,
            score.trailer,
            stated,
            score.envelope,
        )
    )


def notes_of(data: bytes) -> list[tuple[int, Note]]:
    """List every note with its track, sorted: equal lists mean equal notes."""
    tracks = enumerate(read_midi(data).tracks)
    return sorted(((index, note) for index, track in tracks for note in track.notes), key=_sort_key)


def other_events(data: bytes) -> list[list[Event]]:
    """List, for each track, every event that is not part of a note, and the track's end.

    Ticks are absolute, messages whole: equal lists mean equal events.
    """
    return [[*track.others, Event(track.end_tick, END_OF_TRACK)] for track in read_midi(data).tracks]


def _read_track(track: EventTrack) -> Track:
    pairs = pair_notes(track.events)
    notes = tuple(note_between(track.events, on, off) for on, off in pairs)
    return Track(_others(track, pairs), notes, track.end_tick, track.chunks_before, track)


def _others(track: EventTrack, pairs: list[tuple[int, int]]) -> tuple[Event, ...]:
    paired = {index for pair in pairs for index in pair}
    return tuple(event for index, event in enumerate(track.events) if index not in paired)


def _event_track(track: Track) -> EventTrack:
    """Lay a track out. Of the notes there are now, those that were read are known by what they are."""
    read, pairs = track.read, pair_notes(track.read.events) if track.read else []
    if read is None or _others(read, pairs) != track.others:
        read, pairs = EventTrack(track.others, track.end_tick, track.chunks_before), []
    known: dict[Note, deque[str]] = {}
    places = {}
    for number, pair in enumerate(pairs):
        places[f"read {number}"] = pair
        known.setdefault(note_between(read.events, *pair), deque()).append(f"read {number}")
    notes = {}
    for number, note in enumerate(sorted(track.notes, key=_note_key)):
        same = known.get(note)
        notes[same.popleft() if same else f"{number:012}"] = note
    read = replace(read, end_tick=track.end_tick, chunks_before=track.chunks_before)
    return lay_out(read, places, notes, notes.keys() - places.keys())


def _note_key(note: Note) -> tuple[int, ...]:
    release = -1 if note.release is None else note.release
    return (note.start_tick, note.end_tick, note.channel, note.pitch, note.velocity, release)


def _sort_key(placed: tuple[int, Note]) -> tuple[int, ...]:
    return (placed[0], *_note_key(placed[1]))
