"""The net of many music ops: fewer ops, the same bytes."""

import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muse.domain import SquashingPlugin
from muse.plugins.music.identified_score import identified_notes
from muse.plugins.music.midi_file import (
    MidiScore,
    Note,
    Track,
    notes_of,
    write_midi,
)
from muse.plugins.music.notes import (
    delete_file,
    delete_note,
    insert_file,
    insert_note,
    move_note,
    mutate_note,
    one_patch,
    rename_file,
    replace_note,
)
from muse.plugins.music.plugin import MusicPlugin
from tests.plugins.music.test_music import (
    Files,
    commit,
    music_ops,
    note_patches,
    taken_in,
    trees,
)
from tests.samples.midi_samples import REAL_FILES, no_store, real_file, without_notes

C4 = Note(60, 64, 0, 480)
PLAIN = write_midi(MidiScore(tracks=(Track(notes=(C4,)),)))


def net_of(files: Files, *ops: Any) -> list[Any]:
    """Squash, and see that the net gives the same bytes, and squashed again is the same."""
    plugin = MusicPlugin()
    net: list[Any] = plugin.squash(files, ops, no_store)
    outcome = plugin.apply(files, net, no_store)
    assert outcome.files == plugin.apply(files, ops, no_store).files
    assert plugin.squash(files, net, no_store) == net
    return net


def children(net: Sequence[Any]) -> list[Any]:
    [patch] = net
    assert patch["op"] == "patch"
    found: list[Any] = patch["child_ops"]
    return found


@pytest.fixture
def song() -> Files:
    """A tree with one file, as Muse writes it, that has the note x."""
    return commit({}, insert_note("a.mid", "x", C4))


def test_music_can_squash() -> None:
    assert isinstance(MusicPlugin(), SquashingPlugin)


def test_a_note_inserted_and_then_moved_ten_times_is_one_insert(song: Files) -> None:
    moves = [move_note("a.mid", "y", C4, tick) for tick in range(10)]
    [child] = children(net_of(song, insert_note("a.mid", "y", C4), *moves))
    assert (child["op"], child["note"]["start_tick"]) == ("insert", 9)


def test_a_note_inserted_and_deleted_is_nothing(song: Files) -> None:
    assert net_of(song, insert_note("a.mid", "y", C4), delete_note("a.mid", "y", C4)) == []


def test_a_run_of_velocity_changes_is_one_with_the_first_old_and_the_last_new_value(song: Files) -> None:
    changes = [mutate_note("a.mid", "x", C4, velocity=velocity) for velocity in (70, 80, 90)]
    [child] = children(net_of(song, *changes))
    assert (child["op"], child["fields"]) == ("mutate", {"velocity": {"old": 64, "new": 90}})


def test_a_run_of_moves_is_one_move(song: Files) -> None:
    [child] = children(net_of(song, *(move_note("a.mid", "x", C4, tick) for tick in (5, 7, 9))))
    assert (child["op"], child["from_position"], child["to_position"]) == ("move", 0, 9)


def test_changes_that_come_back_to_where_they_began_are_nothing(song: Files) -> None:
    back = [mutate_note("a.mid", "x", C4, velocity=velocity) for velocity in (70, 64)]
    assert net_of(song, *back) == []


def test_a_note_changed_and_then_deleted_is_one_delete_of_what_was_there(song: Files) -> None:
    net = net_of(song, mutate_note("a.mid", "x", C4, pitch=72), delete_note("a.mid", "x", C4))
    assert net == [{**delete_note("a.mid", "x", C4), "child_summary": "1 delete"}]


def test_the_patch_of_a_file_says_how_many_of_what(song: Files) -> None:
    ops = [insert_note("a.mid", name, C4) for name in "pqr"] + [mutate_note("a.mid", "x", C4, pitch=1)]
    [patch] = net_of(song, *ops)
    assert patch["child_summary"] == "3 insert, 1 mutate"


def test_a_note_that_ends_first_and_then_does_not_is_one_replacement(song: Files) -> None:
    files = commit(song, insert_note("a.mid", "y", Note(62, 1, 5, 0, ends_first=True)))
    [child] = children(net_of(files, replace_note("a.mid", "y", C4, Note(62, 1, 5, 0))))
    assert child["op"] == "replace"


def test_an_edit_without_effect_is_no_part_of_the_net(song: Files) -> None:
    net = net_of(song, move_note("a.mid", "gone", C4, 3), replace_note("a.mid", "x", C4, Note(1, 2, 3, 4)))
    [child] = children(net)
    assert child["address"] == "note/x"


def wide_in(path: str) -> list[Any]:
    """Let a note come and go on a track of its own."""
    return [insert_note(path, "y", C4, track=3), delete_note(path, "y", C4)]


def test_a_file_that_stays_though_its_notes_went_stays_in_the_net(song: Files) -> None:
    come_and_gone = [insert_note("b.mid", "y", C4), delete_note("b.mid", "y", C4)]
    assert [child["op"] for child in children(net_of(song, *come_and_gone))] == ["insert", "delete"]


