"""The ops that the makers make."""

import base64
import json
from collections.abc import Mapping
from typing import Any

import pytest

from muse.core.content_id import object_id
from muse.errors import DomainError
from muse.plugins.music.midi_file import Note
from muse.plugins.music.notes import (
    delete_file,
    delete_note,
    insert_file,
    insert_note,
    move_note,
    mutate_note,
    one_patch,
    rename_file,
    replace_file,
    replace_note,
)
from muse.plugins.music.plugin import MusicPlugin, check_op

C4 = Note(60, 64, 0, 480)
D4 = Note(62, 90, 480, 240, 9, None)


@pytest.mark.parametrize(
    "op",
    [
        insert_note("a.mid", "x", C4),
        delete_note("a.mid", "x", C4),
        move_note("a.mid", "x", C4, 960),
        replace_note("a.mid", "x", C4, D4),
        mutate_note("a.mid", "x", C4, velocity=1, to_track=2),
        one_patch("a.mid", [insert_note("a.mid", "x", C4), delete_note("a.mid", "x", C4)]),
        insert_file("a.mid", b"abc"),
        insert_file("a.mid", b"abc", inline=False),
        replace_file("a.mid", b"abc", b"def"),
        replace_file("a.mid", b"abc", b"def", inline=False),
        delete_file("a.mid", b"abc"),
        rename_file("a.mid", "b.mid"),
    ],
)
def test_every_op_that_is_made_may_be_logged(op: Mapping[str, Any]) -> None:
    check_op(op)
    assert json.loads(json.dumps(op)) == op
    with pytest.raises(DomainError):
        check_op({**op, "address": ""})


def test_an_inserted_note_carries_its_fields_its_track_and_its_content_id() -> None:
    assert insert_note("a.mid", "x", D4, track=2) == {
        "op": "patch",
        "address": "a.mid",
        "child_ops": [
            {
                "op": "insert",
                "address": "note/x",
                "position": 480,
                "content_id": D4.content_id,
                "content_summary": "D4 v90 at 480 for 240 on channel 9",
                "note": {
                    "pitch": 62,
                    "velocity": 90,
                    "start_tick": 480,
                    "duration_ticks": 240,
                    "channel": 9,
                    "release": None,
                },
                "track": 2,
            }
        ],
        "child_domain": "midi_notes",
        "child_summary": "insert D4 v90 at 480 for 240 on channel 9",
    }


def test_a_mutation_carries_old_and_new_values() -> None:
    op: Any = mutate_note("a.mid", "x", C4, velocity=1, release=None, track=1, to_track=2)
    assert op["child_ops"][0]["fields"] == {
        "velocity": {"old": 64, "new": 1},
        "release": {"old": 64, "new": None},
        "track": {"old": 1, "new": 2},
    }


@pytest.mark.parametrize("changes", [{}, {"volume": 1}, {"velocity": 0}])
def test_a_mutation_that_could_have_no_effect_is_not_made(changes: dict[str, int]) -> None:
    with pytest.raises(DomainError):
        mutate_note("a.mid", "x", C4, **changes)


def test_a_file_s_bytes_travel_in_the_op_or_by_name() -> None:
    assert base64.b64decode(insert_file("a", b"abc")["content"]) == b"abc"
    named = insert_file("a", b"abc", inline=False)
    assert "content" not in named
    assert named["content_id"] == object_id(b"abc")


def test_several_edits_of_a_file_are_one_patch_in_their_order() -> None:
    edits = [insert_note("a.mid", "x", C4), move_note("a.mid", "x", C4, 960)]
    patch = one_patch("a.mid", edits, "a first note")
    assert [child["op"] for child in patch["child_ops"]] == ["insert", "move"]
    assert patch["child_summary"] == "a first note"
    assert not MusicPlugin().apply({}, [dict(patch)], lambda _: b"").ignored
