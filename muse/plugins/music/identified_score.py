"""A MIDI file whose notes have names that last: the file, and the page of names kept beside it.

MIDI gives a note no identity. So each file that Muse edits has a page of names in the same tree,
`.muse_notes/<path>.json`, written again whenever the file is. It says which events are which note,
exactly, even where plain pairing could not tell two notes apart, so that an edit can name a note
from before a commit, and the outcome does not depend on when commits happen.

    {"format": 1, "object_id": sha256 of the MIDI file it describes, "ends": [tick per track],
     "notes": [[id, track, index of its start, index of its end,
                pitch, velocity, start tick, duration, channel], ...]}

An index counts the events of the track, from 0. `ends` are the ticks where the tracks end when no
note lasts longer. When the page is missing or describes other bytes (the file was edited by hand),
notes that still sound the same keep their names, and the rest get names derived from their content.
"""

from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from muse.core.content_id import object_id, sha256_hex
from muse.errors import DomainError
from muse.plugins.music.midi_bytes import Event, EventFile, EventTrack, decode, encode
from muse.plugins.music.midi_file import (
    MidiScore,
    Note,
    Track,
    can_pair,
    lay_out,
    note_between,
    pair_notes,
)
from muse.plugins.op_fields import names_path

TRACK_LIMIT = 256  # how far an edit may add tracks
_PAGE_FORMAT = 1


@dataclass(slots=True)
class IdentifiedScore:
    """A file for editing: its notes by name, each with its track, and its other events.

    `score` holds no notes; the `end_tick` of its tracks is where they end when no note lasts longer.
    """

    score: MidiScore = field(default_factory=MidiScore)
    notes: dict[str, tuple[int, Note]] = field(default_factory=dict)

    def place(self, entity_id: str, track: int, note: Note) -> None:
        """Put a note, new or changed, on `track` (from 0); tracks are added as needed.

        A file of format 0, which has one track, becomes one of format 1 when it gets a second.
        Raises DomainError for a track that is not there and beyond the limit.
        """
        missing = track + 1 - len(self.score.tracks)
        if missing > 0:
            if track >= TRACK_LIMIT:
                raise DomainError(
                    f"there is no track {track}, and an edit can add tracks only up to {TRACK_LIMIT - 1}"
                )
            tracks = self.score.tracks + (Track(),) * missing
            kind = 1 if self.score.format == 0 and len(tracks) > 1 else self.score.format
            self.score = replace(self.score, format=kind, tracks=tracks)
        self.notes[entity_id] = (track, note)

    def write(self) -> tuple[bytes, bytes]:
        """Write the MIDI file and its page of names: the same content, the same bytes."""
        by_track: list[dict[str, Note]] = [{} for _ in self.score.tracks]
        for entity_id, (index, note) in self.notes.items():
            by_track[index][entity_id] = note
        tracks, rows = [], []
        for index, (track, notes) in enumerate(zip(self.score.tracks, by_track, strict=True)):
            events, places = lay_out(track.others, notes)
            tracks.append(EventTrack(events, track.end_tick, track.chunks_before))
            rows += [_row(entity_id, index, places[entity_id], note) for entity_id, note in notes.items()]
        score = self.score
        file = EventFile(score.format, score.ticks_per_beat, tuple(tracks), score.header_rest, score.trailer)
        data = encode(file)
        return data, _write_page(data, [track.end_tick for track in score.tracks], rows)


def identify(data: bytes, page: bytes | None) -> IdentifiedScore:
    """Read a MIDI file with its page of names, if it has one.

    Never fails because of a page: a malformed page counts as missing. Raises DomainError when `data`
    is not a MIDI file that can be read.
    """
    file = decode(data)
    content = _read_page(page)
    if content is not None and content["object_id"] == object_id(data):
        pinned = _pinned(file, content)
        if pinned is not None:
            return pinned
    return _paired(file, content["notes"] if content else ())


def identified_notes(files: Mapping[str, bytes], path: str) -> dict[str, tuple[int, Note]]:
    """List the notes of the MIDI file at `path` by the names that edits give them, with their tracks.

    Raises DomainError when there is no such file in the tree, or it is not a MIDI file.
    """
    if path not in files:
        raise DomainError(f"there is no file {path!r}: give the path of a MIDI file in the tree", path=path)
    return identify(files[path], files.get(names_path(path))).notes