def test_a_track_that_nobody_needs_any_more_is_no_part_of_the_net(song: Files) -> None:
    assert net_of(song, *wide_in("a.mid")) == []
    there_and_back = [mutate_note("a.mid", "x", C4, to_track=track) for track in (3, 0)]
    assert net_of(song, *there_and_back) == []


def test_edits_of_a_file_that_cancel_out_are_nothing() -> None:
    [name] = identified_notes({"a.mid": PLAIN}, "a.mid")
    come_and_gone = [insert_note("a.mid", "y", C4), delete_note("a.mid", "y", C4)]
    assert net_of({"a.mid": PLAIN}, *come_and_gone) == []
    assert net_of({"a.mid": PLAIN}, mutate_note("a.mid", name, C4, velocity=64)) == []


def test_a_page_of_the_first_format_that_is_written_new_is_written_by_the_net() -> None:
    files = taken_in({}, MusicPlugin(rule=1).apply({}, [insert_note("a.mid", "x", C4)], no_store))
    come_and_gone = [insert_note("a.mid", "y", C4), delete_note("a.mid", "y", C4)]
    assert [child["op"] for child in children(net_of(files, *come_and_gone))] == ["insert", "delete"]
    same_value = mutate_note("a.mid", "x", C4, velocity=64)
    assert children(net_of(files, same_value)) == same_value["child_ops"]


def test_ops_on_whole_files_stay_in_order_between_the_runs(song: Files) -> None:
    ops = [
        move_note("a.mid", "x", C4, 5),
        move_note("a.mid", "x", C4, 6),
        rename_file("a.mid", "b.mid"),
        move_note("b.mid", "x", C4, 7),
        move_note("b.mid", "x", C4, 8),
        delete_file("b.mid", b""),
        insert_file("a.mid", PLAIN),
    ]
    net = net_of(song, *ops)
    assert [(op["op"], op["address"]) for op in net] == [
        ("patch", "a.mid"),
        ("patch", "b.mid"),
        ("patch", "b.mid"),
        ("delete", "b.mid"),
        ("insert", "a.mid"),
    ]


def test_an_op_on_another_file_does_not_end_the_run_of_a_file(song: Files) -> None:
    net = net_of(
        song, move_note("a.mid", "x", C4, 5), insert_file("b.mid", PLAIN), move_note("a.mid", "x", C4, 9)
    )
    assert [(op["op"], op["address"]) for op in net] == [("insert", "b.mid"), ("patch", "a.mid")]


def test_an_op_on_a_whole_file_that_has_no_effect_ends_no_run(song: Files) -> None:
    refused = insert_file("a.mid", PLAIN)
    net = net_of(song, move_note("a.mid", "x", C4, 5), refused, move_note("a.mid", "x", C4, 9))
    assert [child["to_position"] for child in children(net)] == [9]


def test_a_rename_stays_though_the_edits_that_come_with_it_have_no_effect() -> None:
    edits = insert_note("b.mid", "y", C4)["child_ops"]
    op: Any = {**rename_file("a.mid", "b.mid"), "child_ops": edits}
    assert net_of({"a.mid": b"not music"}, op) == [op]


@settings(max_examples=300, deadline=None)
@given(trees, st.lists(music_ops, max_size=14))
def test_the_net_of_any_ops_gives_the_same_bytes(files: Files, ops: Sequence[Any]) -> None:
    net_of(files, *ops)


@settings(max_examples=300, deadline=None)
@given(trees, st.lists(note_patches, max_size=25), st.integers(0, 25))
def test_the_net_of_any_note_ops_gives_the_same_bytes_from_any_commit_on(
    files: Files, ops: Sequence[Any], cut: int
) -> None:
    between = taken_in(files, MusicPlugin().apply(files, ops[:cut], no_store))
    net = net_of(between, *ops[cut:])
    assert len(net) <= len(ops[cut:])
    assert len(net_of(between, *net)) <= len(net)


def played(name: str) -> list[Any]:
    """A real file note by note, each first put down wrong, then mended, a few taken away again."""
    chance = random.Random(name)
    ops: list[Any] = []
    for index, (track, note) in enumerate(notes_of(real_file(name))):
        first = Note(
            note.pitch, 1 + chance.randrange(127), note.start_tick, note.duration_ticks, note.channel
        )
        ops.append(insert_note("a.mid", f"n{index}", first, track=track))
        edits: list[Callable[[], Any]] = [
            lambda: move_note("a.mid", f"n{index}", first, first.start_tick + chance.randrange(99)),  # noqa: B023
            lambda: replace_note("a.mid", f"n{index}", first, note),  # noqa: B023
            lambda: delete_note("a.mid", f"n{index}", note),  # noqa: B023
        ]
        ops += [edit() for edit in edits[: chance.randrange(4)]]
    return ops


@pytest.mark.parametrize("name", REAL_FILES)
def test_the_net_of_a_real_file_s_making_gives_the_same_bytes(name: str) -> None:
    ops = played(name)
    files = {"a.mid": without_notes(real_file(name))}
    assert len(children(net_of(files, *ops))) < len(ops) / 2
    middle = len(ops) // 2
    half = commit(files, *ops[:middle])
    net_of(half, *ops[middle:])
    net_of(half, one_patch("a.mid", ops[middle:]))
