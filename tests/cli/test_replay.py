"""Replaying a MIDI file: played in by many actors, it comes out the same."""

import json
from collections import Counter
from pathlib import Path

import mido
import pytest

from muse.cli.stage.places import session_id_from
from muse.core.op_log import OpLog, list_sessions
from muse.disk.layout import check_session_id
from muse.plugins.music.midi_bytes import Event, EventFile, EventTrack, encode
from muse.plugins.music.midi_file import notes_of, other_events
from tests.samples.midi_samples import REAL_FILES, one_track, real_file
from tests.samples.muse_command import Muse, make_muse, run_muse


@pytest.fixture
def muse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Muse:
    """Run `muse` in an empty directory."""
    return make_muse(monkeypatch, capsys, tmp_path)


def song(track_count: int = 2, notes: int = 5, file_format: int = 1, ticks_per_beat: int = 480) -> bytes:
    """Make a file with some notes and some of everything else on each track."""
    tracks = []
    for index in range(track_count):
        events = [
            Event(0, b"\xff\x03" + bytes((3,)) + b"T%02d" % index),
            Event(0, bytes((0xC0 | index % 16, 5))),
        ]
        for number in range(notes):
            pitch = 60 + number % 12
            events += [
                Event(number * 10, bytes((0x90 | index % 16, pitch, 70))),
                Event(number * 10, bytes((0xB0 | index % 16, 64, number % 128))),
                Event(number * 10 + 10, bytes((0x80 | index % 16, pitch, 30))),
            ]
        tracks.append(EventTrack(tuple(events), notes * 10 + 96))
    return encode(EventFile(file_format, ticks_per_beat, tuple(tracks)))


def assert_same_music(path: Path, wanted: bytes) -> None:
    assert notes_of(path.read_bytes()) == notes_of(wanted)
    assert other_events(path.read_bytes()) == other_events(wanted)


@pytest.mark.parametrize("name", REAL_FILES)
def test_a_real_file_comes_out_with_every_event(tmp_path: Path, name: str) -> None:
    wanted = real_file(name)
    (tmp_path / name).write_bytes(wanted)
    ran = run_muse("replay", name, "--rate", "max", "--json", cwd=tmp_path)
    assert (ran.status, ran.err) == (0, "")
    finished = ran.records[-1]
    assert finished["file"]["exact"] is True
    assert finished["acknowledged"] == finished["file"]["notes"] == len(notes_of(wanted))
    written = tmp_path / "muse-replay" / name
    assert_same_music(written, wanted)
    before, after = mido.MidiFile(tmp_path / name), mido.MidiFile(written)
    assert [Counter(map(str, timed(track))) for track in after.tracks] == [
        Counter(map(str, timed(track))) for track in before.tracks
    ]


def timed(track: mido.MidiTrack) -> list[mido.Message]:
    """Give each message of a track its absolute time."""
    tick, messages = 0, []
    for message in track:
        tick += message.time
        messages.append(message.copy(time=tick))
    return messages


def test_each_track_is_an_actor_that_keeps_its_rate(muse: Muse, tmp_path: Path) -> None:
    (tmp_path / "song.mid").write_bytes(song(track_count=3, notes=40))
    ran = muse("replay", "song.mid", "--rate", "100", "--commit-every", "0.1", "--json")
    assert ran.status == 0
    finished = ran.records[-1]
    assert [actor["actor"] for actor in finished["actors"]] == ["track-1-T00", "track-2-T01", "track-3-T02"]
    for actor in finished["actors"]:
        assert actor["edits"] == 40
        assert 0 < actor["edits_per_second"] <= 106  # a busy machine may be slower, never faster
    assert len(finished["commits"]) >= 3


def test_a_file_is_played_in_again_to_the_byte(muse: Muse, tmp_path: Path) -> None:
    wanted = one_track(
        bytes.fromhex("00903c40 00c005 8560803c40 00ff2f00 00f8 00904040 10804040 00ff2f00 00")
    )
    (tmp_path / "song.mid").write_bytes(wanted)
    assert muse("replay", "song.mid", "--rate", "max").status == 0
    assert (tmp_path / "muse-replay" / "song.mid").read_bytes() == wanted


def test_more_tracks_than_processes_are_played_all_the_same(muse: Muse, tmp_path: Path) -> None:
    wanted = song(track_count=20, notes=10)
    (tmp_path / "song.mid").write_bytes(wanted)
    ran = muse("replay", "song.mid", "--rate", "max", "--json")
    assert len(ran.records[-1]["actors"]) == 20
    assert_same_music(tmp_path / "muse-replay" / "song.mid", wanted)


@pytest.mark.parametrize(
    "content",
    [
        song(track_count=1, file_format=0),
        song(file_format=2),
        song(ticks_per_beat=-25 * 256 + 40),
        song(notes=0),
        song(track_count=0),
        one_track(bytes.fromhex("00 903c40 0a 903c40 0a 803c00 0a 803c00 00 903e40 00 ff2f00")),
    ],
    ids=[
        "format 0",
        "format 2",
        "SMPTE frames",
        "no notes",
        "no tracks",
        "a note over itself and one unended",
    ],
)
def test_files_of_every_kind_come_out_the_same(muse: Muse, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "song.mid").write_bytes(content)
    ran = muse("replay", "song.mid", "--rate", "max")
    assert (ran.status, ran.err) == (0, "")
    assert_same_music(tmp_path / "muse-replay" / "song.mid", content)


