"""What the notes and other events of a MIDI file promise."""

import io
import random
from collections import Counter
from dataclasses import replace
from typing import Any

import mido
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from muse.core.content_id import note_id
from muse.errors import DomainError
from muse.plugins.music.midi_bytes import LAST_TICK, Event, EventFile, EventTrack, encode
from muse.plugins.music.midi_file import (
    MidiScore,
    Note,
    Track,
    notes_of,
    other_events,
    read_midi,
    write_midi,
)
from tests.samples.midi_samples import REAL_FILES, midi_files, notes, real_file, without_notes

C4 = Note(pitch=60, velocity=64, start_tick=0, duration_ticks=480)


def file_of(*events: tuple[int, str]) -> bytes:
    track = EventTrack(tuple(Event(tick, bytes.fromhex(message)) for tick, message in events), 20)
    return encode(EventFile(1, 480, (track,)))


def heard_by_mido(data: bytes) -> tuple[Counter[Any], list[list[str]]]:
    """Read a file with another library: the starts and ends of notes, and the other events."""
    sounds: Counter[Any] = Counter()
    others: list[list[str]] = []
    for index, track in enumerate(mido.MidiFile(file=io.BytesIO(data)).tracks):
        tick = 0
        others.append([])
        for message in track:
            tick += message.time
            if message.type in {"note_on", "note_off"}:
                sounds[index, tick, message.channel, message.note, message.type, message.velocity] += 1
            else:
                others[-1].append(repr(message.copy(time=tick)))
    return sounds, others


def test_a_note_is_summed_up_in_a_line() -> None:
    assert C4.summary() == "C4 v64 at 0 for 480 on channel 0"
    assert replace(C4, pitch=1, channel=9).summary() == "C#-1 v64 at 0 for 480 on channel 9"


def test_a_note_is_named_by_its_content_without_the_release() -> None:
    assert C4.content_id == note_id(60, 64, 0, 480, 0) == replace(C4, release=None).content_id


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("pitch", 128), ("pitch", -1), ("pitch", 60.0), ("pitch", "C4"), ("pitch", None),
        ("velocity", 0), ("velocity", 128), ("velocity", True),
        ("start_tick", -1), ("start_tick", LAST_TICK), pytest.param("start_tick", 10**5000, id="a huge tick"),
        ("duration_ticks", -1), ("duration_ticks", LAST_TICK + 1),
        ("channel", 16), ("release", 128), ("release", [[]]),
    ],
)  # fmt: skip
def test_a_note_out_of_midi_s_limits_cannot_be(field: str, value: Any) -> None:
    with pytest.raises(DomainError, match="a note"):
        replace(C4, **{field: value})


@pytest.mark.parametrize("name", REAL_FILES)
def test_a_real_file_has_the_notes_and_events_that_another_library_reads(name: str) -> None:
    data = real_file(name)
    sounds: Counter[Any] = Counter()
    for index, note in notes_of(data):
        key = (note.channel, note.pitch)
        sounds[index, note.start_tick, *key, "note_on", note.velocity] += 1
        sounds[index, note.end_tick, *key, "note_off", note.release] += 1
    assert sounds == heard_by_mido(data)[0]
    assert heard_by_mido(write_midi(read_midi(data))) == heard_by_mido(data)


@pytest.mark.parametrize("name", REAL_FILES)
def test_a_real_file_is_its_skeleton_and_its_notes(name: str) -> None:
    data = real_file(name)
    skeleton = read_midi(without_notes(data))
    assert all(track.notes == () for track in skeleton.tracks)
    assert other_events(without_notes(data)) == other_events(data)
    shuffled = notes_of(data)
    random.Random(7).shuffle(shuffled)
    tracks = tuple(
        replace(track, notes=tuple(note for place, note in shuffled if place == index))
        for index, track in enumerate(skeleton.tracks)
    )
    again = write_midi(replace(skeleton, tracks=tracks))
    assert notes_of(again) == notes_of(data)
    assert other_events(again) == other_events(data)


@settings(deadline=None)
@given(midi_files)
@example(file_of((1, "903c01"), (1, "903c02"), (1, "c005"), (3, "803c00")))
@example(file_of((1, "803c00"), (1, "903c01"), (1, "803c00"), (1, "903c02"), (3, "803c00")))
@example(file_of((1, "913d01"), (1, "803c00"), (1, "903c01"), (3, "803c00")))
def test_any_file_is_its_notes_and_its_other_events(data: bytes) -> None:
    again = write_midi(read_midi(data))
    assert notes_of(again) == notes_of(data)
    assert other_events(again) == other_events(data)
    assert write_midi(read_midi(again)) == again


