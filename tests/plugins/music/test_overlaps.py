"""Which edits of music came in each other's way, and which are only one after the other."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muse.core.entry import OpEntry
from muse.core.op_log import make_op_entry
from muse.domain import Overlap, OverlapFindingPlugin
from muse.plugins.music.identified_score import IdentifiedScore, identified_notes
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
from muse.plugins.music.plugin import MusicPlugin

NOTE = Note(60, 64, 0, 480)
MADE = ("eve", insert_note("a.mid", "x", NOTE))
Edit = tuple[str, Any] | tuple[str, Any, tuple[int, ...]]


def fetch(_content_id: str) -> bytes:
    raise KeyError


def log_of(*edits: Edit) -> list[OpEntry]:
    """Entries in the total order; the third of an edit are the places of its parents."""
    entries: list[OpEntry] = []
    for stamp, (actor, op, *parents) in enumerate(edits, 1):
        names = [entries[place]["op_id"] for place in (parents[0] if parents else ())]
        entries.append(make_op_entry(actor, "music", op, stamp, parent_op_ids=names))
    return entries


def found(*edits: Edit, files: Mapping[str, bytes] | None = None) -> list[Overlap]:
    return MusicPlugin().overlaps(files or {}, log_of(*edits), fetch, {})


def pairs(*edits: Edit, files: Mapping[str, bytes] | None = None) -> list[tuple[int, int]]:
    """Of each overlap, the places of the op that stands and the one that does not."""
    return [(overlap.kept, overlap.overwritten) for overlap in found(*edits, files=files)]


def louder(velocity: int, seen: Note = NOTE) -> Any:
    return mutate_note("a.mid", "x", seen, velocity=velocity)


def test_the_music_domain_finds_overlaps() -> None:
    assert isinstance(MusicPlugin(), OverlapFindingPlugin)


# -- one field -----------------------------------------------------------------------------------


def test_two_who_wrote_one_field_unseen_are_both_named_and_the_later_stands() -> None:
    [overlap] = found(MADE, ("ada", louder(70)), ("bob", louder(90)))
    assert (overlap.kept, overlap.overwritten, overlap.both_stand) == (2, 1, False)
    assert (overlap.address, overlap.reason) == ("a.mid/note/x", "both wrote velocity 90 over 70")


def test_one_who_saw_the_value_it_wrote_over_is_in_nobodys_way() -> None:
    assert pairs(MADE, ("ada", louder(70)), ("bob", louder(90, Note(60, 70, 0, 480)))) == []


def test_two_who_wrote_different_fields_or_the_same_value_are_in_nobodys_way() -> None:
    assert pairs(MADE, ("ada", louder(70)), ("bob", mutate_note("a.mid", "x", NOTE, pitch=62))) == []
    assert pairs(MADE, ("ada", louder(70)), ("bob", louder(70))) == []
    assert pairs(MADE, ("ada", louder(70)), ("bob", louder(64))) == [(2, 1)]


def test_nobody_is_in_the_way_of_oneself() -> None:
    assert pairs(MADE, ("ada", louder(70)), ("ada", louder(90))) == []


def test_each_overwritten_edit_counts_against_the_one_right_after_it() -> None:
    seen_70 = Note(60, 70, 0, 480)
    assert pairs(
        MADE, ("ada", louder(70)), ("bob", louder(90)), ("ada", louder(75, seen_70)), ("eve", louder(1))
    ) == [(2, 1), (3, 2), (4, 3)]


def test_two_who_moved_a_note_and_two_who_put_it_on_another_track() -> None:
    moved = move_note("a.mid", "x", NOTE, 960)
    assert pairs(MADE, ("ada", moved), ("bob", move_note("a.mid", "x", NOTE, 240))) == [(2, 1)]
    assert pairs(MADE, ("ada", moved), ("bob", mutate_note("a.mid", "x", NOTE, start_tick=5))) == [(2, 1)]
    seen = Note(60, 64, 960, 480)
    assert pairs(MADE, ("ada", moved), ("bob", move_note("a.mid", "x", seen, 240))) == []
    tracks = [mutate_note("a.mid", "x", NOTE, to_track=number) for number in (1, 2)]
    assert pairs(MADE, ("ada", tracks[0]), ("bob", tracks[1])) == [(2, 1)]


def test_of_a_patch_each_child_counts_and_ops_that_mean_nothing_do_not() -> None:
    both = one_patch("a.mid", [louder(90), mutate_note("a.mid", "x", NOTE, pitch=61), louder(95)])
    bad: Any = {"op": "patch", "address": "a.mid", "child_domain": "midi_notes", "child_ops": [7, {"op": []}]}
    edits = [MADE, ("ada", louder(70)), ("zoe", bad), ("zoe", {"op": 3}), ("bob", both)]
    [overlap] = found(*edits)
    assert (overlap.kept, overlap.overwritten) == (4, 1)


# -- whole notes ---------------------------------------------------------------------------------


def test_a_replacement_overwrites_what_its_author_had_not_seen() -> None:
    anew = replace_note("a.mid", "x", NOTE, Note(72, 1, 0, 480))
    assert pairs(MADE, ("ada", louder(70)), ("bob", anew)) == [(2, 1)]
    seen = replace_note("a.mid", "x", Note(60, 70, 0, 480), Note(72, 1, 0, 480))
    assert pairs(MADE, ("ada", louder(70)), ("bob", seen)) == []
    # Of two changes, the author had seen the first.
    pitched = mutate_note("a.mid", "x", Note(60, 70, 0, 480), pitch=61)
    assert pairs(MADE, ("ada", louder(70)), ("eve", pitched), ("bob", seen)) == [(3, 2)]
    # An unseen change that the replacement happens to agree with is not overwritten.
    agreeing = replace_note("a.mid", "x", NOTE, Note(72, 70, 0, 480))
    assert pairs(MADE, ("ada", louder(70)), ("bob", agreeing)) == []


def test_a_note_deleted_while_another_changed_it() -> None:
    gone = delete_note("a.mid", "x", NOTE)
    [overlap] = found(MADE, ("ada", louder(70)), ("bob", gone))
    assert (overlap.kept, overlap.overwritten) == (2, 1)
    assert overlap.reason == "deleted by one who had not seen a change of velocity"
    [overlap] = found(MADE, ("bob", gone), ("ada", louder(70)))
    assert (overlap.kept, overlap.overwritten) == (1, 2)
    assert overlap.reason == "the note was deleted before it could be changed"


def test_a_note_deleted_by_one_who_saw_it_or_by_both_is_no_overlap() -> None:
    gone = delete_note("a.mid", "x", NOTE)
    assert pairs(MADE, ("ada", louder(70)), ("bob", delete_note("a.mid", "x", Note(60, 70, 0, 480)))) == []
    assert pairs(MADE, ("ada", gone), ("bob", gone)) == []
    assert pairs(MADE, ("ada", gone), ("ada", louder(70))) == []
    assert pairs(MADE, ("ada", louder(70, Note(1, 1, 1, 1)))) == []  # who names a note has seen it made


def test_an_edit_of_a_note_that_another_had_deleted_and_put_in_anew() -> None:
    other = Note(72, 100, 0, 480)
    anew = [("bob", delete_note("a.mid", "x", NOTE)), ("bob", insert_note("a.mid", "x", other))]
    assert pairs(MADE, *anew, ("ada", louder(70))) == [(3, 2)]
    assert pairs(MADE, *anew, ("ada", louder(70, other))) == []
    assert pairs(MADE, *anew, ("ada", delete_note("a.mid", "x", NOTE))) == [(3, 2)]


def test_two_notes_of_one_name() -> None:
    assert pairs(MADE, ("ada", insert_note("a.mid", "x", Note(1, 1, 1, 1)))) == [(0, 1)]
    assert pairs(MADE, ("ada", insert_note("a.mid", "x", NOTE))) == []
    assert pairs(MADE, ("eve", insert_note("a.mid", "x", Note(1, 1, 1, 1)))) == []


# -- whole files ---------------------------------------------------------------------------------


def base() -> tuple[dict[str, bytes], str]:
    """A tree with one file of one note, and the note's name."""
    files = MusicPlugin().apply({}, [insert_note("a.mid", "x", NOTE)], fetch).files
    tree = {path: data for path, data in files.items() if data is not None}
    assert list(identified_notes(tree, "a.mid")) == ["x"]
    return tree, "x"


