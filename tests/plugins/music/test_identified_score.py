"""How notes keep their names, and what the page of names beside a file promises."""

import base64
import json
import random
from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muse.core.content_id import object_id, sha256_hex
from muse.errors import DomainError
from muse.plugins.music.identified_score import (
    NEW_FILE,
    TRACK_LIMIT,
    IdentifiedScore,
    identified_notes,
    identify,
    identify_second,
    is_page_of,
    skeleton_of,
)
from muse.plugins.music.midi_file import (
    MidiScore,
    Note,
    Track,
    notes_of,
    read_midi,
    write_midi,
)
from muse.plugins.op_fields import names_path
from tests.samples.midi_samples import midi_files, notes, one_track

LONG = Note(60, 1, 0, 100)
INNER = Note(60, 2, 40, 20)  # inside LONG: plain pairing would swap their ends


def score_of(**named: Note) -> IdentifiedScore:
    score = IdentifiedScore()
    for entity_id, note in named.items():
        score.place(entity_id, 0, note)
    return score


def written(score: IdentifiedScore) -> tuple[bytes, bytes]:
    """Write a score that has a page of names."""
    data, page = score.write()
    assert page is not None
    return data, page


@settings(deadline=None)
@given(midi_files, st.dictionaries(st.sampled_from("abcdef"), st.tuples(st.integers(0, 3), notes)))
def test_a_score_is_read_back_as_it_was_with_every_name(
    data: bytes, named: dict[str, tuple[int, Note]]
) -> None:
    score = identify(data, None)
    for entity_id, (track, note) in named.items():
        score.place(entity_id, track, note)
    written, page = score.write()
    again = identify(written, page)
    assert again == score
    assert again.write() == (written, page)


@settings(deadline=None)
@given(st.dictionaries(st.text("abc", min_size=1), st.tuples(st.integers(0, 2), notes)))
def test_the_order_in_which_notes_came_does_not_show(named: dict[str, tuple[int, Note]]) -> None:
    first, second = IdentifiedScore(), IdentifiedScore()
    for score, items in ((first, named.items()), (second, reversed(named.items()))):
        for entity_id, (track, note) in items:
            score.place(entity_id, track, note)
    assert first.write() == second.write()


def test_notes_inside_one_another_are_never_confused() -> None:
    data, page = written(score_of(a=LONG, b=INNER))
    assert identify(data, page).notes == {"a": (0, LONG), "b": (0, INNER)}
    assert sorted(note.duration_ticks for _, note in notes_of(data)) != [20, 100]


def test_the_page_is_compact_json_that_names_the_file_it_describes() -> None:
    data, page = written(score_of(a=LONG))
    assert page == (
        b'{"format":2,"object_id":"%s","read":"%s","names":null,"edited":{"a":[0,60,1,0,100,0,64,false]}}'
        % (object_id(data).encode(), base64.b64encode(NEW_FILE))
    )
    assert names_path("songs/a.mid") == ".muse_notes/songs/a.mid.json"


def test_a_track_ends_where_it_did_once_a_later_note_is_gone() -> None:
    before = write_midi(MidiScore(tracks=(Track(end_tick=30),)))
    score = identify(before, None)
    score.place("a", 0, LONG)
    score = identify(*score.write())
    del score.notes["a"]
    assert score.write()[0] == before


def test_without_a_page_names_are_derived_from_content() -> None:
    data = write_midi(MidiScore(tracks=(Track(notes=(LONG, LONG)),)))
    expected = {f"n{sha256_hex(f'0:{LONG.content_id}:{ordinal}'.encode())[:16]}" for ordinal in (0, 1)}
    assert identified_notes({"a.mid": data}, "a.mid").keys() == expected


def test_in_a_file_edited_by_hand_the_notes_that_sound_as_before_keep_their_names() -> None:
    other = Note(72, 9, 0, 10)
    _, page = written(score_of(a=LONG, b=other, c=Note(50, 1, 0, 1)))
    edited = write_midi(MidiScore(tracks=(Track(notes=(replace(other, release=3), LONG, INNER)),)))
    files = {"a.mid": edited, names_path("a.mid"): page}
    found = identified_notes(files, "a.mid")
    assert found["b"] == (0, replace(other, release=3))
    assert "c" not in found
    assert len(found) == 3


def test_a_derived_name_is_never_one_that_another_note_had() -> None:
    [name] = identify(write_midi(MidiScore(tracks=(Track(notes=(LONG,)),))), None).notes
    _, page = written(score_of(**{name: INNER}))
    edited = write_midi(MidiScore(tracks=(Track(notes=(LONG,)),)))
    [(new_name, placed)] = identify(edited, page).notes.items()
    assert placed == (0, LONG)
    assert new_name != name


BAD_PAGES: list[dict[str, Any]] = [
    {"format": 2},
    {"object_id": None},
    {"ends": None},
    {"ends": [0, 0]},
    {"ends": [True]},
    {"ends": [101]},
    {"notes": None},
    {"notes": [None]},
    {"notes": [["a", 0, 0, 1]]},
    {"notes": [["", 0, 0, 1, 60, 1, 0, 100, 0]]},
    {"notes": [["a", 1, 0, 1, 60, 1, 0, 100, 0]]},
    {"notes": [["a", 0, 1, 0, 60, 1, 0, 100, 0]]},
    {"notes": [["a", 0, 0, 2, 60, 1, 0, 100, 0]]},
    {"notes": [["a", 0, -1, 1, 60, 1, 0, 100, 0]]},
    {"notes": [["a", 0, 0, 1, 60, 1, 0, 100, 0], ["b", 0, 0, 1, 60, 1, 0, 100, 0]]},
]


