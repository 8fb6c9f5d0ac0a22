"""Makes the ops of the music domain, as people and programs write them. Pure.

A note is named by its author: any text that no other note of the file has, a random UUID for
example. Each maker of a note op gives a whole `patch`; `one_patch` joins several of one file.
"""

import base64
from collections.abc import Iterable, Sequence

from muse.core.content_id import object_id
from muse.domain import DeleteOp, DomainOp, FieldMutation, InsertOp, MoveOp, MutateOp, PatchOp, ReplaceOp
from muse.errors import DomainError
from muse.plugins.music.midi_file import Note
from muse.plugins.music.note_ops import NOTE_DOMAIN, NOTE_PREFIX


class FileInsertOp(InsertOp, total=False):
    """A new file; `content` has its bytes in base64, and is absent when the store has them.

    `names` is the text of its page of names, and is absent when the file has none or keeps the one it has.
    """

    content: str
    names: str


class FileReplaceOp(ReplaceOp, total=False):
    """Other bytes for a file; `content` has them in base64, and is absent when the store has them.

    `names` is the text of its page of names, and is absent when the file has none or keeps the one it has.
    """

    content: str
    names: str


class NoteInsertOp(InsertOp):
    """A new note on `track`, counted from 0; `note` is its fields by name."""

    note: dict[str, int | None]
    track: int


class NoteReplaceOp(ReplaceOp):
    """Other content for a note that stays the same note, on the same track."""

    note: dict[str, int | None]


def insert_note(path: str, entity_id: str, note: Note, *, track: int = 0) -> PatchOp:
    """Add `note` to the MIDI file at `path`, under a name of its own; a missing file is made."""
    child: NoteInsertOp = {
        "op": "insert",
        "address": NOTE_PREFIX + entity_id,
        "position": note.start_tick,
        "content_id": note.content_id,
        "content_summary": note.summary(),
        "note": note.fields(),
        "track": track,
    }
    return _patch(path, [child], f"insert {note.summary()}")


def delete_note(path: str, entity_id: str, note: Note) -> PatchOp:
    """Take a note away; `note` is what the author saw."""
    child: DeleteOp = {
        "op": "delete",
        "address": NOTE_PREFIX + entity_id,
        "position": note.start_tick,
        "content_id": note.content_id,
        "content_summary": note.summary(),
    }
    return _patch(path, [child], f"delete {note.summary()}")


def move_note(path: str, entity_id: str, note: Note, start_tick: int) -> PatchOp:
    """Let a note start at `start_tick`, its length the same; `note` is what the author saw."""
    child: MoveOp = {
        "op": "move",
        "address": NOTE_PREFIX + entity_id,
        "from_position": note.start_tick,
        "to_position": start_tick,
        "content_id": note.content_id,
    }
    return _patch(path, [child], f"move {note.summary()} to {start_tick}")


def replace_note(path: str, entity_id: str, old: Note, new: Note) -> PatchOp:
    """Write every field of a note, on the track where it is; it stays the same note."""
    child: NoteReplaceOp = {
        "op": "replace",
        "address": NOTE_PREFIX + entity_id,
        "position": new.start_tick,
        "old_content_id": old.content_id,
        "new_content_id": new.content_id,
        "old_summary": old.summary(),
        "new_summary": new.summary(),
        "note": new.fields(),
    }
    return _patch(path, [child], f"replace {old.summary()} by {new.summary()}")


def mutate_note(
    path: str,
    entity_id: str,
    note: Note,
    *,
    track: int = 0,
    to_track: int | None = None,
    **changes: int | None,
) -> PatchOp:
    """Write some fields of a note: `mutate_note("a.mid", "n1", note, velocity=90)`.

    `changes` are fields of `Note`; `to_track` moves it to another track. `note` and `track` are what
    the author saw. Raises DomainError when a field is unknown or its value out of MIDI's limits.
    """
    old = note.fields()
    unknown = sorted(changes.keys() - old.keys())
    if unknown:
        raise DomainError(f"a note has no field {unknown[0]!r}: it has {', '.join(old)}")
    new = Note(**{**old, **changes})  # type: ignore[arg-type]  # Note itself checks the values
    fields: dict[str, FieldMutation] = {
        name: {"old": old[name], "new": value} for name, value in changes.items()
    }
    if to_track is not None:
        fields["track"] = {"old": track, "new": to_track}
    if not fields:
        raise DomainError("the edit changes no field: name at least one, `velocity=90` for example")
    child: MutateOp = {
        "op": "mutate",
        "address": NOTE_PREFIX + entity_id,
        "entity_id": entity_id,
        "old_content_id": note.content_id,
        "new_content_id": new.content_id,
        "fields": fields,
        "old_summary": note.summary(),
        "new_summary": new.summary(),
        "position": new.start_tick,
    }
    return _patch(path, [child], f"change {note.summary()} to {new.summary()}")


def one_patch(path: str, patches: Iterable[PatchOp], summary: str = "") -> PatchOp:
    """Join the note ops of several patches of the file at `path` into one, in their order."""
    children = [child for patch in patches for child in patch["child_ops"]]
    return _patch(path, children, summary or f"{len(children)} edits of notes")


def insert_file(path: str, content: bytes, *, inline: bool = True) -> FileInsertOp:
    """Add a file. Not `inline`: the op names the bytes, and the store must have them at commit time."""
    op: FileInsertOp = {
        "op": "insert",
        "address": path,
        "position": None,
        "content_id": object_id(content),
        "content_summary": _file_summary(content),
    }
    if inline:
        op["content"] = base64.b64encode(content).decode()
    return op


def delete_file(path: str, content: bytes) -> DeleteOp:
    """Take a file away; `content` is what the author saw."""
    return {
        "op": "delete",
        "address": path,
        "position": None,
        "content_id": object_id(content),
        "content_summary": _file_summary(content),
    }


def replace_file(path: str, old: bytes, new: bytes, *, inline: bool = True) -> FileReplaceOp:
    """Replace a whole file. Notes that sound as before keep their names. `inline` as in `insert_file`."""
    op: FileReplaceOp = {
        "op": "replace",
        "address": path,
        "position": None,
        "old_content_id": object_id(old),
        "new_content_id": object_id(new),
        "old_summary": _file_summary(old),
        "new_summary": _file_summary(new),
    }
    if inline:
        op["content"] = base64.b64encode(new).decode()
    return op


def rename_file(path: str, new_path: str) -> PatchOp:
    """Move a file, with the names of its notes."""
    patch = _patch(new_path, [], f"rename {path} to {new_path}")
    patch["from_address"] = path
    return patch


def _patch(path: str, children: Sequence[DomainOp], summary: str) -> PatchOp:
    return {
        "op": "patch",
        "address": path,
        "child_ops": list(children),
        "child_domain": NOTE_DOMAIN,
        "child_summary": summary,
    }


def _file_summary(content: bytes) -> str:
    return f"{len(content)} bytes"
