"""What differs between two MIDI files: notes, and the events that are not notes. Pure.

A note that edits name is the same note on both sides, whatever became of it. Where a file was replaced as a
whole, nothing says which note is which: then a note that only moved, sounds another pitch, or is longer or
louder is found by what stayed the same.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from muse.plugins.music.event_text import event_text
from muse.plugins.music.identified_score import IdentifiedScore, Placed, identify
from muse.plugins.music.matching import matched_notes
from muse.plugins.music.meter import Meter
from muse.plugins.music.note import pitch_name

_SHOWN_FIELDS = ("pitch", "velocity", "start_tick", "duration_ticks", "channel", "release")


@dataclass(frozen=True, slots=True)
class PlacedNote:
    """A note where people look for it. Bars and beats count from 1, tracks and channels from 0; C4 is 60.

    `bar` has the value None in a file that counts frames of a film: there `beat` and `length` are seconds.
    """

    note_id: str
    bar: int | None
    beat: float
    pitch: int
    pitch_name: str
    length: float
    velocity: int
    track: int
    channel: int
    start_tick: int
    duration_ticks: int
    release: int | None


@dataclass(frozen=True, slots=True)
class NoteChange:
    """A note that is there before and after, and the names of the fields that differ."""

    before: PlacedNote
    after: PlacedNote
    fields: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PlacedEvent:
    """An event that is not a note, in words."""

    bar: int | None
    beat: float
    track: int
    tick: int
    text: str


@dataclass(frozen=True, slots=True)
class NotesDiff:
    """The notes and events that differ, each list in the order of the music; `kept` are the other notes.

    `file`: what differs in the file as a whole, in words. `meter` is that of the newer file.
    """

    added: list[PlacedNote] = field(default_factory=list)
    removed: list[PlacedNote] = field(default_factory=list)
    changed: list[NoteChange] = field(default_factory=list)
    kept: list[PlacedNote] = field(default_factory=list)
    events_added: list[PlacedEvent] = field(default_factory=list)
    events_removed: list[PlacedEvent] = field(default_factory=list)
    file: list[str] = field(default_factory=list)
    meter: Meter = field(default_factory=lambda: Meter.of(IdentifiedScore().read.file))


def diff_scores(
    old: bytes | None, new: bytes | None, old_page: bytes | None = None, new_page: bytes | None = None
) -> NotesDiff:
    """Compare two MIDI files, with their pages of names if they have them; None: there is no file.

    Raises `DomainError` when one is not a MIDI file that can be read.
    """
    before = IdentifiedScore() if old is None else identify(old, old_page)
    after = IdentifiedScore() if new is None else identify(new, new_page)
    meters = Meter.of(before.read.file), Meter.of(after.read.file)
    diff = NotesDiff(meter=meters[0] if new is None else meters[1])
    same = {name: name for name in before.notes if name in after.notes}
    if before.read.data != after.read.data:
        same |= _matched(before, after)
    for name, placed in before.notes.items():
        shown = _placed_note(name, placed, meters[0])
        if name not in same:
            diff.removed.append(shown)
        elif (found := after.notes[same[name]]) == placed:
            diff.kept.append(shown)
        else:
            later = _placed_note(same[name], found, meters[1])
            diff.changed.append(NoteChange(shown, later, _changed_fields(placed, found)))
    known = set(same.values())
    diff.added.extend(
        _placed_note(name, placed, meters[1]) for name, placed in after.notes.items() if name not in known
    )
    _compare_events(before, after, meters, diff)
    if old is not None and new is not None:
        _compare_files(before, after, diff)
    for notes in (diff.added, diff.removed, diff.kept):
        notes.sort(key=_order)
    diff.changed.sort(key=lambda change: _order(change.after))
    return diff


def _placed_note(name: str, placed: Placed, meter: Meter) -> PlacedNote:
    track, note = placed
    bar, beat = meter.place(note.start_tick)
    return PlacedNote(
        note_id=name,
        bar=bar,
        beat=beat,
        pitch=note.pitch,
        pitch_name=pitch_name(note.pitch),
        length=meter.length(note.start_tick, note.duration_ticks),
        velocity=note.velocity,
        track=track,
        channel=note.channel,
        start_tick=note.start_tick,
        duration_ticks=note.duration_ticks,
        release=note.release,
    )


def _changed_fields(old: Placed, new: Placed) -> tuple[str, ...]:
    fields = [name for name in _SHOWN_FIELDS if getattr(old[1], name) != getattr(new[1], name)]
    return (*fields, *(["track"] if old[0] != new[0] else []))


def _order(note: PlacedNote) -> tuple[Any, ...]:
    return note.start_tick, note.track, note.channel, -note.pitch, note.note_id


# -- which note is which ----------------------------------------------------------------------------


def _matched(before: IdentifiedScore, after: IdentifiedScore) -> dict[str, str]:
    """Find notes that are the same under other names, as a record of the file would."""
    old = {name: placed for name, placed in before.notes.items() if name not in after.notes}
    new = {name: placed for name, placed in after.notes.items() if name not in before.notes}
    found = matched_notes(old, new, after.read.file.ticks_per_beat)
    return {was: now for now, was in found.items()}


# -- what is not a note -----------------------------------------------------------------------------


def _compare_events(
    before: IdentifiedScore, after: IdentifiedScore, meters: tuple[Meter, Meter], diff: NotesDiff
) -> None:
    old, new = _events(before), _events(after)
    for events, meter, found in (
        (old - new, meters[0], diff.events_removed),
        (new - old, meters[1], diff.events_added),
    ):
        for (tick, track, message), count in sorted(events.items()):
            bar, beat = meter.place(tick)
            found.extend([PlacedEvent(bar, beat, track, tick, event_text(message))] * count)


def _events(score: IdentifiedScore) -> Counter[tuple[int, int, bytes]]:
    return Counter(
        (event.tick, track, event.message)
        for track, events in enumerate(score.read.others())
        for event in events
    )


def _compare_files(before: IdentifiedScore, after: IdentifiedScore, diff: NotesDiff) -> None:
    old, new = before.file(), after.file()
    for what, was, is_now in (
        ("format", old.format, new.format),
        ("ticks per beat", old.ticks_per_beat, new.ticks_per_beat),
        ("tracks", len(old.tracks), len(new.tracks)),
    ):
        if was != is_now:
            diff.file.append(f"{what} {was} → {is_now}")
    differs = diff.added or diff.removed or diff.changed or diff.events_added or diff.events_removed
    if not differs and not diff.file:
        diff.file.append("the same notes and events, written in another way")
