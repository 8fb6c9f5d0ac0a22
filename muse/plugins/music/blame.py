"""Tells from which op each note of a MIDI file stems. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from muse.domain import Origin
from muse.plugins.music.identified_score import Placed
from muse.plugins.music.note_ops import NOTE_PREFIX
from muse.plugins.music.trails import NoteStep, Trails
from muse.plugins.op_fields import Fetch


def blame_notes(
    files: Mapping[str, bytes], ops: Sequence[Mapping[str, Any]], fetch: Fetch, path: str
) -> list[Origin]:
    """List the notes that the file has after `ops`, by their starts, each with its origin."""
    trails = Trails(files, fetch)
    trails.follow(ops)
    content = trails.content(path)
    if content is None:
        return []
    trail = trails.trail_at(path)
    notes = sorted(content.notes.items(), key=_place)
    return [_origin(name, placed, trail.notes.get(name, ()), trail.origin) for name, placed in notes]


def _origin(entity_id: str, placed: Placed, steps: Sequence[NoteStep], came_from: str) -> Origin:
    track, note = placed
    made = next((step.op_index for step in reversed(steps) if step.before is None), None)
    changed = steps[-1].op_index if steps else None
    return Origin(
        address=NOTE_PREFIX + entity_id,
        summary=f"{note.summary()}, track {track}",
        made=made,
        changed=changed,
        came_from="" if made is not None else came_from,
    )


def _place(item: tuple[str, Placed]) -> tuple[int, int, int, int, str]:
    entity_id, (track, note) = item
    return (note.start_tick, track, note.channel, note.pitch, entity_id)
