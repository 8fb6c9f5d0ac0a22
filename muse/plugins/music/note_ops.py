"""The edits of one note, as JSON carries them: checked, then applied to a score.

Edits come in the total order. The last writer of a field wins; a replacement writes all fields; a
deletion wins over every later edit of that note, until the same name is inserted again. What an edit
says of the old content is for people: it need not match. An edit that must not override unknown
edits names, in `expected`, the fields and values that must be there for it to take effect.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from muse.errors import DomainError
from muse.plugins.music.note import Note
from muse.plugins.op_fields import shown

NOTE_DOMAIN = "midi_notes"
NOTE_PREFIX = "note/"
ENTITY_ID_LENGTH = 256
NOTE_OP_KINDS = ("insert", "delete", "move", "replace", "mutate")
_NOTE_FIELDS = ("pitch", "velocity", "start_tick", "duration_ticks", "channel", "release")
_OPTIONAL_FIELDS = ("channel", "release")
_PLACED_FIELDS = (*_NOTE_FIELDS, "track")


class EditableNotes(Protocol):
    """The notes of a file by name, each with its track, which may be refused."""

    notes: dict[str, tuple[int, Note]]

    def place(self, entity_id: str, track: int, note: Note) -> None:
        """Put a note of this name into a track, or change it there; `DomainError` if that is refused."""
        ...


@dataclass(frozen=True, slots=True)
class NoteEdit:
    """An edit whose shape and values have been checked.

    `note` and `track` are what it sets as a whole, `changes` single fields by name. A track of None
    leaves the note where it is. `expected` are values of fields without which it has no effect.
    """

    kind: str
    entity_id: str
    note: Note | None = None
    track: int | None = None
    changes: dict[str, Any] = field(default_factory=dict)
    expected: dict[str, Any] = field(default_factory=dict)

    def apply_to(self, score: EditableNotes) -> None:
        """Take effect on `score`, or raise DomainError and leave it as it is."""
        current = score.notes.get(self.entity_id)
        if self.kind == "insert":
            if current is not None:
                raise DomainError(f"a note {self.entity_id!r} is already there")
        elif current is None:
            raise DomainError(f"there is no note {self.entity_id!r}: it was deleted, or never inserted")
        else:
            self._check_expected(*current)
        if self.kind == "delete":
            del score.notes[self.entity_id]
        else:
            score.place(self.entity_id, *self._outcome(current))

    def _check_expected(self, track: int, note: Note) -> None:
        values = {**note.fields(), "track": track}
        for name, value in self.expected.items():
            if values[name] != value:
                found = f"{values[name]}, not {shown(value)} as expected"
                raise DomainError(f"the note's {name} is {found}: it was changed since")

    def _outcome(self, current: tuple[int, Note] | None) -> tuple[int, Note]:
        """Return the track and content that the note has after this edit."""
        old_track, old_note = current or (0, None)
        note = self.note or old_note
        if note is None:
            raise AssertionError("only an insert finds no note, and it carries one")
        track = old_track if self.track is None else self.track
        return track, replace(note, **self.changes) if self.changes else note


def read_note_edit(op: Any) -> NoteEdit:
    """Check one note op. Raises DomainError, saying what is wrong with it, and nothing else."""
    if not isinstance(op, Mapping):
        raise DomainError(f"a note op is an object, not {shown(op)}")
    kind: Any = op.get("op")
    entity_id, expected = _entity_id(op.get("address")), _expected(op.get("expected"))
    if kind in ("insert", "replace"):  # a tuple, since what JSON gave may not be hashable
        note, track = _note(op.get("note")), _track(op.get("track"))
        return NoteEdit(kind, entity_id, note=note, track=track, expected=expected)
    if kind == "delete":
        return NoteEdit(kind, entity_id, expected=expected)
    if kind == "move":
        start = op.get("to_position")
        check_field("start_tick", start)
        return NoteEdit(kind, entity_id, changes={"start_tick": start}, expected=expected)
    if kind == "mutate":
        return _mutation(op, entity_id, expected)
    raise DomainError(f"a note op is one of {', '.join(NOTE_OP_KINDS)}, not {shown(kind)}")


def check_field(name: str, value: Any) -> None:
    """Check one field of a note. Raises DomainError when `value` is out of MIDI's limits."""
    Note(**{"pitch": 0, "velocity": 1, "start_tick": 0, "duration_ticks": 0, name: value})


def _entity_id(address: Any) -> str:
    if not isinstance(address, str) or not address.startswith(NOTE_PREFIX):
        raise DomainError(f"the address of a note is '{NOTE_PREFIX}<id>', not {shown(address)}")
    entity_id = address.removeprefix(NOTE_PREFIX)
    if not 0 < len(entity_id) <= ENTITY_ID_LENGTH:
        raise DomainError(f"the id of a note has 1 to {ENTITY_ID_LENGTH} characters, not {len(entity_id)}")
    if any("\ud800" <= character <= "\udfff" for character in entity_id):
        raise DomainError("the id of a note has half a surrogate pair in it, which no file can hold")
    return entity_id


def _expected(values: Any) -> dict[str, Any]:
    if values is None:
        return {}
    if not isinstance(values, Mapping):
        raise DomainError(f"`expected` is an object with values of the note's fields, not {shown(values)}")
    for name in values:
        _check_name(name)
    return dict(values)


def _note(fields: Any) -> Note:
    if not isinstance(fields, Mapping):
        raise DomainError(f"`note` is an object with the note's fields, not {shown(fields)}")
    for name in _NOTE_FIELDS:
        if name not in fields and name not in _OPTIONAL_FIELDS:
            raise DomainError(f"`note` lacks its {name}")
    values = {name: fields[name] for name in _NOTE_FIELDS if name in fields}
    return Note(**values, ends_first=fields.get("ends_first") is True)


def _track(value: Any) -> int | None:
    if value is None or (type(value) is int and value >= 0):
        return value
    raise DomainError(f"`track` is a whole number from 0, not {shown(value)}")


def _mutation(op: Mapping[str, Any], entity_id: str, expected: dict[str, Any]) -> NoteEdit:
    if op.get("entity_id", entity_id) != entity_id:
        raise DomainError("`entity_id` and the address name two notes: give the same in both")
    fields = op.get("fields")
    if not isinstance(fields, Mapping) or not fields:
        raise DomainError("`fields` is an object that names at least one field")
    values = {name: _new_value(name, change) for name, change in fields.items()}
    track = _track(values.pop("track")) if "track" in values else None
    for name, value in values.items():
        check_field(name, value)
    return NoteEdit("mutate", entity_id, track=track, changes=values, expected=expected)


def _new_value(name: Any, change: Any) -> Any:
    _check_name(name)
    if not isinstance(change, Mapping) or "new" not in change:
        raise DomainError(f"the change of {name} is an object with `old` and `new`, not {shown(change)}")
    return change["new"]


def _check_name(name: Any) -> None:
    if name not in _PLACED_FIELDS:
        raise DomainError(f"a note has no field {shown(name)}: it has {', '.join(_NOTE_FIELDS)} and track")
