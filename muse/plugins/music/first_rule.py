"""Writes edited MIDI files by the first rule, which only commits that followed it need. Pure.

A commit says by which rule its files were made, and a replay makes them by the same one. By the first rule
a file was written new at every edit: at one tick first the ends of notes, then all other events, then notes
without length, then the starts of the rest; with running status throughout, and with tracks that stayed when
their notes went. Its page of names described the file itself:

    {"format": 1, "object_id": ..., "ends": [tick where each track ends when no note lasts longer],
     "notes": [[id, track, index of start, index of end, pitch, velocity, start, duration, channel], ...]}

It read no file whose framing departs from the specification.
"""

import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from muse.core.content_id import object_id
from muse.errors import DomainError
from muse.plugins.music.found_notes import Find, Placed, names_of, sound_of
from muse.plugins.music.identified_score import TRACK_LIMIT
from muse.plugins.music.midi_bytes import LAST_TICK, Event, EventFile, EventTrack, encode
from muse.plugins.music.names_page import is_count, is_row
from muse.plugins.music.note import Note, can_pair, note_between, note_off, note_on, pair_notes, starts_note

_NEW_FILE = EventFile(1, 480, (EventTrack((), 0),))
_HEADER = struct.Struct(">HHh")
_CHUNK = struct.Struct(">4sL")
_META, _PACKETS, _END_TYPE = 0xFF, (0xFF, 0xF0, 0xF7), 0x2F


@dataclass(slots=True)
class FirstRuleScore:
    """A file's other events, and its notes by name, each with its track.

    `others` holds no notes; the `end_tick` of its tracks is where they end when no note lasts longer.
    """

    others: EventFile = _NEW_FILE
    notes: dict[str, Placed] = field(default_factory=dict)

    def place(self, entity_id: str, track: int, note: Note) -> None:
        """Put a note, new or changed, on `track`; tracks that it adds stay."""
        missing = track + 1 - len(self.others.tracks)
        if missing > 0:
            if track >= TRACK_LIMIT:
                raise DomainError(
                    f"track {track} is not there, and an edit adds tracks up to {TRACK_LIMIT - 1}"
                )
            tracks = self.others.tracks + (EventTrack((), 0),) * missing
            kind = 1 if self.others.format == 0 and len(tracks) > 1 else self.others.format
            self.others = replace(self.others, format=kind, tracks=tracks)
        self.notes[entity_id] = (track, note)

    def check_editable(self) -> None:
        """Raise DomainError for a file in which no note can be edited: none that this rule reads."""

    def data_again(self) -> bytes:
        """Write the MIDI file."""
        return self.write()[0]

    def has_page(self) -> bool:
        """Tell whether the file needs a page of names: by this rule, each does."""
        return True

    def names_before(self) -> "FirstNamesBefore":
        """Return what the page of names says."""
        return FirstNamesBefore(self.write()[1])

    def retire(self) -> None:
        """Leave what can be used again: by this rule, nothing."""

    def write(self) -> tuple[bytes, bytes]:
        """Write the MIDI file and its page of names."""
        by_track: list[dict[str, Note]] = [{} for _ in self.others.tracks]
        for entity_id, (index, note) in self.notes.items():
            by_track[index][entity_id] = note
        tracks, rows = [], []
        for index, (track, notes) in enumerate(zip(self.others.tracks, by_track, strict=True)):
            events, places = _lay_out(track.events, notes)
            tracks.append(replace(track, events=events))
            rows += [[name, index, *places[name], *sound_of(note)] for name, note in notes.items()]
        data = encode(replace(self.others, tracks=tuple(tracks)))
        rows.sort(key=lambda row: row[1:3])
        ends = [track.end_tick for track in self.others.tracks]
        page = {"format": 1, "object_id": object_id(data), "ends": ends, "notes": rows}
        return data, orjson.dumps(page)


class FirstNamesBefore:
    """What a page of names says, for the content that is at its place now."""

    def __init__(self, page: bytes | None) -> None:
        self._page = page

    def identify(self, data: bytes, find: Find) -> FirstRuleScore:
        """Read a MIDI file with the page. Raises DomainError for one that departs from the specification."""
        del find
        return identify_first(data, self._page)


def identify_first(data: bytes, page: bytes | None) -> FirstRuleScore:
    """Read a MIDI file with its page of names. Raises DomainError for one that departs from it."""
    try:
        file = _decode(data)
    except (ValueError, IndexError, struct.error) as error:
        raise DomainError(f"the first rule reads no such file: {error}") from error
    content = _read_page(page)
    if content is not None and content["object_id"] == object_id(data):
        pinned = _pinned(file, content)
        if pinned is not None:
            return pinned
    return _paired(file, content["notes"] if content else ())


def _pinned(file: EventFile, page: Mapping[str, Any]) -> FirstRuleScore | None:
    ends, notes = page["ends"], {}
    used: list[set[int]] = [set() for _ in file.tracks]
    if len(ends) != len(file.tracks):
        return None
    for entity_id, index, on, off, *_ in page["notes"]:
        if index >= len(file.tracks) or not can_pair(file.tracks[index].events, on, off):
            return None
        used[index] |= {on, off}
        notes[entity_id] = (index, note_between(file.tracks[index].events, on, off))
    if sum(map(len, used)) != 2 * len(notes):
        return None
    if any(end > track.end_tick for end, track in zip(ends, file.tracks, strict=True)):
        return None
    return FirstRuleScore(_others(file, used, ends), notes)