@pytest.mark.parametrize("name", ["song.rmi", "SONG.RMI", "song.mid"])
def test_a_midi_file_in_a_riff_frame_comes_out_to_the_byte(muse: Muse, tmp_path: Path, name: str) -> None:
    inner = song(track_count=1)
    size = (len(inner) + 12 + len(inner) % 2).to_bytes(4, "little")
    inside = b"RMIDdata" + len(inner).to_bytes(4, "little") + inner + bytes(len(inner) % 2)
    content = b"RIFF" + size + inside
    (tmp_path / name).write_bytes(content)
    ran = muse("replay", name, "--rate", "max")
    assert (ran.status, ran.err) == (0, "")
    assert (tmp_path / "muse-replay" / name).read_bytes() == content


def test_a_large_file_of_other_events_goes_through_the_store(muse: Muse, tmp_path: Path) -> None:
    sysex = Event(0, b"\xf0\x84\x80\x00" + bytes(65535) + b"\xf7")
    note = (Event(0, b"\x90\x3c\x40"), Event(10, b"\x80\x3c\x40"))
    content = encode(EventFile(0, 480, (EventTrack((*[sysex] * 20, *note), 10),)))
    (tmp_path / "large.mid").write_bytes(content)
    assert muse("replay", "large.mid", "--rate", "max").status == 0
    assert_same_music(tmp_path / "muse-replay" / "large.mid", content)


@pytest.mark.parametrize(
    "content", [b"", b"not music", song()[:-20], song()[:30]], ids=["empty", "text", "cut off", "only a head"]
)
def test_a_malformed_file_is_refused_and_nothing_is_made(muse: Muse, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.mid").write_bytes(content)
    ran = muse("replay", "bad.mid")
    assert ran.status == 2
    assert ran.complaint.startswith("bad.mid: this is not a MIDI file")
    assert [path.name for path in tmp_path.iterdir()] == ["bad.mid"]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("none.mid",), "not a file"),
        (("..",), "not a git repository"),
        (("song.mid", "--rate", "fast"), "not 'fast'"),
        (("song.mid", "--rate", "0"), "not '0'"),
        (("song.mid", "--session", "../x"), "session id"),
        (("song.mid", "--name", "../x.mid"), "--name"),
        (("song.mid", "--name", ".muse/x.mid"), "--name"),
        (("song.mid", "--repo", "full"), "not a Muse repository"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_made(
    muse: Muse, tmp_path: Path, arguments: tuple[str, ...], reason: str
) -> None:
    (tmp_path / "song.mid").write_bytes(song())
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    ran = muse("replay", *arguments)
    assert ran.status == 2
    assert reason in ran.complaint
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["full", "mine.txt", "song.mid"]


def test_inside_a_repository_it_plays_there_and_not_over_a_file(muse: Muse, tmp_path: Path) -> None:
    muse("init")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "song.mid").write_bytes(song())
    assert muse("replay", "in/song.mid", "--rate", "max").status == 0
    again = muse("replay", "in/song.mid", "--rate", "max")
    assert again.status == 2
    assert "song.mid is already there" in again.complaint
    assert list_sessions(tmp_path) == ["song"]
    renamed = muse("replay", "in/song.mid", "--rate", "max", "--name", "takes/two.mid", "--json")
    assert renamed.records[-1]["session_id"] == "takes-two"
    assert_same_music(tmp_path / "takes" / "two.mid", song())


def test_a_session_that_is_there_is_not_played_into(muse: Muse, tmp_path: Path) -> None:
    muse("init")
    (tmp_path / "song.mid.txt").write_bytes(song())
    OpLog(tmp_path, "jam").record("anna", "music", {"op": "delete", "address": "x.mid"})
    taken = muse("replay", "song.mid.txt", "--session", "jam", "--name", "a.mid")
    assert taken.status == 2
    assert "session 'jam' is there already" in taken.complaint
    OpLog(tmp_path, "a").record("anna", "music", {"op": "delete", "address": "x.mid"})
    ran = muse("replay", "song.mid.txt", "--name", "a.mid", "--rate", "max", "--json")
    assert ran.records[-1]["session_id"] == "a-2"


def test_a_name_with_spaces_and_other_scripts_is_kept(muse: Muse, tmp_path: Path) -> None:
    name = "Für Elise - 作品 59.mid"
    (tmp_path / name).write_bytes(song())
    ran = muse("replay", name, "--rate", "max", "--json")
    assert ran.status == 0
    assert ran.records[-1]["session_id"] == "Fur-Elise-59"
    assert_same_music(tmp_path / "muse-replay" / name, song())


@pytest.mark.parametrize(
    ("name", "session_id"),
    [
        ("a", "a"),
        ("作品", "replay"),
        ("..", "replay"),
        ("-x-", "x"),
        ("x" * 500, "x" * 80),
        ("a..b", "a-b"),
        ("Für Elise", "Fur-Elise"),
        (".hidden", "hidden"),
        ("a/b", "a-b"),
    ],
)
def test_every_name_becomes_a_session_id(name: str, session_id: str) -> None:
    assert session_id_from(name, "replay") == check_session_id(session_id)


def test_a_directory_in_the_way_of_the_file_is_told(muse: Muse, tmp_path: Path) -> None:
    (tmp_path / "song.mid").write_bytes(song())
    muse("init", "repo")
    (tmp_path / "repo" / "song.mid").mkdir()
    ran = muse("replay", "song.mid", "--repo", "repo", "--rate", "max", "--json")
    assert ran.status == 2
    assert "song.mid is already there" in json.loads(ran.err)["error"]["message"]
