"""One note: its fields, and the two events of a track that it is. Pure.

A note is a note_on and its note_off, paired first in, first out for each channel and pitch of a track.
Some programs write the end of a note without length before its start. So a note_on that nothing
ends before its pitch starts again takes a note_off that ended nothing at its own tick; otherwise
every later note of that pitch would end one note late. A note_on that never ends and a note_off
that ends nothing are other events. A velocity above 127, which a note cannot have, counts as 127.
An event beyond `LAST_TICK` is part of no note.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import zip_longest

from muse.core import content_id
from muse.errors import DomainError
from muse.plugins.music.midi_bytes import LAST_TICK, Event
from muse.plugins.op_fields import shown

NEUTRAL_RELEASE = 64  # what the MIDI specification has senders use that do not measure it
_NOTE_OFF, _NOTE_ON = 0x8, 0x9
_PITCH_NAMES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
_LIMITS = {
    "pitch": (0, 127),
    "velocity": (1, 127),
    "start_tick": (0, LAST_TICK),
    "duration_ticks": (0, LAST_TICK),
    "channel": (0, 15),
    "release": (0, 127),
}


@dataclass(frozen=True, slots=True)
class Note:
    """One note. Raises DomainError unless every field is an int within MIDI's limits.

    `channel` counts from 0. `release` is the velocity of the note_off, or None when the note ends
    with a note_on of velocity 0. The note ends by tick 2**28 - 1. `ends_first`: a note without length
    whose end is before its start in the file, as some notation programs write grace notes.
    """

    pitch: int
    velocity: int
    start_tick: int
    duration_ticks: int
    channel: int = 0
    release: int | None = NEUTRAL_RELEASE
    ends_first: bool = False

    def __post_init__(self) -> None:
        _check(self)
        if self.duration_ticks and self.ends_first:
            object.__setattr__(self, "ends_first", False)

    @property
    def end_tick(self) -> int:
        """The tick at which it ends."""
        return self.start_tick + self.duration_ticks

    @property
    def content_id(self) -> str:
        """Return the id of the note's content in the Muse repository format; the release does not count."""
        return content_id.note_id(
            self.pitch, self.velocity, self.start_tick, self.duration_ticks, self.channel
        )

    def fields(self) -> dict[str, int | None]:
        """Return the fields by name, as an op carries them; `ends_first` only where it is true."""
        return {name: value for name, value in asdict(self).items() if name != "ends_first" or value}

    def summary(self) -> str:
        """Describe the note in a line for people; C4 is pitch 60."""
        name = pitch_name(self.pitch)
        when = f"at {self.start_tick} for {self.duration_ticks}"
        return f"{name} v{self.velocity} {when} on channel {self.channel}"


def pitch_name(pitch: int) -> str:
    """Return the name of a pitch; C4 is pitch 60."""
    return f"{_PITCH_NAMES[pitch % 12]}{pitch // 12 - 1}"


def pair_notes(events: Sequence[Event]) -> list[tuple[int, int]]:
    """Find the notes among `events`: the index of each one's start and end, in order of starts."""
    sounds: dict[tuple[int, int], list[int]] = {}
    for index, (tick, message) in enumerate(events):
        if tick <= LAST_TICK and (key := key_of(message)) is not None:
            sounds.setdefault(key, []).append(index)
    return sorted(pair for indexes in sounds.values() for pair in _pair_one_pitch(events, indexes))


def _pair_one_pitch(events: Sequence[Event], indexes: Sequence[int]) -> Iterable[tuple[int, int]]:
    """Pair the starts and ends of one channel and pitch, which are at `indexes`."""
    sounding: deque[int] = deque()
    stray_ends: deque[int] = deque()  # those at the tick at hand that ended nothing
    for index, following in zip_longest(indexes, indexes[1:]):
        if stray_ends and events[stray_ends[0]].tick < events[index].tick:
            stray_ends.clear()
        if not starts_note(events[index].message):
            if sounding:
                yield (sounding.popleft(), index)
            else:
                stray_ends.append(index)
        elif stray_ends and (following is None or starts_note(events[following].message)):
            yield (index, stray_ends.popleft())
        else:
            sounding.append(index)


def note_between(events: Sequence[Event], on: int, off: int) -> Note:
    """Build the note whose start and end are the events at `on` and `off`."""
    start, end = events[on], events[off]
    status, pitch, velocity = start.message
    release = min(end.message[2], 127) if end.message[0] >> 4 == _NOTE_OFF else None
    return Note(pitch, min(velocity, 127), start.tick, end.tick - start.tick, status & 0xF, release, off < on)


def can_pair(events: Sequence[Event], on: int, off: int) -> bool:
    """Tell whether there is a note_on at the place `on`, and at `off` what may end it."""
    if not 0 <= min(on, off) < max(on, off) < len(events):
        return False
    start, end = events[on], events[off]
    if not (key_of(start.message) == key_of(end.message) is not None and starts_note(start.message)):
        return False
    return start.tick <= end.tick <= LAST_TICK and not starts_note(end.message)


def key_of(message: bytes) -> tuple[int, int] | None:
    """Return the channel and pitch that a message starts or ends; None if it does neither."""
    if message[0] >> 4 not in {_NOTE_ON, _NOTE_OFF} or message[1] > 127:
        return None
    return message[0] & 0xF, message[1]


def note_on(note: Note) -> bytes:
    """Return the message that starts a note."""
    return bytes((_NOTE_ON << 4 | note.channel, note.pitch, note.velocity))


def note_off(note: Note) -> bytes:
    """Return the message that ends a note: a note-on of velocity 0 if it has no release velocity."""
    if note.release is None:
        return bytes((_NOTE_ON << 4 | note.channel, note.pitch, 0))
    return bytes((_NOTE_OFF << 4 | note.channel, note.pitch, note.release))


def starts_note(message: bytes) -> bool:
    """Tell whether a message starts a note: a note-on of velocity 0 ends one."""
    return message[0] >> 4 == _NOTE_ON and message[2] > 0


def _check(note: Note) -> None:
    for name, (low, high) in _LIMITS.items():
        value = getattr(note, name)
        if value is None and name == "release":
            continue
        if type(value) is not int or not low <= value <= high:
            raise DomainError(f"a note's {name} is a whole number from {low} to {high}, not {shown(value)}")
    if note.end_tick > LAST_TICK:
        raise DomainError(f"a note ends by tick {LAST_TICK}, not at {note.end_tick}")
