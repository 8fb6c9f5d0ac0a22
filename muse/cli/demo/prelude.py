"""Bach's Prelude in C major, note by note: the piece that the demonstration's players write together.

Source: J. S. Bach, Prelude I in C major, BWV 846, from The Well-Tempered Clavier, Book I (1722). The music
is in the public domain; it is encoded here by us from the score, in its 35 measures, without the measure
that Schwencke's edition put between 22 and 23.

Nothing here reads, writes or chooses at random: the same notes come out each time.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Literal

TITLE: Final = "Prelude in C major, BWV 846"
COMPOSER: Final = "Johann Sebastian Bach"
BEATS_PER_MEASURE: Final = 4
MEASURES: Final = 35
TICKS_PER_BEAT: Final = 480
TICKS_PER_MEASURE: Final = BEATS_PER_MEASURE * TICKS_PER_BEAT
TOTAL_TICKS: Final = MEASURES * TICKS_PER_MEASURE
SIXTEENTH_TICKS: Final = TICKS_PER_BEAT // 4
SIXTEENTHS_PER_MEASURE: Final = TICKS_PER_MEASURE // SIXTEENTH_TICKS

# Measures 1 to 32, a line each: bass, tenor, and the right hand's three notes.
_CHORDS: Final = """\
C4  E4  G4  C5  E5
C4  D4  A4  D5  F5
B3  D4  G4  D5  F5
C4  E4  G4  C5  E5
C4  E4  A4  E5  A5
C4  D4  F#4 A4  D5
B3  D4  G4  D5  G5
B3  C4  E4  G4  C5
A3  C4  E4  G4  C5
D3  A3  D4  F#4 C5
G3  B3  D4  G4  B4
G3  Bb3 E4  G4  C#5
F3  A3  D4  A4  D5
F3  Ab3 D4  F4  B4
E3  G3  C4  G4  C5
E3  F3  A3  C4  F4
D3  F3  A3  C4  F4
G2  D3  G3  B3  F4
C3  E3  G3  C4  E4
C3  G3  Bb3 C4  E4
F2  F3  A3  C4  E4
F#2 C3  A3  C4  Eb4
Ab2 F3  B3  C4  D4
G2  F3  G3  B3  D4
G2  E3  G3  C4  E4
G2  D3  G3  C4  F4
G2  D3  G3  B3  F4
G2  Eb3 A3  C4  F#4
G2  E3  G3  C4  G4
G2  D3  G3  C4  F4
G2  D3  G3  B3  F4
C2  C3  G3  Bb3 E4
"""

# Measures 33 and 34: the left hand's two held notes, and the run above them.
_RUNS: Final = (
    ("C2 C3", "F3 A3 C4 F4 C4 A3 C4 A3 F3 A3 F3 D3 F3 D3"),
    ("C2 B2", "G4 B4 D5 F5 D5 B4 D5 B4 G4 B4 D4 F4 E4 D4"),
)

# Measure 35: the whole-note chord, in the left hand and in the right.
_LAST_CHORD: Final = ("C2 C3", "E4 G4 C5")

_SEMITONES_ABOVE_C: Final = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
_SEMITONES_OF_ACCIDENTAL: Final = {"": 0, "#": 1, "b": -1}

Voice = Literal["left", "right"]


@dataclass(frozen=True, slots=True)
class ScoreNote:
    """One note of the score, as it is written and before anyone plays it.

    Measures count from 1, ticks from the first note of the piece; `pitch` is a MIDI key, middle C (C4) 60.
    """

    measure: int
    voice: Voice
    pitch: int
    start_tick: int
    duration_ticks: int


def prelude_notes() -> list[ScoreNote]:
    """Return the 549 notes of the prelude, by their starts and then from the lowest pitch up.

    No pitch starts again before it has ended, so the notes fit in a single MIDI channel.
    """
    notes = [*_broken_chords(), *_runs(), *_last_chord()]
    return sorted(notes, key=lambda note: (note.start_tick, note.pitch))


def _broken_chords() -> Iterator[ScoreNote]:
    """Measures 1 to 32: each chord broken as 1 2 3 4 5 3 4 5, once in each half of its measure."""
    for measure, names in enumerate(_CHORDS.splitlines(), start=1):
        bass, tenor, *upper = _pitches(names)
        for half in (0, 8):
            yield _note(measure, "left", bass, half, 8)
            yield _note(measure, "left", tenor, half + 1, 7)
            for step, pitch in enumerate(upper * 2, start=half + 2):
                yield _note(measure, "right", pitch, step, 1)


def _runs() -> Iterator[ScoreNote]:
    """Measures 33 and 34: two notes held to the end of the measure below fourteen sixteenths."""
    for measure, (held, run) in enumerate(_RUNS, start=33):
        bass, tenor = _pitches(held)
        yield _note(measure, "left", bass, 0, 16)
        yield _note(measure, "left", tenor, 1, 15)
        for step, pitch in enumerate(_pitches(run), start=2):
            yield _note(measure, "right", pitch, step, 1)


def _last_chord() -> Iterator[ScoreNote]:
    left, right = _LAST_CHORD
    for pitch in _pitches(left):
        yield _note(MEASURES, "left", pitch, 0, 16)
    for pitch in _pitches(right):
        yield _note(MEASURES, "right", pitch, 0, 16)


def _note(measure: int, voice: Voice, pitch: int, step: int, sixteenths: int) -> ScoreNote:
    """Make a note that starts on sixteenth `step` of `measure` (0 is the downbeat)."""
    start_tick = (measure - 1) * TICKS_PER_MEASURE + step * SIXTEENTH_TICKS
    return ScoreNote(measure, voice, pitch, start_tick, sixteenths * SIXTEENTH_TICKS)


def _pitches(names: str) -> list[int]:
    return [_pitch(name) for name in names.split()]


def _pitch(name: str) -> int:
    """Return the MIDI key of a name in scientific pitch notation: `C4` is 60, `Bb3` 58, `F#2` 42."""
    letter, accidental, octave = name[0], name[1:-1], int(name[-1])
    return 12 * (octave + 1) + _SEMITONES_ABOVE_C[letter] + _SEMITONES_OF_ACCIDENTAL[accidental]


# The dynamics, as (measure, velocity) to pass through. Bach wrote none: this is a reading. It opens at
# piano, swells to the high A of 5, sinks to the cadence of 11; leans on the diminished chords of 12 and 14
# and rests on the low C of 19; grows through the chromatic bass of 20 to 23 and over the dominant pedal to
# its height in 29, then lets go into the last chord.
_DYNAMICS: Final = (
    (1, 52),
    (5, 66),
    (7, 64),
    (11, 52),
    (12, 62),
    (14, 64),
    (15, 56),
    (19, 48),
    (20, 52),
    (23, 74),
    (24, 66),
    (27, 70),
    (29, 86),
    (31, 72),
    (33, 60),
    (35, 44),
    (36, 44),
)

# Added by sixteenth of the half measure. The bass speaks, the tenor follows; in the right hand the top note
# sings and its return falls back, so that eight even sixteenths do not sound like a machine.
_LEFT_SHADING: Final = (6, 0, 0, 0, 0, 0, 0, 0)
_RIGHT_SHADING: Final = (0, -3, -4, -2, 2, -5, -3, 0)
_ECHO: Final = -3  # the second half of a measure repeats the first, and says it more quietly


def velocity_of(note: ScoreNote) -> int:
    """Return how hard to play `note`, as a MIDI velocity, by the line of the piece and its place.

    It is always the same for the same note, and between 1 and 127 for every note of `prelude_notes()`.

    Raises:
        ValueError: the note starts outside the piece.
    """
    step = note.start_tick % TICKS_PER_MEASURE // SIXTEENTH_TICKS
    shading = _LEFT_SHADING if note.voice == "left" else _RIGHT_SHADING
    echo = _ECHO if step >= SIXTEENTHS_PER_MEASURE // 2 else 0
    return round(_dynamic_at(note.start_tick)) + shading[step % 8] + echo


def _dynamic_at(tick: int) -> float:
    """Return the dynamic at `tick`, on a straight line between its two neighbours in `_DYNAMICS`."""
    place = 1 + tick / TICKS_PER_MEASURE
    for (start, before), (end, after) in pairwise(_DYNAMICS):
        if start <= place < end:
            return before + (after - before) * (place - start) / (end - start)
    raise ValueError(f"tick {tick} is outside the piece: its notes start at 0 and before {TOTAL_TICKS}")
