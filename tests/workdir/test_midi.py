"""MIDI files in a directory, and a session: recorded note by note, merged in three ways."""

import os
from collections import Counter
from collections.abc import Sequence
from itertools import accumulate
from operator import itemgetter
from pathlib import Path
from typing import Any

import mido
import pytest

from muse.checks.verify import verify_repository
from muse.core.content_id import object_id
from muse.core.op_log import OpLog
from muse.history.repository import Repository
from muse.plugins.music.identified_score import identified_notes, identify
from muse.plugins.music.midi_bytes import Event, EventFile, EventTrack, encode
from muse.plugins.music.midi_file import notes_of, other_events
from muse.plugins.music.note import Note
from muse.plugins.music.notes import delete_note, insert_note, move_note, replace_file
from muse.session.live import LiveSession
from muse.views.as_of import read_session, state_at, up_to_lamport
from muse.views.blame import blame_newest
from muse.workdir.workdir import RecordOutcome, Workdir

TEMPO = Event(0, b"\xff\x51\x03\x07\xa1\x20")
FASTER = Event(0, b"\xff\x51\x03\x05\x00\x00")


def midi(*notes: tuple[int, int, int], tempo: Event = TEMPO, velocity: int = 80) -> bytes:
    """A file of notes: pitch, start and length in ticks."""
    empty = encode(EventFile(1, 480, (EventTrack((tempo,), 0),)))
    score = identify(empty, None)
    for number, (pitch, start, length) in enumerate(notes):
        score.place(f"{number}", 0, Note(pitch, velocity, start, length))
    return score.data()


TUNE = ((60, 0, 240), (64, 480, 240), (67, 960, 240))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    Repository.init(str(tmp_path / "song"))
    return tmp_path / "song"


def record(root: Path, actor: str = "ada") -> RecordOutcome:
    outcome = Workdir(Repository.open(str(root)), None, actor, session_id="jam").record()
    assert outcome.faults == []
    return outcome


def ops(root: Path) -> list[dict[str, Any]]:
    with OpLog(str(root), "jam") as log:
        return [dict(entry["domain_op"]) for entry in log.read_all()]


def files(root: Path) -> dict[str, bytes]:
    repository = Repository.open(str(root))
    return dict(state_at(repository, read_session(repository, "jam"), up_to_lamport(10**9)).files)


def names(root: Path, path: str = "a.mid") -> dict[int, str]:
    """The name of each note, by its pitch."""
    return {placed[1].pitch: name for name, placed in identified_notes(files(root), path).items()}


def bob(root: Path, *made: Any) -> None:
    with LiveSession(str(root), "jam") as session:
        for op in made:
            session.edit("bob", "music", op)


def sound(data: bytes) -> list[tuple[int, int, int]]:
    return [(note.pitch, note.start_tick, note.duration_ticks) for _, note in notes_of(data)]


def test_a_note_that_was_moved_stays_the_same_note(root: Path) -> None:
    (root / "a.mid").write_bytes(midi(*TUNE))
    record(root)
    before = names(root)
    (root / "a.mid").write_bytes(midi((60, 0, 240), (64, 720, 240), (67, 960, 240)))
    record(root)
    [child] = ops(root)[-1]["child_ops"]
    assert (child["op"], child["address"], child["to_position"]) == ("move", f"note/{before[64]}", 720)
    assert names(root) == before


def test_each_kind_of_edit_is_one_op_of_a_note(root: Path) -> None:
    (root / "a.mid").write_bytes(midi(*TUNE))
    record(root)
    before = names(root)
    (root / "a.mid").write_bytes(midi((61, 0, 240), (64, 480, 480), (72, 1920, 120)))
    record(root)
    children = ops(root)[-1]["child_ops"]
    kinds = sorted((child["op"], *child.get("fields", ())) for child in children)
    assert kinds == [("delete",), ("insert",), ("mutate", "duration_ticks"), ("mutate", "pitch")]
    after = names(root)
    assert (after[61], after[64]) == (before[60], before[64])
    assert after[72] not in before.values()


