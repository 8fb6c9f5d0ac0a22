"""What each op did to each file and note."""

from typing import Any

from muse.plugins.music.midi_file import Note
from muse.plugins.music.notes import (
    delete_file,
    delete_note,
    insert_file,
    insert_note,
    move_note,
    mutate_note,
    rename_file,
    replace_file,
    replace_note,
)
from muse.plugins.music.trails import ALL_FIELDS, Trails
from tests.plugins.music.test_music import Files, commit
from tests.samples.midi_samples import no_store

C4 = Note(60, 64, 0, 480)
SONG = commit({}, insert_note("a.mid", "x", C4))


def followed(*ops: Any, files: Files = SONG) -> Trails:
    trails = Trails(files, no_store)
    trails.follow(ops)
    return trails


def test_a_note_s_trail_has_the_fields_that_each_op_wrote() -> None:
    trails = followed(
        mutate_note("a.mid", "x", C4, velocity=1, to_track=2),
        move_note("a.mid", "x", C4, 5),
        replace_note("a.mid", "x", C4, C4),
        delete_note("a.mid", "x", C4),
        insert_note("a.mid", "x", C4, track=1),
    )
    steps = trails.trail_at("a.mid").notes["x"]
    assert [step.op_index for step in steps] == [0, 1, 2, 3, 4]
    wrote = [{"velocity", "track"}, {"start_tick"}, ALL_FIELDS - {"track"}, ALL_FIELDS, ALL_FIELDS]
    assert [step.wrote for step in steps] == wrote
    assert [(step.before is None, step.after is None) for step in steps[3:]] == [(False, True), (True, False)]


def test_a_trail_follows_its_file_through_renames_and_outlives_its_deletion() -> None:
    trails = followed(
        rename_file("a.mid", "b.mid"), move_note("b.mid", "x", C4, 5), delete_file("b.mid", b"")
    )
    [trail] = trails.all
    assert (trail.path, trail.origin, trail.alive, trail.touched_by) == ("b.mid", "a.mid", False, [0, 1, 2])
    assert [(step.kind, step.source) for step in trail.steps] == [("rename", "a.mid"), ("delete", "")]
    assert trail.steps[-1].before is not None
    assert trail.steps[-1].before.notes["x"][1].start_tick == 5


def test_a_file_that_an_edit_of_a_note_made_is_known_as_such() -> None:
    trails = followed(insert_note("b.mid", "y", C4), insert_file("c.mid", b"text"))
    assert [(trail.path, trail.origin, trail.steps[0].kind) for trail in trails.all] == [
        ("b.mid", "", "make"),
        ("c.mid", "", "insert"),
    ]


def test_a_replaced_file_s_notes_come_and_go_by_the_replacement() -> None:
    other = commit({}, insert_note("a.mid", "y", Note(1, 2, 3, 4)))["a.mid"]
    trail = followed(replace_file("a.mid", b"", other)).trail_at("a.mid")
    assert sorted(
        (step.before is None, step.op_index) for steps in trail.notes.values() for step in steps
    ) == [
        (False, 0),
        (True, 0),
    ]


def test_ops_without_effect_leave_no_trail_and_are_known_with_their_reason() -> None:
    odd: Any = {"op": "patch", "address": "b.mid", "from_address": "a.mid", "child_ops": "odd"}
    trails = followed(
        move_note("a.mid", "gone", C4, 1),
        delete_file("no.mid", b""),
        rename_file("no.mid", "b.mid"),
        odd,
        None,
    )
    assert [trail.touched_by for trail in trails.all if trail.touched_by] == []
    assert trails.refused.keys() == {0, 1, 2, 3, 4}


def test_edits_that_come_with_a_rename_count_and_those_of_a_failed_one_do_not() -> None:
    both: Any = {**move_note("b.mid", "x", C4, 5), "from_address": "a.mid"}
    trails = followed(both)
    assert trails.trail_at("b.mid").notes["x"][0].op_index == 0
    failed: Any = {**insert_note("b.mid", "y", C4), "from_address": "no.mid"}
    assert followed(failed).all == []
