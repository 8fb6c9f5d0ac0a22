"""Bach's prelude as data: every measure is full, and sounds what the score says."""

from collections import Counter, defaultdict

import pytest

from muse.cli.demo.prelude import (
    MEASURES,
    SIXTEENTH_TICKS,
    TICKS_PER_BEAT,
    TICKS_PER_MEASURE,
    TOTAL_TICKS,
    ScoreNote,
    prelude_notes,
    velocity_of,
)

# The lowest note of each measure, as MIDI keys and not as the note names of the encoding.
BASS_LINE = [
    *(60, 60, 59, 60, 60, 60, 59, 59, 57, 50, 55),
    *(55, 53, 53, 52, 52, 50, 43, 48),
    *(48, 41, 42, 44),
    *(43, 43, 43, 43, 43, 43, 43, 43),
    *(36, 36, 36, 36),
]

# The highest note of each measure.
TOP_LINE = [
    *(76, 77, 77, 76, 81, 74, 79, 72, 72, 72, 71),
    *(73, 74, 71, 72, 65, 65, 65, 64),
    *(64, 64, 63, 62),
    *(62, 64, 65, 65, 66, 67, 65, 65),
    *(64, 65, 77, 72),
]


def in_measure(measure: int) -> list[ScoreNote]:
    return [note for note in prelude_notes() if note.measure == measure]


def pitches_in(measure: int) -> list[int]:
    return [note.pitch for note in in_measure(measure)]