def test_notes_of_others_are_merged_and_come_to_the_disk(root: Path) -> None:
    (root / "a.mid").write_bytes(midi(*TUNE))
    record(root)
    before = names(root)
    bob(root, insert_note("a.mid", "bobs", Note(48, 80, 0, 960)))
    bob(root, move_note("a.mid", before[60], Note(60, 80, 0, 240), 120))
    (root / "a.mid").write_bytes(midi((60, 0, 240), (64, 480, 240), (67, 1440, 240)))
    record(root)
    merged = [(48, 0, 960), (60, 120, 240), (64, 480, 240), (67, 1440, 240)]
    assert sorted(sound((root / "a.mid").read_bytes())) == merged
    assert (root / "a.mid").read_bytes() == files(root)["a.mid"]
    assert record(root).recorded == []


def saved(path: Path, notes: Sequence[tuple[int, int, int]]) -> Counter[tuple[int, str]]:
    """Save notes as a sequencer does that writes what starts at a tick first; return what happens when."""
    control = mido.Message("control_change", control=7, value=90)
    events = [(0, 0, control), (480, 2, control.copy(value=70))]
    for pitch, start, length in notes:
        events.append((start, 1, mido.Message("note_on", note=pitch, velocity=80)))
        events.append((start + length, 3, mido.Message("note_off", note=pitch, velocity=10)))
    track, last = mido.MidiTrack(), 0
    for tick, _, message in sorted(events, key=itemgetter(0, 1)):
        track.append(message.copy(time=tick - last))
        last = tick
    mido.MidiFile(ticks_per_beat=480, tracks=[track]).save(path)
    return played(path)


def played(path: Path) -> Counter[tuple[int, str]]:
    track = mido.MidiFile(path).tracks[0]
    ticks = accumulate(message.time for message in track)
    return Counter((tick, repr(message.copy(time=0))) for tick, message in zip(ticks, track, strict=True))


def test_a_file_that_was_just_saved_may_be_written_again_but_plays_the_same(root: Path) -> None:
    path, repeated = root / "a.mid", (64, 1440, 480)
    saved(path, TUNE)
    first = path.read_bytes()
    record(root)
    assert path.read_bytes() == first  # a new file stays as it is, to the byte
    music = saved(path, [*TUNE, (64, 960, 480), repeated, (72, 480, 480)])
    second = path.read_bytes()
    outcome = record(root)
    assert outcome.brought is not None
    assert outcome.brought.written == ["a.mid"]
    assert path.read_bytes() != second  # at one tick come ends of notes before starts
    assert played(path) == music
    assert not record(root).recorded
    path.write_bytes(second)
    assert [one.change.path for one in record(root).recorded] == ["a.mid"]
    assert path.read_bytes() == second == files(root)["a.mid"]  # saved so once more, it stays so


def test_a_note_that_others_deleted_comes_back_as_it_was_changed_here(root: Path) -> None:
    (root / "a.mid").write_bytes(midi(*TUNE))
    record(root)
    bob(root, delete_note("a.mid", names(root)[64], Note(64, 80, 480, 240)))
    (root / "a.mid").write_bytes(midi((60, 0, 240), (64, 480, 999), (67, 960, 240)))
    record(root)
    assert sorted(sound((root / "a.mid").read_bytes())) == [(60, 0, 240), (64, 480, 999), (67, 960, 240)]


def test_what_is_no_note_replaces_the_file_and_keeps_names_and_notes_of_others(root: Path) -> None:
    (root / "a.mid").write_bytes(midi(*TUNE))
    record(root)
    before = names(root)
    bob(root, insert_note("a.mid", "bobs", Note(48, 80, 0, 960)))
    (root / "a.mid").write_bytes(midi((60, 0, 240), (64, 480, 240), (67, 1200, 240), tempo=FASTER))
    record(root)
    assert ops(root)[-1]["op"] == "replace"
    data = (root / "a.mid").read_bytes()
    assert data == files(root)["a.mid"]
    assert sorted(sound(data)) == [(48, 0, 960), (60, 0, 240), (64, 480, 240), (67, 1200, 240)]
    assert FASTER in [event for track in other_events(data) for event in track]
    assert {**before, 48: "bobs"} == names(root)


