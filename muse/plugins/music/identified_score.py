"""A MIDI file whose notes have names that last: the file, and the page of names kept beside it.

MIDI gives a note no identity. So a file that Muse edits has a page of names in the same tree,
`.muse_notes/<path>.json`, written new whenever the file is. It says what was read once, and what became of
each note since: so an edit can name a note from before a commit, the outcome does not depend on when
commits happen, and what is taken back leaves no trace.

    {"format": 2, "object_id": sha256 of the MIDI file it describes,
     "read": the file that was read, in base64; null if nothing was edited since,
     "names": [[id, track, index of its start, index of its end], ...] of the notes that were read; null
              if the names are those derived from their content,
     "edited": {id: [track, pitch, velocity, start tick, duration, channel, release, ends first] of a
                note that is new or changed, null for one that went}}

An index counts the events of the track in the file that was read, from 0. A file has no page as long as
there is nothing to say. When the page is missing or describes other bytes (the file was edited by hand),
notes that still sound the same keep their names, and the rest get names derived from their content.
"""

import base64
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Generic, TypeVar

import orjson

from muse.core.content_id import object_id
from muse.errors import DomainError
from muse.plugins.music.found_notes import (
    Find,
    FoundNotes,
    NamesAgain,
    Place,
    Placed,
    find_notes,
    sound_of,
)
from muse.plugins.music.kept_file import KeptFile, with_tracks
from muse.plugins.music.layout import lay_out
from muse.plugins.music.midi_bytes import OVERLONG, Event, EventFile, EventTrack, decode, encode
from muse.plugins.music.names_page import FIELDS, PAGE_FORMAT, page_content
from muse.plugins.music.note import Note, can_pair, note_between
from muse.plugins.op_fields import names_path

__all__ = [
    "NEW_FILE",
    "TRACK_LIMIT",
    "IdentifiedScore",
    "NamesBefore",
    "Placed",
    "ReadFile",
    "SecondRuleScore",
    "identified_notes",
    "identify",
    "identify_second",
    "is_page_of",
    "renamed_page",
    "skeleton_of",
    "sound_of",
]

TRACK_LIMIT = 256  # how far an edit may add tracks
NEW_FILE = encode(EventFile(1, 480, (EventTrack((), 0),)))
"""What is read where an edit of a note makes the file."""


@dataclass(frozen=True, slots=True)
class ReadFile:
    """A file as it was read: its bytes, its events, and the notes among them by name.

    `places` are the track of each note, and the indexes of its start and its end. `named`: the names are
    not those derived from the content. `found`, if its notes are paired as in any file without a page.
    """

    data: bytes
    file: EventFile
    places: Mapping[str, Place]
    notes: Mapping[str, Placed]
    named: bool = False
    found: FoundNotes | None = field(default=None, compare=False, repr=False)
    again: NamesAgain | None = field(default=None, compare=False, repr=False)

    def others(self) -> tuple[tuple[Event, ...], ...]:
        """List the events that are of no note, for each track up to the last that has any."""
        used = {(track, index) for track, on, off in self.places.values() for index in (on, off)}
        tracks = [
            tuple(event for index, event in enumerate(track.events) if (number, index) not in used)
            for number, track in enumerate(self.file.tracks)
        ]
        while tracks and not tracks[-1]:
            tracks.pop()
        return tuple(tracks)


