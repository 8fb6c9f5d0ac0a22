"""What the music domain makes of ops."""

import copy
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muse.core.content_id import object_id
from muse.disk.tree_path import path_fault
from muse.domain import Application, DomainPlugin
from muse.errors import CorruptionError, DomainError
from muse.plugins.music import midi_bytes
from muse.plugins.music.identified_score import IdentifiedScore, identified_notes, identify
from muse.plugins.music.midi_file import (
    MidiScore,
    Note,
    Track,
    notes_of,
    other_events,
    read_midi,
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
    replace_file,
    replace_note,
)
from muse.plugins.music.plugin import MusicPlugin, check_op
from muse.plugins.music.tree import MusicTree
from muse.plugins.op_fields import names_path
from tests.samples.midi_samples import (
    REAL_FILES,
    midi_files,
    no_store,
    notes,
    one_track,
    real_file,
    ticks,
    without_notes,
)

Files = dict[str, bytes]
PATHS = ("a.mid", "b.mid", "a.mid/c.mid")
C4 = Note(60, 64, 0, 480)
LONG, INNER = Note(60, 1, 0, 100), Note(60, 2, 40, 20)
A_FILE = write_midi(MidiScore(tracks=(Track(notes=(C4,)),)))


def apply(files: Mapping[str, bytes], *ops: Any, fetch: Callable[[str], bytes] = no_store) -> Application:
    return MusicPlugin().apply(files, ops, fetch)


def commit(files: Mapping[str, bytes], *ops: Any) -> Files:
    """Apply ops and take in the outcome, as a commit does. Every op must have an effect."""
    application = apply(files, *ops)
    assert application.ignored == []
    return taken_in(files, application)


def taken_in(files: Mapping[str, bytes], application: Application) -> Files:
    merged = {**files, **application.files}
    return {path: content for path, content in merged.items() if content is not None}


def reasons(files: Mapping[str, bytes], *ops: Any) -> list[str]:
    """Apply ops that must change nothing, and say why they did not."""
    application = apply(files, *ops)
    assert application.files == {}
    return [ignored.reason for ignored in application.ignored]


# --- strategies: few files, names and values, so that edits meet --------------------------------

entity_ids = st.sampled_from(("x", "y", "z"))
paths = st.sampled_from(PATHS)
note_patches = st.one_of(
    st.builds(insert_note, paths, entity_ids, notes, track=st.integers(0, 2)),
    st.builds(delete_note, paths, entity_ids, notes),
    st.builds(move_note, paths, entity_ids, notes, ticks),
    st.builds(replace_note, paths, entity_ids, notes, notes),
    st.builds(mutate_note, paths, entity_ids, notes, pitch=st.integers(60, 61), to_track=st.integers(0, 2)),
    st.builds(mutate_note, paths, entity_ids, notes, channel=st.integers(0, 1), duration_ticks=ticks),
)
contents = st.one_of(midi_files, st.just(b"not music"))
music_ops = st.one_of(
    note_patches,
    note_patches,
    st.builds(lambda patches: one_patch(patches[0]["address"], patches), st.lists(note_patches, min_size=1)),
    st.builds(insert_file, paths, contents),
    st.builds(replace_file, paths, contents, contents),
    st.builds(delete_file, paths, contents),
    st.builds(rename_file, paths, paths),
)
trees = st.dictionaries(st.sampled_from(("a.mid", "b.mid")), contents)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


@st.composite
def spoiled_ops(draw: st.DrawFn) -> Any:
    """Draw an op that is right but for one value, anywhere inside, that is missing or strange."""
    op: Any = copy.deepcopy(draw(music_ops))
    place = op
    while True:
        key = draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
        if not (isinstance(place[key], dict | list) and place[key] and draw(st.booleans())):
            break
        place = place[key]
    if isinstance(place, dict) and draw(st.booleans()):
        del place[key]
    else:
        place[key] = draw(json_values)
    return op


# --- when commits happen does not matter --------------------------------------------------------


