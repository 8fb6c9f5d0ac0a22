"""Bars and beats: where a tick is in the music."""

import pytest

from muse.plugins.music.event_text import event_text
from muse.plugins.music.meter import Meter
from muse.plugins.music.midi_bytes import Event, EventFile, EventTrack, meta_of


def meter(*events: tuple[int, str], ticks_per_beat: int = 480) -> Meter:
    track = EventTrack(tuple(Event(tick, bytes.fromhex(message)) for tick, message in events), 0)
    return Meter.of(EventFile(1, ticks_per_beat, (EventTrack((), 0), track)))


THREE_FOUR = "ff 58 04 03 02 18 08"
SIX_EIGHT = "ff 58 04 06 03 18 08"


def test_a_file_without_a_time_signature_is_in_four_four() -> None:
    places = [meter().place(tick) for tick in (0, 480, 720, 1919, 1920)]
    assert places == [(1, 1.0), (1, 2.0), (1, 2.5), (1, 4.998), (2, 1.0)]


def test_the_lower_number_says_what_a_beat_is() -> None:
    six_eight = meter((0, SIX_EIGHT))
    assert [six_eight.place(tick) for tick in (240, 1200, 1440)] == [(1, 2.0), (1, 6.0), (2, 1.0)]
    assert six_eight.length(0, 480) == 2.0


def test_a_time_signature_begins_a_bar_and_the_last_of_a_tick_counts() -> None:
    changing = meter((1920, SIX_EIGHT), (1920, THREE_FOUR))
    assert [changing.place(tick) for tick in (1919, 1920, 3359, 3360)] == [
        (1, 4.998),
        (2, 1.0),
        (2, 3.998),
        (3, 1.0),
    ]


def test_of_two_time_signatures_at_one_tick_one_is_left() -> None:
    assert len(meter((0, SIX_EIGHT)).sections) == 1
    assert len(meter((1920, SIX_EIGHT), (1920, THREE_FOUR)).sections) == 2


def test_a_time_signature_in_a_bar_ends_it() -> None:
    cut = meter((960, THREE_FOUR))
    assert (cut.place(959)[0], cut.place(960)) == (1, (2, 1.0))


@pytest.mark.parametrize(
    "message", ["ff 58 04 00 02 18 08", "ff 58 04 04 09 18 08", "ff 58 01 04", "ff 58 00"]
)
def test_a_time_signature_that_means_nothing_is_passed_over(message: str) -> None:
    assert meter((0, message)).place(1920) == (2, 1.0)


def test_a_file_that_counts_frames_has_seconds() -> None:
    film = meter(ticks_per_beat=-25 * 256 + 40)  # 25 frames a second, 40 ticks a frame
    assert film.place(1500) == (None, 1.5)
    assert film.length(0, 250) == 0.25
    assert film.bar_ticks(0, 10_000) == []


def test_a_division_of_nothing_is_read() -> None:
    assert meter(ticks_per_beat=0).place(4) == (2, 1.0)


def test_the_bars_between_two_ticks_are_listed() -> None:
    changing = meter((1920, THREE_FOUR), (4000, SIX_EIGHT))
    assert changing.bar_ticks(0, 5440) == [(1, 0), (2, 1920), (3, 3360), (4, 4000), (5, 5440)]
    assert changing.bar_ticks(1, 3359) == [(2, 1920)]


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ("ff 51 03 07 a1 20", "tempo 120 bpm"),
        ("ff 51 03 06 8a 1b", "tempo 140 bpm"),
        (THREE_FOUR, "time signature 3/4"),
        ("ff 59 02 02 00", "key D major"),
        ("ff 59 02 fd 01", "key C minor"),
        ("ff 59 02 09 07", "key, 2 bytes: 09 07"),
        ("ff 03 05 50 69 61 6e 6f", "track name 'Piano'"),
        ("ff 51 03 00 00 00", "tempo, 3 bytes: 00 00 00"),
        ("ff 60 01 07", "meta event 60, 1 byte: 07"),
        ("c1 05", "program 5 on channel 1"),
        ("b0 07 64", "controller 7 (volume) 100 on channel 0"),
        ("b0 55 01", "controller 85 1 on channel 0"),
        ("e0 00 50", "pitch bend +2048 on channel 0"),
        ("a0 3c 10", "pressure, C4 16 on channel 0"),
        ("d2 10", "pressure 16 on channel 2"),
        ("90 3c 10", "start of a note that never ends, C4 16 on channel 0"),
        ("f0 04 43 10 00 f7", "system exclusive, 6 bytes"),
        ("f1 04", "message F1, 2 bytes"),
    ],
)
def test_an_event_is_said_in_words(message: str, text: str) -> None:
    assert event_text(bytes.fromhex(message)) == text


def test_only_a_meta_event_has_a_type_and_a_content() -> None:
    assert meta_of(bytes.fromhex("ff 03 80 01 41")) == (3, b"A")  # a length that is padded
    assert meta_of(bytes.fromhex("b0 07 64")) is None