def after(*edits: Edit) -> bytes:
    """The file as these edits leave it, on the base."""
    data = MusicPlugin().apply(base()[0], [edit[1] for edit in edits], fetch).files["a.mid"]
    assert data is not None
    return data


def test_a_file_replaced_or_deleted_by_one_who_had_not_seen_an_edit() -> None:
    files, _ = base()
    old, edited, other = files["a.mid"], after(("ada", louder(70))), after(("bob", louder(99)))
    for write, seen in (
        (replace_file("a.mid", old, other), replace_file("a.mid", edited, other)),
        (delete_file("a.mid", old), delete_file("a.mid", edited)),
    ):
        assert pairs(("ada", louder(70)), ("bob", write), files=files) == [(1, 0)]
        assert pairs(("ada", louder(70)), ("bob", seen), files=files) == []
        assert pairs(("bob", write), ("ada", louder(70)), files=files) == [(0, 1)]


def test_two_who_replaced_inserted_or_renamed_one_file() -> None:
    files, _ = base()
    old, one, two = files["a.mid"], after(("ada", louder(70))), after(("bob", louder(99)))
    assert pairs(
        ("ada", replace_file("a.mid", old, one)), ("bob", replace_file("a.mid", old, two)), files=files
    ) == [(1, 0)]
    assert (
        pairs(("ada", replace_file("a.mid", old, one)), ("bob", replace_file("a.mid", one, two)), files=files)
        == []
    )
    assert pairs(("ada", insert_file("b.mid", one)), ("bob", insert_file("b.mid", two))) == [(0, 1)]
    assert pairs(("ada", insert_file("b.mid", one)), ("bob", insert_file("b.mid", one))) == []
    assert pairs(
        ("ada", rename_file("a.mid", "b.mid")), ("bob", rename_file("a.mid", "c.mid")), files=files
    ) == [(0, 1)]


