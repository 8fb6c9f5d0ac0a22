"""Writes a MIDI file again and again between edits of its notes, and only what is near them new. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace

from muse.plugins.music.layout import KeptTrack
from muse.plugins.music.midi_bytes import EventFile, EventTrack, encode, encode_track
from muse.plugins.music.note import Note

_Placed = tuple[int, Note]


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

    `_differing` are, by track, the notes that are not there as they were read; `_edited` those that are
    anywhere, each with its track.
    """

    def __init__(
        self,
        read: EventFile,
        places: Mapping[str, tuple[int, int, int]],
        notes: Mapping[str, _Placed],
        *,
        by_second_rule: bool,
    ) -> None:
        self._read, self._places, self._notes_read = read, places, notes
        self._by_second_rule = by_second_rule
        self._notes = dict(notes)
        self._edited: dict[str, int] = {}
        self._differing: dict[int, set[str]] = defaultdict(set)
        self._kept: dict[int, KeptTrack] = {}
        self._data = b""
        self._contents: dict[int, bytes] = {}

    def data(self, notes: Mapping[str, _Placed]) -> bytes:
        """Write the file with these notes."""
        known = self._notes.get
        names = [name for name, placed in notes.items() if known(name) is not placed]
        names += self._notes.keys() - notes.keys()
        if names or not self._data:
            self._data = self._encoded(names, notes)
        return self._data

    def _encoded(self, names: Iterable[str], notes: Mapping[str, _Placed]) -> bytes:
        for number in {number for name in names for number in self._change(name, notes.get(name))}:
            self._contents[number] = self._track(number).content()
        read, highest = self._read, max(self._edited.values(), default=-1)
        numbers = range(max(len(read.tracks), highest + 1))
        tracks = []
        for number in numbers:
            track = _track_of(read, number)
            tracks.append(replace(track, excess=0) if self._differing.get(number) else track)
            if number not in self._contents:
                self._contents[number] = encode_track(track)
        contents = [self._contents[number] for number in numbers]
        return encode(with_tracks(read, tuple(tracks), highest), contents)

    def _change(self, name: str, now: _Placed | None) -> set[int]:
        """Put a note where it is now; return the tracks that this concerns."""
        before, was = self._notes.pop(name, None), self._notes_read.get(name)
        is_edited = now is not None and now != was
        concerned = {placed[0] for placed in (before, now) if placed is not None}
        for number in concerned:
            note = now[1] if now is not None and now[0] == number else None
            self._track(number).change(name, note, is_edited=is_edited)
        for number in concerned | ({was[0]} if was is not None else set()):
            is_here = now is not None and now[0] == number
            was_here = was is not None and was[0] == number
            differs = is_edited if is_here else was_here
            (self._differing[number].add if differs else self._differing[number].discard)(name)
        self._edited.pop(name, None)
        if now is not None:
            self._notes[name] = now
            if is_edited:
                self._edited[name] = now[0]
        return concerned

    def _track(self, number: int) -> KeptTrack:
        if number not in self._kept:
            places = {name: (on, off) for name, (track, on, off) in self._places.items() if track == number}
            track = _track_of(self._read, number)
            self._kept[number] = KeptTrack(track, places, by_second_rule=self._by_second_rule)
        return self._kept[number]


def _track_of(file: EventFile, number: int) -> EventTrack:
    return file.tracks[number] if number < len(file.tracks) else EventTrack((), 0)
