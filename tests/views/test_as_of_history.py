"""What a session shows of a moment, and what it can undo, is what history has: two sessions, stragglers."""

from pathlib import Path

import pytest

from muse.core.op_log import make_op_entry
from muse.history.repository import Repository, TreeFiles
from muse.plugins.music.midi_file import Note
from muse.plugins.music.notes import insert_note, mutate_note
from muse.session.live import LiveSession
from muse.views.as_of import read_session, state_at, up_to_op
from muse.views.blame import blame_file
from muse.views.undo import UndoOutcome, by_op, undo

NOW = "2026-01-02T03:04:05+00:00"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    Repository.init(str(tmp_path), now=NOW)
    return tmp_path


def note(pitch: int, velocity: int = 80) -> Note:
    return Note(pitch=pitch, velocity=velocity, start_tick=0, duration_ticks=480)


def shown(root: Path, session_id: str, op_id: str) -> dict[str, bytes]:
    repository = Repository.open(str(root))
    return dict(state_at(repository, read_session(repository, session_id), up_to_op(op_id)).files)


def in_history(root: Path, commit_id: str | None) -> dict[str, bytes]:
    repository = Repository.open(str(root))
    return dict(TreeFiles(repository, repository.read_tree(commit_id)))


def undone(root: Path, session_id: str, op_id: str) -> UndoOutcome:
    with LiveSession(root, session_id) as session:
        return undo(session, by_op([op_id]), "me")


def test_a_session_is_shown_and_undone_on_what_another_session_committed(root: Path) -> None:
    with LiveSession(root, "one") as one, LiveSession(root, "two") as two:
        one.edit("ada", "music", insert_note("a.mid", "n1", note(60)))
        first = one.commit("One").commit_id
        shared = two.edit("bob", "music", insert_note("b.mid", "m1", note(70)))["op_id"]
        two.commit("Two")
        louder = one.edit("ada", "music", mutate_note("b.mid", "m1", note(70), velocity=100))["op_id"]
        third = one.commit("Three").commit_id
        second_note = one.edit("ada", "music", insert_note("b.mid", "m2", note(72)))["op_id"]
        fourth = one.commit("Four").commit_id
    assert shown(root, "one", louder) == in_history(root, third)
    assert shown(root, "one", second_note) == in_history(root, fourth) != in_history(root, first)
    for op_id in (louder, second_note):
        outcome = undone(root, "one", op_id)
        assert (outcome.undone, outcome.left) == ([op_id], [])
    with LiveSession(root, "one") as one:
        commit_id = one.commit("Undone").commit_id
    repository = Repository.open(str(root))
    (part,) = blame_file(repository, "b.mid", str(commit_id)).parts
    assert (part.made.op_id, "v80" in part.summary) == (shared, True)


def test_a_session_whose_commits_are_a_straggler_apart_is_shown_and_undone_as_committed(root: Path) -> None:
    with LiveSession(root, "jam") as jam:
        jam.edit("ada", "music", insert_note("a.mid", "n1", note(60)))
        jam.edit("ada", "music", insert_note("a.mid", "n2", note(70)))
        louder = jam.edit("ada", "music", mutate_note("a.mid", "n1", note(60), velocity=100))["op_id"]
        jam.commit("One")
        straggler = make_op_entry("bob", "music", mutate_note("a.mid", "n1", note(60), velocity=40), 2)
        jam.log.append(straggler)
        second = jam.commit("Two").commit_id
    assert shown(root, "jam", louder) == in_history(root, second)  # it comes last in the total order alone
    standing = undone(root, "jam", straggler["op_id"])
    assert (standing.undone, standing.left) == ([straggler["op_id"]], [])
    with LiveSession(root, "jam") as jam:
        commit_id = jam.commit("Undone").commit_id
    repository = Repository.open(str(root))
    parts = blame_file(repository, "a.mid", str(commit_id)).parts
    assert any("v100" in part.summary for part in parts)
