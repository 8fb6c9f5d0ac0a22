"""Two states of files compared: notes of music, lines of texts, sizes of the rest, and renames."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given

from muse.errors import NotFoundError
from muse.history.repository import Repository
from muse.plugins.music.identified_score import identify
from muse.plugins.music.midi_bytes import Event
from muse.plugins.music.midi_file import MidiScore, Note, Track, write_midi
from muse.plugins.music.notes import delete_note, insert_note, move_note, mutate_note
from muse.plugins.music.plugin import MusicPlugin
from muse.plugins.op_fields import names_path
from muse.session.live import LiveSession
from muse.views.file_diff import BinaryDiff, FileDiff, diff_commits, diff_states, is_within
from muse.views.file_diff_notes import NotesDiff, diff_scores
from muse.views.file_diff_text import TextDiff
from tests.samples.midi_samples import midi_files, real_file

A4 = Note(69, 80, 0, 480)
TEMPO = Event(0, bytes.fromhex("ff 51 03 07 a1 20"))
FASTER = Event(0, bytes.fromhex("ff 51 03 06 8a 1b"))


def midi(*notes: Note, others: Sequence[Event] = (), track: int = 0) -> bytes:
    tracks = [Track()] * track + [Track(tuple(others), tuple(notes), 9600)]
    return write_midi(MidiScore(tracks=tuple(tracks)))


def states(before: Mapping[str, bytes], after: Mapping[str, bytes]) -> dict[str, FileDiff]:
    return {diff.path: diff for diff in diff_states(before, after)}


def pitches(diff: NotesDiff) -> tuple[list[int], list[int], list[tuple[int, int]]]:
    changed = [(change.before.pitch, change.after.pitch) for change in diff.changed]
    return [note.pitch for note in diff.added], [note.pitch for note in diff.removed], changed


# -- music ------------------------------------------------------------------------------------------


def edited(files: dict[str, bytes], *ops: Mapping[str, object]) -> dict[str, bytes]:
    changed = MusicPlugin().apply(files, ops, files.__getitem__).files
    return {path: data for path, data in {**files, **changed}.items() if data is not None}


def test_an_edited_note_is_the_same_note_however_much_of_it_changed() -> None:
    before = edited({}, insert_note("a.mid", "x", A4), insert_note("a.mid", "y", replace(A4, pitch=40)))
    after = edited(
        before,
        mutate_note("a.mid", "x", A4, pitch=30, velocity=1, start_tick=7000, duration_ticks=9),
        delete_note("a.mid", "y", replace(A4, pitch=40)),
        insert_note("a.mid", "z", replace(A4, pitch=41)),
    )
    body = states(before, after)["a.mid"].body
    assert isinstance(body, NotesDiff)
    assert pitches(body) == ([41], [40], [(69, 30)])
    (change,) = body.changed
    assert (change.before.note_id, change.after.note_id) == ("x", "x")
    assert change.fields == ("pitch", "velocity", "start_tick", "duration_ticks")


def test_a_note_that_was_deleted_is_not_taken_for_a_new_one_like_it() -> None:
    before = edited({}, insert_note("a.mid", "x", A4))
    after = edited(before, delete_note("a.mid", "x", A4), insert_note("a.mid", "y", replace(A4, velocity=81)))
    body = states(before, after)["a.mid"].body
    assert isinstance(body, NotesDiff)
    assert pitches(body) == ([69], [69], [])


@pytest.mark.parametrize(
    "change",
    [{"velocity": 1}, {"duration_ticks": 960}, {"start_tick": 480}, {"pitch": 72}, {"release": 1}],
)
def test_in_a_file_that_was_replaced_a_note_is_known_by_what_stayed(change: dict[str, int]) -> None:
    other = Note(40, 64, 1920, 480)
    changed = Note(**{**A4.fields(), **change})  # type: ignore[arg-type]
    diff = diff_scores(midi(A4, other), midi(changed, other))
    assert (diff.added, diff.removed, len(diff.kept)) == ([], [], 1)
    assert [change.fields for change in diff.changed] == [tuple(change)]


def test_in_a_file_that_was_replaced_a_note_on_another_track_is_the_same() -> None:
    diff = diff_scores(midi(A4), midi(A4, track=1))
    assert [(change.fields, change.after.track) for change in diff.changed] == [(("track",), 1)]
    assert diff.file == ["tracks 1 → 2"]


def test_a_note_far_from_all_that_went_is_new() -> None:
    diff = diff_scores(midi(A4), midi(Note(20, 1, 9000, 7)))
    assert pitches(diff) == ([20], [69], [])


def test_of_several_notes_the_nearest_are_paired() -> None:
    old = [Note(60, 64, tick, 100) for tick in (0, 480, 960)]
    new = [replace(note, start_tick=note.start_tick + 10) for note in old]
    diff = diff_scores(midi(*old), midi(*new))
    assert [(change.before.start_tick, change.after.start_tick) for change in diff.changed] == [
        (0, 10),
        (480, 490),
        (960, 970),
    ]
    diff = diff_scores(midi(old[1]), midi(replace(old[1], start_tick=300), replace(old[1], start_tick=500)))
    assert [change.after.start_tick for change in diff.changed] == [500]
    assert [note.start_tick for note in diff.added] == [300]


def test_a_note_is_placed_by_the_time_signatures_of_its_file() -> None:
    signature = Event(0, bytes.fromhex("ff 58 04 06 03 18 08"))
    diff = diff_scores(None, midi(Note(61, 64, 1680, 240), others=(signature,)))
    (note,) = diff.added
    assert (note.bar, note.beat, note.length, note.pitch_name) == (2, 2.0, 1.0, "C#4")


def test_events_that_are_not_notes_are_named() -> None:
    diff = diff_scores(midi(A4, others=(TEMPO,)), midi(A4, others=(FASTER,)))
    assert [event.text for event in diff.events_removed] == ["tempo 120 bpm"]
    assert [event.text for event in diff.events_added] == ["tempo 140 bpm"]
    assert (diff.added, diff.removed, diff.changed) == ([], [], [])


def test_files_of_the_same_music_in_other_bytes_say_so() -> None:
    data = midi(A4)
    diff = diff_scores(data, data + b"junk")
    assert diff.file == ["the same notes and events, written in another way"]


def note_count(data: bytes) -> int:
    return len(identify(data, None).notes)


@given(midi_files, midi_files)
def test_every_note_of_any_two_files_is_counted_once_on_its_side(old: bytes, new: bytes) -> None:
    for before, after in ((old, new), (None, new), (new, None)):
        diff = diff_scores(before, after)
        common = len(diff.kept) + len(diff.changed)
        assert common + len(diff.removed) == (0 if before is None else note_count(before))
        assert common + len(diff.added) == (0 if after is None else note_count(after))


@given(midi_files, midi_files)
def test_any_two_music_files_can_be_compared_and_told_as_data(old: bytes, new: bytes) -> None:
    for diff in diff_states({"a.mid": old}, {"a.mid": new}):
        record = diff.as_record()
        assert record["kind"] == "notes"
        differs = ("added", "removed", "changed", "events_added", "events_removed", "file")
        assert any(record[name] for name in differs)


def test_a_real_file_differs_by_the_one_note_that_was_moved() -> None:
    data = real_file("ave_maria.mid")
    name, (_, note) = sorted(identify(data, None).notes.items())[7]
    files = {"ave.mid": data}
    after = edited(files, move_note("ave.mid", name, note, start_tick=note.start_tick + 5))
    body = states(files, after)["ave.mid"].body
    assert isinstance(body, NotesDiff)
    assert [change.fields for change in body.changed] == [("start_tick",)]
    assert (body.added, body.removed, body.events_added, body.events_removed) == ([], [], [], [])


# -- files ------------------------------------------------------------------------------------------


def test_equal_files_and_the_pages_of_names_are_no_difference() -> None:
    files = edited({}, insert_note("a.mid", "x", A4))
    assert names_path("a.mid") in files
    assert states(files, files) == {}
    assert list(states({}, files)) == ["a.mid"]


def test_what_is_neither_text_nor_music_is_told_by_its_size() -> None:
    diff = states({"a": b"\0" * 10}, {"a": b"\0" * 20})["a"]
    assert isinstance(diff.body, BinaryDiff)
    assert (diff.change, diff.old_size, diff.new_size) == ("changed", 10, 20)
    assert diff.as_record()["kind"] == "binary"


@pytest.mark.parametrize("content", [b"MThd", b"RIFF\0\0\0\0WAVE", b"MThd\0\0\0\6\0"])
def test_a_broken_music_file_is_binary(content: bytes) -> None:
    body = states({"a.mid": midi(A4)}, {"a.mid": content + b"\0"})["a.mid"].body
    assert isinstance(body, BinaryDiff)


def test_a_text_in_another_encoding_is_compared_as_text() -> None:
    diff = states({"a": "ä\n".encode()}, {"a": "ä\nb\n".encode("utf-16")})["a"]
    assert isinstance(diff.body, TextDiff)
    assert (diff.body.old_encoding, diff.body.new_encoding) == ("utf-8", "utf-16-le")


def test_a_file_that_came_or_went_says_so() -> None:
    found = states({"old": b"a\n"}, {"new": b"b\n"})
    assert {path: diff.change for path, diff in found.items()} == {"new": "added", "old": "removed"}
    assert (found["new"].old_size, found["new"].new_size) == (None, 2)


def test_a_file_of_the_same_content_elsewhere_was_renamed() -> None:
    (diff,) = states({"a": b"x\n"}, {"b": b"x\n"}).values()
    assert (diff.change, diff.old_path, diff.similarity) == ("renamed", "a", 100)
    assert states({"a": b""}, {"b": b""}).keys() == {"a", "b"}  # all empty files are alike


def test_a_text_that_stayed_much_the_same_was_renamed_and_changed() -> None:
    lines = [f"line {number}\n" for number in range(10)]
    before = {"a": "".join(lines).encode(), "other": b"nothing like it\n"}
    diff = states(before, {"b": "".join([*lines[:8], "new\n"]).encode()})["b"]
    assert (diff.change, diff.old_path) == ("renamed", "a")
    assert diff.similarity == 80
    assert isinstance(diff.body, TextDiff)
    assert (diff.body.added, diff.body.removed) == (1, 2)


def test_music_that_stayed_much_the_same_was_renamed() -> None:
    notes = [Note(60 + number, 64, 480 * number, 480) for number in range(10)]
    diff = states({"a.mid": midi(*notes)}, {"b.mid": midi(*notes[:9])})["b.mid"]
    assert (diff.change, diff.old_path, diff.similarity) == ("renamed", "a.mid", 90)


def test_one_file_is_renamed_once_and_to_what_is_most_like_it() -> None:
    lines = [f"line {number}\n" for number in range(10)]
    found = states(
        {"a": "".join(lines).encode()},
        {"b": "".join(lines[:6]).encode(), "c": "".join(lines[:9]).encode()},
    )
    assert {path: (diff.change, diff.old_path) for path, diff in found.items()} == {
        "b": ("added", None),
        "c": ("renamed", "a"),
    }


def test_a_path_is_wanted_by_itself_or_by_its_directory() -> None:
    assert is_within("a/b.txt", ["a"])
    assert is_within("a/b.txt", ["x", "a/b.txt"])
    assert not is_within("ab.txt", ["a"])
    assert is_within("ab.txt", [])


def test_commits_are_compared_where_they_differ(tmp_path: Path) -> None:
    Repository.init(str(tmp_path), now="2026-01-02T03:04:05+00:00", domain="music")
    with LiveSession(tmp_path, "jam") as session:
        session.edit("ada", "music", insert_note("a.mid", "x", A4))
        session.edit("ada", "music", insert_note("d/b.mid", "x", A4))
        first = session.commit("one").commit_ids[-1]
        session.edit("ada", "music", mutate_note("a.mid", "x", A4, velocity=1))
        second = session.commit("two").commit_ids[-1]
        repository = session.repository
        assert [diff.path for diff in diff_commits(repository, None, first)] == ["a.mid", "d/b.mid"]
        assert [diff.path for diff in diff_commits(repository, first, second)] == ["a.mid"]
        assert [diff.path for diff in diff_commits(repository, None, second, ["d"])] == ["d/b.mid"]
        with pytest.raises(NotFoundError, match="no file or directory 'nothing'"):
            diff_commits(repository, first, second, ["nothing"])
