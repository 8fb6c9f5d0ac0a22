"""What undoing makes of music ops: field by field, note by note, file by file."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any
from unittest.mock import ANY

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muse.core.entry import DEFAULT_LIMITS
from muse.domain import UNDO_INTENT, Compensation, Undoing, UndoingPlugin
from muse.plugins.music.identified_score import identified_notes
from muse.plugins.music.midi_file import MidiScore, Note, Track, read_midi, write_midi
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
from muse.plugins.music.trails import ALL_FIELDS, Trails
from muse.plugins.op_fields import names_path
from tests.plugins.music.test_music import Files, commit, music_ops, note_patches, taken_in, trees
from tests.samples.midi_samples import no_store, real_file, without_notes

C4 = Note(60, 64, 0, 480)
SONG = commit({}, insert_note("a.mid", "x", C4))
LOUD, SOFT = (mutate_note("a.mid", "x", C4, velocity=velocity) for velocity in (100, 20))


def apply(files: Files, ops: Sequence[Any]) -> Files:
    return taken_in(files, MusicPlugin().apply(files, ops, no_store))


def undo(ops: Sequence[Any], undone: Collection[int], files: Files = SONG) -> tuple[Files, Undoing]:
    """Undo ops, all of which must have an effect; return the tree after that, and the outcome."""
    now = apply(files, ops)
    outcome = MusicPlugin().undo(files, ops, no_store, undone, now)
    application = MusicPlugin().apply(now, [done.op for done in outcome.compensations], no_store)
    assert application.ignored == []
    return taken_in(now, application), outcome


def why(outcome: Undoing) -> list[tuple[int, str, int | None]]:
    return [(left.index, left.reason, left.because) for left in outcome.left]


def notes_in(files: Files, path: str = "a.mid") -> dict[str, tuple[int, Note]]:
    return identified_notes(files, path)


def test_music_can_undo() -> None:
    assert isinstance(MusicPlugin(), UndoingPlugin)


@pytest.mark.parametrize(
    "op",
    [
        LOUD,
        insert_note("a.mid", "y", C4),
        delete_note("a.mid", "x", C4),
        move_note("a.mid", "x", C4, 96),
        replace_note("a.mid", "x", C4, Note(1, 2, 3, 4)),
        mutate_note("a.mid", "x", C4, pitch=61, to_track=0),
        rename_file("a.mid", "b.mid"),
        delete_file("a.mid", b""),
        replace_file("a.mid", b"", b"not music"),
        insert_file("b.mid", b"not music"),
        insert_note("b.mid", "y", C4),
    ],
)
def test_each_kind_of_op_is_undone_without_a_trace(op: Any) -> None:
    after, outcome = undo([op], [0])
    assert after == SONG
    assert outcome.left == []
    assert {index for done in outcome.compensations for index in done.undoes} == {0}


def test_an_edit_goes_back_to_the_value_before_it_and_leaves_other_fields() -> None:
    after, outcome = undo([LOUD, mutate_note("a.mid", "x", C4, pitch=72)], [0])
    assert notes_in(after) == {"x": (0, Note(72, 64, 0, 480))}
    assert outcome.left == []


def test_a_field_that_another_wrote_since_stays_and_is_named() -> None:
    both = mutate_note("a.mid", "x", C4, velocity=100, pitch=72)
    after, outcome = undo([both, SOFT], [0])
    assert notes_in(after) == {"x": (0, Note(60, 20, 0, 480))}
    assert why(outcome) == [(0, "the note's velocity was changed since", 1)]


def test_edits_between_which_others_wrote_are_undone_as_far_as_they_stand() -> None:
    later = mutate_note("a.mid", "x", C4, velocity=111)
    after, outcome = undo([LOUD, SOFT, later], [0, 2])
    assert notes_in(after) == {"x": (0, Note(60, 20, 0, 480))}
    assert why(outcome) == [(0, "the note's velocity was changed since", 1)]


def test_an_inserted_note_that_another_changed_stays() -> None:
    ops = [insert_note("a.mid", "y", C4), mutate_note("a.mid", "y", C4, pitch=72)]
    after, outcome = undo(ops, [0])
    assert notes_in(after)["y"] == (0, Note(72, 64, 0, 480))
    assert why(outcome) == [(0, "the note was changed since", 1)]
    after, outcome = undo(ops, [0, 1])
    assert (after, outcome.left) == (SONG, [])


def test_an_edit_that_another_undid_is_not_in_the_way() -> None:
    back = mutate_note("a.mid", "y", C4, pitch=60)
    ops = [insert_note("a.mid", "y", C4), mutate_note("a.mid", "y", C4, pitch=72), back]
    after, outcome = undo(ops, [0])
    assert (after, outcome.left) == (SONG, [])
    after, outcome = undo([LOUD, SOFT, LOUD], [0])
    assert (after, outcome.left) == (SONG, [])


def test_fields_that_others_led_back_go_and_the_field_that_they_changed_stays() -> None:
    mine, short, back = (
        mutate_note("a.mid", "x", C4, channel=channel, duration_ticks=duration)
        for channel, duration in ((1, 1), (0, 0), (0, 1))
    )
    after, outcome = undo([mine, short, back], [0])
    assert notes_in(after) == {"x": (0, C4)}
    assert why(outcome) == [(0, "the note's channel was changed since", 1)]
    after, outcome = undo([mine, short], [0])
    assert notes_in(after) == {"x": (0, Note(60, 64, 0, 0))}
    assert why(outcome) == [(0, "the note's channel and duration_ticks was changed since", 1)]


def test_a_value_that_another_confirmed_stays() -> None:
    after, outcome = undo([LOUD, LOUD], [0])
    assert notes_in(after)["x"][1].velocity == 100
    assert why(outcome) == [(0, "the note's velocity was changed since", 1)]


def test_a_deleted_note_comes_back_as_it_was_without_the_deleter_s_edits() -> None:
    after, outcome = undo([LOUD, delete_note("a.mid", "x", C4)], [1])
    assert (notes_in(after)["x"][1].velocity, outcome.left) == (100, [])
    after, outcome = undo([LOUD, delete_note("a.mid", "x", C4)], [0, 1])
    assert (after, outcome.left) == (SONG, [])


def test_what_was_done_to_a_note_that_another_deleted_stays_gone() -> None:
    after, outcome = undo([LOUD, delete_note("a.mid", "x", C4)], [0])
    assert notes_in(after) == {}
    assert why(outcome) == [(0, "the note was deleted since", 1)]


def test_a_note_deleted_and_put_in_anew_by_one_actor_is_as_before() -> None:
    ops = [delete_note("a.mid", "x", C4), insert_note("a.mid", "x", Note(1, 2, 3, 4))]
    after, outcome = undo(ops, [0, 1])
    assert (after, outcome.left) == (SONG, [])
    after, outcome = undo(ops, [0])
    assert notes_in(after)["x"] == (0, Note(1, 2, 3, 4))
    assert why(outcome) == [(0, "the note was brought back since", 1)]


def test_an_undoing_that_was_undone_is_not_in_the_way() -> None:
    gone, back = delete_note("a.mid", "y", C4), insert_note("a.mid", "y", C4)
    after, outcome = undo([insert_note("a.mid", "y", C4), gone, back, gone, back], [0])
    assert (after, outcome.left) == (SONG, [])
    loud = mutate_note("a.mid", "x", C4, velocity=100)
    forth = [delete_note("a.mid", "x", C4), insert_note("a.mid", "x", Note(60, 100, 0, 480))]
    after, outcome = undo([loud, *forth], [0])
    assert (after, outcome.left) == (SONG, [])


def test_a_note_that_another_put_in_anew_otherwise_stays_and_is_named() -> None:
    other = insert_note("a.mid", "y", Note(1, 2, 3, 4))
    ops = [insert_note("a.mid", "y", C4), delete_note("a.mid", "y", C4), other]
    after, outcome = undo(ops, [0])
    assert notes_in(after)["y"] == (0, Note(1, 2, 3, 4))
    assert why(outcome) == [(0, "the note was brought back since", 2)]
    later = mutate_note("a.mid", "y", C4, velocity=9)
    after, outcome = undo([*ops, later], [0, 3])
    assert notes_in(after)["y"] == (0, Note(1, 2, 3, 4))
    assert why(outcome) == [(0, "the note was brought back since", 2)]
    assert [done.undoes for done in outcome.compensations] == [(3,)]


def test_a_deleted_song_comes_back_with_the_names_of_its_notes() -> None:
    data = real_file("die_forelle.mid")
    files = {"a.mid": data}
    [name, *_] = notes_in(files)
    ops = [mutate_note("a.mid", name, notes_in(files)[name][1], velocity=3), delete_file("a.mid", data)]
    after, outcome = undo(ops, [1], files)
    assert (after, outcome.left) == (apply(files, ops[:1]), [])
    after, outcome = undo(ops, [0, 1], files)
    assert outcome.left == []
    assert notes_in(after) == notes_in(files)


def test_a_replaced_song_comes_back_with_the_names_of_its_notes() -> None:
    other = without_notes(real_file("die_forelle.mid"))
    for undone in ([0], [0, 1]):
        ops = [replace_file("a.mid", b"", other), insert_note("a.mid", "own", C4)][: len(undone)]
        after, outcome = undo(ops, undone)
        assert outcome.left == []
        assert notes_in(after) == notes_in(SONG)


def test_whole_files_that_others_changed_since_stay() -> None:
    edit = insert_note("b.mid", "y", C4)
    _, outcome = undo([insert_file("b.mid", SONG["a.mid"]), edit], [0])
    assert why(outcome) == [(0, "the file was changed since", 1)]
    _, outcome = undo([replace_file("a.mid", b"", b"text"), replace_file("a.mid", b"", b"more")], [0])
    assert why(outcome) == [(0, "the file was changed since", 1)]
    _, outcome = undo([LOUD, delete_file("a.mid", b"")], [0])
    assert why(outcome) == [(0, "the file was deleted since", 1)]
    _, outcome = undo([delete_file("a.mid", b""), insert_note("a.mid", "y", C4)], [0])
    assert why(outcome) == [(0, "the file was brought back since", 1)]


def test_a_file_deleted_and_brought_back_by_others_is_not_called_deleted() -> None:
    made = insert_note("b.mid", "y", C4)
    for op in (insert_file("b.mid", SONG["a.mid"]), made):
        _, outcome = undo([op, delete_file("b.mid", b""), insert_file("b.mid", SONG["a.mid"])], [0])
        assert why(outcome) == [(0, "the file was brought back since", 2)]
    _, outcome = undo([made, delete_file("b.mid", b""), made, delete_file("b.mid", b"")], [0])
    assert why(outcome) == [(0, "the file was deleted since", 1)]


def test_a_rename_is_undone_and_the_edits_of_others_come_along() -> None:
    ops = [rename_file("a.mid", "b.mid"), mutate_note("b.mid", "x", C4, velocity=100)]
    after, outcome = undo(ops, [0])
    assert (after, outcome.left) == (apply(SONG, [LOUD]), [])
    after, outcome = undo(ops, [0, 1])
    assert (after, outcome.left) == (SONG, [])


def test_an_op_without_effect_is_named() -> None:
    _, outcome = undo([move_note("a.mid", "gone", C4, 3)], [0])
    assert [left.reason.partition(":")[0] for left in outcome.left] == ["it had no effect"]


def test_what_differs_in_the_files_now_stays() -> None:
    now = apply(SONG, [LOUD, SOFT])
    outcome = MusicPlugin().undo(SONG, [LOUD], no_store, [0], now)
    assert outcome.compensations == []
    assert outcome.left[0].reason.startswith("it is otherwise in the files now")
    pitched = apply(SONG, [LOUD, mutate_note("a.mid", "x", C4, pitch=1)])
    outcome = MusicPlugin().undo(SONG, [LOUD], no_store, [0], pitched)
    after = apply(pitched, [done.op for done in outcome.compensations])
    assert notes_in(after)["x"] == (0, Note(1, 64, 0, 480))


def test_a_thousand_edits_are_undone_in_patches_that_a_log_takes() -> None:
    ops = [insert_note("a.mid", f"n{number}", Note(number % 128, 64, 0, 9)) for number in range(1000)]
    after, outcome = undo(ops, range(1000))
    assert (after, outcome.left) == (SONG, [])
    assert all(len(done.undoes) <= 256 for done in outcome.compensations)


def overtaken(ops: Sequence[Any], undone: Collection[int], late: Any) -> Files:
    """Undo ops, but let another op come before those that undo them, which know nothing of it."""
    now = apply(SONG, ops)
    outcome = MusicPlugin().undo(SONG, ops, no_store, undone, now)
    assert outcome.compensations
    for compensation in outcome.compensations:
        check_op(compensation.op)
    return apply(now, [late, *(done.op for done in outcome.compensations)])


@pytest.mark.parametrize(
    ("op", "late"),
    [
        (LOUD, SOFT),
        (move_note("a.mid", "x", C4, 96), move_note("a.mid", "x", C4, 97)),
        (insert_note("a.mid", "y", C4), mutate_note("a.mid", "y", C4, pitch=72)),
        (insert_note("a.mid", "y", C4), mutate_note("a.mid", "y", C4, release=1)),
        (insert_note("a.mid", "y", C4), mutate_note("a.mid", "y", C4, to_track=1)),
        (delete_note("a.mid", "x", C4), insert_note("a.mid", "x", Note(1, 2, 3, 4))),
        (delete_note("a.mid", "x", C4), delete_file("a.mid", b"")),
        (LOUD, delete_file("a.mid", b"")),
        (insert_note("b.mid", "y", C4), mutate_note("b.mid", "y", C4, pitch=72)),
        (insert_file("b.mid", SONG["a.mid"]), insert_note("b.mid", "y", C4)),
        (replace_file("a.mid", b"", b"text"), replace_file("a.mid", b"", b"more")),
        (replace_file("a.mid", b"", SONG["a.mid"]), delete_file("a.mid", b"")),
        (delete_file("a.mid", b""), insert_note("a.mid", "y", C4)),
        (rename_file("a.mid", "b.mid"), delete_file("b.mid", b"")),
        (rename_file("a.mid", "b.mid"), insert_note("a.mid", "y", C4)),
    ],
)
def test_what_comes_before_the_undoing_without_its_knowledge_stays(op: Any, late: Any) -> None:
    assert overtaken([op], [0], late) == apply(SONG, [op, late])


def test_the_notes_of_a_file_that_does_not_come_back_do_not_come_either() -> None:
    other = without_notes(real_file("die_forelle.mid"))
    late = insert_note("a.mid", "y", C4)
    op = replace_file("a.mid", b"", other)
    assert overtaken([op], [0], late) == apply(SONG, [op, late])


def test_what_is_undone_beside_a_late_op_is_undone() -> None:
    both = one_patch("a.mid", [LOUD, insert_note("a.mid", "y", C4)])
    after = overtaken([both], [0], mutate_note("a.mid", "x", C4, pitch=72))
    assert notes_in(after) == {"x": (0, Note(72, 64, 0, 480))}


def test_a_file_in_whose_place_a_directory_is_now_stays_gone_and_is_named() -> None:
    _, outcome = undo([delete_file("a.mid", b""), insert_note("a.mid/b.mid", "y", C4)], [0])
    [left] = outcome.left
    assert left.reason.startswith("the file cannot be as it was")


@settings(max_examples=300, deadline=None)
@given(st.lists(music_ops, max_size=8), music_ops, st.data())
def test_no_late_op_on_a_note_is_ever_reverted(ops: Sequence[Any], late: Any, data: st.DataObject) -> None:
    notes_only = [op for op in ops if op["op"] == "patch" and op["address"] == "a.mid" and op["child_ops"]]
    undone = data.draw(st.sets(st.integers(0, len(notes_only) - 1))) if notes_only else set()
    now = apply(SONG, notes_only)
    outcome = MusicPlugin().undo(SONG, notes_only, no_store, undone, now)
    then = apply(now, [late])
    after = apply(then, [done.op for done in outcome.compensations])
    if "a.mid" not in then or then["a.mid"] == b"not music":
        assert after == then
        return
    known, written, kept = (notes_in(files) for files in (now, then, after))
    for entity_id in {*known, *written}:
        before, wrote = (_of(notes, entity_id, ALL_FIELDS) for notes in (known, written))
        changed = [name for name in ALL_FIELDS if not (before and wrote) or before[name] != wrote[name]]
        if before != wrote:
            assert _of(kept, entity_id, changed) == _of(written, entity_id, changed)


@settings(max_examples=200, deadline=None)
@given(trees, st.lists(music_ops, max_size=10), st.data())
def test_undoing_any_ops_has_an_effect_or_says_why_not(
    files: Files, ops: Sequence[Any], data: st.DataObject
) -> None:
    undone = data.draw(st.sets(st.integers(0, max(len(ops) - 1, 0)))) if ops else set()
    _, outcome = undo(ops, undone, files)
    named = {index for done in outcome.compensations for index in done.undoes}
    named |= {left.index for left in outcome.left}
    assert undone <= named


@settings(max_examples=200, deadline=None)
@given(st.lists(music_ops, max_size=8))
def test_undoing_all_ops_on_notes_leads_back_to_where_they_began(ops: Sequence[Any]) -> None:
    notes_only = [op for op in ops if op["op"] == "patch" and "from_address" not in op]
    after, _ = undo(notes_only, range(len(notes_only)))
    assert after == SONG


@settings(max_examples=200, deadline=None)
@given(trees, st.lists(note_patches, max_size=8), st.data())
def test_once_all_edits_are_undone_the_bytes_are_those_from_before(
    files: Files, ops: Sequence[Any], data: st.DataObject
) -> None:
    hers = data.draw(st.sets(st.integers(0, len(ops) - 1))) if ops else set()
    _, first = undo(ops, hers, files)
    so_far = [*ops, *(done.op for done in first.compensations)]
    after, second = undo(so_far, set(range(len(ops))) - hers, files)
    if all(left.because is None for left in (*first.left, *second.left)):
        assert after == files


NAMES, ACTORS = st.sampled_from("xy"), st.integers(0, 2)
few = st.integers(60, 63)
edits = st.one_of(
    st.builds(lambda name, value: mutate_note("a.mid", name, C4, velocity=value), NAMES, few),
    st.builds(lambda name, value: mutate_note("a.mid", name, C4, pitch=value, channel=1), NAMES, few),
    st.builds(lambda name, value: insert_note("a.mid", name, replace(C4, pitch=value)), NAMES, few),
    st.builds(lambda name: delete_note("a.mid", name, C4), NAMES),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(ACTORS, edits), max_size=8), st.data())
def test_in_whatever_order_actors_undo_all_their_edits_of_notes_the_bytes_are_those_from_before(
    made: Sequence[tuple[int, Any]], data: st.DataObject
) -> None:
    """Each undoes again and again, until nothing is left to do."""
    now, entries = SONG, list[Any]()

    def add(actor: int | None, op: Any, undoes: Collection[int] = ()) -> None:
        intent_id = UNDO_INTENT if undoes else ""
        parents = [str(index) for index in undoes]
        entries.append({
            "op_id": str(len(entries)), "actor_id": actor, "domain_op": op, "parent_op_ids": parents,
            "intent_id": intent_id,
        })  # fmt: skip

    for actor, op in made:
        after = apply(now, [op])
        if not MusicPlugin().apply(now, [op], no_store).ignored:
            now = after
            add(actor, op)
    rounds, is_quiet = 0, False
    while not is_quiet:
        is_quiet, rounds = True, rounds + 1
        assert rounds <= len(made) + 1
        for actor in data.draw(st.permutations(range(3))):
            own = [index for index, entry in enumerate(entries) if entry["actor_id"] == actor]
            for done in MusicPlugin().undo_entries(SONG, entries, no_store, own, now).compensations:
                add(None, done.op, done.undoes)
                now, is_quiet = apply(now, [done.op]), False
    assert now == SONG


def test_an_edit_on_a_second_track_that_is_undone_leaves_format_and_tracks_as_they_were() -> None:
    files = {"a.mid": write_midi(MidiScore(format=0, tracks=(Track(notes=(C4,)),)))}
    op = insert_note("a.mid", "y", C4, track=3)
    assert read_midi(apply(files, [op])["a.mid"]).format == 1
    assert undo([op], [0], files) == (files, Undoing([Compensation(ANY, (0,))], []))


def test_a_file_that_only_undone_work_made_is_gone_however_it_was_undone() -> None:
    ops: list[Any] = [insert_note("b.mid", "hers", C4), insert_note("b.mid", "his", C4)]
    steps = [apply(SONG, ops)]
    undone: set[int] = {0}
    for mine in ({0}, {1}):
        after, outcome = undo(ops, mine)
        undone = set(range(len(ops), len(ops) + len(outcome.compensations)))
        ops += [done.op for done in outcome.compensations]
        assert outcome.left == []
        steps.append(after)
    assert notes_in(steps[1], "b.mid").keys() == {"his"}
    assert steps[2] == SONG
    his, hers = undone, set(range(2, min(undone)))
    after, outcome = undo(ops, his)
    assert (after, outcome.left) == (steps[1], [])
    after, outcome = undo(ops, hers)
    assert notes_in(after, "b.mid").keys() == {"hers"}
    after, outcome = undo(ops, his | hers)
    assert notes_in(after, "b.mid").keys() == {"his", "hers"}


def test_a_file_that_somebody_emptied_on_purpose_stays() -> None:
    ops = [insert_note("b.mid", "y", C4), delete_note("b.mid", "y", C4), LOUD]
    after, _ = undo(ops, [2])
    assert "b.mid" in after


def test_a_deleted_file_comes_back_to_the_byte_with_the_names_that_it_had() -> None:
    files = apply({"b.mid": real_file("die_forelle.mid")}, [insert_note("b.mid", "y", C4, track=1)])
    after, outcome = undo([delete_file("b.mid", b"")], [0], files)
    assert (after, len(outcome.compensations)) == (files, 1)


def test_names_that_are_long_in_bytes_come_back_apart_from_their_file() -> None:
    ops = [insert_note("b.mid", f"{number:04}{'音' * 96}", C4) for number in range(1000)]
    files = apply({}, [one_patch("b.mid", ops)])
    page = files[names_path("b.mid")]
    assert len(page.decode()) < len(page) / 2
    after, outcome = undo([delete_file("b.mid", b"")], [0], files)
    assert outcome.left == []
    assert notes_in(after, "b.mid") == notes_in(files, "b.mid")
    assert max(len(orjson.dumps(done.op)) for done in outcome.compensations) < DEFAULT_LIMITS.entry_bytes / 2


def test_a_note_that_ends_first_comes_back_as_it_was() -> None:
    data = bytes.fromhex("4d546864 00000006 0000 0001 01e0 4d54726b 0000000c 00803c40 00903c40 00ff2f00")
    files = {"a.mid": data}
    [(name, (_, note))] = notes_in(files).items()
    for op in (
        mutate_note("a.mid", name, note, duration_ticks=5),
        delete_note("a.mid", name, note),
        move_note("a.mid", name, note, 7),
    ):
        assert undo([op], [0], files)[0] == files


@settings(max_examples=200, deadline=None)
@given(st.lists(music_ops, max_size=8), st.data())
def test_undoing_the_undoing_leads_back_to_where_it_began(ops: Sequence[Any], data: st.DataObject) -> None:
    notes_only = [op for op in ops if op["op"] == "patch" and op["address"] == "a.mid" and op["child_ops"]]
    undone = data.draw(st.sets(st.integers(0, len(notes_only) - 1))) if notes_only else set()
    _, outcome = undo(notes_only, undone)
    again = [*notes_only, *(done.op for done in outcome.compensations)]
    after, _ = undo(again, range(len(notes_only), len(again)))
    assert notes_in(after) == notes_in(apply(SONG, notes_only))


@settings(max_examples=200, deadline=None)
@given(st.lists(music_ops, max_size=10), st.data())
def test_what_others_wrote_last_is_never_touched(ops: Sequence[Any], data: st.DataObject) -> None:
    notes_only = [op for op in ops if op["op"] == "patch" and op["address"] == "a.mid" and op["child_ops"]]
    undone = data.draw(st.sets(st.integers(0, len(notes_only) - 1))) if notes_only else set()
    trails = Trails(SONG, no_store)
    trails.follow(notes_only)
    before = notes_in(apply(SONG, notes_only))
    after = notes_in(undo(notes_only, undone)[0])
    for entity_id, steps in trails.trail_at("a.mid").notes.items():
        if steps[-1].op_index in undone:
            continue
        for name in steps[-1].wrote:
            states = [
                one.after and (_of({"": one.after}, "", {name})[name],)  # None where it is not there
                for one in steps
                if name in one.wrote
            ]
            different = [value for value, _ in groupby(states)]
            if len(set(different)) == len(different):  # nothing cancels out
                assert _of(before, entity_id, {name}) == _of(after, entity_id, {name})


def _of(notes: dict[str, tuple[int, Note]], entity_id: str, fields: Collection[str]) -> Any:
    """The values of those fields of a note; None if it is not there."""
    if entity_id not in notes:
        return None
    track, note = notes[entity_id]
    values = {**note.fields(), "track": track}
    return {name: values[name] for name in fields}
