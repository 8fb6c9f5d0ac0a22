"""Decides the order of the events of a track whose notes were edited. Pure.

What was read keeps its place: a track is the one that was read, without the events of the notes that
went, and with those of new and changed notes put in. An event of a changed note stays in its place as
long as its tick, channel and pitch do. Our own order is for what has no place yet: at one tick come
first the ends of notes, then all that was read, in its order, then notes without length, then the
starts of the rest.

What is edited is what plays, in every program that pairs starts and ends in whatever way. So near an edited
note, and as long as it is there, a few events of its pitch give way. One that ends nothing, and a start
that nothing ends, are left out while the note sounds. A start that nothing ended before it is ended where
the note starts. An end of track before the note is left out. Of two edited notes of one pitch, one inside the
other, and of an edited note inside another note, MIDI cannot say which ends first: nothing is done there.

The order is a function of what was read and of the notes there are now, never of how they were made: an
edit that is taken back leaves no trace.
"""

from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from muse.errors import DomainError
from muse.plugins.music.midi_bytes import (
    LAST_TICK,
    OVERLONG,
    Event,
    EventTrack,
    TrackWritten,
    encode_end,
    encode_event,
    is_end_of_track,
)
from muse.plugins.music.note import (
    NEUTRAL_RELEASE,
    Note,
    key_of,
    note_off,
    note_on,
    starts_note,
)

_ENDS, _READ, _STARTS = 0, 1, 2  # the parts of a tick
_EMPTY_TEXT = b"\xff\x01\x00"
_Key = tuple[int, int]
_LEFT_OUT = -1
_ENDS_OF_TRACK: _Key = (-1, -1)  # in place of a pitch: which of the ends of track are left out
_Owner = Hashable  # what a note is known by: its name, or another thing that stays the same
_Places = Mapping[Any, tuple[int, int]]


class _Item(NamedTuple):
    """An event on its way to its place: `order` within the track, whose it is, and how it is framed.

    `starts`: whether it starts or ends its note, `owner`; None for what is of no note. `tie`: the name of the
    note, if it is edited.
    """

    order: tuple[int, ...]
    tie: str
    event: Event
    frame: int
    owner: _Owner | None = None
    starts: bool = False


def lay_out(
    track: EventTrack,
    places: _Places,
    notes: Mapping[str, Note],
    edited: Collection[str],
    *,
    by_second_rule: bool = False,
) -> EventTrack:
    """Return `track` with the notes that there are now; the same object where nothing changed.

    `places` tells, by note id, at which events of the track the notes start and end that were read.
    `edited` are the notes that are new on the track or changed. By the second rule, which commits name that
    were made by it, events give way to every edited note, and a note without length stays at its place.
    Raises DomainError for a change of a track with a delta time that is higher than MIDI allows.
    """
    if not edited and len(notes) == len(places):
        return track
    if track.longest_wait() > LAST_TICK:
        raise DomainError(OVERLONG)
    changed = {name: notes[name] for name in edited}
    read = _Read(track, places, map(_key, changed.values()), by_second_rule=by_second_rule)
    items = sorted(_items(read, notes, changed))
    heard = {name: note for name, note in changed.items() if by_second_rule or not read.has_place(name, note)}
    kept = list(_without_what_hides(items, heard))
    end_tick = max(track.end_tick, kept[-1].event.tick if kept else 0)
    kept = list(_within_reach(kept, end_tick))
    events = tuple(item.event for item in kept)
    framing = bytes(item.frame for item in kept) + (track.framing[-1:] or b"\x00")
    return replace(track, events=events, framing=framing, end_tick=end_tick, excess=0)


def _key(note: Note) -> _Key:
    return note.channel, note.pitch


# -- the order --------------------------------------------------------------------------------------