def _paired(file: EventFile, rows: Iterable[Sequence[Any]]) -> FirstRuleScore:
    placed, used = [], []
    for index, track in enumerate(file.tracks):
        pairs = pair_notes(track.events)
        placed += [(index, note_between(track.events, on, off)) for on, off in pairs]
        used.append({place for pair in pairs for place in pair})
    names = names_of(placed, [(name, (track, *sound)) for name, track, _, _, *sound in rows])
    ends = [track.end_tick for track in file.tracks]
    return FirstRuleScore(_others(file, used, ends), dict(zip(names, placed, strict=True)))


def _others(file: EventFile, used: Sequence[set[int]], ends: Sequence[int]) -> EventFile:
    tracks = (
        replace(
            track,
            events=tuple(event for index, event in enumerate(track.events) if index not in paired),
            end_tick=end,
        )
        for track, paired, end in zip(file.tracks, used, ends, strict=True)
    )
    return replace(file, tracks=tuple(tracks))


def _read_page(page: bytes | None) -> dict[str, Any] | None:
    try:
        content = orjson.loads(page) if page is not None else None
    except orjson.JSONDecodeError:
        return None
    if not isinstance(content, dict) or content.get("format") != 1:
        return None
    ends, rows = content.get("ends"), content.get("notes")
    if not isinstance(rows, list) or not all(is_row(row, 9) for row in rows):
        return None
    if not isinstance(ends, list) or not all(map(is_count, ends)):
        return None
    return content if isinstance(content.get("object_id"), str) else None


# -- the order --------------------------------------------------------------------------------------


def _lay_out(
    others: Sequence[Event], notes: Mapping[str, Note]
) -> tuple[tuple[Event, ...], dict[str, tuple[int, int]]]:
    """Order the events of a track; also tell, by note id, the index of its start and of its end."""
    unended: dict[tuple[int, int, int], int] = {}
    entries: list[tuple[Any, ...]] = []
    for slot, event in enumerate(others):
        entries.append((event.tick, 1, slot, 1, event, "", 0))
        if starts_note(event.message):
            unended.setdefault((event.tick, event.message[0] & 0xF, event.message[1]), slot)
    for entity_id, note in notes.items():
        slot = unended.get((note.start_tick, note.channel, note.pitch), len(others))
        entries += _entries_of(entity_id, note, slot)
    entries.sort()
    places: dict[str, list[int]] = {entity_id: [0, 0] for entity_id in notes}
    for index, (*_, entity_id, which) in enumerate(entries):
        if entity_id in places:
            places[entity_id][which] = index
    return tuple(entry[-3] for entry in entries), {key: (on, off) for key, (on, off) in places.items()}


def _entries_of(entity_id: str, note: Note, slot: int) -> Iterable[tuple[Any, ...]]:
    release = -1 if note.release is None else note.release
    tie = (note.channel, note.pitch, note.velocity, release, entity_id)
    start, end = Event(note.start_tick, note_on(note)), Event(note.end_tick, note_off(note))
    yield (note.start_tick, 1, slot, 0, note.end_tick, note.ends_first, *tie, 0, start, entity_id, 0)
    if note.duration_ticks or note.ends_first:
        yield (note.end_tick, 0, note.start_tick, *tie, end, entity_id, 1)
    else:
        yield (note.end_tick, 1, slot, 0, note.end_tick, False, *tie, 1, end, entity_id, 1)


# -- the bytes --------------------------------------------------------------------------------------


def _decode(data: bytes) -> EventFile:
    name, start, end = _chunk_at(data, 0)
    if name != b"MThd":
        raise ValueError("it starts otherwise")
    kind, track_count, division = _HEADER.unpack_from(data[:end], start)
    if kind not in {0, 1, 2}:
        raise ValueError("its format is unknown")
    header_rest = data[start + _HEADER.size : end]
    tracks = []
    for _ in range(track_count):
        before = end
        name, start, end = _chunk_at(data, end)
        while name != b"MTrk":
            after = end
            name, start, end = _chunk_at(data, after)
        events, end_tick = _decode_events(data[start:end])
        tracks.append(EventTrack(tuple(events), end_tick, data[before : start - _CHUNK.size]))
    return EventFile(kind, division, tuple(tracks), header_rest, data[end:])


def _chunk_at(data: bytes, offset: int) -> tuple[bytes, int, int]:
    name, size = _CHUNK.unpack_from(data, offset)
    end = offset + _CHUNK.size + size
    if end > len(data):
        raise ValueError("a part is cut off")
    return name, offset + _CHUNK.size, end


def _decode_events(data: bytes) -> tuple[list[Event], int]:
    events: list[Event] = []
    position = tick = status = 0
    while position < len(data):
        delta, position = _variable_int(data, position)
        tick += delta
        if tick > LAST_TICK:
            raise ValueError("an event is too late")
        first = data[position]
        if first in _PACKETS:
            size, end = _variable_int(data, position + (2 if first == _META else 1))
            end += size
            if end > len(data):
                raise IndexError("a message is cut off")
            if not (first == _META and data[position + 1] == _END_TYPE):
                events.append(Event(tick, data[position:end]))
        else:
            if first >= 0x80:
                status = first
                position += 1
            if not 0x80 <= status < 0xF0:
                raise ValueError("a byte belongs to no message")
            end = position + (1 if status >> 4 in {0xC, 0xD} else 2)
            if max(data[position], data[end - 1]) > 0x7F:
                raise ValueError("a data byte is above 127")
            events.append(Event(tick, bytes((status,)) + data[position:end]))
        position = end
    return events, tick


def _variable_int(data: bytes, position: int) -> tuple[int, int]:
    value = 0
    for end in range(position + 1, position + 5):
        byte = data[end - 1]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, end
    raise ValueError("a number is longer than four bytes")
