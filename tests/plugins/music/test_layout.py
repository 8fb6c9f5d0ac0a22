"""What the order of events in an edited track promises, and what programs that read it hear."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from difflib import SequenceMatcher
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from muse.plugins.music.identified_score import IdentifiedScore, identify, identify_second
from muse.plugins.music.midi_bytes import END_OF_TRACK, Event, EventFile, EventTrack, decode, encode
from muse.plugins.music.note import Note, pair_notes, starts_note
from tests.samples.midi_samples import REAL_FILES, midi_files, notes, one_track, real_file

Heard = list[tuple[int, int, int, int, int]]
NEW = Note(72, 9, 5, 3, channel=2)


def file_of(*events: tuple[int, str], end: int = 20) -> bytes:
    track = EventTrack(tuple(Event(tick, bytes.fromhex(message)) for tick, message in events), end)
    return encode(EventFile(1, 480, (track,)))


def messages_of(data: bytes, track: int = 0) -> list[tuple[int, str]]:
    return [(tick, message.hex()) for tick, message in decode(data).tracks[track].events]


def edited(data: bytes, **notes_by_name: Note) -> bytes:
    score = identify(data, None)
    for name, note in notes_by_name.items():
        score.place(name, 0, note)
    return score.write()[0]


def heard(events: Sequence[Event], take: Callable[[list[Event]], Event]) -> Heard:
    """Read notes as simple programs do: an end ends the first, or the last, of those that sound."""
    sounding: dict[tuple[int, int], list[Event]] = defaultdict(list)
    found = []
    for event in events:
        message = event.message
        if message[0] >> 4 not in {8, 9}:
            continue
        key = (message[0] & 0xF, message[1])
        if message[0] >> 4 == 9 and message[2]:
            sounding[key].append(event)
        elif sounding[key]:
            start = take(sounding[key])
            found.append((start.tick, event.tick, *key, start.message[2]))
    return sorted(found)


def first_in_first_out(events: Sequence[Event]) -> Heard:
    return heard(events, lambda sounding: sounding.pop(0))


def last_in_first_out(events: Sequence[Event]) -> Heard:
    return heard(events, lambda sounding: sounding.pop())


READERS = (first_in_first_out, last_in_first_out)


def as_heard(note: Note) -> tuple[int, int, int, int, int]:
    return (note.start_tick, note.end_tick, note.channel, note.pitch, note.velocity)


# -- the order --------------------------------------------------------------------------------------

ORDERS = {
    "a program after a note": "0 c000, 0 903c40, 0 c030, 480 803c40",
    "a pedal before the ends of notes": "0 903c40, 480 b0407f, 480 803c40, 960 b04000",
    "two programs on one channel": "0 c000, 0 903c40, 0 c038, 0 903e40, 9 803c40, 9 803e40",
    "a fine velocity before each note": "0 b05810, 0 903c40, 0 b05870, 0 904040, 9 803c40, 9 804040",
    "all notes off between an end and a start": "0 903c40, 9 904040, 9 b07b00, 12 803c40, 12 804040",
    "pressure after a note": "0 903c40, 0 a03c50, 9 803c40",
    "a bend between notes": "0 e00040, 0 903c40, 0 e07f7f, 9 e00040, 9 803c40",
    "lyrics between the notes of a chord": "0 903c40, 0 ff05024c61, 0 904040, 9 803c40, 9 ff05014c, 9 804040",
    "a start before the end of the note before": "0 903c40, 480 903c50, 480 803c40, 960 803c40",
}


def events_of(text: str) -> list[tuple[int, str]]:
    pairs = (event.split() for event in text.split(", "))
    return [(int(tick), message) for tick, message in pairs]


@pytest.mark.parametrize("text", ORDERS.values(), ids=ORDERS)
def test_what_was_read_keeps_its_order_when_a_note_is_put_in(text: str) -> None:
    events = events_of(text)
    found = messages_of(edited(file_of(*events, end=2000), new=NEW))
    assert [event for event in found if event[1] not in {"924809", "824840"}] == events
    assert len(found) == len(events) + 2


@pytest.mark.parametrize("text", list(ORDERS.values())[:-1], ids=list(ORDERS)[:-1])
def test_a_note_that_changes_its_velocity_keeps_its_place(text: str) -> None:
    score = identify(file_of(*events_of(text), end=2000), None)
    name, (track, note) = next(iter(score.notes.items()))
    score.place(name, track, replace(note, velocity=1))
    found = [message for _, message in messages_of(score.write()[0])]
    assert found == [message for _, message in events_of(text.replace("903c40", "903c01", 1))]


def test_a_changed_note_passes_only_what_would_cut_it_short() -> None:
    score = identify(file_of((0, "903c40"), (8, "903c50"), (8, "c005"), (8, "803c40"), (9, "803c40")), None)
    for name, (track, note) in score.notes.items():
        score.place(name, track, replace(note, velocity=1))
    assert [message for tick, message in messages_of(score.write()[0]) if tick == 8] == [
        "803c40", "c005", "903c01",
    ]  # fmt: skip


def test_of_new_notes_come_ends_first_and_starts_last_around_what_was_read() -> None:
    data = file_of((10, "c005"), (10, "903c40"), (10, "b0407f"), (15, "803c40"))
    found = messages_of(edited(data, a=Note(61, 1, 0, 10), b=Note(62, 1, 10, 0), c=Note(63, 1, 10, 1)))
    assert [message[:4] for tick, message in found if tick == 10] == [
        "803d", "c005", "903c", "b040", "903e", "803e", "903f",
    ]  # fmt: skip


@settings(deadline=None)
@given(midi_files, st.dictionaries(st.sampled_from("abc"), st.tuples(st.integers(0, 4), notes)))
def test_what_is_taken_back_leaves_no_trace(data: bytes, named: Mapping[str, tuple[int, Note]]) -> None:
    score = identify(data, None)
    before = dict(score.notes)
    for name, (track, note) in named.items():
        score.place(name, track, note)
    again = identify(*score.write())
    again.notes = before
    assert again.write() == (data, None)


@settings(deadline=None)
@given(midi_files, st.dictionaries(st.sampled_from("abc"), st.tuples(st.integers(0, 2), notes)))
def test_an_edit_moves_nothing_that_was_read(data: bytes, named: Mapping[str, tuple[int, Note]]) -> None:
    score = identify(data, None)
    for name, (track, note) in named.items():
        score.place(name, track, replace(note, channel=9))
    file = decode(score.write()[0])
    for before, after in zip(score.read.file.tracks, file.tracks, strict=False):
        assert before.events == tuple(event for event in after.events if event.message[0] not in {0x99, 0x89})


@pytest.mark.parametrize("name", REAL_FILES)
def test_a_real_file_changes_around_the_edited_note_alone(name: str) -> None:
    data = real_file(name)
    score = identify(data, None)
    entity_id, (track, note) = list(score.notes.items())[len(score.notes) // 2]
    score.place(entity_id, track, replace(note, velocity=note.velocity % 127 + 1))
    changed = score.write()[0]
    assert sum(one != other for one, other in zip(data, changed, strict=True)) == 1
    score.place("new", track, replace(NEW, start_tick=note.start_tick))
    longer = score.write()[0]
    blocks = SequenceMatcher(None, changed, longer, autojunk=False).get_matching_blocks()
    assert sum(block.size for block in blocks) > len(changed) - 20


def test_the_framing_of_what_was_read_is_kept_around_an_edit() -> None:
    kept = "8000 903c40 8060 803c40 00 ff010141 00 3c00 00 b00740 00 b00741"
    data = one_track(bytes.fromhex(kept + "00 ff2f00 0000"))
    found = edited(data, new=replace(NEW, start_tick=97))
    content = bytes.fromhex(kept + "01 924809 03 824840 00 ff2f00 0000")
    assert found == one_track(content)


def test_a_note_that_goes_leaves_no_time_that_cannot_be_written() -> None:
    far = "ffffff7f"
    data = one_track(
        bytes.fromhex(f"ffffff7e 903c40 01 803c40 {far} c005 {far} 903d40 {far} 803d40 00 ff2f00")
    )
    score = identify(data, None)
    [name] = score.notes
    note = score.notes.pop(name)
    written = score.write()
    assert decode(written[0]).tracks[0].end_tick == decode(data).tracks[0].end_tick
    assert [message for _, message in messages_of(written[0])] == ["ff0100", "c005", "903d40", "803d40"]
    again = identify(*written)
    again.notes[name] = note
    assert again.write() == (data, None)


# -- what is heard ----------------------------------------------------------------------------------

HIDDEN = {
    "an end that ends nothing": [(6, "803c40")],
    "an end that ends nothing where the note ends": [(8, "803c40")],
    "a start that nothing ends before the note": [(1, "903c11")],
    "two starts that nothing ends": [(1, "903c11"), (2, "903c12")],
    "a start that nothing ends within the note": [(6, "903c11")],
    "a start that nothing ends where the note starts": [(5, "903c11")],
    "an end of track": [(2, "ff2f00"), (12, "c005")],
}  # fmt: skip


@pytest.mark.parametrize("events", HIDDEN.values(), ids=HIDDEN)
@pytest.mark.parametrize("length", [3, 0])
def test_a_new_note_is_heard_as_it_is_by_every_program(events: list[tuple[int, str]], length: int) -> None:
    data = file_of(*events)
    note = Note(60, 9, 5, length)
    score = identify(data, None)
    score.place("new", 0, note)
    written = score.write()
    for read in READERS:
        assert as_heard(note) in read(decode(written[0]).tracks[0].events)
    again = identify(*written)
    assert again == score
    del again.notes["new"]
    assert again.write() == (data, None)


def test_a_note_after_an_end_of_track_is_before_the_only_one() -> None:
    data = one_track(bytes.fromhex("00 ff2f00 05 c005 00 ff2f00"))
    assert [message for _, message in messages_of(edited(data, new=Note(60, 9, 7, 3)))] == [
        "c005",
        "903c09",
        "803c40",
    ]
    assert edited(data, new=Note(60, 9, 7, 3)).endswith(END_OF_TRACK)


def test_a_start_that_nothing_ended_sounds_until_the_new_note() -> None:
    data = file_of((1, "903c11"))
    events = decode(edited(data, new=Note(60, 9, 5, 3))).tracks[0].events
    assert first_in_first_out(events) == last_in_first_out(events) == [(1, 5, 0, 60, 0x11), (5, 8, 0, 60, 9)]


def test_a_note_without_length_is_before_a_note_that_starts_there() -> None:
    events = (
        decode(edited(file_of((5, "c005"), (5, "903c11"), (9, "803c40")), new=Note(60, 9, 5, 0)))
        .tracks[0]
        .events
    )
    assert first_in_first_out(events) == last_in_first_out(events) == [(5, 5, 0, 60, 9), (5, 9, 0, 60, 0x11)]


@pytest.mark.parametrize("stray", ["903c00", "803c40"])
def test_a_note_that_stays_without_length_is_heard_before_an_end_that_ends_nothing(stray: str) -> None:
    data = file_of((5, "903c11"), (5, "803c40"), (5, stray))
    (name,) = identify(data, None).notes
    events = decode(edited(data, **{name: Note(60, 9, 5, 0)})).tracks[0].events
    assert first_in_first_out(events) == last_in_first_out(events) == [(5, 5, 0, 60, 9)]


def test_a_header_that_counts_too_few_tracks_counts_the_one_with_a_new_note() -> None:
    two = encode(EventFile(0, 480, (EventTrack((), 0), EventTrack((), 0)), stated_tracks=1))
    score = identify(two, None)
    score.place("new", 0, NEW)
    assert decode(score.write()[0]).stated_tracks == 1
    score.place("new", 1, NEW)
    file = decode(score.write()[0])
    assert (file.format, file.stated_tracks, len(file.tracks)) == (1, None, 2)
    del score.notes["new"]
    assert score.write() == (two, None)


def apart(note: Note, others: Sequence[Note]) -> bool:
    """Whether no other note of its pitch sounds while a note does; they may touch."""
    same = [other for other in others if (note.channel, note.pitch) == (other.channel, other.pitch)]
    ends, starts = ({getattr(other, name) for other in same} for name in ("end_tick", "start_tick"))
    if note.duration_ticks == 0 and note.start_tick in ends & starts:
        return False  # between the two, unless they were read the other way round
    return all(other.end_tick <= note.start_tick or note.end_tick <= other.start_tick for other in same)


def all_apart(some: Sequence[Note], others: Sequence[Note]) -> bool:
    """Whether each of some notes is apart from the rest of them and from others."""
    rests = ([*some[:place], *some[place + 1 :], *others] for place in range(len(some)))
    return all(map(apart, some, rests))


def hanging(events: Sequence[Event]) -> Counter[tuple[int, int, int]]:
    """Count the starts that nothing ends, by tick, channel and pitch."""
    ended = {on for on, _ in pair_notes(events)}
    return Counter(
        (event.tick, event.message[0] & 0xF, event.message[1])
        for place, event in enumerate(events)
        if starts_note(event.message) and place not in ended
    )


def never_struck_again(note: Note, starts: Iterable[tuple[int, int, int]]) -> bool:
    """Whether none of some starts is in the pitch of a note before it is over: an end may end either."""
    return all(
        (channel, pitch) != (note.channel, note.pitch) or tick > note.end_tick
        for tick, channel, pitch in starts
    )


def only_the_velocity_differs(note: Note, other: Note) -> bool:
    return replace(note, velocity=other.velocity, release=other.release) == other


def placed_in(event: Event) -> tuple[int, bool, int]:
    """When an event is, whether it starts a note, and of which pitch."""
    return event.tick, starts_note(event.message), event.message[1] & 0x7F


@settings(max_examples=200, deadline=None)
@given(midi_files, st.integers(1, 127), st.data())
def test_another_velocity_changes_one_byte_of_what_is_heard(data: bytes, velocity: int, draw: Any) -> None:
    score = identify(data, None)
    names = [name for name, placed in score.notes.items() if placed[1].velocity != velocity]
    if not names:
        return
    name = draw.draw(st.sampled_from(names))
    track, note = score.notes[name]
    before = decode(data).tracks[track].events
    score.place(name, track, replace(note, velocity=velocity))
    after = decode(score.write()[0]).tracks[track].events
    gone, come = Counter(before) - Counter(after), Counter(after) - Counter(before)
    assert sorted(map(placed_in, gone)) == sorted(map(placed_in, come))


def test_a_note_that_is_struck_again_stays_where_only_a_velocity_changed() -> None:
    data = file_of((0, "903d64"), (4, "903d50"), (8, "803d40"))
    name, (_, note) = next(iter(identify(data, None).notes.items()))
    changed = {name: replace(note, velocity=99)}
    assert messages_of(edited(data, **changed)) == [(0, "903d63"), (4, "903d50"), (8, "803d40")]
    by_second = identify_second(data, None)
    by_second.place(name, 0, changed[name])
    assert messages_of(by_second.write()[0]) == [(0, "903d63"), (8, "803d40")]  # as commits of before have it


@settings(max_examples=400, deadline=None)
@given(midi_files, st.lists(notes, min_size=1, max_size=3), st.data())
def test_an_edited_note_is_heard_as_it_is_by_every_program(data: bytes, edits: list[Note], draw: Any) -> None:
    score = identify(data, None)
    assume(score.read.file.tracks)
    left = {name: placed[1] for name, placed in score.notes.items() if placed[0] == 0}
    assume(not any(other.ends_first for other in left.values()))
    gone = []
    for number, note in enumerate(edits):
        name = draw.draw(st.sampled_from([f"new {number}", *left]))
        if name in left:
            gone.append(left.pop(name))
            assume(not only_the_velocity_differs(note, gone[-1]))
        score.place(name, 0, note)
    others = list(left.values())
    assume(all_apart(edits, others))
    before = decode(data).tracks[0].events
    after = decode(score.write()[0]).tracks[0].events
    others_are_apart = all_apart(others, edits) and all(
        never_struck_again(other, hanging(before)) for other in others
    )
    for read in READERS:
        found = Counter(read(after))
        assert found >= Counter(map(as_heard, edits))
        if others_are_apart:
            heard_before = Counter(read(before)) - Counter(map(as_heard, gone))
            assert found >= Counter(map(as_heard, edits)) + (Counter(map(as_heard, others)) & heard_before)


def test_of_a_start_that_hangs_and_a_note_in_its_pitch_programs_hear_one_each() -> None:
    """Nothing that was read is moved for it: which of the two the last end ends, no file can say."""
    data = file_of((0, "913c01"), (0, "913c01"), (0, "913c02"), (0, "913c00"), (1, "913c00"))
    score = identify(data, None)
    (name, _), (_, (_, other)) = score.notes.items()
    score.place(name, 0, Note(60, 1, 0, 1))
    after = score.write()[0]
    assert [event for event in messages_of(after) if event[1].startswith("913c")] == [
        (0, "913c01"), (0, "913c02"), (1, "913c00"),
    ]  # fmt: skip
    events = decode(after).tracks[0].events
    edited_note = (0, 1, 0, 60, 1)
    assert first_in_first_out(events) == [edited_note, as_heard(other)]
    assert last_in_first_out(events) == [edited_note, (0, 1, 1, 60, 2)]


def test_a_score_that_was_not_edited_is_written_as_it_was() -> None:
    score = IdentifiedScore()
    assert score.write() == (score.read.data, None)