class _Read:
    """A track as it was read, with what the order of new events of the pitches `keys` depends on.

    `keys` None: of all pitches.
    """

    def __init__(
        self, track: EventTrack, places: _Places, keys: Iterable[_Key] | None, *, by_second_rule: bool
    ) -> None:
        self.by_second_rule = by_second_rule
        self.places = places
        self.track = track
        self.framing = track.framing.ljust(len(track.events), b"\x00")
        self.owners = {
            index: (name, index == on) for name, (on, off) in places.items() for index in (on, off)
        }
        self._keys: dict[tuple[int, _Key | None], list[int]] = defaultdict(list)
        looked_at = None if keys is None else set(keys)
        for index, event in enumerate(track.events):
            key = key_of(event.message)
            if looked_at is None or key in looked_at:
                self._keys[event.tick, key].append(index)

    def has_place(self, name: _Owner, note: Note) -> bool:
        """Return whether a note starts and ends as it was read, so that at most its velocities changed."""
        if name not in self.places:
            return False
        on, off = self.places[name]
        start, end = self.track.events[on], self.track.events[off]
        was = start.tick, end.tick, key_of(start.message), off < on
        return was == (note.start_tick, note.end_tick, _key(note), note.ends_first)

    def starts_at(self, tick: int, key: _Key) -> list[int]:
        """List where notes of one pitch start at a tick."""
        return [index for index in self._keys.get((tick, key), ()) if self._starts(index)]

    def ends_at(self, tick: int, key: _Key) -> list[int]:
        return [index for index in self._keys.get((tick, key), ()) if not self._starts(index)]

    def _starts(self, index: int) -> bool:
        return starts_note(self.track.events[index].message)


def _items(read: _Read, notes: Mapping[Any, Note], edited: Mapping[str, Note]) -> Iterator[_Item]:
    for index, event in enumerate(read.track.events):
        name, starts = read.owners.get(index, (None, False))
        if name is None or (name in notes and name not in edited):
            yield _Item((event.tick, _READ, index, 0), "", event, read.framing[index], name, starts)
    for name, note in edited.items():
        yield from _edited_items(read, name, note, name)


def _edited_items(read: _Read, owner: _Owner, note: Note, name: str) -> Iterator[_Item]:
    """Give the start and end of an edited note: each in the place it had, or in the one that is ours."""
    key = _key(note)
    places = [
        index for index in read.places.get(owner, ()) if key_of(read.track.events[index].message) == key
    ]
    on, off = places or (None, None)
    start, end = Event(note.start_tick, note_on(note)), Event(note.end_tick, note_off(note))
    if note.duration_ticks == 0 and (on is None or off is None or not _stays(read, on, off, note)):
        yield from _without_length(read, owner, note, name)
        return
    at_start = None if on is None or read.track.events[on].tick != start.tick else on
    at_end = None if off is None or read.track.events[off].tick != end.tick else off
    if at_start is None:
        order, frame = (start.tick, _STARTS, end.tick, *_tie(note), 0), 0
    else:
        later = [index for index in read.ends_at(start.tick, key) if index > at_start and index != off]
        order, frame = _beside(start.tick, at_start, later[-1:], 1), read.framing[at_start]
    yield _Item(order, name, start, frame, owner, starts=True)
    if at_end is None:
        order, frame = (end.tick, _ENDS, note.start_tick, *_tie(note)), 0
    else:
        earlier = [index for index in read.starts_at(end.tick, key) if index < at_end and index != on]
        order, frame = _beside(end.tick, at_end, earlier[:1], -1), read.framing[at_end]
    yield _Item(order, name, end, frame, owner)


def _stays(read: _Read, on: int, off: int, note: Note) -> bool:
    """Tell whether a note without length was one at the same tick, and nothing of its pitch is in its way."""
    events, tick, key = read.track.events, note.start_tick, _key(note)
    if not (events[on].tick == events[off].tick == tick and (off < on) == note.ends_first):
        return False
    if read.by_second_rule:
        return True
    ends, starts = read.ends_at(tick, key), read.starts_at(tick, key)
    return not any(on < index != off for index in ends) and not any(off > index != on for index in starts)


def _beside(tick: int, place: int, others: Sequence[int], side: int) -> tuple[int, ...]:
    """Give the place of an event, or the one right beside the last of others that it must pass."""
    return (tick, _READ, others[0], side) if others else (tick, _READ, place, 0)


def _without_length(read: _Read, owner: _Owner, note: Note, name: str) -> Iterator[_Item]:
    """Give a note that starts and ends at one tick: before what starts there, or after all that was read."""
    tick, tie = note.start_tick, _tie(note)
    start, end = Event(tick, note_on(note)), Event(tick, note_off(note))
    starts = read.starts_at(tick, _key(note))
    if note.ends_first:
        yield _Item((tick, _ENDS, tick, *tie), name, end, 0, owner)
        yield _Item((tick, _STARTS, tick, *tie, 0), name, start, 0, owner, starts=True)
    else:
        part = (tick, _READ, starts[0], -1) if starts else (tick, _STARTS)
        yield _Item((*part, tick, *tie, 0), name, start, 0, owner, starts=True)
        yield _Item((*part, tick, *tie, 1), name, end, 0, owner)


def _tie(note: Note) -> tuple[int, ...]:
    """Order the starts, and the ends, of notes of one pitch alike."""
    release = -1 if note.release is None else note.release
    return (note.ends_first, note.channel, note.pitch, note.velocity, release)