@settings(max_examples=300, deadline=None)
@given(trees, st.lists(music_ops, max_size=12), st.data())
def test_the_outcome_does_not_depend_on_when_commits_happen(
    files: Files, ops: Sequence[Any], data: st.DataObject
) -> None:
    whole = apply(files, *ops)
    cut = data.draw(st.integers(0, len(ops)))
    first = apply(files, *ops[:cut])
    between = taken_in(files, first)
    second = apply(between, *ops[cut:])
    assert taken_in(between, second) == taken_in(files, whole)
    later = [(ignored.index + cut, ignored.address, ignored.reason) for ignored in second.ignored]
    sooner = [(ignored.index, ignored.address, ignored.reason) for ignored in first.ignored]
    assert sooner + later == [(known.index, known.address, known.reason) for known in whole.ignored]


@settings(deadline=None)
@given(trees, st.lists(music_ops, max_size=6))
def test_neither_files_nor_ops_are_changed_and_the_same_input_gives_the_same_output(
    files: Files, ops: Sequence[Any]
) -> None:
    files_before, ops_before = dict(files), copy.deepcopy(ops)
    first = apply(files, *ops)
    assert (files, ops) == (files_before, ops_before)
    assert apply(files, *ops) == first


@settings(max_examples=300, deadline=None)
@given(st.one_of(json_values, spoiled_ops()))
def test_no_op_however_strange_raises_and_the_door_lets_in_what_can_be_applied(op: Any) -> None:
    files = {"a.mid": A_FILE}
    application = apply(files, op, insert_note("b.mid", "x", C4))
    assert all(ignored.reason for ignored in application.ignored)
    try:
        check_op(op)
    except DomainError:
        assert any(ignored.index == 0 for ignored in application.ignored)


def test_deeply_nested_and_huge_values_are_refused_calmly() -> None:
    deep: Any = []
    for _ in range(5000):
        deep = [deep]
    for strange in (deep, 10**6000, float("nan"), {1: 2}):
        note = {**C4.fields(), "pitch": strange}
        child = {"op": "insert", "address": "note/x", "note": note, "track": 0}
        patch = {"op": "patch", "address": "a.mid", "child_domain": "midi_notes", "child_ops": [child]}
        assert len(reasons({}, strange, {"op": strange}, {"op": "delete", "address": strange}, patch)) == 4


# --- notes ---------------------------------------------------------------------------------------


def test_music_is_a_domain_plugin() -> None:
    assert isinstance(MusicPlugin(), DomainPlugin)


@pytest.mark.parametrize("name", REAL_FILES)
def test_a_real_file_grows_from_its_skeleton_in_any_order(name: str) -> None:
    data = real_file(name)
    placed = list(enumerate(notes_of(data)))
    random.Random(11).shuffle(placed)
    ops = [insert_note("a.mid", f"id{index}", note, track=track) for index, (track, note) in placed]
    files = {"a.mid": without_notes(data)}
    for start in range(0, len(ops), 1000):
        files = commit(files, *ops[start : start + 1000])
    assert notes_of(files["a.mid"]) == notes_of(data)
    assert other_events(files["a.mid"]) == other_events(data)
    assert files == commit({"a.mid": without_notes(data)}, *ops)


def test_a_note_can_be_put_into_a_file_that_is_not_there_yet() -> None:
    files = commit({}, insert_note("songs/new.mid", "x", C4, track=1))
    score = read_midi(files["songs/new.mid"])
    assert (score.format, score.ticks_per_beat) == (1, 480)
    assert [track.notes for track in score.tracks] == [(), (C4,)]


def test_an_edit_can_name_a_note_from_before_the_commit() -> None:
    files = commit({}, insert_note("a.mid", "x", LONG), insert_note("a.mid", "y", INNER))
    files = commit(files, mutate_note("a.mid", "y", INNER, velocity=9))
    files = commit(files, move_note("a.mid", "y", INNER, 50))
    assert identified_notes(files, "a.mid") == {"x": (0, LONG), "y": (0, Note(60, 9, 50, 20))}


def test_a_deletion_wins_over_later_edits_until_the_name_is_inserted_anew() -> None:
    files = commit({}, insert_note("a.mid", "x", C4))
    application = apply(
        files,
        delete_note("a.mid", "x", C4),
        move_note("a.mid", "x", C4, 10),
        insert_note("a.mid", "x", INNER),
    )
    assert [(ignored.index, ignored.address) for ignored in application.ignored] == [(1, "a.mid/note/x")]
    assert identified_notes(taken_in(files, application), "a.mid") == {"x": (0, INNER)}


