"""What differs between two MIDI files: notes, and the events that are not notes. Pure.

A note that edits name is the same note on both sides, whatever became of it. Where a file was replaced as a
whole, nothing says which note is which: then a note that only moved, sounds another pitch, or is longer or
louder is found by what stayed the same.
"""

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from muse.plugins.music.event_text import event_text
from muse.plugins.music.identified_score import IdentifiedScore, Placed, identify
from muse.plugins.music.meter import Meter
from muse.plugins.music.note import Note, pitch_name

_SHOWN_FIELDS = ("pitch", "velocity", "start_tick", "duration_ticks", "channel", "release")
_PITCHES_AWAY = 12  # how far a note may have moved and still count as the same
_BEATS_AWAY = 4


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
    """Find notes that are the same under other names: what stayed most alike is paired first."""
    old = {name: placed for name, placed in before.notes.items() if name not in after.notes}
    new = {name: placed for name, placed in after.notes.items() if name not in before.notes}
    near = _BEATS_AWAY * abs(after.read.file.ticks_per_beat or 1)
    rules: list[tuple[Callable[[int, Note], Any], Callable[[Note], int], int]] = [
        (lambda track, note: (track, note.channel, note.pitch, note.start_tick), _duration, 1 << 28),
        (lambda _, note: (note.pitch, note.start_tick, note.duration_ticks), _velocity, 127),
        (lambda track, note: (track, note.channel, note.pitch, note.duration_ticks), _start, near),
        (
            lambda track, note: (track, note.channel, note.start_tick, note.duration_ticks),
            _pitch,
            _PITCHES_AWAY,
        ),
    ]
    found: dict[str, str] = {}
    for key, value, limit in rules:
        pairs = _nearest(old, new, key, value, limit)
        for name, other in pairs.items():
            del old[name], new[other]
        found |= pairs
    return found


def _velocity(note: Note) -> int:
    return note.velocity


def _duration(note: Note) -> int:
    return note.duration_ticks


def _start(note: Note) -> int:
    return note.start_tick


def _pitch(note: Note) -> int:
    return note.pitch


def _nearest(
    old: Mapping[str, Placed],
    new: Mapping[str, Placed],
    key: Callable[[int, Note], Any],
    value: Callable[[Note], int],
    limit: int,
) -> dict[str, str]:
    """Pair notes of one `key`, each with the nearest by `value` that is left, at most `limit` away."""
    places: dict[Any, list[tuple[int, str]]] = defaultdict(list)
    for name, (track, note) in new.items():
        places[key(track, note)].append((value(note), name))
    for candidates in places.values():
        candidates.sort()
    pairs: dict[str, str] = {}
    for name, (track, note) in sorted(old.items(), key=lambda item: (value(item[1][1]), item[0])):
        candidates = places.get(key(track, note), [])
        own = value(note)
        place = bisect_left(candidates, (own, ""))
        beside = [at for at in (place - 1, place) if 0 <= at < len(candidates)]
        best = min(beside, key=lambda at: abs(candidates[at][0] - own), default=None)
        if best is not None and abs(candidates[best][0] - own) <= limit:
            pairs[name] = candidates.pop(best)[1]
    return pairs


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