def test_a_page_that_gives_two_notes_one_name_does_not_fit() -> None:
    data, page = written(score_of(a=LONG, b=INNER))
    assert len(identify(data, page.replace(b'"b"', b'"a"')).notes) == 2


@pytest.mark.parametrize("changes", BAD_PAGES)
def test_a_page_that_does_not_fit_its_file_costs_names_and_no_notes(changes: dict[str, Any]) -> None:
    data, page = written(score_of(a=LONG))
    bad = json.dumps({**json.loads(page), **changes}).encode()
    score = identify(data, bad)
    assert list(score.notes.values()) == [(0, LONG)]
    assert score.write()[0] == data


@pytest.mark.parametrize("page", [b"", b"{", b"[]", b"null", b"\xff"])
def test_a_page_that_is_not_json_counts_as_missing(page: bytes) -> None:
    data, _ = score_of(a=LONG).write()
    assert identify(data, page) == identify(data, None)


@settings(deadline=None)
@given(midi_files)
def test_a_file_is_its_skeleton_with_its_notes_put_in_again(data: bytes) -> None:
    skeleton, page = skeleton_of(data)
    score = identify(skeleton, page)
    assert score.notes == {}
    for index, track in enumerate(read_midi(data).tracks):
        for number, note in enumerate(track.notes, start=1):
            score.place(f"{index + 1}-{number}", index, note)
    assert score.write()[0] == data


def test_a_note_on_a_far_track_adds_the_tracks_before_it() -> None:
    score = IdentifiedScore()
    score.place("a", 2, LONG)
    assert [len(track.notes) for track in read_midi(score.write()[0]).tracks] == [0, 0, 1]


def test_a_file_of_one_track_changes_its_format_when_it_gets_a_second() -> None:
    score = identify(write_midi(MidiScore(format=0)), None)
    score.place("a", 0, LONG)
    assert read_midi(score.write()[0]).format == 0
    score.place("a", 1, LONG)
    assert read_midi(score.write()[0]).format == 1


def test_tracks_are_added_up_to_a_limit() -> None:
    score = IdentifiedScore()
    with pytest.raises(DomainError, match="there is no track 256"):
        score.place("a", TRACK_LIMIT, LONG)
    assert score == IdentifiedScore()


def test_a_file_that_is_not_in_the_tree_has_no_notes_to_name() -> None:
    with pytest.raises(DomainError, match=r"there is no file 'b\.mid'"):
        identified_notes({}, "b.mid")


@pytest.mark.parametrize("read", ["é", "a", "=", "AAA\0", "\U0001f3b5AAA"])
def test_a_page_whose_read_file_is_no_base64_names_nothing(read: str) -> None:
    data = write_midi(MidiScore(tracks=(Track(notes=(LONG,)),)))
    page = {"format": 2, "object_id": object_id(data), "read": read, "names": None, "edited": {}}
    names = orjson.dumps(page)
    assert not is_page_of(data, names)
    assert identify(data, names) == identify(data, None)


tight_notes = st.builds(
    Note, st.integers(60, 61), st.integers(1, 2), st.integers(0, 3), st.integers(0, 3), st.integers(0, 1)
)
ENDS_INSIDE = one_track(bytes.fromhex("00 90 3c 40 01 80 3c 40 00 ff 2f 00 01 90 3c 40 01 3c 00"))
FAR_APART = one_track(
    bytes.fromhex("00 90 3c 40 ff ff ff 7f f8 01 80 3c 40 ff ff ff 7f 90 3d 40 00 ff 2f 00")
)
LOOSE_ENDS = one_track(
    bytes.fromhex("00 80 3c 40 00 90 3c 40 01 90 3c 40 01 3c 00 01 80 3c 40 01 80 3c 40 00 ff 2f 00")
)


@settings(max_examples=400, deadline=None)
@given(
    st.sampled_from((identify, identify_second)),
    st.one_of(midi_files, st.sampled_from((NEW_FILE, ENDS_INSIDE, FAR_APART, LOOSE_ENDS))),
    st.lists(st.tuples(st.integers(0, 5), st.none() | st.tuples(st.integers(0, 2), tight_notes | notes))),
    st.randoms(use_true_random=False),
)
def test_what_is_written_again_is_what_is_written_at_once(
    read: Any, data: bytes, changes: list[tuple[int, tuple[int, Note] | None]], rng: random.Random
) -> None:
    score = read(data, None)
    names = [*list(score.notes)[:3], "a", "b", "c"]
    for number, placed in changes:
        name = names[number % len(names)]
        was = score.read.notes.get(name)
        if rng.random() < 0.2 and was is not None:
            score.notes[name] = was
        elif placed is None:
            score.notes.pop(name, None)
        elif rng.random() < 0.4 and name in score.notes:
            track, note = score.notes[name]
            score.place(name, track, replace(note, velocity=placed[1].velocity))
        else:
            score.place(name, *placed)
        if rng.random() < 0.7:
            assert score.data_again() == score.data()
    assert score.data_again() == score.data()