def _within_reach(items: Iterable[_Item], end_tick: int) -> Iterator[_Item]:
    """Put an empty text in where a note that went leaves more ticks than a delta time can hold."""
    tick = 0
    for item in (*items, None):
        next_tick = end_tick if item is None else item.event.tick
        while next_tick - tick > LAST_TICK:
            tick += LAST_TICK
            yield _Item((), "", Event(tick, _EMPTY_TEXT), 0)
        if item is not None:
            yield item
            tick = next_tick


# -- what gives way ---------------------------------------------------------------------------------


def _without_what_hides(items: Sequence[_Item], edited: Mapping[str, Note]) -> Iterator[_Item]:
    """Leave out, and put in, what lets each edited note be heard as it is."""
    heard: dict[_Key, dict[str, Note]] = defaultdict(dict)
    for name, note in edited.items():
        if not note.ends_first:
            heard[_key(note)][name] = note
    places: dict[_Key, list[int]] = {key: [] for key in heard}
    last = 0
    for place, item in enumerate(items):
        if (key := key_of(item.event.message)) in places and key is not None:
            places[key].append(place)
            last = place if item.owner in heard[key] else last
    left_out: set[int] = set()
    unended: dict[int, int] = {}
    for key, notes in heard.items():
        _look_for_what_hides(items, places[key], notes, left_out, unended)
    for place, item in enumerate(items):
        if place in left_out or (place < last and is_end_of_track(item.event.message)):
            continue
        for _ in range(unended.get(place, 0)):
            yield item._replace(event=_end_of(item.event), frame=0, owner=None, starts=False)
        yield item


def _look_for_what_hides(
    items: Sequence[_Item],
    places: Iterable[int],
    heard: Mapping[Any, Note],
    left_out: set[int],
    unended: dict[int, int],
) -> None:
    """Go along one pitch: `left_out` are events that hide a note, `unended` how many starts to end where.

    A start counts as open until as many ends have come: so every way of pairing counts.
    """
    starts = {note.start_tick for note in heard.values()}
    sounding: set[_Owner] = set()
    opened = 0
    for place in places:
        _, _, event, _, owner, is_start = items[place]
        if owner is None:
            begins = starts_note(event.message)
            if not heard.keys().isdisjoint(sounding) or (begins and event.tick in starts):
                left_out.add(place)
            else:
                opened = opened + 1 if begins else max(opened - 1, 0)
        elif is_start:
            if owner in heard and opened > len(sounding):
                unended[place] = opened - len(sounding)
                opened = len(sounding)
            sounding.add(owner)
            opened += 1
        else:
            sounding.discard(owner)
            opened = max(opened - 1, 0)


def _end_of(start: Event) -> Event:
    """Make the end of what sounds in the pitch that `start` starts."""
    channel, pitch = start.message[0] & 0xF, start.message[1]
    return Event(start.tick, note_off(Note(pitch, 1, start.tick, 0, channel, NEUTRAL_RELEASE)))


# -- again and again --------------------------------------------------------------------------------


