"""Finds which notes of a file are those of an earlier version of it, moved or changed. Pure."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Mapping

from muse.plugins.music.found_notes import Placed, sound_of
from muse.plugins.music.note import Note

_CANDIDATES = 32
"""With so many of the notes before a note, and after it, is it compared."""

_FARTHEST_BEATS = 16


def matched_notes(
    before: Mapping[str, Placed], after: Mapping[str, Placed], ticks_per_beat: int
) -> dict[str, str]:
    """Return for notes of `after` the names that they have in `before`.

    A note that sounds as before is the same. Of the others, those are taken for one that differ least: in
    one thing rather than in two, nearby rather than far. What differs in pitch and place is another note,
    unless its length, velocity and track stayed.
    """
    found: dict[str, str] = {}
    same: dict[tuple[int, ...], list[str]] = defaultdict(list)
    for name, (track, note) in before.items():
        same[track, *sound_of(note)].append(name)
    for name, (track, note) in after.items():
        if names := same.get((track, *sound_of(note))):
            found[name] = names.pop(0)
    taken = set(found.values())
    old = {name: placed for name, placed in before.items() if name not in taken}
    new = {name: placed for name, placed in after.items() if name not in found}
    pairs = sorted(_pairs(old, new, max(abs(ticks_per_beat), 1)))
    for _, was, now in pairs:
        if was not in taken and now not in found:
            taken.add(was)
            found[now] = was
    return found


def _pairs(
    old: Mapping[str, Placed], new: Mapping[str, Placed], ticks_per_beat: int
) -> Iterator[tuple[float, str, str]]:
    """Yield (difference, old name, new name) of notes that may be the same."""
    by_start = sorted((placed[1].start_tick, name) for name, placed in old.items())
    for name, placed in new.items():
        place = bisect_left(by_start, (placed[1].start_tick, ""))
        for _, was in by_start[max(place - _CANDIDATES, 0) : place + _CANDIDATES]:
            difference = _difference(old[was], placed, ticks_per_beat)
            if difference is not None:
                yield difference, was, name


def _difference(one: Placed, other: Placed, ticks_per_beat: int) -> float | None:
    """Return how much two notes differ; None for notes that are not the same."""
    (track, was), (to_track, now) = one, other
    beats = abs(was.start_tick - now.start_tick) / ticks_per_beat
    changes = _changes(was, now) + (track != to_track)
    if beats > _FARTHEST_BEATS or changes > 3 or (was.pitch != now.pitch and beats and changes > 2):
        return None
    steps = min(abs(was.pitch - now.pitch), 24) / 24
    return changes + beats / _FARTHEST_BEATS + steps


def _changes(was: Note, now: Note) -> int:
    """Count what differs: pitch, start, length, velocity, channel."""
    return sum(
        (
            was.pitch != now.pitch,
            was.start_tick != now.start_tick,
            was.duration_ticks != now.duration_ticks,
            was.velocity != now.velocity,
            was.channel != now.channel,
        )
    )