def test_one_bad_edit_in_a_patch_does_not_stop_the_others() -> None:
    patch: Any = one_patch("a.mid", [insert_note("a.mid", key, C4) for key in ("x", "y", "z")])
    patch["child_ops"][1]["note"]["pitch"] = 200
    application = apply({}, patch)
    assert identified_notes(taken_in({}, application), "a.mid").keys() == {"x", "z"}
    [ignored] = application.ignored
    assert ignored.address == "a.mid/note/y"
    assert ignored.reason == "a note's pitch is a whole number from 0 to 127, not 200"


def test_edits_without_effect_make_no_file_and_rewrite_none() -> None:
    delete = delete_note("a.mid", "x", C4)
    assert len(reasons({}, delete)) == 1
    assert len(reasons({"a.mid": A_FILE}, delete)) == 1


def test_an_insert_that_is_deleted_again_leaves_a_written_file_as_it_was() -> None:
    files = commit({"a.mid": A_FILE}, insert_note("a.mid", "x", LONG))
    files = commit(files, delete_note("a.mid", "x", LONG))
    assert files["a.mid"] == A_FILE


def test_notes_cannot_be_put_into_a_file_that_is_not_music() -> None:
    edits = [insert_note("a.mid", key, C4) for key in ("x", "y")]
    why = reasons({"a.mid": b"not music"}, *edits)
    assert len(why) == 2
    assert all(reason.startswith("a.mid: this is not a MIDI file that can be read") for reason in why)


def test_a_file_edited_by_hand_keeps_the_names_of_notes_that_sound_as_before() -> None:
    files = commit({}, insert_note("a.mid", "x", C4), insert_note("a.mid", "y", INNER))
    by_hand = write_midi(MidiScore(tracks=(Track(notes=(LONG, C4)),)))
    files = commit({**files, "a.mid": by_hand}, mutate_note("a.mid", "x", C4, velocity=5))
    found = identified_notes(files, "a.mid")
    assert found["x"] == (0, Note(60, 5, 0, 480))
    assert "y" not in found


# --- whole files ---------------------------------------------------------------------------------


def test_a_file_comes_with_the_op_or_from_the_store() -> None:
    assert apply({}, insert_file("a.mid", A_FILE)).files == {"a.mid": A_FILE}
    by_name = insert_file("a.mid", A_FILE, inline=False)
    store = {object_id(A_FILE): A_FILE}
    assert apply({}, by_name, fetch=store.__getitem__).files == {"a.mid": A_FILE}
    assert "no object" in reasons({}, by_name)[0]


def test_a_broken_store_is_not_passed_over() -> None:
    def broken(content_id: str) -> bytes:
        raise CorruptionError(f"object {content_id} is damaged")

    with pytest.raises(CorruptionError):
        apply({}, insert_file("a.mid", A_FILE, inline=False), fetch=broken)


def test_content_that_is_not_what_the_op_names_is_refused() -> None:
    op = {**insert_file("a.mid", A_FILE), "content_id": object_id(b"other")}
    assert "does not have the sha256" in reasons({}, op)[0]
    with pytest.raises(DomainError, match="does not have the sha256"):
        check_op(op)
    by_name = insert_file("a.mid", A_FILE, inline=False)
    application = apply({}, by_name, fetch=lambda _: b"other")
    assert "does not have the sha256" in application.ignored[0].reason


@pytest.mark.parametrize("content", ["*", "abc", "é", None, 7, ["YQ=="]])
def test_content_that_is_not_base64_is_refused(content: Any) -> None:
    assert "not base64" in reasons({}, {**insert_file("a.mid", b"a"), "content": content})[0]


@pytest.mark.parametrize("content_id", [None, 7, "", "../secret", "A" * 64])
def test_a_content_id_that_is_no_sha256_never_reaches_the_store(content_id: Any) -> None:
    op = {**insert_file("a.mid", b"a", inline=False), "content_id": content_id}
    assert "64 hex digits" in reasons({}, op)[0]


def test_a_file_is_made_once_and_edited_only_while_it_is_there() -> None:
    assert reasons({"a.mid": A_FILE}, insert_file("a.mid", b"")) == ["a file 'a.mid' is already there"]
    gone = reasons({}, delete_file("a.mid", b""), replace_file("a.mid", b"", b"x"), rename_file("a.mid", "b"))
    assert all("there is no file 'a.mid'" in reason for reason in gone)
    assert len(gone) == 3


