"""Writes a MIDI file again and again between edits of its notes, and only what is near them new. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace

from muse.plugins.music.layout import KeptTrack
from muse.plugins.music.midi_bytes import EventFile, EventTrack, encode, encode_track
from muse.plugins.music.note import Note

_Placed = tuple[int, Note]
_Place = tuple[int, int, int]
_Key = _Place | str


def with_tracks(read: EventFile, tracks: tuple[EventTrack, ...], highest: int) -> EventFile:
    """Return a file that was read with other tracks; `highest` is the last one that has an edited note."""
    stated = read.stated_tracks if read.stated_tracks is not None else len(read.tracks)
    return replace(
        read,
        format=1 if read.format == 0 and highest > 0 else read.format,
        tracks=tracks,
        stated_tracks=read.stated_tracks if highest < stated else None,
    )


class KeptFile:
    """A file as it was last written: its tracks, and the notes that it had.

    A note that was read is known by its place, whatever it is called, and a new one by its name. So one who
    calls the notes otherwise can write on. `_differing` are, by track, the notes that are not there as they
    were read; `_edited` those that are anywhere, each with its track and its name.
    """

    def __init__(self, read: EventFile, notes: Mapping[_Place, _Placed], *, by_second_rule: bool) -> None:
        self._read, self._notes_read = read, notes
        self._by_second_rule = by_second_rule
        self._notes: dict[_Key, _Placed] = dict(notes.items())
        self._edited: dict[_Key, tuple[int, str]] = {}
        self._differing: dict[int, set[_Key]] = defaultdict(set)
        self._kept: dict[int, KeptTrack] = {}
        self._data = b""
        self._contents: dict[int, bytes] = {}

    def data(self, notes: Mapping[str, _Placed], places: Mapping[str, _Place]) -> bytes:
        """Write the file with these notes; `places` names those that were read."""
        known, edited = self._notes.get, self._edited
        names: dict[_Key, str] = {places.get(name, name): name for name in notes}
        keys = [key for key, name in names.items() if known(key) is not notes[name]]
        keys += [key for key, (_, name) in edited.items() if names.get(key, name) != name]
        keys += self._notes.keys() - names.keys()
        if keys or not self._data:
            named = ((key, names.get(key, "")) for key in dict.fromkeys(keys))
            self._data = self._encoded((key, notes.get(name), name) for key, name in named)
        return self._data

    def _encoded(self, changes: Iterable[tuple[_Key, _Placed | None, str]]) -> bytes:
        for number in {number for change in changes for number in self._change(*change)}:
            self._contents[number] = self._track(number).content()
        read = self._read
        highest = max((number for number, _ in self._edited.values()), default=-1)
        numbers = range(max(len(read.tracks), highest + 1))
        tracks = []
        for number in numbers:
            track = _track_of(read, number)
            tracks.append(replace(track, excess=0) if self._differing.get(number) else track)
            if number not in self._contents:
                self._contents[number] = encode_track(track)
        contents = [self._contents[number] for number in numbers]
        return encode(with_tracks(read, tuple(tracks), highest), contents)

    def _change(self, key: _Key, now: _Placed | None, name: str) -> set[int]:
        """Put a note where it is now; return the tracks that this concerns."""
        before = self._notes.pop(key, None)
        was = self._notes_read.get(key) if isinstance(key, tuple) else None
        is_edited = now is not None and now != was
        concerned = {placed[0] for placed in (before, now) if placed is not None}
        for number in concerned:
            note = now[1] if now is not None and now[0] == number else None
            self._track(number).change(key, note, name, is_edited=is_edited)
        for number in concerned | ({was[0]} if was is not None else set()):
            is_here = now is not None and now[0] == number
            was_here = was is not None and was[0] == number
            differs = is_edited if is_here else was_here
            (self._differing[number].add if differs else self._differing[number].discard)(key)
        self._edited.pop(key, None)
        if now is not None:
            self._notes[key] = now
            if is_edited:
                self._edited[key] = now[0], name
        return concerned

    def _track(self, number: int) -> KeptTrack:
        if number not in self._kept:
            places = {place: place[1:] for place in self._notes_read if place[0] == number}
            track = _track_of(self._read, number)
            self._kept[number] = KeptTrack(track, places, by_second_rule=self._by_second_rule)
        return self._kept[number]


def _track_of(file: EventFile, number: int) -> EventTrack:
    return file.tracks[number] if number < len(file.tracks) else EventTrack((), 0)
