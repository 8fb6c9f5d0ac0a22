"""Files that earlier builds wrote: made again by the rule of their commit, and read by the rule of today."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muse.core.content_id import object_id
from muse.domain import RuledPlugin
from muse.errors import DomainError
from muse.plugins.music.identified_score import identified_notes
from muse.plugins.music.midi_bytes import Event, EventFile, EventTrack, decode, encode
from muse.plugins.music.note import Note
from muse.plugins.music.notes import insert_file, insert_note, mutate_note
from muse.plugins.music.plugin import MusicPlugin
from muse.plugins.op_fields import names_path
from tests.plugins.music.test_music import Files, music_ops, taken_in, trees
from tests.samples.midi_samples import no_store

C4 = Note(60, 64, 0, 480)
PROGRAM_LATE = encode(
    EventFile(
        1,
        480,
        (EventTrack((Event(0, b"\x90\x3c\x40"), Event(0, b"\xc0\x05"), Event(9, b"\x80\x3c\x40")), 9),),
    )
)


def by_rule(rule: int, files: Files, ops: Sequence[Any]) -> Files:
    return taken_in(files, MusicPlugin().by_rule(rule).apply(files, ops, no_store))


def test_music_has_rules() -> None:
    assert isinstance(MusicPlugin(), RuledPlugin)
    assert MusicPlugin().rule == 3
    with pytest.raises(DomainError, match=r"made by rule 4.*install a newer version"):
        MusicPlugin().by_rule(4)


def test_the_first_rule_writes_what_it_wrote() -> None:
    files = by_rule(1, {"a.mid": PROGRAM_LATE}, [insert_note("a.mid", "y", C4, track=1)])
    [first, second] = decode(files["a.mid"]).tracks
    assert [event.message.hex() for event in first.events] == ["c005", "903c40", "803c40"]
    page = b'{"format":1,"object_id":"%s","ends":[9,0],' % object_id(files["a.mid"]).encode()
    assert files[names_path("a.mid")].startswith(page)
    assert len(second.events) == 2


def test_the_first_rule_reads_no_file_that_it_did_not_read() -> None:
    loose = PROGRAM_LATE.replace(b"\xc0\x05", b"\xc0\xf8")
    op = insert_note("a.mid", "y", C4)
    assert by_rule(1, {"a.mid": loose}, [op]) == {"a.mid": loose}
    assert by_rule(2, {"a.mid": loose}, [op]) != {"a.mid": loose}


def test_the_first_rule_knows_no_names_that_come_with_a_file() -> None:
    made = by_rule(2, {}, [insert_note("a.mid", "y", C4)])
    op: Any = insert_file("b.mid", made["a.mid"])
    op["names"] = made[names_path("a.mid")].decode()
    assert names_path("b.mid") not in by_rule(1, {}, [op])
    assert identified_notes(by_rule(2, {}, [op]), "b.mid") == {"y": (0, C4)}


@settings(max_examples=200, deadline=None)
@given(trees, st.lists(music_ops, max_size=8))
def test_what_the_first_rule_wrote_has_the_same_notes_by_the_next(files: Files, ops: Sequence[Any]) -> None:
    old = by_rule(1, files, ops)
    new = by_rule(2, files, ops)
    for path in old:
        if not path.startswith(".muse_notes/") and old[path] != b"not music":
            assert identified_notes(old, path) == identified_notes(new, path)


@settings(max_examples=200, deadline=None)
@given(trees, st.lists(music_ops, max_size=6), st.lists(music_ops, max_size=6), st.integers(0, 6))
def test_work_goes_on_where_the_first_rule_left_it_whenever_commits_happen(
    files: Files, old: Sequence[Any], ops: Sequence[Any], cut: int
) -> None:
    start = by_rule(1, files, old)
    assert by_rule(2, by_rule(2, start, ops[:cut]), ops[cut:]) == by_rule(2, start, ops)


def test_an_edit_of_an_old_file_can_be_undone() -> None:
    old = by_rule(1, {"a.mid": PROGRAM_LATE}, [insert_note("a.mid", "y", C4, track=1)])
    op = mutate_note("a.mid", "y", C4, velocity=3)
    now = by_rule(2, old, [op])
    outcome = MusicPlugin().undo(old, [op], no_store, [0], now)
    assert by_rule(2, now, [done.op for done in outcome.compensations])["a.mid"] == old["a.mid"]