def _pinned(file: EventFile, page: Mapping[str, Any]) -> IdentifiedScore | None:
    """Read the notes exactly as the page says, or None when it does not fit the file."""
    ends, notes = page["ends"], {}
    used: list[set[int]] = [set() for _ in file.tracks]
    if len(ends) != len(file.tracks):
        return None
    for entity_id, index, on, off, *_ in page["notes"]:
        if index >= len(file.tracks) or not _fits(file.tracks[index].events, on, off):
            return None
        used[index] |= {on, off}
        events = file.tracks[index].events
        notes[entity_id] = (index, note_between(events, on, off))
    if sum(map(len, used)) != 2 * len(notes):  # two rows share a name or an event
        return None
    if any(end > track.end_tick for end, track in zip(ends, file.tracks, strict=True)):
        return None
    return IdentifiedScore(_score(file, used, ends), notes)


def _fits(events: Sequence[Event], on: int, off: int) -> bool:
    return 0 <= min(on, off) < max(on, off) < len(events) and can_pair(events[on], events[off])


def _paired(file: EventFile, old_rows: Iterable[Sequence[Any]]) -> IdentifiedScore:
    """Pair the notes first in, first out; those that sound as before keep their names."""
    placed, used = [], []
    for index, track in enumerate(file.tracks):
        pairs = pair_notes(track.events)
        placed += [(index, note_between(track.events, on, off)) for on, off in pairs]
        used.append({place for pair in pairs for place in pair})
    names = _names(placed, old_rows)
    ends = [track.end_tick for track in file.tracks]
    return IdentifiedScore(_score(file, used, ends), dict(zip(names, placed, strict=True)))


def _names(placed: Iterable[tuple[int, Note]], old_rows: Iterable[Sequence[Any]]) -> list[str]:
    """Name the notes. A name that was in use before is never given to a note that sounds different."""
    known: dict[tuple[int, ...], deque[str]] = {}
    taken = set()
    for entity_id, index, _, _, *sound in old_rows:
        known.setdefault((index, *sound), deque()).append(entity_id)
        taken.add(entity_id)
    ordinals: Counter[tuple[int, str]] = Counter()
    names = []
    for index, note in placed:
        same = known.get((index, *_sound(note)))
        names.append(same.popleft() if same else _derived_name(index, note, ordinals, taken))
    return names


def _derived_name(index: int, note: Note, ordinals: Counter[tuple[int, str]], taken: set[str]) -> str:
    """Derive a name from the note's track, its content, and how many equal notes came before."""
    key = (index, note.content_id)
    while True:
        digest = sha256_hex(f"{index}:{note.content_id}:{ordinals[key]}".encode())
        ordinals[key] += 1
        name = f"n{digest[:16]}"
        if name not in taken:
            taken.add(name)
            return name


def _score(file: EventFile, used: Sequence[set[int]], ends: Sequence[int]) -> MidiScore:
    """Build the score of all events but the `used` ones."""
    tracks = tuple(
        Track(
            tuple(event for index, event in enumerate(track.events) if index not in paired),
            end_tick=end,
            chunks_before=track.chunks_before,
        )
        for track, paired, end in zip(file.tracks, used, ends, strict=True)
    )
    return MidiScore(file.format, file.ticks_per_beat, tracks, file.header_rest, file.trailer)


def _sound(note: Note) -> tuple[int, int, int, int, int]:
    return (note.pitch, note.velocity, note.start_tick, note.duration_ticks, note.channel)


def _row(entity_id: str, index: int, place: tuple[int, int], note: Note) -> list[Any]:
    return [entity_id, index, *place, *_sound(note)]


def _write_page(data: bytes, ends: list[int], rows: list[list[Any]]) -> bytes:
    rows.sort(key=lambda row: row[1:3])
    return orjson.dumps({"format": _PAGE_FORMAT, "object_id": object_id(data), "ends": ends, "notes": rows})


def _read_page(page: bytes | None) -> dict[str, Any] | None:
    """Read a page of names; None when it is missing or does not have the shape that Muse writes."""
    try:
        content = orjson.loads(page) if page is not None else None
    except orjson.JSONDecodeError:
        return None
    if not isinstance(content, dict) or content.get("format") != _PAGE_FORMAT:
        return None
    ends, rows = content.get("ends"), content.get("notes")
    if not isinstance(rows, list) or not all(map(_is_row, rows)):
        return None
    if not isinstance(ends, list) or not all(map(_is_count, ends)):
        return None
    return content if isinstance(content.get("object_id"), str) else None


def _is_row(row: Any) -> bool:
    return (
        isinstance(row, list)
        and len(row) == 9
        and isinstance(row[0], str)
        and row[0] != ""
        and all(map(_is_count, row[1:]))
    )


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0
