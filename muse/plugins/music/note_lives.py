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
    lives, begun = _lives(steps, undoings)
    changes = [place for place, step in enumerate(steps) if step.after is None or place in begun]
    writes = [(steps[place].op_index, lives[place]) for place in changes]
    first = None if steps[0].before is None else 0
    places, led_back = writes_in_effect(writes, first, wanted, undoings)
    back = {steps[changes[place]].op_index: steps[changes[later]] for place, later in led_back.items()}
    ended = {writes[place][1]: steps[changes[later]] for place, later in led_back.items()}
    starts = [-1, *(changes[place] for place in places)]
    path = [first, *(writes[place][1] for place in places)]
    visits: dict[int | None, list[int]] = {}
    for number, life in enumerate(path):
        visits.setdefault(life, []).append(number)
    edits: list[list[NoteStep]] = [[] for _ in path]
    for place, step in enumerate(steps):
        life = lives[place]
        of_life = [number for number in visits.get(life, ()) if starts[number] <= place]
        if life is None or (of_life and starts[of_life[-1]] == place):
            continue
        if of_life and place in begun:
            edits[of_life[-1]] += _as_edit(begun[place], step) if undoings.get(step.op_index) else ()
        elif of_life:
            edits[of_life[-1]].append(step)
        elif life in ended:
            back.setdefault(step.op_index, ended[life])
    kept = [*edits[0]]
    for start, those in zip(starts[1:], edits[1:], strict=True):
        kept += [steps[start], *those]
    return kept, back


def _lives(
    steps: Sequence[NoteStep], undoings: Undoings
) -> tuple[list[int | None], dict[int, Placed | None]]:
    """Number the life that the note has after each step; None: it is deleted.

    A note that comes back as it was, or by the undoing of its deletion, has the life that it had. Also
    return, for each step that begins a life, how that one was at its end, None for a new one.
    """
    deaths: dict[int, int] = {}
    by_state: dict[Placed, int] = {}
    state_of: dict[int, Placed] = {}
    current = 0
    lives: list[int | None] = []
    begun: dict[int, Placed | None] = {}
    for place, step in enumerate(steps):
        undone = [op for op in undoings.get(step.op_index, ()) if op in deaths]
        if step.after is None and step.before is not None:
            deaths[step.op_index] = by_state[step.before] = current
            state_of[current] = step.before
        elif step.after is not None and (undone or step.before is None):
            current = deaths[min(undone)] if undone else by_state.get(step.after, place + 1)
            begun[place] = state_of.get(current)
        lives.append(None if step.after is None else current)
    return lives, begun


def _as_edit(was: Placed | None, step: NoteStep) -> list[NoteStep]:
    """Return what an undoing that brings a note back edits in it: it may undo edits too."""
    return [NoteStep(step.op_index, ALL_FIELDS, was, step.after)] if was and step.after else []


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