def test_a_file_s_page_of_names_goes_where_the_file_goes() -> None:
    files = commit({}, insert_note("a.mid", "x", LONG), insert_note("a.mid", "y", INNER))
    renamed = commit(files, rename_file("a.mid", "b.mid"))
    assert renamed == {"b.mid": files["a.mid"], names_path("b.mid"): files[names_path("a.mid")]}
    assert identified_notes(renamed, "b.mid") == identified_notes(files, "a.mid")
    assert commit(renamed, delete_file("b.mid", b"")) == {}


def test_a_file_can_be_edited_renamed_and_edited_again_in_one_commit() -> None:
    edits = (
        insert_note("a.mid", "x", LONG),
        insert_note("a.mid", "y", INNER),
        rename_file("a.mid", "b.mid"),
        mutate_note("b.mid", "y", INNER, velocity=9),
    )
    files = commit({}, *edits)
    assert files.keys() == {"b.mid", names_path("b.mid")}
    assert identified_notes(files, "b.mid") == {"x": (0, LONG), "y": (0, Note(60, 9, 40, 20))}


def test_a_rename_may_come_with_edits() -> None:
    files = commit({}, insert_note("a.mid", "x", C4))
    patch = {**move_note("b.mid", "x", C4, 9), "from_address": "a.mid"}
    assert identified_notes(commit(files, patch), "b.mid")["x"][1].start_tick == 9


def test_notes_keep_their_names_when_the_whole_file_is_replaced() -> None:
    files = commit({}, insert_note("a.mid", "x", C4), replace_file("a.mid", b"", A_FILE))
    assert identified_notes(files, "a.mid") == {"x": (0, C4)}


@pytest.mark.parametrize(
    "path",
    [
        None, 7, "", "/etc/passwd", "../a.mid", "a/../../b", "a//b", "./a", "a/", "a\0b", "a\nb", "\udc80",
        ".muse/HEAD", "sub/.Muse/x", ".git/config", "sub/.GIT/x", "a\\b.mid", ".muse_notes/a.mid.json",
        ".muse_notes", 1025 * "a", 251 * "a", 504 * "b/" + "b.mid",
    ],
)  # fmt: skip
def test_a_path_outside_the_tree_or_in_muse_s_own_places_is_refused(path: Any) -> None:
    for op in (
        {**insert_file("x", b""), "address": path},
        {**rename_file("a.mid", "x"), "address": path},
        {**rename_file("x", "b.mid"), "from_address": path},
    ):
        if path is not None or op.get("from_address") is not None:
            assert len(reasons({"a.mid": A_FILE}, op)) == 1
            with pytest.raises(DomainError):
                check_op(op)


path_parts = st.one_of(
    st.sampled_from(("a.mid", ".git", ".Muse", ".muse_notes", "..", "", "\\", "\0", "a" * 250, "🎵" * 61)),
    st.text(max_size=3),
)
odd_paths = st.lists(path_parts, max_size=6).map("/".join)


@settings(max_examples=500, deadline=None)
@given(odd_paths, odd_paths)
def test_every_path_that_comes_of_any_op_can_be_stored(path: str, other: str) -> None:
    ops: tuple[Any, ...] = (insert_file(path, A_FILE), insert_note(other, "x", C4), rename_file(path, other))
    moved = rename_file("a.mid", path), insert_note(path, "y", C4)
    for application in (apply({}, *ops), apply({"a.mid": A_FILE}, *moved)):
        assert [name for name in application.files if path_fault(name)] == []


def test_a_file_is_no_directory_and_a_directory_no_file() -> None:
    assert reasons({"a": b""}, insert_file("a/b", b"")) == ["'a' is a file, so 'a/b' cannot be in it"]
    assert reasons({"a/b": b""}, insert_file("a", b"")) == ["'a' is a directory, so it cannot be a file"]
    assert apply({"a/b": b""}, delete_file("a/b", b""), insert_file("a", b"")).ignored == []
    clash = reasons({"a.mid": A_FILE, ".muse_notes/a.mid.json": b""}, insert_note("a.mid.json/b", "x", C4))
    assert clash == ["'.muse_notes/a.mid.json' is a file, so '.muse_notes/a.mid.json/b.json' cannot be in it"]