def steps_in(measure: int) -> list[int]:
    start = (measure - 1) * TICKS_PER_MEASURE
    return [(note.start_tick - start) // SIXTEENTH_TICKS for note in in_measure(measure)]


def test_the_prelude_has_549_notes_in_35_measures() -> None:
    assert len(prelude_notes()) == 549
    assert sorted({note.measure for note in prelude_notes()}) == list(range(1, MEASURES + 1))


def test_the_prelude_lasts_140_beats_to_its_last_tick() -> None:
    assert prelude_notes()[0].start_tick == 0
    assert max(note.start_tick + note.duration_ticks for note in prelude_notes()) == TOTAL_TICKS
    assert TOTAL_TICKS == 140 * TICKS_PER_BEAT


def test_the_notes_come_in_time_order_and_from_the_bass_up() -> None:
    order = [(note.start_tick, note.pitch) for note in prelude_notes()]
    assert order == sorted(set(order))


def test_the_notes_are_the_same_each_time() -> None:
    assert prelude_notes() == prelude_notes()


def test_each_note_starts_and_ends_inside_its_own_measure() -> None:
    for note in prelude_notes():
        start = (note.measure - 1) * TICKS_PER_MEASURE
        assert start <= note.start_tick < note.start_tick + note.duration_ticks <= start + TICKS_PER_MEASURE


def test_every_pitch_lies_between_the_lowest_c_and_the_high_a() -> None:
    pitches = [note.pitch for note in prelude_notes()]
    assert (min(pitches), max(pitches)) == (36, 81)


@pytest.mark.parametrize("measure", range(1, 35))
def test_one_note_starts_on_each_of_the_sixteen_sixteenths(measure: int) -> None:
    assert steps_in(measure) == list(range(16))


@pytest.mark.parametrize("measure", range(1, 33))
def test_the_second_half_of_a_broken_chord_repeats_the_first(measure: int) -> None:
    first, second = in_measure(measure)[:8], in_measure(measure)[8:]
    assert [(n.voice, n.pitch, n.duration_ticks) for n in first] == [
        (n.voice, n.pitch, n.duration_ticks) for n in second
    ]


@pytest.mark.parametrize("measure", range(1, 33))
def test_a_broken_chord_climbs_its_five_notes_and_takes_the_upper_three_again(measure: int) -> None:
    half = pitches_in(measure)[:8]
    assert half[:5] == sorted(set(half))
    assert half[5:] == half[2:5]


@pytest.mark.parametrize("measure", range(1, MEASURES + 1))
def test_the_sound_never_stops_within_a_measure(measure: int) -> None:
    sounding: Counter[int] = Counter()
    for note, step in zip(in_measure(measure), steps_in(measure), strict=True):
        sounding.update(range(step, step + note.duration_ticks // SIXTEENTH_TICKS))
    assert sorted(sounding) == list(range(16))


def test_no_pitch_starts_again_before_it_has_ended() -> None:
    free_from: dict[int, int] = defaultdict(int)
    for note in prelude_notes():
        assert note.start_tick >= free_from[note.pitch]
        free_from[note.pitch] = note.start_tick + note.duration_ticks


def test_the_left_hand_holds_two_notes_and_the_right_hand_plays_sixteenths() -> None:
    lengths: dict[str, Counter[int]] = {"left": Counter(), "right": Counter()}
    for note in prelude_notes():
        lengths[note.voice][note.duration_ticks // SIXTEENTH_TICKS] += 1
    assert lengths["left"] == {8: 64, 7: 64, 15: 2, 16: 4}
    assert lengths["right"] == {1: 32 * 12 + 2 * 14, 16: 3}


def test_the_left_hand_keeps_below_the_right_in_every_measure() -> None:
    for measure in range(1, MEASURES + 1):
        left = [note.pitch for note in in_measure(measure) if note.voice == "left"]
        right = [note.pitch for note in in_measure(measure) if note.voice == "right"]
        assert max(left) < min(right)


def test_the_first_measure_breaks_c_major() -> None:
    assert pitches_in(1) == [60, 64, 67, 72, 76, 67, 72, 76] * 2


@pytest.mark.parametrize("measure", range(1, MEASURES + 1))
def test_the_bass_and_the_top_note_of_each_measure_are_the_scores(measure: int) -> None:
    assert min(pitches_in(measure)) == BASS_LINE[measure - 1]
    assert max(pitches_in(measure)) == TOP_LINE[measure - 1]


def test_accidentals_stand_in_these_measures_and_in_no_other() -> None:
    white_keys = {0, 2, 4, 5, 7, 9, 11}
    black = {
        measure: keys
        for measure in range(1, MEASURES + 1)
        if (keys := {pitch for pitch in pitches_in(measure) if pitch % 12 not in white_keys})
    }
    f_sharp_4, b_flat_3 = 66, 58
    assert black == {
        6: {f_sharp_4},
        10: {f_sharp_4},
        12: {b_flat_3, 73},
        14: {56},
        20: {b_flat_3},
        22: {42, 63},
        23: {44},
        28: {51, f_sharp_4},
        32: {b_flat_3},
    }


def test_the_chromatic_chords_sound_every_note_of_the_score() -> None:
    assert pitches_in(12)[:5] == [55, 58, 64, 67, 73]
    assert pitches_in(14)[:5] == [53, 56, 62, 65, 71]
    assert pitches_in(22)[:5] == [42, 48, 57, 60, 63]
    assert pitches_in(23)[:5] == [44, 53, 59, 60, 62]
    assert pitches_in(28)[:5] == [43, 51, 57, 60, 66]


def test_the_added_measure_of_schwencke_is_not_there() -> None:
    after_f_sharp_comes_a_flat = [min(pitches_in(measure)) for measure in (22, 23, 24)]
    assert after_f_sharp_comes_a_flat == [42, 44, 43]


def test_the_last_two_runs_are_the_scores() -> None:
    assert pitches_in(33) == [36, 48, 53, 57, 60, 65, 60, 57, 60, 57, 53, 57, 53, 50, 53, 50]
    assert pitches_in(34) == [36, 47, 67, 71, 74, 77, 74, 71, 74, 71, 67, 71, 62, 65, 64, 62]


def test_the_last_measure_is_one_whole_note_chord_of_c_major() -> None:
    assert pitches_in(35) == [36, 48, 64, 67, 72]
    assert {note.duration_ticks for note in in_measure(35)} == {TICKS_PER_MEASURE}


def test_every_velocity_is_a_midi_velocity_and_neither_shouts_nor_vanishes() -> None:
    velocities = [velocity_of(note) for note in prelude_notes()]
    assert all(isinstance(velocity, int) for velocity in velocities)
    assert 30 < min(velocities) < max(velocities) < 100


def test_the_piece_is_loudest_over_the_dominant_pedal_and_dies_away_at_the_end() -> None:
    loudest = max(prelude_notes(), key=velocity_of)
    assert loudest.measure == 29
    assert max(map(velocity_of, in_measure(35))) < max(map(velocity_of, in_measure(1)))


@pytest.mark.parametrize("measure", range(1, 35))
def test_the_bass_on_the_downbeat_is_the_strongest_note_of_its_first_half(measure: int) -> None:
    bass, *others = in_measure(measure)[:8]
    assert velocity_of(bass) > max(map(velocity_of, others))


@pytest.mark.parametrize("start_tick", [-1, TOTAL_TICKS])
def test_a_note_outside_the_piece_has_no_velocity(start_tick: int) -> None:
    with pytest.raises(ValueError, match="outside the piece"):
        velocity_of(ScoreNote(1, "right", 60, start_tick, SIXTEENTH_TICKS))
