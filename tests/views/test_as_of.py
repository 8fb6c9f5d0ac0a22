"""A session as it was at a point."""

from pathlib import Path
from typing import Any

import pytest

from muse.core.entry import OpEntry
from muse.core.op_log import make_op_entry
from muse.errors import NotFoundError, UsageError
from muse.history.repository import Repository
from muse.plugins.music.identified_score import identified_notes
from muse.plugins.music.midi_file import Note
from muse.plugins.music.notes import insert_note, mutate_note
from muse.session.live import LiveSession
from muse.views.as_of import (
    named_op,
    read_session,
    state_at,
    up_to_lamport,
    up_to_op,
    up_to_time,
)

C4 = Note(60, 64, 0, 480)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    Repository.init(str(tmp_path), now="2026-01-02T03:04:05+00:00", any_domain=True)
    return tmp_path


def entry_at(lamport_ts: int, op: Any, created_at: str = "", actor: str = "ada") -> OpEntry:
    return {**make_op_entry(actor, "music", op, lamport_ts), "created_at": created_at}


def notes_at(root: Path, choose: Any, session_id: str = "jam") -> dict[str, int]:
    """The velocities of the notes, by name."""
    repository = Repository.open(str(root))
    state = state_at(repository, read_session(repository, session_id), choose)
    if "a.mid" not in state.files:
        return {}
    return {name: note.velocity for name, (_, note) in identified_notes(state.files, "a.mid").items()}


def test_the_state_at_an_op_has_all_ops_up_to_it(root: Path) -> None:
    with LiveSession(root, "jam") as session:
        entries = [
            session.edit("ada", "music", insert_note("a.mid", f"n{number}", C4)) for number in range(4)
        ]
        session.commit("Four")
        session.edit("ada", "music", mutate_note("a.mid", "n0", C4, velocity=1))
    for place, entry in enumerate(entries):
        assert list(notes_at(root, up_to_op(entry["op_id"]))) == [f"n{number}" for number in range(place + 1)]
    assert notes_at(root, up_to_lamport(99))["n0"] == 1
    assert notes_at(root, up_to_lamport(0)) == {}
    with pytest.raises(NotFoundError, match="has no op"):
        notes_at(root, up_to_op("ffffffff"))


def test_the_state_goes_by_the_total_order_and_not_by_that_of_the_log(root: Path) -> None:
    with LiveSession(root, "jam") as session:
        session.log.append(entry_at(5, insert_note("a.mid", "late", C4)))
        session.log.append(entry_at(2, insert_note("a.mid", "early", C4)))
    assert list(notes_at(root, up_to_lamport(2))) == ["early"]


def test_the_files_are_those_from_before_the_session_s_first_commit(root: Path) -> None:
    with LiveSession(root, "before") as session:
        session.edit("ada", "music", insert_note("a.mid", "x", C4))
        session.commit("Before")
    with LiveSession(root, "jam") as session:
        assert notes_at(root, up_to_lamport(9), "before") == {"x": 64}
        session.edit("bob", "music", insert_note("a.mid", "y", C4))
        assert notes_at(root, up_to_lamport(0), "before") == {}
        assert notes_at(root, up_to_lamport(0)) == {"x": 64}
        session.commit("One")
        session.edit("bob", "music", insert_note("a.mid", "z", C4))
        session.commit("Two")
    assert notes_at(root, up_to_lamport(0)) == {"x": 64}
    assert list(notes_at(root, up_to_lamport(1))) == ["x", "y"]


def test_the_state_at_a_time_has_what_each_author_s_clock_had_stamped_by_then(root: Path) -> None:
    times = [
        "2026-03-01T10:00:00+00:00",
        "no time",
        "2026-03-01T12:00:00.5+00:00",
        "2026-03-01T11:00:00+00:00",
    ]
    with LiveSession(root, "jam") as session:
        for number, created_at in enumerate(times, start=1):
            session.log.append(entry_at(number, insert_note("a.mid", f"n{number}", C4), created_at))
    assert list(notes_at(root, up_to_time("2026-03-01T09:59:59"))) == []
    assert list(notes_at(root, up_to_time("2026-03-01T11:30"))) == ["n1", "n2", "n4"]
    assert list(notes_at(root, up_to_time("2026-03-01T13:00:01+01:00"))) == ["n1", "n2", "n3", "n4"]
    with pytest.raises(UsageError, match="is no time"):
        up_to_time("yesterday")


def test_what_had_no_effect_and_domains_without_a_plugin_are_counted(root: Path) -> None:
    with LiveSession(root, "jam") as session:
        session.edit("ada", "music", mutate_note("a.mid", "gone", C4, velocity=1))
        session.edit("ada", "unknown", {"op": "insert"})
        session.edit("ada", "music", insert_note("a.mid", "x", C4))
        state = state_at(session.repository, read_session(session.repository, "jam"), up_to_lamport(9))
    assert (state.op_count, state.ignored, state.parts) == (3, 1, {"a.mid": 1})


def test_pending_are_the_ops_that_no_branch_holds(root: Path) -> None:
    with LiveSession(root, "jam") as session:
        session.edit("ada", "music", insert_note("a.mid", "x", C4))
        session.commit("One")
        entry = session.edit("ada", "music", insert_note("a.mid", "y", C4))
        assert read_session(session.repository, "jam").pending == [entry]


def test_the_first_commit_is_found_whichever_branch_is_looked_at_first(root: Path) -> None:
    with LiveSession(root, "jam") as session:
        session.edit("ada", "music", insert_note("a.mid", "x", C4))
        first = session.commit("One").commit_id
        session.edit("ada", "music", insert_note("a.mid", "y", C4))
        session.commit("Two")
    assert first is not None
    for branch in ("a-take", "z-take"):
        (root / ".muse" / "refs" / "heads" / branch).write_text(first)
        (root / ".muse" / "HEAD").write_text(f"ref: refs/heads/{branch}")
        assert notes_at(root, up_to_lamport(0)) == {}
        assert list(notes_at(root, up_to_lamport(9))) == ["x", "y"]


def test_an_op_is_named_by_the_start_of_its_id() -> None:
    ids = ["aaaa1111", "aaaa2222", "bbbb1111"]
    entries = [entry_at(1, insert_note("a.mid", "x", C4)) for _ in ids]
    for entry, op_id in zip(entries, ids, strict=True):
        entry["op_id"] = op_id
    assert named_op(entries, "bbbb") == named_op(entries, "bbbb1111") == "bbbb1111"
    for name, held in (("aaaa", "2 ops"), ("cccc", "no op")):
        with pytest.raises(NotFoundError, match=f"session 'jam' has {held}.*'{name}'"):
            named_op(entries, name, "jam")
    for name in ("bbb", "", "BBBB", "nothing", "bbbb" * 10):
        with pytest.raises(
            UsageError, match=f"'{name}' is not an op id.* its first 4 digits; 'muse session tail"
        ):
            named_op(entries, name)