def test_names_last_through_a_rename_and_a_commit(root: Path) -> None:
    (root / "a.mid").write_bytes(midi(*TUNE))
    record(root)
    (root / "a.mid").write_bytes(midi((60, 0, 240), (64, 480, 240), (69, 960, 240)))
    record(root)
    before = names(root)
    with LiveSession(str(root), "jam") as session:
        session.commit("first")
    os.rename(root / "a.mid", root / "b.mid")
    outcome = record(root)
    assert [one.change.kind for one in outcome.recorded] == ["renamed"]
    assert ops(root)[-1]["from_address"] == "a.mid"
    (root / "b.mid").write_bytes(midi((60, 0, 240), (64, 480, 240), (69, 1440, 240)))
    record(root)
    assert names(root, "b.mid") == before


def test_many_notes_are_several_ops_and_all_take_effect(root: Path) -> None:
    many = [(30 + number % 60, 120 * number, 100) for number in range(1200)]
    (root / "a.mid").write_bytes(midi(*TUNE))
    record(root)
    (root / "a.mid").write_bytes(midi(*many))
    record(root)
    assert sorted(sound(files(root)["a.mid"])) == sorted(many)


def test_a_removal_is_no_removal_of_what_others_changed(root: Path) -> None:
    (root / "a.mid").write_bytes(midi(*TUNE))
    record(root)
    bob(root, insert_note("a.mid", "bobs", Note(48, 80, 0, 960)))
    (root / "a.mid").unlink()
    outcome = Workdir(Repository.open(str(root)), None, "ada", session_id="jam").record()
    assert [(fault.path, fault.reason) for fault in outcome.faults] == [
        ("a.mid", "others changed it since you had it: it stays")
    ]
    assert (root / "a.mid").read_bytes() == files(root)["a.mid"]
    (root / "a.mid").unlink()
    record(root)
    assert "a.mid" not in files(root)


def text_named_like_midi(root: Path) -> None:
    """A text at the path of a MIDI file, as an op of the code domain puts it there; it comes to the disk."""
    with LiveSession(str(root), "jam") as session:
        op = {"op": "insert", "address": "a.mid", "position": None, "text": "hello"}
        session.edit("raw", "code", {**op, "content_id": "", "content_summary": ""})
    record(root)
    assert (root / "a.mid").read_bytes() == b"hello"


@pytest.mark.parametrize("is_committed", [True, False])
def test_a_midi_file_takes_the_place_of_what_is_none(root: Path, *, is_committed: bool) -> None:
    text_named_like_midi(root)
    if is_committed:
        with LiveSession(str(root), "jam") as session:
            session.commit("text")
    (root / "a.mid").write_bytes(midi(*TUNE))
    assert [one.change.kind for one in record(root).recorded] == ["modified"]
    assert files(root)["a.mid"] == midi(*TUNE)
    (root / "a.mid").write_bytes(midi(*TUNE[:2]))
    record(root)
    assert [child["op"] for child in ops(root)[-1]["child_ops"]] == ["delete"]
    with LiveSession(str(root), "jam") as session:
        session.commit("music")
    assert sound((root / "a.mid").read_bytes()) == list(TUNE[:2])
    assert verify_repository(str(root), replay=True).findings == []


def test_what_is_no_midi_file_by_others_is_named_as_theirs(root: Path) -> None:
    (root / "a.mid").write_bytes(midi(*TUNE))
    record(root)
    with LiveSession(str(root), "jam") as session:
        op = replace_file("a.mid", midi(*TUNE), b"<html>")
        session.edit("bob", "music", {**op, "new_content_id": object_id(b"<html>")})
    assert files(root)["a.mid"] == b"<html>"
    (root / "a.mid").write_bytes(midi(*TUNE[:2]))
    [fault] = Workdir(Repository.open(str(root)), None, "ada", session_id="jam").record().faults
    assert "others put what is no MIDI file in the place of a.mid" in fault.reason


