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
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, TypeVar

import orjson

from muse.core.content_id import object_id, sha256_hex
from muse.errors import DomainError
from muse.plugins.music.kept_file import KeptFile, with_tracks
from muse.plugins.music.layout import lay_out
from muse.plugins.music.midi_bytes import OVERLONG, Event, EventFile, EventTrack, decode, encode
from muse.plugins.music.note import Note, can_pair, note_between, pair_notes
from muse.plugins.op_fields import names_path

TRACK_LIMIT = 256  # how far an edit may add tracks
NEW_FILE = encode(EventFile(1, 480, (EventTrack((), 0),)))
"""What is read where an edit of a note makes the file."""
_PAGE_FORMAT = 2
_FIELDS = ("pitch", "velocity", "start_tick", "duration_ticks", "channel", "release", "ends_first")

Placed = tuple[int, Note]
"""A note and its track."""
_Place = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class ReadFile:
    """A file as it was read: its bytes, its events, and the notes among them by name.

    `places` are the track of each note, and the indexes of its start and its end. `named`: the names are
    not those derived from the content.
    """

    data: bytes
    file: EventFile
    places: Mapping[str, _Place]
    notes: Mapping[str, Placed]
    named: bool = False

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
        if self._kept is None:
            self._kept = KeptFile(
                self.read.file, self.read.places, self.read.notes, by_second_rule=self.by_second_rule
            )
        return self._kept.data(self.notes)

    def page(self) -> bytes:
        """Write a page that gives every note its name, whatever page is there before."""
        data, page = self.write()
        return page or _write_page(data, replace(self.read, named=True), {})

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


def identify(data: bytes, page: bytes | None) -> IdentifiedScore:
    """Read a MIDI file with its page of names, if it has one.

    Never fails over a page: one that is malformed counts as missing, one that does not describe `data`
    only tells the names of notes. Raises DomainError when `data` is not a MIDI file that can be read.
    """
    return _identify(data, page, IdentifiedScore)


def identify_second(data: bytes, page: bytes | None) -> SecondRuleScore:
    """Read a file, to edit it by the second rule; see `identify`."""
    return _identify(data, page, SecondRuleScore)


def _identify(data: bytes, page: bytes | None, kind: type[_S]) -> _S:
    content = _page_content(page)
    score = _from_page(data, content, kind)
    if score is not None and content["object_id"] == object_id(data) and score.data() == data:
        return score
    if content.get("format") == 1 and content["object_id"] == object_id(data):
        read = _read_with(data, [row[:4] for row in content["notes"]])
        if read is not None:
            return kind(read, dict(read.notes))
    read = _paired(data, _old_sounds(content, score))
    return kind(read, dict(read.notes))


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


def is_page_of(data: bytes, page: bytes) -> bool:
    """Tell whether a page names all notes of a file."""
    content = _page_content(page)
    scores = (_from_page(data, content, kind) for kind in (IdentifiedScore, SecondRuleScore))
    return any(
        score is not None and content["object_id"] == object_id(data) and score.data() == data
        for score in scores
    )


def identified_notes(files: Mapping[str, bytes], path: str) -> dict[str, Placed]:
    """List the notes of the MIDI file at `path` by the names that edits give them, with their tracks.

    Raises DomainError when there is no such file in the tree, or it is not a MIDI file.
    """
    if path not in files:
        raise DomainError(f"there is no file {path!r}: give the path of a MIDI file in the tree", path=path)
    return identify(files[path], files.get(names_path(path))).notes


# -- reading ----------------------------------------------------------------------------------------


def _from_page(data: bytes, content: Mapping[str, Any], kind: type[_S]) -> _S | None:
    """Make the score that a page of our format describes; None if it describes none."""
    if content.get("format") != _PAGE_FORMAT:
        return None
    try:
        read = data if content["read"] is None else base64.b64decode(content["read"], validate=True)
        names = content["names"]
        file = _paired(read, ()) if names is None else _read_with(read, names)
        if file is None or file.file.is_overlong:  # what no edit can be written in has no page
            return None
        score = kind(file, dict(file.notes))
        for name, values in content["edited"].items():
            if values is None:
                del score.notes[name]
            else:
                score.place(name, values[0], Note(**dict(zip(_FIELDS, values[1:], strict=True))))
    except (DomainError, KeyError, ValueError):
        return None
    return score


def _read_with(data: bytes, rows: Iterable[Sequence[Any]]) -> ReadFile | None:
    """Read the notes exactly as the rows of a page say, or None when they do not fit the file."""
    file = decode(data)
    places: dict[str, _Place] = {}
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


