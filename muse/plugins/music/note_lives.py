"""Tells what of a note's trail is in effect: its lives, from insertion to deletion, and its fields. Pure."""

from collections.abc import Collection, Sequence
from typing import Any

from muse.plugins.music.identified_score import Placed
from muse.plugins.music.trails import ALL_FIELDS, NoteStep
from muse.plugins.music.writes import Undoings, writes_in_effect


def lives_in_effect(
    steps: Sequence[NoteStep], wanted: Collection[int], undoings: Undoings
) -> tuple[list[NoteStep], dict[int, NoteStep]]:
    """Return the steps that are still in effect, and for each op that is not, the step that led it back.

    Insertions and deletions lead back here, as an undoing does, with all edits in between. Other edits
    are looked at field by field.
    """
    lives = _lives(steps, undoings)
    changes = [place for place, step in enumerate(steps) if None in (step.before, step.after)]
    writes = [(steps[place].op_index, lives[place]) for place in changes]
    first = None if steps[0].before is None else 0
    places, led_back = writes_in_effect(writes, first, wanted, undoings)
    in_effect = {first, *(writes[place][1] for place in places)}
    ended = {writes[place][1]: steps[changes[later]] for place, later in led_back.items()}
    back = {steps[changes[place]].op_index: steps[changes[later]] for place, later in led_back.items()}
    on_path, kept = {changes[place] for place in places}, []
    for place, step in enumerate(steps):
        if place in on_path:
            kept.append(step)
        elif step.before is None:
            kept += _as_edit(steps[:place], step) if lives[place] in in_effect else ()
        elif step.after is not None and lives[place] in in_effect:
            kept.append(step)
        elif step.after is not None and lives[place] in ended:
            back.setdefault(step.op_index, ended[lives[place]])
    return kept, back


def _lives(steps: Sequence[NoteStep], undoings: Undoings) -> list[int | None]:
    """Number the life that the note has after each step; None: it is deleted.

    A note that comes back as it was, or by the undoing of its deletion, has the life that it had.
    """
    ends: dict[Placed | None, int] = {}
    current: int | None = 0
    last, deleted = 0, -1
    lives: list[int | None] = []
    for number, step in enumerate(steps, start=1):
        if step.after is None:
            last, deleted = current or 0, step.op_index
            ends[step.before] = last
            current = None
        elif step.before is None:
            is_undoing = deleted in undoings.get(step.op_index, ())
            current = last if is_undoing else ends.get(step.after, number)
        lives.append(current)
    return lives


def _as_edit(before: Sequence[NoteStep], step: NoteStep) -> list[NoteStep]:
    """Return what an insertion that brings a note back edits in it besides."""
    was = next((one.before for one in reversed(before) if one.after is None), None)
    if was is None or step.after is None:
        return []
    old, new = fields_of(was), fields_of(step.after)
    wrote = frozenset(name for name in old if old[name] != new[name])
    return [NoteStep(step.op_index, wrote, was, step.after)] if wrote else []


def in_the_way(
    steps: Sequence[NoteStep], note: Placed | None, wanted: Collection[int], undoings: Undoings
) -> int | None:
    """Return the last op of others whose edit of a `note` is in effect still, or None."""
    found = set()
    for name, first in fields_of(note).items() if note else ():
        writers = writers_of(steps, name)
        found |= {writers[place][0] for place in writes_in_effect(writers, first, wanted, undoings)[0]}
    return max(found - set(wanted), default=None)


def writers_of(steps: Sequence[NoteStep], name: str) -> list[tuple[int, Any]]:
    """Return the ops that wrote a field of a note, each with the value."""
    return [(one.op_index, fields_of(one.after)[name]) for one in steps if name in one.wrote and one.after]


def last_change_of_life(steps: Sequence[NoteStep]) -> int | None:
    """Find the last step that made the note or deleted it."""
    places = range(len(steps) - 1, -1, -1)
    return next((place for place in places if None in (steps[place].before, steps[place].after)), None)


def fields_of(placed: Placed) -> dict[str, Any]:
    """Return the fields that an edit may write, by name."""
    return {**{name: getattr(placed[1], name) for name in ALL_FIELDS - {"track"}}, "track": placed[0]}