def test_a_file_with_a_delta_time_that_midi_does_not_allow_is_recorded_whole(root: Path) -> None:
    kept = midi(*TUNE)
    (root / "a.mid").write_bytes(kept)
    record(root)
    late = kept[:-4] + b"\x81\x80\x80\x80\x00\xc0\x05" + kept[-4:]
    track = kept.index(b"MTrk") + 4
    size = int.from_bytes(kept[track : track + 4], "big") + 7
    late = late[:track] + size.to_bytes(4, "big") + late[track + 4 :]
    (root / "a.mid").write_bytes(late)
    record(root)
    assert files(root)["a.mid"] == late
    assert names(root) == {note.pitch: name for name, (_, note) in identify(kept, None).notes.items()}
    [name] = [name for pitch, name in names(root).items() if pitch == 60]
    bob(root, delete_note("a.mid", name, Note(60, 80, 0, 240)))
    assert files(root)["a.mid"] == late
    quieter = late.replace(b"\x3c\x50", b"\x3c\x40", 1)
    (root / "a.mid").write_bytes(quieter)
    record(root)
    assert files(root)["a.mid"] == quieter
    (root / "a.mid").write_bytes(midi(*TUNE, velocity=70))
    record(root)
    assert sound(files(root)["a.mid"]) == [*TUNE]
    with LiveSession(str(root), "jam") as session:
        session.commit("all")
    assert verify_repository(str(root), replay=True).findings == []


def test_a_file_that_was_saved_under_another_name_with_edits_is_renamed_and_edited(root: Path) -> None:
    tune = (*TUNE, (74, 1440, 240))
    (root / "a.mid").write_bytes(midi(*tune))
    record(root)
    before = names(root)
    with LiveSession(str(root), "jam") as session:
        session.commit("a tune")
    bob(root, move_note("a.mid", before[64], Note(64, 80, 480, 240), 500))
    (root / "a.mid").unlink()
    (root / "b.mid").write_bytes(midi(*TUNE[:2], (68, 960, 240), tune[3], (72, 1920, 240)))
    (root / "c.mid").write_bytes(midi((40, 0, 240)))
    outcome = record(root, "eve")
    assert {(file.change.path, file.change.kind) for file in outcome.recorded} == {
        ("b.mid", "renamed"),
        ("c.mid", "new"),
    }
    assert sorted(files(root)) == [".muse_notes/b.mid.json", "b.mid", "c.mid"]
    after = names(root, "b.mid")
    assert {pitch: after[pitch] for pitch in (60, 64, 74)} == {pitch: before[pitch] for pitch in (60, 64, 74)}
    assert after[68] == before[67]
    assert sound(files(root)["b.mid"]) == [TUNE[0], (64, 500, 240), (68, 960, 240), tune[3], (72, 1920, 240)]
    assert record(root).recorded == []
    with LiveSession(str(root), "jam") as session:
        session.commit("under another name")
    repository = Repository.open(str(root))
    parts = blame_newest(repository, "b.mid", "jam").parts
    assert [(part.made.actor_id, part.changed.actor_id) for part in parts] == [
        ("ada", "ada"), ("ada", "bob"), ("ada", "eve"), ("ada", "ada"), ("eve", "eve"),
    ]  # fmt: skip
    assert verify_repository(str(root), replay=True).findings == []


@pytest.mark.parametrize("edited", ["half of the notes", "all but the notes", "nothing but the name"])
def test_what_is_a_rename_is_told_by_the_notes(root: Path, edited: str) -> None:
    (root / "a.mid").write_bytes(midi(*TUNE, (72, 1440, 240)))
    record(root)
    before = names(root)
    (root / "a.mid").unlink()
    other = {
        "half of the notes": midi(*TUNE[:2], (50, 0, 9), (51, 0, 9)),
        "all but the notes": midi(*TUNE, (72, 1440, 240), tempo=FASTER),
        "nothing but the name": midi(*TUNE, (72, 1440, 240)),
    }[edited]
    (root / "b.mid").write_bytes(other)
    [*recorded] = record(root).recorded
    kinds = sorted(file.change.kind for file in recorded)
    assert kinds == (["deleted", "new"] if edited == "half of the notes" else ["renamed"])
    assert (names(root, "b.mid") == before) == (kinds == ["renamed"])
    assert files(root)["b.mid"] == other
    assert record(root).recorded == []