@pytest.mark.parametrize(
    ("op", "why"),
    [
        (None, "an op on a file is an object"),
        ({"op": "mutate", "address": "a.mid"}, "one of insert, delete, replace, patch"),
        ({"op": "move", "address": "a.mid"}, "one of insert, delete, replace, patch"),
        ({"op": {}, "address": "a.mid"}, "not a dict"),
        ({"op": "patch", "address": "a.mid"}, "`child_ops` is a list"),
        ({"op": "patch", "address": "a.mid", "child_ops": []}, "renames nothing"),
        ({"op": "patch", "address": "a.mid", "child_ops": [], "from_address": "a.mid"}, "renames nothing"),
        ({"op": "patch", "address": "a.mid", "child_ops": [{}], "child_domain": "x"}, "`child_domain` is"),
        ({"op": "patch", "address": "a.mid", "child_ops": [], "from_address": []}, "the address of a file"),
    ],
)
def test_a_malformed_op_is_ignored_with_its_reason_and_refused_at_the_door(op: Any, why: str) -> None:
    assert why in reasons({"a.mid": A_FILE}, op)[0]
    with pytest.raises(DomainError, match=why):
        check_op(op)


def test_an_op_that_expects_any_file_writes_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def write(_score: IdentifiedScore) -> None:
        raise AssertionError("the whole file was written")

    monkeypatch.setattr(IdentifiedScore, "write", write)
    tree = MusicTree({}, dict[str, bytes]().__getitem__)
    note = Note(pitch=60, velocity=80, start_tick=0, duration_ticks=480)
    for number in range(5):
        tree.apply(
            number, {**insert_note("a.mid", f"n{number}", note), **({"expected": {}} if number else {})}
        )
    with pytest.raises(DomainError, match="not as the op expects it"):
        tree.apply(5, {**insert_note("b.mid", "n", note), "expected": {}})
    assert len(tree.score("a.mid").notes) == 5


def test_ops_that_expect_the_content_of_a_file_write_it_once_and_then_near_their_edits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    numbers: list[int] = []

    def counted(value: int, length: int = 0) -> bytes:
        numbers.append(value)
        return number_of(value, length)

    number_of = midi_bytes._number
    monkeypatch.setattr(midi_bytes, "_number", counted)
    many = tuple(Note(40 + n % 50, 64, 10 * n, 9) for n in range(200))
    files = {"a.mid": write_midi(MidiScore(tracks=(Track(notes=many),)))}
    known = identified_notes(files, "a.mid")
    tree, ops = MusicTree(files, no_store), list[Any]()
    for number, (name, (_, note)) in enumerate(list(known.items())[:50]):
        op: Any = mutate_note("a.mid", name, note, velocity=9, start_tick=5 * number)
        op["expected"] = {"content_id": object_id(tree.data("a.mid") or b"")}
        tree.apply(number, op)
        ops.append(op)
    files_of_each = tree.changes()
    numbers.clear()
    assert apply(files, *ops, {**ops[0], "expected": {"content_id": "0" * 64}}).ignored[0].index == 50
    assert len(numbers) < 3 * 400
    assert apply(files, *ops) == Application(files_of_each)


def test_a_note_in_a_file_with_a_delta_time_that_midi_does_not_allow_takes_no_edit() -> None:
    late = one_track(bytes.fromhex("00 90 3c 40 83 60 80 3c 40 81 80 80 80 00 c0 05 00 ff 2f 00"))
    files = {"a.mid": late}
    [name] = identified_notes(files, "a.mid")
    for edit in (insert_note("a.mid", "new", C4), delete_note("a.mid", name, C4)):
        assert "no note of this file can be edited: one of its" in reasons(files, edit)[0]
    assert commit(files, rename_file("a.mid", "b.mid")) == {"b.mid": late}
    named = {**insert_file("a.mid", late), "names": identify(late, None).page().decode()}
    assert commit({}, named) == {"a.mid": late}
    with pytest.raises(DomainError, match="no note of this file can be edited"):
        write_midi(replace(read_midi(late), tracks=(replace(read_midi(late).tracks[0], notes=()),)))
    assert write_midi(read_midi(late)) == late