@dataclass(slots=True)
class IdentifiedScore:
    """What was read, and the notes that there are now, by name, each with its track. For editing."""

    by_second_rule: ClassVar[bool] = False
    read: ReadFile = field(default_factory=lambda: _paired(NEW_FILE, ()))
    notes: dict[str, Placed] = field(default_factory=dict)
    _kept: KeptFile | None = field(default=None, init=False, compare=False, repr=False)

    def place(self, entity_id: str, track: int, note: Note) -> None:
        """Put a note, new or changed, on `track` (from 0); the file has as many tracks as its notes need.

        Raises DomainError for a track that was not read and is beyond the limit.
        """
        if track >= max(len(self.read.file.tracks), TRACK_LIMIT):
            raise DomainError(
                f"there is no track {track}, and an edit can add tracks only up to {TRACK_LIMIT - 1}"
            )
        self.notes[entity_id] = (track, note)

    def check_editable(self) -> None:
        """Raise DomainError for a file in which no edit of a note can be written soundly."""
        if self.read.file.is_overlong:
            raise DomainError(OVERLONG)

    def edited(self) -> dict[str, Placed | None]:
        """Tell which notes are not as they were read: what each is now, None for one that went."""
        changed: dict[str, Placed | None] = {
            name: placed for name, placed in self.notes.items() if self.read.notes.get(name) != placed
        }
        return changed | {name: None for name in self.read.notes if name not in self.notes}

    def file(self) -> EventFile:
        """Lay the file out: what was read, with the notes as they are now.

        A file of format 0 is of format 1, and the header counts all tracks, while it takes this for an
        edited note to be heard.
        """
        read, edited = self.read.file, self.edited()
        highest = max((placed[0] for placed in edited.values() if placed), default=-1)
        return with_tracks(read, self._tracks(edited), highest)

    def _tracks(self, edited: Mapping[str, Placed | None]) -> tuple[EventTrack, ...]:
        notes: dict[int, dict[str, Note]] = defaultdict(dict)
        places: dict[int, dict[str, tuple[int, int]]] = defaultdict(dict)
        changed: dict[int, set[str]] = defaultdict(set)
        for name, (track, note) in self.notes.items():
            notes[track][name] = note
        for name, (track, on, off) in self.read.places.items():
            places[track][name] = (on, off)
        for name, placed in edited.items():
            if placed is not None:
                changed[placed[0]].add(name)
        read = self.read.file.tracks
        missing = max(notes, default=-1) + 1 - len(read)
        tracks = (*read, *[EventTrack((), 0)] * missing)
        return tuple(
            lay_out(
                track,
                places[index],
                notes[index],
                changed[index],
                by_second_rule=self.by_second_rule,
            )
            for index, track in enumerate(tracks)
        )

    def data(self) -> bytes:
        """Write the MIDI file."""
        return encode(self.file()) if self.edited() else self.read.data

    def data_again(self) -> bytes:
        """Write the MIDI file, as `data` does, where that is asked again and again between edits.

        Only what is near the edits since the last time is written new.
        """
        read = self.read
        if self._kept is None and read.found is not None:
            self._kept = read.found.spare.pop(self.by_second_rule, None)
        if self._kept is None:
            notes = {place: read.notes[name] for name, place in read.places.items()}
            self._kept = KeptFile(read.file, notes, by_second_rule=self.by_second_rule)
        return self._kept.data(self.notes, read.places)

    def retire(self) -> None:
        """Leave what the file was last written with to the one that edits the same content next."""
        if self._kept is not None and self.read.found is not None:
            self.read.found.spare[self.by_second_rule] = self._kept
            self._kept = None

    def page(self) -> bytes:
        """Write a page that gives every note its name, whatever page is there before."""
        data, page = self.write()
        return page or _write_page(data, replace(self.read, named=True), {})

    def has_page(self) -> bool:
        """Tell whether the file needs a page of names."""
        return self.read.named or bool(self.edited())

    def names_before(self) -> "NamesBefore[Any]":
        """Return what the page of names says, for the content that takes the place of this one."""
        edited, read = self.edited(), self.read
        if not edited:
            content = _content_of_page(object_id(read.data), read, {}) if read.named else {}
            return NamesBefore(type(self), content)
        data = self.data_again()
        self.retire()
        return NamesBefore(type(self), {"object_id": object_id(data)}, self, edited)

    def as_listed(self) -> "IdentifiedScore":
        """Return the score with its notes in the order in which a page lists them."""
        read = self.read
        order = sorted(read.places) if read.named else read.places
        listed = {name: read.notes[name] for name in order} | dict(sorted(self.edited().items()))
        notes = {name: placed for name, placed in listed.items() if placed is not None}
        return IdentifiedScore(read, notes)

    def write(self) -> tuple[bytes, bytes | None]:
        """Write the MIDI file and its page of names, if it needs one: the same content, the same bytes."""
        edited = self.edited()
        if not edited and not self.read.named:
            return self.read.data, None
        data = self.data()
        return data, _write_page(data, self.read, edited)


class SecondRuleScore(IdentifiedScore):
    """A file that is edited by the second rule, which only commits that followed it need."""

    __slots__ = ()
    by_second_rule = True


_S = TypeVar("_S", bound=IdentifiedScore)