def test_an_edit_of_a_file_that_another_had_taken_away() -> None:
    files, _ = base()
    gone, renamed = delete_file("a.mid", files["a.mid"]), rename_file("a.mid", "b.mid")
    for taken in (gone, renamed):
        assert pairs(("bob", taken), ("ada", louder(70)), files=files) == [(0, 1)]
        assert pairs(("ada", taken), ("ada", louder(70)), files=files) == []
    assert pairs(("bob", gone), ("ada", gone), files=files) == []
    assert pairs(("bob", renamed), ("ada", gone), files=files) == [(0, 1)]
    anew = insert_note("a.mid", "y", NOTE)
    assert pairs(("bob", gone), ("ada", anew), files=files) == []


def test_an_edit_is_found_again_under_the_new_name_of_its_file() -> None:
    files, _ = base()
    late = mutate_note("b.mid", "x", NOTE, velocity=90)
    edits: list[Edit] = [("ada", louder(70)), ("eve", rename_file("a.mid", "b.mid")), ("bob", late)]
    [overlap] = found(*edits, files=files)
    assert (overlap.address, overlap.kept, overlap.overwritten) == ("b.mid/note/x", 2, 0)


# -- causes --------------------------------------------------------------------------------------


def test_named_causes_are_seen_whatever_the_op_says_of_the_old_value() -> None:
    assert pairs(MADE, ("ada", louder(70)), ("bob", louder(90), (1,))) == []
    through = ("eve", mutate_note("a.mid", "x", NOTE, pitch=1), (1,))
    assert pairs(MADE, ("ada", louder(70)), through, ("bob", louder(90), (2,))) == []
    own = ("bob", mutate_note("a.mid", "x", NOTE, pitch=1), (1,))
    assert pairs(MADE, ("ada", louder(70)), own, ("bob", louder(90))) == []


def test_an_op_that_names_other_causes_and_another_old_value_has_not_seen_it() -> None:
    assert pairs(MADE, ("ada", louder(70), (0,)), ("bob", louder(90), (0,))) == [(2, 1)]


def silent(op: Any) -> Any:
    """The edit of a velocity without what its author saw."""
    [child] = op["child_ops"]
    return {**op, "child_ops": [{**child, "fields": {"velocity": {"new": 90}}}]}


def test_an_op_that_says_nothing_of_the_old_value_is_judged_by_its_causes_alone() -> None:
    assert pairs(MADE, ("ada", louder(70)), ("bob", silent(louder(90)))) == []
    assert pairs(MADE, ("ada", louder(70), (0,)), ("bob", silent(louder(90)), (0,))) == [(2, 1)]


# -- whatever comes ------------------------------------------------------------------------------

