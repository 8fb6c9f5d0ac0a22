"""What the reader and writer of MIDI bytes promise."""

from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from muse.errors import DomainError
from muse.plugins.music.midi_bytes import (
    END_OF_TRACK,
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


def test_an_end_of_track_before_other_events_keeps_its_place() -> None:
    data = one_track(bytes.fromhex("05 ff 2f 00 02 c0 05"))
    track = decode(data).tracks[0]
    assert track == EventTrack((Event(5, END_OF_TRACK), Event(7, b"\xc0\x05")), 7, end=b"")
    assert encode(decode(data)) == data


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
        HEADER + b"MTrk\x00\x00\x00\x09\x00",
        one_track(b"\x00"),
        one_track(b"\x00\x3c\x40"),
        one_track(b"\x00\x90\x3c"),
        one_track(b"\x00\xff"),
        one_track(b"\x00\xff\x01\x7fab"),
        one_track(b"\x81" * 9 + b"\x01\xff\x2f\x00"),
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
        assert encode(file) == candidate


TRACK = bytes.fromhex("00 90 3c 40 83 60 80 3c 40 00 ff 2f 00")
NOTE = (Event(0, b"\x90\x3c\x40"), Event(480, b"\x80\x3c\x40"))


def file_of(*chunks: bytes, count: int = 1, kind: int = 1) -> bytes:
    header = b"MThd" + (6).to_bytes(4, "big") + kind.to_bytes(2, "big")
    return b"".join((header, count.to_bytes(2, "big"), b"\x01\xe0", *chunks))


def chunk(content: bytes, excess: int = 0, name: bytes = b"MTrk") -> bytes:
    return name + (len(content) + excess).to_bytes(4, "big") + content


def in_riff(data: bytes, *, before: bytes = b"") -> bytes:
    body = b"RMID" + before + b"data" + len(data).to_bytes(4, "little") + data + b"\x00" * (len(data) % 2)
    return b"RIFF" + len(body).to_bytes(4, "little") + body


OPENED = {
    "a header that counts too many tracks": file_of(chunk(TRACK), count=3),
    "a header that counts no tracks": file_of(chunk(TRACK), count=0),
    "a chunk that is counted as a track": file_of(chunk(TRACK), chunk(b"abc", name=b"XFIH"), count=2),
    "a length beyond the file": file_of(chunk(TRACK, 90)),
    "a length into the next track": file_of(chunk(TRACK, 4), chunk(TRACK), count=2),
    "a length that is too short": file_of(chunk(TRACK, -5), chunk(TRACK), count=2),
    "a length that ends between two messages": file_of(chunk(TRACK, -4), chunk(TRACK), count=2),
    "a length of zero": file_of(chunk(TRACK, -len(TRACK))),
    "bytes after the end of track": file_of(chunk(TRACK + b"\x00\x00\x00\x00"), chunk(TRACK), count=2),
    "a byte after the end of track": file_of(chunk(TRACK + b"\x00")),
    "bytes between two tracks": file_of(chunk(TRACK), b"\x00", chunk(TRACK), count=2),
    "a chunk at the end that is cut off": file_of(chunk(TRACK), b"XFKM\x00\x00\x01\x00abc"),
    "an empty track": file_of(chunk(TRACK), chunk(b""), count=2),
    "no end of track": file_of(chunk(TRACK[:-4])),
    "an unknown format": file_of(chunk(TRACK), kind=3),
    "padded delta times": file_of(chunk(b"\x80\x80\x80\x80\x00" + TRACK[1:])),
    "ticks beyond what one delta time can hold": file_of(
        chunk(TRACK[:-4] + b"\xff\xff\xff\x7f" + TRACK[-3:])
    ),
    "a delta time above four bytes": file_of(
        chunk(TRACK[:-4] + b"\x81\x80\x80\x80\x00\xc0\x05" + TRACK[-4:])
    ),
    "an end of track further away than that": file_of(
        chunk(TRACK[:-4] + b"\xff\xff\xff\xff\x7f" + TRACK[-3:])
    ),
    "a clock byte": file_of(chunk(TRACK[:4] + b"\x00\xf8" + TRACK[4:])),
    "a song position": file_of(chunk(TRACK[:4] + b"\x00\xf2\x01\x02" + TRACK[4:])),
    "a data byte above 127": file_of(chunk(b"\x00\xb0\x07\xff" + TRACK)),
    "a RIFF file around it": in_riff(file_of(chunk(TRACK))),
    "a RIFF file with other chunks": in_riff(file_of(chunk(TRACK)), before=b"LIST\x03\x00\x00\x00abc\x00"),
}


@pytest.mark.parametrize("data", OPENED.values(), ids=OPENED)
def test_what_other_programs_open_is_opened_and_kept_to_the_byte(data: bytes) -> None:
    file = decode(data)
    assert encode(file) == data
    for track in file.tracks:
        assert tuple(event for event in track.events if event.message[0] in {0x80, 0x90}) in {NOTE, ()}
    notes = sum(bytes(event.message[:1]) == b"\x90" for track in file.tracks for event in track.events)
    assert notes == data.count(TRACK[1:4])


def test_a_track_that_no_header_announces_is_a_track() -> None:
    assert len(decode(file_of(chunk(TRACK), chunk(TRACK), count=1)).tracks) == 2
    broken = file_of(chunk(TRACK), chunk(b"\x00"), count=1)
    assert len(decode(broken).tracks) == 1
    assert encode(decode(broken)) == broken


def test_an_envelope_grows_with_the_file_in_it() -> None:
    data = file_of(chunk(TRACK))
    file = decode(in_riff(data))
    longer = replace(file.tracks[0], tail=b"x")
    grown = encode(replace(file, tracks=(longer,)))
    assert grown == in_riff(encode(replace(decode(data), tracks=(longer,))))
    assert len(grown) % 2 == 0


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"", "an empty file"),
        (b"<!DOCTYPE html><html><body>404 Not Found</body></html>\n", "an HTML page"),
        (b"\xef\xbb\xbf <HTML>", "an HTML page"),
        (b"<?xml version='1.0'?><score-partwise/>", "an XML file"),
        (b"RIFF\x24\x00\x00\x00WAVEfmt ", "a WAV recording"),
        (b"RIFF\x04\x00\x00\x00RMID", "a RIFF file without MIDI in it"),
        (b"ID3\x04\x00", "an MP3 recording"),
        (b"PK\x03\x04\x14", "a ZIP archive"),
        (b"OggS\x00", "an Ogg recording"),
        (b"\x00\x00\x00\x20ftypM4A ", "an MP4 or M4A file"),
        (b"404: Not Found", "a text"),
        (TRACK, "a file that begins with the bytes 00 90 3c 40, as no MIDI file does;"),
        (b"\x00", "a file that begins with the byte 00, as no MIDI file does;"),
        (b"PSF2\x01\x02", 'a file that begins with "PSF2", as no MIDI file does;'),
    ],
)
def test_what_is_no_midi_file_is_named_for_what_it_is(data: bytes, kind: str) -> None:
    with pytest.raises(DomainError, match=f"not a MIDI file that can be read: it is {kind}"):
        decode(data)


def test_what_could_be_read_without_high_delta_times_is_read_as_it_was() -> None:
    tail = b"\xff\xff\xff\xff\x7f\x90\x3c\x40"
    [track] = decode(file_of(chunk(TRACK + tail))).tracks
    assert track.tail == tail
    assert [event.message for event in track.events] == [b"\x90\x3c\x40", b"\x80\x3c\x40"]


@pytest.mark.parametrize("second", [4, LAST_TICK + 6])
def test_events_out_of_order_or_too_far_apart_are_not_written(second: int) -> None:
    track = EventTrack((Event(5, b"\xc0\x05"), Event(second, b"\xc0\x06")), 0)
    with pytest.raises(DomainError, match="delta time"):
        encode(EventFile(1, 480, (track,)))
