"""What is read of a MIDI file whatever its notes are called, and how they get their names. Pure."""

from collections import Counter, defaultdict, deque
from collections.abc import Callable, Collection, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from muse.core.content_id import sha256_hex
from muse.errors import DomainError
from muse.plugins.music.kept_file import KeptFile
from muse.plugins.music.midi_bytes import EventFile, decode
from muse.plugins.music.note import Note, note_between, pair_notes

Placed = tuple[int, Note]
"""A note and its track."""
Place = tuple[int, int, int]
"""The track of a note, and the indexes of its start and its end."""
_Sound = tuple[int, ...]
_KEPT_BYTES = 1 << 20


@dataclass(slots=True)
class FoundNotes:
    """The events of a file, and its notes, paired first in, first out: each with its place.

    `spare`: what the file was last written with, by the second rule or not, for the one that writes it next.
    """

    data: bytes
    file: EventFile
    places: tuple[Place, ...]
    placed: tuple[Placed, ...]
    spare: dict[bool, KeptFile] = field(default_factory=dict)
    _own_names: Sequence[str] | None = field(default=None, init=False)
    _by_sound: dict[_Sound, list[int]] = field(default_factory=dict, init=False)

    @property
    def by_sound(self) -> Mapping[_Sound, Sequence[int]]:
        """The numbers of the notes that sound the same, each with its track."""
        if not self._by_sound:
            for number, (track, note) in enumerate(self.placed):
                self._by_sound.setdefault((track, *sound_of(note)), []).append(number)
        return self._by_sound

    def names(self, old: Sequence[tuple[str, tuple[Any, ...]]]) -> Sequence[str]:
        """Name the notes: old names for those that sound as before, derived ones for the rest."""
        if old:
            return names_of(self.placed, old)
        if self._own_names is None:
            self._own_names = names_of(self.placed, ())
        return self._own_names


Find = Callable[[bytes], FoundNotes]


def find_notes(data: bytes) -> FoundNotes:
    """Read a MIDI file. Raises DomainError when `data` cannot be read as one."""
    file = decode(data)
    places: list[Place] = []
    placed: list[Placed] = []
    for index, track in enumerate(file.tracks):
        for on, off in pair_notes(track.events):
            places.append((index, on, off))
            placed.append((index, note_between(track.events, on, off)))
    return FoundNotes(data, file, tuple(places), tuple(placed))


class KeptFindings:
    """Finds the notes of the same contents again and again, and reads the latest of them once.

    Of what was read before, as much is kept as files of a MiB hold together.
    """

    def __init__(self) -> None:
        self._kept: dict[bytes, FoundNotes | str] = {}

    def find(self, data: bytes) -> FoundNotes:
        """Read a MIDI file, as `find_notes` does."""
        found = self._kept.pop(data, None)
        if found is None:
            try:
                found = find_notes(data)
            except DomainError as error:
                found = str(error)
        self._kept[data] = found
        while len(self._kept) > 1 and sum(map(len, self._kept)) > _KEPT_BYTES:
            del self._kept[next(iter(self._kept))]
        if isinstance(found, str):
            raise DomainError(found)
        return found


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
        taken.add(names[-1])
    return names


def _derived_name(index: int, note: Note, ordinals: Counter[tuple[int, str]], taken: Container[str]) -> str:
    """Derive a name from the note's track, its content, and how many equal notes came before."""
    key = (index, note.content_id)
    while True:
        digest = sha256_hex(f"{index}:{note.content_id}:{ordinals[key]}".encode())
        ordinals[key] += 1
        name = f"n{digest[:16]}"
        if name not in taken:
            return name


@dataclass(frozen=True, slots=True)
class NamesAgain:
    """The names of the notes of a file, which gets the same content again after edits of its notes.

    `names` are those of the notes as they were found. They come out as `names_of` has it, if it is told of
    the notes as a page lists them: those that were read, by their names, and then the new ones. Only what
    sounds as an edited note did or does is looked at, and the sounds in `turned`, where such a list has the
    names in another order.
    """

    found: FoundNotes
    names: Sequence[str]
    turned: Collection[_Sound]

    @classmethod
    def of(cls, found: FoundNotes, names: Sequence[str]) -> "NamesAgain":
        """Take the names of all notes in."""
        several = ((sound, numbers) for sound, numbers in found.by_sound.items() if len(numbers) > 1)
        turned = {sound for sound, numbers in several if not _ascend([names[number] for number in numbers])}
        return cls(found, names, turned)

    def after(
        self, read: Mapping[str, Placed], now: Mapping[str, Placed], edited: Iterable[str]
    ) -> "NamesAgain | None":
        """Return the names after edits, or None where two that are derived would be the same."""
        of_edited: dict[_Sound, set[str]] = defaultdict(set)
        for name in edited:
            for placed in (read.get(name), now.get(name)):
                if placed is not None:
                    of_edited[placed[0], *sound_of(placed[1])].add(name)
        by_sound, names = self.found.by_sound, [*self.names]
        derived: set[str] = set()
        turned: set[_Sound] = set()
        for sound in {*self.turned, *of_edited} & by_sound.keys():
            numbers = by_sound[sound]
            candidates = {self.names[number] for number in numbers} | of_edited.get(sound, set())
            same = (name for name in candidates if _sound_in(now, name) == sound)
            known = deque(sorted(same, key=lambda name: (name not in read, name)))
            ordinals: Counter[tuple[int, str]] = Counter()
            for number in numbers:
                names[number] = (
                    known.popleft() if known else _derived_name(*self.found.placed[number], ordinals, now)
                )
            new = {names[number] for number in numbers} - now.keys()
            if not derived.isdisjoint(new):
                return None
            derived |= new
            if not _ascend([names[number] for number in numbers]):
                turned.add(sound)
        return NamesAgain(self.found, names, turned)


def _sound_in(notes: Mapping[str, Placed], name: str) -> _Sound | None:
    placed = notes.get(name)
    return None if placed is None else (placed[0], *sound_of(placed[1]))


def _ascend(names: Sequence[str]) -> bool:
    return all(before < after for before, after in pairwise(names))


def sound_of(note: Note) -> tuple[int, int, int, int, int]:
    """Return a note as it sounds: pitch, velocity, start, duration, channel."""
    return (note.pitch, note.velocity, note.start_tick, note.duration_ticks, note.channel)