@settings(deadline=None)
@given(st.lists(notes, max_size=12), st.randoms(use_true_random=False))
def test_the_order_in_which_notes_are_given_does_not_show(some: list[Note], rng: random.Random) -> None:
    shuffled = rng.sample(some, len(some))
    first, second = (MidiScore(tracks=(Track(notes=tuple(given)),)) for given in (some, shuffled))
    assert write_midi(first) == write_midi(second)


@settings(deadline=None)
@given(st.lists(notes, max_size=12))
def test_notes_that_do_not_nest_are_read_back_as_they_were(some: list[Note]) -> None:
    def nest(one: Note, other: Note) -> bool:
        same_key = (one.channel, one.pitch) == (other.channel, other.pitch)
        return same_key and one.start_tick < other.start_tick <= other.end_tick < one.end_tick

    apart: list[Note] = []
    for note in some:
        touches = any(
            (n.channel, n.pitch) == (note.channel, note.pitch)
            and 0 in {n.duration_ticks, note.duration_ticks}
            and n.start_tick <= note.end_tick
            and note.start_tick <= n.end_tick
            for n in apart
        )
        if not touches and not any(nest(note, n) or nest(n, note) for n in apart):
            apart.append(note)
    data = write_midi(MidiScore(tracks=(Track(notes=tuple(apart)),)))
    assert Counter(note for _, note in notes_of(data)) == Counter(apart)


def test_a_note_on_without_velocity_ends_a_note_and_stays_one() -> None:
    data = file_of((0, "903c40"), (10, "903c00"))
    assert notes_of(data) == [(0, Note(60, 64, 0, 10, 0, None))]
    assert write_midi(read_midi(data)) == data


def test_notes_of_one_pitch_end_in_the_order_they_started() -> None:
    data = file_of((0, "903c40"), (5, "903c41"), (10, "803c00"), (15, "803c00"))
    assert [(note.start_tick, note.end_tick) for _, note in notes_of(data)] == [(0, 10), (5, 15)]


def test_an_end_that_is_written_before_its_start_ends_a_note_without_length() -> None:
    data = file_of((0, "803c00"), (0, "903c40"), (5, "903c41"), (10, "803c00"))
    assert [(note.start_tick, note.end_tick) for _, note in notes_of(data)] == [(0, 0), (5, 10)]


def test_an_end_that_only_makes_sure_of_silence_ends_nothing() -> None:
    data = file_of((0, "803c00"), (0, "903c40"), (5, "803c00"), (5, "903c41"), (10, "803c00"))
    assert [(note.start_tick, note.end_tick) for _, note in notes_of(data)] == [(0, 5), (5, 10)]
    assert other_events(data)[0][0] == Event(0, b"\x80\x3c\x00")


def test_a_start_without_end_and_an_end_without_start_are_other_events() -> None:
    data = file_of((0, "803c00"), (5, "903d40"))
    assert notes_of(data) == []
    assert [event.message.hex() for event in other_events(data)[0]] == ["803c00", "903d40", "ff2f00"]


def test_at_one_tick_come_ends_then_other_events_then_notes_without_length_then_starts() -> None:
    others = (Event(10, b"\xc0\x05"),)
    three = (Note(60, 1, 10, 5), Note(61, 1, 10, 0), Note(62, 1, 0, 10))
    data = write_midi(MidiScore(tracks=(Track(others, three),)))
    [track] = mido.MidiFile(file=io.BytesIO(data)).tracks
    assert [(message.type, getattr(message, "note", None)) for message in track] == [
        ("note_on", 62),
        ("note_off", 62),
        ("program_change", None),
        ("note_on", 61),
        ("note_off", 61),
        ("note_on", 60),
        ("note_off", 60),
        ("end_of_track", None),
    ]


def test_a_track_ends_where_it_did_or_with_its_last_note() -> None:
    assert other_events(write_midi(MidiScore(tracks=(Track(notes=(C4,), end_tick=960),))))[0][-1].tick == 960
    assert other_events(write_midi(MidiScore(tracks=(Track(notes=(C4,), end_tick=9),))))[0][-1].tick == 480