class NamesBefore(Generic[_S]):
    """What a page of names says, for the content that is at its place now.

    `content` is what the page holds. `score` is what it describes; None if that depends on the content.
    Where no page was written yet, `edited` names what is not as it was read.
    """

    def __init__(
        self,
        kind: type[_S],
        content: Mapping[str, Any],
        score: _S | None = None,
        edited: Iterable[str] | None = None,
    ) -> None:
        self._kind, self._content, self._score, self._edited = kind, content, score, edited
        self._is_sound = None if edited is None else True

    @classmethod
    def of_page(cls, page: bytes | None, kind: type[_S], find: Find) -> "NamesBefore[_S]":
        """Read a page of names, or what there is without one."""
        content = page_content(page)
        read = content.get("read")
        return cls(kind, content, None if read is None else _from_page(b"", content, kind, find))

    def identify(self, data: bytes, find: Find = find_notes) -> _S:
        """Read a file: as the page describes it, or with its names for the notes that sound the same."""
        content, kind = self._content, self._kind
        score = self._score
        if score is None and content.get("read") is None:
            score = _from_page(data, content, kind, find)
        described = content.get("object_id") == object_id(data)
        if described and score is not None:
            if self._is_sound is None:
                self._is_sound = score.data() == data
            if self._is_sound:
                return kind(score.read, dict(score.notes))
        if described and content.get("format") == 1:
            read = _read_with(data, [row[:4] for row in content["notes"]])
            if read is not None:
                return kind(read, dict(read.notes))
        read = None
        if score is not None and self._edited is not None:
            read = _paired_again(data, score, self._edited, find)
        if read is None:
            listed = score and (score if self._edited is None else score.as_listed())
            read = _paired(data, _old_sounds(content, listed), find)
        return kind(read, dict(read.notes))


def identify(data: bytes, page: bytes | None) -> IdentifiedScore:
    """Read a MIDI file with its page of names, if it has one.

    Never fails over a page: one that is malformed counts as missing, one that does not describe `data`
    only tells the names of notes. Raises DomainError when `data` is not a MIDI file that can be read.
    """
    return NamesBefore.of_page(page, IdentifiedScore, find_notes).identify(data)


def identify_second(data: bytes, page: bytes | None) -> SecondRuleScore:
    """Read a file, to edit it by the second rule; see `identify`."""
    return NamesBefore.of_page(page, SecondRuleScore, find_notes).identify(data)


def skeleton_of(data: bytes) -> tuple[bytes, bytes]:
    """Take all notes out of a file; return it with a page that keeps their places.

    The file is as before once its notes are put in again, the first of track 0 under the name "1-1". Raises
    DomainError for a file whose notes cannot be edited.
    """
    rows: list[list[Any]] = []
    numbers: Counter[int] = Counter()
    for track, on, off in _paired(data, ()).places.values():
        numbers[track] += 1
        rows.append([f"{track + 1}-{numbers[track]}", track, on, off])
    read = _read_with(data, rows)
    if read is None:
        raise AssertionError("the notes that were found in a file fit it")
    score = IdentifiedScore(read)
    score.check_editable()
    return score.write()[0], score.page()


def renamed_page(data: bytes, names: Mapping[str, str]) -> bytes:
    """Write a page of a file as it was read, in which notes have other names than those of their content."""
    read = _paired(data, ())
    places = {names.get(name, name): place for name, place in read.places.items()}
    notes = {names.get(name, name): placed for name, placed in read.notes.items()}
    return _write_page(data, replace(read, places=places, notes=notes, named=True), {})


def is_page_of(data: bytes, page: bytes, find: Find = find_notes) -> bool:
    """Tell whether a page names all notes of a file."""
    content = page_content(page)
    if content.get("object_id") != object_id(data):
        return False
    scores = (_from_page(data, content, kind, find) for kind in (IdentifiedScore, SecondRuleScore))
    return any(score is not None and _writes(score, data) for score in scores)


def _writes(score: IdentifiedScore, data: bytes) -> bool:
    written = score.data_again() if score.edited() else score.read.data
    score.retire()
    return written == data


def identified_notes(files: Mapping[str, bytes], path: str) -> dict[str, Placed]:
    """List the notes of the MIDI file at `path` by the names that edits give them, with their tracks.

    Raises DomainError when there is no such file in the tree, or it is not a MIDI file.
    """
    if path not in files:
        raise DomainError(f"there is no file {path!r}: give the path of a MIDI file in the tree", path=path)
    return identify(files[path], files.get(names_path(path))).notes