NAMES = st.sampled_from("xyz")
ACTORS = st.sampled_from(["ada", "bob", "eve"])
INTENTS = st.tuples(
    ACTORS,
    NAMES,
    st.sampled_from(["insert", "delete", "move", "replace", "velocity", "pitch"]),
    st.integers(1, 9),
)


def edit_of(kind: str, name: str, seen: Note, value: int) -> Any:
    """An edit by one who sees `seen`."""
    if kind == "insert":
        return insert_note("a.mid", name, Note(60 + value, 64, 0, 480))
    if kind == "delete":
        return delete_note("a.mid", name, seen)
    if kind == "move":
        return move_note("a.mid", name, seen, value)
    if kind == "replace":
        return replace_note("a.mid", name, seen, Note(40 + value, 50 + value, value, 100))
    return mutate_note("a.mid", name, seen, **{kind: value})


def notes_after(ops: Sequence[Any]) -> dict[str, Note]:
    files = {
        path: data for path, data in MusicPlugin().apply({}, ops, fetch).files.items() if data is not None
    }
    return {name: note for name, (_, note) in identified_notes(files, "a.mid").items()} if files else {}


@given(st.lists(INTENTS, max_size=12))
def test_actors_who_see_what_they_edit_are_never_in_each_others_way(
    intents: list[tuple[str, str, str, int]],
) -> None:
    edits: list[tuple[str, Any]] = []
    for actor, name, kind, value in intents:
        seen = notes_after([op for _, op in edits])
        if (name in seen) != (kind == "insert"):
            edits.append((actor, edit_of(kind, name, seen.get(name, NOTE), value)))
    assert pairs(*edits) == []


@given(st.lists(INTENTS, max_size=12))
def test_whoever_saw_only_their_own_edits_overlap_where_the_outcome_lacks_one(
    intents: list[tuple[str, str, str, int]],
) -> None:
    """Each pair is of two actors and one note, the later op's author could not have seen the earlier."""
    edits: list[tuple[str, Any]] = []
    views: dict[str, list[Any]] = {}
    for actor, name, kind, value in intents:
        view = views.setdefault(actor, [insert_note("a.mid", known, NOTE) for known in "xyz"])
        seen = notes_after(view)
        if (name in seen) != (kind == "insert"):
            view.append(edit_of(kind, name, seen.get(name, NOTE), value))
            edits.append((actor, view[-1]))
    made = [("zoe", insert_note("a.mid", known, NOTE)) for known in "xyz"]
    everything: list[Edit] = [*made, *edits]
    overlaps = found(*everything)
    assert overlaps == found(*everything)
    for overlap in overlaps:
        kept, overwritten = everything[overlap.kept], everything[overlap.overwritten]
        assert kept[0] != overwritten[0]
        assert "zoe" not in {kept[0], overwritten[0]}
        for _, op, *_ in (kept, overwritten):
            assert [f"a.mid/{child['address']}" for child in op["child_ops"]] == [overlap.address]


@pytest.mark.parametrize("op", [None, 3, {}, {"op": "insert"}, {"op": "delete", "address": 5}])
def test_an_op_that_means_nothing_is_in_nobodys_way(op: Any) -> None:
    assert pairs(MADE, ("ada", op), ("bob", louder(70))) == []


def test_a_rename_among_edits_writes_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_write(_score: IdentifiedScore) -> tuple[bytes, bytes | None]:
        raise AssertionError("the file is written")

    monkeypatch.setattr(IdentifiedScore, "write", no_write)
    late = ("bob", louder(70), (0,))
    assert pairs(MADE, ("ada", rename_file("a.mid", "b.mid"), (0,)), late) == [(1, 2)]


def test_an_edit_of_a_note_that_a_renamed_file_did_not_have_is_no_overlap() -> None:
    renamed: Edit = ("ada", rename_file("a.mid", "b.mid"), (0,))
    late: Edit = ("bob", louder(70), (0,))
    before: Edit = ("ada", delete_note("a.mid", "x", NOTE), (0,))
    assert (2, 3) not in pairs(MADE, before, renamed, late)
    other: Edit = ("eve", insert_note("a.mid", "y", NOTE))
    assert pairs(other, renamed, ("ada", insert_note("b.mid", "x", NOTE)), late) == []
    after: Edit = ("ada", delete_note("b.mid", "x", NOTE), (1,))
    assert pairs(MADE, renamed, after, late) == [(1, 3)]
