"""What the reader and writer of MIDI bytes promise."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from muse.errors import DomainError
from muse.plugins.music.midi_bytes import (
    LAST_TICK,
    Event,
    EventFile,
    EventTrack,
    decode,
    encode,
)
from tests.samples.midi_samples import (
    HEADER,
    REAL_FILES,
    event_files,
    midi_files,
    one_track,
    real_file,
)

END = "00 ff 2f 00"


@settings(deadline=None)
@given(event_files)
def test_what_is_written_is_read_back(file: EventFile) -> None:
    assert decode(encode(file)) == file


@settings(deadline=None)
@given(midi_files)
def test_writing_what_was_read_gives_the_same_bytes(data: bytes) -> None:
    assert encode(decode(data)) == data


@pytest.mark.parametrize("name", REAL_FILES)
def test_a_real_file_keeps_every_event(name: str) -> None:
    file = decode(real_file(name))
    assert decode(encode(file)) == file
    assert len(file.tracks) == 4


@pytest.mark.parametrize(
    ("content", "event"),
    [
        ("8360 ff 60 01 07", Event(480, bytes.fromhex("ff6001 07"))),
        ("00 f7 02 43 10", Event(0, bytes.fromhex("f7 02 43 10"))),
        ("00 f0 02 43 10", Event(0, bytes.fromhex("f0 02 43 10"))),
        ("00 ff 59 02 09 00", Event(0, bytes.fromhex("ff 59 02 09 00"))),
        ("00 ff 51 02 09 00", Event(0, bytes.fromhex("ff 51 02 09 00"))),
        ("00 ff 51 04 ff ff ff ff", Event(0, bytes.fromhex("ff 51 04 ff ff ff ff"))),
        ("00 ff 00 03 09 00 01", Event(0, bytes.fromhex("ff 00 03 09 00 01"))),
        ("00 ff 01 02 c3 28", Event(0, bytes.fromhex("ff 01 02 c3 28"))),
    ],
    ids=[
        "a meta event of unknown type, and its time",
        "an F7 packet",
        "the first part of a divided sysex",
        "a key that does not exist",
        "a tempo that is too short",
        "a tempo that is too long",
        "a sequence number that is too long",
        "text that is not UTF-8",
    ],
)
def test_an_unusual_event_survives_byte_for_byte(content: str, event: Event) -> None:
    data = one_track(bytes.fromhex(content + END))
    assert decode(data).tracks[0].events == (event,)
    assert encode(decode(data)) == data


def test_running_status_is_understood_even_across_sysex_and_meta_events() -> None:
    content = "00 90 3c 40 00 f0 02 43 f7 00 3c 00 00 ff 01 00 00 3c 41" + END
    messages = [event.message.hex() for event in decode(one_track(bytes.fromhex(content))).tracks[0].events]
    assert messages == ["903c40", "f00243f7", "903c00", "ff0100", "903c41"]


def test_events_after_an_end_of_track_come_before_it() -> None:
    track = decode(one_track(bytes.fromhex("05 ff 2f 00 02 c0 05"))).tracks[0]
    assert track == EventTrack((Event(7, b"\xc0\x05"),), 7)


def test_smpte_time_is_kept() -> None:
    data = encode(EventFile(1, -7640, (EventTrack((), 3),)))
    assert data[12:14] == b"\xe2\x28"
    assert decode(data).ticks_per_beat == -7640


def test_chunks_that_are_not_midi_are_kept_where_they_are() -> None:
    alien = b"XFIH\x00\x00\x00\x02ab"
    track = b"MTrk\x00\x00\x00\x04\x00\xff\x2f\x00"
    data = HEADER + alien + track + alien
    assert decode(data).tracks[0].chunks_before == alien
    assert encode(decode(data)) == data


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"MThd",
        b"RIFF\x00\x00\x00\x04RMID",
        b"MThd\x00\x00\x00\x02\x00\x01",
        HEADER,
        HEADER[:8] + b"\x00\x03" + HEADER[10:],
        HEADER + b"MTrk\x00\x00\x00\x09\x00",
        one_track(b"\x00"),
        one_track(b"\x00\x3c\x40"),
        one_track(b"\x00\x90\x3c"),
        one_track(b"\x00\x90\x3c\x80"),
        one_track(b"\x00\xf8"),
        one_track(b"\x00\xff"),
        one_track(b"\x00\xff\x01\x7fab"),
        one_track(b"\x81\x81\x81\x81\x01\xff\x2f\x00"),
        one_track(b"\xff\xff\xff\x7f\xc0\x05\x01\xc0\x06"),
    ],
)
def test_bytes_that_are_not_midi_are_refused_with_advice(data: bytes) -> None:
    with pytest.raises(DomainError, match=r"not a MIDI file that can be read: .+; export it again"):
        decode(data)


@settings(deadline=None)
@given(st.binary(max_size=60), st.binary(max_size=60))
@example(b"", b"\x00\x90\x3c\x40\x00\x40")
def test_any_bytes_are_read_or_refused(data: bytes, content: bytes) -> None:
    for candidate in (data, HEADER + data, one_track(content)):
        try:
            file = decode(candidate)
        except DomainError:
            continue
        assert decode(encode(file)) == file


@pytest.mark.parametrize("second", [4, LAST_TICK + 6])
def test_events_out_of_order_or_too_far_apart_are_not_written(second: int) -> None:
    track = EventTrack((Event(5, b"\xc0\x05"), Event(second, b"\xc0\x06")), 0)
    with pytest.raises(DomainError, match="delta time"):
        encode(EventFile(1, 480, (track,)))