# -- reading ----------------------------------------------------------------------------------------


def _from_page(data: bytes, content: Mapping[str, Any], kind: type[_S], find: Find) -> _S | None:
    """Make the score that a page of our format describes; None if it describes none."""
    if content.get("format") != PAGE_FORMAT:
        return None
    try:
        read = data if content["read"] is None else base64.b64decode(content["read"], validate=True)
        names = content["names"]
        file = _paired(read, (), find) if names is None else _read_with(read, names)
        if file is None or file.file.is_overlong:  # what no edit can be written in has no page
            return None
        score = kind(file, dict(file.notes))
        for name, values in content["edited"].items():
            if values is None:
                del score.notes[name]
            else:
                score.place(name, values[0], Note(**dict(zip(FIELDS, values[1:], strict=True))))
    except (DomainError, KeyError, ValueError):
        return None
    return score


def _read_with(data: bytes, rows: Iterable[Sequence[Any]]) -> ReadFile | None:
    """Read the notes exactly as the rows of a page say, or None when they do not fit the file."""
    file = decode(data)
    places: dict[str, Place] = {}
    notes: dict[str, Placed] = {}
    used: set[tuple[int, int]] = set()
    count = 0
    for name, track, on, off in rows:
        if track >= len(file.tracks) or not can_pair(file.tracks[track].events, on, off):
            return None
        used |= {(track, on), (track, off)}
        places[name] = (track, on, off)
        notes[name] = (track, note_between(file.tracks[track].events, on, off))
        count += 1
    if len(used) != 2 * count or len(places) != count:  # two rows share a name or an event
        return None
    return ReadFile(data, file, places, notes, named=True)


def _paired(data: bytes, old: Sequence[tuple[str, tuple[Any, ...]]], find: Find = find_notes) -> ReadFile:
    """Pair the notes first in, first out; old names for those that sound as before, derived for the rest."""
    found = find(data)
    names = found.names(old)
    return ReadFile(
        data,
        found.file,
        dict(zip(names, found.places, strict=True)),
        dict(zip(names, found.placed, strict=True)),
        named=bool(old),
        found=found,
    )


def _paired_again(data: bytes, score: IdentifiedScore, edited: Iterable[str], find: Find) -> ReadFile | None:
    """Do as `_paired` where what was read is read again after a few edits; None for another file."""
    read = score.read
    found = read.found
    if not read.named or found is None or find(data) is not found:
        return None
    before = read.again or NamesAgain.of(found, list(read.places))
    after = before.after(read.notes, score.notes, edited)
    if after is None:
        return None
    names = enumerate(zip(before.names, after.names, strict=True))
    changes = [(number, old, new) for number, (old, new) in names if old is not new]
    places, notes = dict(read.places), dict(read.notes)
    for _, old, _ in changes:
        del places[old], notes[old]
    for number, _, new in changes:
        places[new], notes[new] = found.places[number], found.placed[number]
    return replace(read, places=places, notes=notes, again=after)


def _old_sounds(
    content: Mapping[str, Any], score: IdentifiedScore | None
) -> Sequence[tuple[str, tuple[Any, ...]]]:
    """List the names that a page knows, each with the track and the sound of its note."""
    if score is not None:
        return [(name, (track, *sound_of(note))) for name, (track, note) in score.notes.items()]
    rows = content.get("notes", ())
    return [(name, (track, *sound)) for name, track, _, _, *sound in rows]


# -- the page ---------------------------------------------------------------------------------------


def _write_page(data: bytes, read: ReadFile, edited: Mapping[str, Placed | None]) -> bytes:
    return orjson.dumps(_content_of_page(object_id(data), read, edited))


def _content_of_page(described: str, read: ReadFile, edited: Mapping[str, Placed | None]) -> dict[str, Any]:
    names = sorted([name, *place] for name, place in read.places.items()) if read.named else None
    return {
        "format": PAGE_FORMAT,
        "object_id": described,
        "read": base64.b64encode(read.data).decode() if edited else None,
        "names": names,
        "edited": {name: _values(placed) for name, placed in sorted(edited.items())},
    }


def _values(placed: Placed | None) -> list[Any] | None:
    return placed and [placed[0], *(getattr(placed[1], name) for name in FIELDS)]