class KeptTrack:
    """A track that is laid out again whenever its notes change, and written new near the change alone.

    It gives what `lay_out` gives. Each event is kept with its bytes, and with how far the track is written
    after it: what follows is written new until nothing differs.
    """

    def __init__(self, track: EventTrack, places: _Places, *, by_second_rule: bool) -> None:
        self._read = _Read(track, places, None, by_second_rule=by_second_rule)
        self._items = list(_items(self._read, dict.fromkeys(places, Note(0, 1, 0, 0)), {}))
        self._parts = [b""] * len(self._items)
        self._written: list[TrackWritten | None] = [None] * len(self._items)
        self._unwritten = self._items[:]
        self._of_key: dict[_Key | None, list[_Item]] = defaultdict(list)
        self._own: dict[_Owner, list[_Item]] = defaultdict(list)
        self._heard: dict[_Key, dict[_Owner, Note]] = defaultdict(dict)
        self._fates: dict[_Key | None, dict[_Item, int]] = {}
        self._unsettled: set[_Key | None] = set()
        for item in self._items:
            self._of_key[key_of(item.event.message)].append(item)
            if item.owner is not None:
                self._own[item.owner].append(item)
        self._as_read = {name: items[:] for name, items in self._own.items()}
        self._ends = [item for item in self._items if is_end_of_track(item.event.message)]

    def change(self, owner: _Owner, note: Note | None, name: str, *, is_edited: bool = True) -> None:
        """Let a note of this name be as it is now, None if it went; not `is_edited`: it is as it was read."""
        for item in self._own.pop(owner, ()):
            self._take_out(item)
            if (key := key_of(item.event.message)) is not None:
                self._heard[key].pop(owner, None)
        if note is None:
            return
        new = _edited_items(self._read, owner, note, name) if is_edited else self._as_read[owner]
        items = list(new)
        for item in items:
            self._put_in(item)
        self._own[owner] = items
        gives_way = self._read.by_second_rule or not self._read.has_place(owner, note)
        if is_edited and gives_way and not note.ends_first:
            self._heard[_key(note)][owner] = note

    def content(self) -> bytes:
        """Write what the chunk of the track holds."""
        for key in self._unsettled:
            self._settle(key)
        self._settle_ends()
        self._unsettled.clear()
        places = sorted({bisect_left(self._items, item) for item in self._unwritten})
        self._unwritten.clear()
        done = 0
        for place in places:
            if place >= done:
                done = self._write_from(place)
        track = self._read.track
        written = (self._written[-1] if self._written else None) or TrackWritten()
        end_tick = max(track.end_tick, written.tick)
        texts, written = _texts_before(end_tick, written)
        end = encode_end(track, end_tick, (track.framing[-1:] or b"\x00")[0], written)
        return b"".join((*self._parts, texts, end))

    def _put_in(self, item: _Item) -> None:
        place = bisect_left(self._items, item)
        self._items.insert(place, item)
        self._parts.insert(place, b"")
        self._written.insert(place, None)
        self._unwritten.append(item)
        key = key_of(item.event.message)
        insort(self._of_key[key], item)
        self._unsettled.add(key)

    def _take_out(self, item: _Item) -> None:
        place = bisect_left(self._items, item)
        del self._items[place], self._parts[place], self._written[place]
        self._unwritten += self._items[place : place + 1]
        key = key_of(item.event.message)
        del self._of_key[key][bisect_left(self._of_key[key], item)]
        self._unsettled.add(key)

    def _settle(self, key: _Key | None) -> None:
        """Look again which events of a pitch are left out, and before which ends are put in."""
        left_out: set[int] = set()
        unended: dict[int, int] = {}
        items = self._of_key[key]
        if key is not None and self._heard.get(key):
            _look_for_what_hides(items, range(len(items)), self._heard[key], left_out, unended)
        fates = {items[place]: count for place, count in unended.items()}
        self._decide(key, fates | dict.fromkeys((items[place] for place in left_out), _LEFT_OUT))

    def _settle_ends(self) -> None:
        """Leave out the ends of track that are before the last note that is heard."""
        if self._ends and self._unsettled:
            owners = (owner for notes in self._heard.values() for owner in notes)
            last = max((item for owner in owners for item in self._own[owner]), default=None)
            gone = [item for item in self._ends if last is not None and item < last]
            self._decide(_ENDS_OF_TRACK, dict.fromkeys(gone, _LEFT_OUT))

    def _decide(self, key: _Key | None, fates: dict[_Item, int]) -> None:
        before = self._fates.get(key, {})
        self._fates[key] = fates
        self._unwritten += [
            item for item in before.keys() | fates.keys() if before.get(item) != fates.get(item)
        ]

    def _write_from(self, place: int) -> int:
        """Write on from a place until what follows is not concerned; return where that is."""
        written = (self._written[place - 1] if place else None) or TrackWritten()
        for at in range(place, len(self._items)):
            self._parts[at], written = self._write(self._items[at], written)
            before, self._written[at] = self._written[at], written
            if before == written:
                return at + 1
        return len(self._items)

    def _write(self, item: _Item, written: TrackWritten) -> tuple[bytes, TrackWritten]:
        message = item.event.message
        key = _ENDS_OF_TRACK if is_end_of_track(message) else key_of(message)
        fate = self._fates.get(key, {}).get(item, 0)
        if fate == _LEFT_OUT:
            return b"", written
        parts, written = _texts_before(item.event.tick, written)
        for _ in range(fate):
            part, written = encode_event(_end_of(item.event), 0, written)
            parts += part
        part, written = encode_event(item.event, item.frame, written)
        return parts + part, written


def _texts_before(tick: int, written: TrackWritten) -> tuple[bytes, TrackWritten]:
    """Write empty texts where a delta time cannot hold what is between."""
    texts = b""
    while tick - written.tick > LAST_TICK:
        text, written = encode_event(Event(written.tick + LAST_TICK, _EMPTY_TEXT), 0, written)
        texts += text
    return texts, written