def _paired(data: bytes, old: Iterable[tuple[str, tuple[Any, ...]]]) -> ReadFile:
    """Pair the notes first in, first out; old names for those that sound as before, derived for the rest."""
    file, known = decode(data), list(old)
    placed: list[Placed] = []
    places: list[_Place] = []
    for index, track in enumerate(file.tracks):
        for on, off in pair_notes(track.events):
            places.append((index, on, off))
            placed.append((index, note_between(track.events, on, off)))
    names = names_of(placed, known)
    return ReadFile(
        data,
        file,
        dict(zip(names, places, strict=True)),
        dict(zip(names, placed, strict=True)),
        named=bool(known),
    )


def _old_sounds(
    content: Mapping[str, Any], score: IdentifiedScore | None
) -> Iterable[tuple[str, tuple[Any, ...]]]:
    """List the names that a page knows, each with the track and the sound of its note."""
    if score is not None:
        return [(name, (track, *sound_of(note))) for name, (track, note) in score.notes.items()]
    rows = content.get("notes", ())
    return [(name, (track, *sound)) for name, track, _, _, *sound in rows]


def names_of(placed: Iterable[Placed], old: Iterable[tuple[str, tuple[Any, ...]]]) -> list[str]:
    """Name the notes. A name that was in use before is never given to a note that sounds different."""
    known: dict[tuple[Any, ...], deque[str]] = {}
    taken = set()
    for entity_id, sound in old:
        known.setdefault(sound, deque()).append(entity_id)
        taken.add(entity_id)
    ordinals: Counter[tuple[int, str]] = Counter()
    names = []
    for index, note in placed:
        same = known.get((index, *sound_of(note)))
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


def sound_of(note: Note) -> tuple[int, int, int, int, int]:
    """Return a note as it sounds: pitch, velocity, start, duration, channel."""
    return (note.pitch, note.velocity, note.start_tick, note.duration_ticks, note.channel)


# -- the page ---------------------------------------------------------------------------------------


def _write_page(data: bytes, read: ReadFile, edited: Mapping[str, Placed | None]) -> bytes:
    names = sorted([name, *place] for name, place in read.places.items()) if read.named else None
    return orjson.dumps(
        {
            "format": _PAGE_FORMAT,
            "object_id": object_id(data),
            "read": base64.b64encode(read.data).decode() if edited else None,
            "names": names,
            "edited": {name: _values(placed) for name, placed in sorted(edited.items())},
        }
    )


def _values(placed: Placed | None) -> list[Any] | None:
    return placed and [placed[0], *(getattr(placed[1], name) for name in _FIELDS)]


def _page_content(page: bytes | None) -> Mapping[str, Any]:
    """Read a page of names; empty when it is missing or does not have a shape that Muse writes or wrote."""
    try:
        content = orjson.loads(page) if page is not None else None
    except orjson.JSONDecodeError:
        return {}
    if not isinstance(content, dict) or not isinstance(content.get("object_id"), str):
        return {}
    is_page = {1: _is_first_page, _PAGE_FORMAT: _is_page}.get(_count_of(content.get("format")))
    return content if is_page is not None and is_page(content) else {}


def _is_first_page(content: Mapping[str, Any]) -> bool:
    """Tell whether a page is of the first format: it has the notes of the file that it describes."""
    rows, ends = content.get("notes"), content.get("ends")
    return (
        isinstance(rows, list)
        and all(is_row(row, 9) for row in rows)
        and isinstance(ends, list)
        and all(map(is_count, ends))
    )


def _is_page(content: Mapping[str, Any]) -> bool:
    read, names, edited = (content.get(key, 0) for key in ("read", "names", "edited"))
    return (
        isinstance(read, str | None)
        and (names is None or (isinstance(names, list) and all(is_row(row, 4) for row in names)))
        and isinstance(edited, dict)
        and all(map(_is_edited, edited.values()))
    )


def _is_edited(values: Any) -> bool:
    if values is None:
        return True
    if not isinstance(values, list) or len(values) != 1 + len(_FIELDS):
        return False
    return is_count(values[0]) and isinstance(values[-1], bool)


def is_row(row: Any, length: int) -> bool:
    """Tell whether a value is a row of a page of names: a name, and counts up to `length` fields."""
    return (
        isinstance(row, list)
        and len(row) == length
        and isinstance(row[0], str)
        and row[0] != ""
        and all(map(is_count, row[1:]))
    )


def is_count(value: Any) -> bool:
    """Tell whether a value is a whole number from 0 on, and not True or False."""
    return type(value) is int and value >= 0


def _count_of(value: Any) -> int:
    return value if is_count(value) else 0
