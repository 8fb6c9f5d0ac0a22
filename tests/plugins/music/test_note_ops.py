"""What an edit of a note does, and which edits are refused."""

from dataclasses import replace
from typing import Any

import pytest

from muse.errors import DomainError
from muse.plugins.music.identified_score import IdentifiedScore
from muse.plugins.music.midi_bytes import LAST_TICK
from muse.plugins.music.midi_file import Note
from muse.plugins.music.note_ops import read_note_edit

C4 = Note(60, 64, 0, 480)
FIELDS = C4.fields()


def edited(*ops: Any) -> dict[str, tuple[int, Note]]:
    """Apply ops to a score that has C4 under the name `a`."""
    score = IdentifiedScore(notes={"a": (0, C4)})
    for op in ops:
        read_note_edit(op).apply_to(score)
    return score.notes


def mutation(**new: Any) -> dict[str, Any]:
    fields = {name: {"old": None, "new": value} for name, value in new.items()}
    return {"op": "mutate", "address": "note/a", "entity_id": "a", "fields": fields}


def test_a_note_is_inserted_on_the_first_track_unless_it_names_one() -> None:
    insert = {"op": "insert", "address": "note/b", "note": FIELDS}
    assert edited(insert)["b"] == (0, C4)
    assert edited({**insert, "track": 3})["b"] == (3, C4)


def test_channel_and_release_may_be_left_out() -> None:
    note = {"pitch": 60, "velocity": 64, "start_tick": 0, "duration_ticks": 480}
    assert edited({"op": "insert", "address": "note/b", "note": note})["b"] == (0, C4)


def test_the_last_writer_of_a_field_wins_and_other_fields_stay() -> None:
    outcome = edited(mutation(velocity=1, pitch=61), mutation(velocity=2), mutation(track=1, release=None))
    assert outcome == {"a": (1, replace(C4, velocity=2, pitch=61, release=None))}


def test_a_move_changes_the_start_alone() -> None:
    move = {"op": "move", "address": "note/a", "from_position": 7, "to_position": 96}
    assert edited(mutation(track=2), move) == {"a": (2, replace(C4, start_tick=96))}


def test_a_replacement_writes_every_field_and_leaves_the_note_on_its_track() -> None:
    new = Note(72, 1, 9, 9, 9, None)
    op = {"op": "replace", "address": "note/a", "note": new.fields()}
    assert edited(mutation(track=2), op) == {"a": (2, new)}
    assert edited({**op, "track": 1}) == {"a": (1, new)}


def test_a_deleted_note_can_be_inserted_anew() -> None:
    delete = {"op": "delete", "address": "note/a"}
    assert edited(delete) == {}
    assert edited(delete, {"op": "insert", "address": "note/a", "note": FIELDS}) == {"a": (0, C4)}


@pytest.mark.parametrize(
    "op",
    [
        {"op": "delete", "address": "note/b"},
        {"op": "move", "address": "note/b", "to_position": 0},
        {"op": "replace", "address": "note/b", "note": FIELDS},
        {**mutation(velocity=1), "address": "note/b", "entity_id": "b"},
    ],
)
def test_an_edit_of_a_note_that_is_not_there_has_no_effect(op: dict[str, Any]) -> None:
    with pytest.raises(DomainError, match="there is no note 'b': it was deleted, or never inserted"):
        edited(op)


def test_a_name_in_use_cannot_be_inserted() -> None:
    with pytest.raises(DomainError, match="a note 'a' is already there"):
        edited({"op": "insert", "address": "note/a", "note": FIELDS})


def test_an_edit_that_pushes_a_note_over_the_end_of_time_leaves_it_as_it_was() -> None:
    score = IdentifiedScore(notes={"a": (0, C4)})
    with pytest.raises(DomainError, match="a note ends by tick"):
        read_note_edit({"op": "move", "address": "note/a", "to_position": LAST_TICK}).apply_to(score)
    assert score == IdentifiedScore(notes={"a": (0, C4)})


@pytest.mark.parametrize(
    ("op", "why"),
    [
        (None, "a note op is an object"),
        ([], "a note op is an object"),
        ({}, "the address of a note"),
        ({"op": "delete", "address": 7}, "the address of a note"),
        ({"op": "delete", "address": "a"}, "the address of a note"),
        ({"op": "delete", "address": "note/"}, "1 to 256 characters"),
        ({"op": "delete", "address": "note/" + 257 * "x"}, "1 to 256 characters"),
        ({"op": "delete", "address": "note/\udc80"}, "surrogate"),
        ({"op": "patch", "address": "note/a"}, "one of insert, delete, move, replace, mutate"),
        ({"op": ["insert"], "address": "note/a"}, "not a list"),
        ({"op": "insert", "address": "note/b"}, "`note` is an object"),
        ({"op": "insert", "address": "note/b", "note": {"pitch": 60}}, "`note` lacks its velocity"),
        ({"op": "insert", "address": "note/b", "note": {**FIELDS, "pitch": 128}}, "pitch is a whole number"),
        ({"op": "insert", "address": "note/b", "note": {**FIELDS, "pitch": [[]]}}, "not a list"),
        ({"op": "insert", "address": "note/b", "note": FIELDS, "track": -1}, "`track` is a whole number"),
        ({"op": "insert", "address": "note/b", "note": FIELDS, "track": True}, "`track` is a whole number"),
        ({"op": "move", "address": "note/a"}, "start_tick is a whole number"),
        ({"op": "move", "address": "note/a", "to_position": 1.5}, "start_tick is a whole number"),
        ({"op": "mutate", "address": "note/a"}, "`fields` is an object"),
        ({"op": "mutate", "address": "note/a", "fields": {}}, "at least one field"),
        ({**mutation(pitch=1), "entity_id": "b"}, "name two notes"),
        ({"op": "mutate", "address": "note/a", "fields": {"pitch": 61}}, "an object with `old` and `new`"),
        (mutation(volume=1), "a note has no field 'volume'"),
        (mutation(velocity=0), "velocity is a whole number"),
        (mutation(velocity=None), "velocity is a whole number"),
        (mutation(duration_ticks=-1), "duration_ticks is a whole number"),
        (mutation(track="1"), "`track` is a whole number"),
    ],
)
def test_a_malformed_edit_is_refused_with_its_reason(op: Any, why: str) -> None:
    with pytest.raises(DomainError, match=why):
        read_note_edit(op)
