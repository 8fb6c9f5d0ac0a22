"""MIDI files for tests: real ones from beside the project, and hypothesis strategies for strange ones."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import strategies as st

from muse.errors import DomainError, NotFoundError
from muse.plugins.music.midi_bytes import Event, EventFile, EventTrack, encode
from muse.plugins.music.midi_file import Note, read_midi, write_midi
from muse.plugins.music.tree import MusicTree
from tests.samples.project import DATA

MUSIC = DATA / "music"
REAL_FILES = ("ave_maria.mid", "die_forelle.mid", "gute_nacht.mid")
HEADER = bytes.fromhex("4d546864 00000006 0001 0001 01e0")  # format 1, one track, 480 ticks per beat


def real_file(name: str) -> bytes:
    path = MUSIC / name
    if not path.exists():
        pytest.skip(f"the real file {name} is not beside this checkout")
    return path.read_bytes()


def no_store(content_id: str) -> bytes:
    """Fetch from a store that has nothing."""
    raise NotFoundError(f"no object {content_id}")


def without_notes(data: bytes) -> bytes:
    """Write the same file without its notes; all else stays, and every track keeps its length."""
    score = read_midi(data)
    bare = tuple(replace(track, notes=()) for track in score.tracks)
    return write_midi(replace(score, tracks=bare))


def one_track(content: bytes) -> bytes:
    """Frame the bytes of a track as a file."""
    return HEADER + b"MTrk" + len(content).to_bytes(4, "big") + content


# Few pitches, channels and ticks, so that notes overlap, nest and coincide.
pitches = st.integers(60, 61)
ticks = st.integers(0, 6)
notes = st.builds(
    Note,
    pitch=pitches,
    velocity=st.integers(1, 3),
    start_tick=ticks,
    duration_ticks=st.integers(0, 4),
    channel=st.integers(0, 1),
    release=st.none() | st.integers(0, 2),
)
messages = st.one_of(
    st.builds(lambda status, pitch, velocity: bytes((status, pitch, velocity)),
              st.sampled_from((0x90, 0x91, 0x80, 0x81)), pitches, st.integers(0, 2)),
    st.sampled_from((
        bytes.fromhex("b0 07 64"),
        bytes.fromhex("c0 05"),
        bytes.fromhex("e1 00 40"),
        bytes.fromhex("f0 04 43 10 00 f7"),
        bytes.fromhex("f7 02 10 00"),
        bytes.fromhex("ff 60 02 ff 80"),
        bytes.fromhex("ff 05 03 c3 a9 ff"),
        bytes.fromhex("ff 59 02 09 07"),
        bytes.fromhex("ff 51 01 07"),
    )),
)  # fmt: skip
event_tracks = st.builds(
    lambda pairs, rest: EventTrack(
        tuple(sorted(pairs, key=lambda event: event.tick)), max([rest, *(event.tick for event in pairs)])
    ),
    st.lists(st.builds(Event, ticks, messages), max_size=14),
    st.integers(0, 8),
)
event_files = st.builds(
    EventFile,
    format=st.sampled_from((0, 1, 2)),
    ticks_per_beat=st.sampled_from((480, 1, -7640)),
    tracks=st.lists(event_tracks, max_size=3).map(tuple),
    header_rest=st.sampled_from((b"", b"\x07")),
    trailer=st.sampled_from((b"", b"XYZW\x00\x00\x00\x01!", b"\x00")),
)
midi_files = event_files.map(encode)


def applied(tree: MusicTree, op: Any) -> str:
    """Apply an op; return why it has no effect, if so."""
    try:
        tree.apply(0, op)
    except DomainError as error:
        return str(error)
    return ""
