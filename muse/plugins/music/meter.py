"""Bars and beats of a MIDI file, by its time signatures. Pure.

Bars and beats count from 1, as musicians count. A file without a time signature is in 4/4, and so is all
before the first one. A time signature begins a bar wherever it is. A beat is what the lower number of the
time signature says: an eighth in 6/8. A file that counts frames of a film has no bars, and its beats are
seconds.
"""

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from operator import attrgetter

from muse.plugins.music.midi_bytes import Event, EventFile, meta_of

_TIME_SIGNATURE = 0x58
_LONGEST_POWER = 7  # a 128th
_FILM_RATES = {29: Fraction(30000, 1001)}  # frames a second, where they are not what the header says


@dataclass(frozen=True, slots=True)
class _Section:
    """From `tick` on, where bar number `bar` begins: how many ticks a beat has, and beats a bar."""

    tick: int
    bar: int
    ticks_per_beat: Fraction
    beats: int


@dataclass(frozen=True, slots=True)
class Meter:
    """Where the bars and beats of a file are."""

    sections: tuple[_Section, ...]
    has_bars: bool = True

    @classmethod
    def of(cls, file: EventFile) -> "Meter":
        """Read the meter of a file; a time signature counts whatever track it is on."""
        division = file.ticks_per_beat
        if division < 0:
            rate = -(division >> 8)
            ticks = _FILM_RATES.get(rate, Fraction(rate)) * max(division & 0xFF, 1)
            return cls((_Section(0, 1, ticks, 1),), has_bars=False)
        events = sorted(
            (event for track in file.tracks for event in track.events if _signature(event) is not None),
            key=attrgetter("tick"),
        )
        return cls(tuple(_sections(max(division, 1), events)))

    def place(self, tick: int) -> tuple[int | None, float]:
        """Return the bar and the beat of a tick, to a thousandth; without bars, None and the second."""
        section = self._section(tick)
        # Whole numbers, as fractions take ten times as long: scores have many notes.
        size, parts = section.ticks_per_beat.as_integer_ratio()
        past = (tick - section.tick) * parts
        if not self.has_bars:
            return None, round(past / size, 3)
        bars, rest = divmod(past, size * section.beats)
        return section.bar + bars, round(rest / size + 1, 3)

    def length(self, tick: int, duration_ticks: int) -> float:
        """Return how many beats long a note is that starts at `tick`, to a thousandth."""
        size, parts = self._section(tick).ticks_per_beat.as_integer_ratio()
        return round(duration_ticks * parts / size, 3)

    def bar_ticks(self, first: int, last: int) -> list[tuple[int, int]]:
        """List the bars that begin between two ticks, both included: the number and the tick of each."""
        found = []
        for section, following in zip(self.sections, (*self.sections[1:], None), strict=True):
            end = last + 1 if following is None else min(following.tick, last + 1)
            size = section.ticks_per_beat * section.beats
            count = max(0, int((first - section.tick) // size)) if self.has_bars else 0
            while self.has_bars and (tick := section.tick + int(count * size)) < end:
                if tick >= first:
                    found.append((section.bar + count, tick))
                count += 1
        return found

    def _section(self, tick: int) -> _Section:
        if len(self.sections) == 1:
            return self.sections[0]
        return self.sections[max(0, bisect_right(self.sections, tick, key=attrgetter("tick")) - 1)]


def _signature(event: Event) -> tuple[int, int] | None:
    """Return the time signature that an event states, 3 and 8 for 3/8; None if it states none."""
    kind, data = meta_of(event.message) or (None, b"")
    if kind != _TIME_SIGNATURE or len(data) < 2 or not data[0] or data[1] > _LONGEST_POWER:
        return None
    return data[0], 1 << data[1]


def _sections(ticks_per_quarter: int, events: Iterable[Event]) -> list[_Section]:
    sections = [_Section(0, 1, Fraction(ticks_per_quarter), 4)]
    for event in events:
        beats, unit = _signature(event) or (4, 4)
        last = sections[-1]
        bars = -(-(event.tick - last.tick) // (last.ticks_per_beat * last.beats))
        if event.tick == last.tick:  # of several at one tick, the last one counts
            sections.pop()
        sections.append(
            _Section(event.tick, last.bar + int(bars), Fraction(ticks_per_quarter * 4, unit), beats)
        )
    return sections
