"""Taking back ops of a session, with other ops."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from muse.errors import NotFoundError
from muse.plugins.identified_score import identified_notes
from muse.plugins.midi_file import Note
from muse.plugins.notes import delete_file, insert_file, insert_note, move_note, mutate_note
from muse.repository import Repository
from muse.session import LiveSession, TreeFiles
from muse.undo import by_actor, by_intent, by_op, check_named, undo

C4 = Note(60, 64, 0, 480)


@pytest.fixture
def session(tmp_path: Path) -> Iterator[LiveSession]:
    """A session in which ada put in a note, bob made it louder, and ada put in another."""
    Repository.init(str(tmp_path), now="2026-01-02T03:04:05+00:00")
    with LiveSession(tmp_path, "jam") as session:
        session.edit("ada", "music", insert_note("a.mid", "x", C4))
        session.edit("bob", "music", mutate_note("a.mid", "x", C4, velocity=100), intent_id="louder")
        session.edit("ada", "music", insert_note("a.mid", "y", C4), intent_id="more")
        yield session


def notes(session: LiveSession) -> dict[str, int]:
    """Commit, and tell the velocity of each note."""
    session.commit("So far")
    repository = session.repository
    files = TreeFiles(repository, repository.read_tree(repository.dag.head("main")))
    return {name: note.velocity for name, (_, note) in identified_notes(files, "a.mid").items()}


def test_undoing_an_intent_appends_ops_that_name_what_they_undo(session: LiveSession) -> None:
    outcome = undo(session, by_intent("louder"), "eve")
    [entry] = outcome.entries
    assert (entry["actor_id"], entry["intent_id"]) == ("eve", outcome.intent_id)
    assert entry["parent_op_ids"] == outcome.undone == [session.log.read_all()[1]["op_id"]]
    assert outcome.left == []
    assert notes(session) == {"x": 64, "y": 64}


@pytest.mark.parametrize("committed", [True, False])
def test_undoing_an_actor_leaves_what_others_changed_and_names_them(
    session: LiveSession, *, committed: bool
) -> None:
    if committed:
        session.commit("Before")
    outcome = undo(session, by_actor("ada"), "eve")
    [left] = outcome.left
    assert left.because is not None
    assert (left.op["actor_id"], left.address, left.because["actor_id"]) == ("ada", "a.mid/note/x", "bob")
    assert left.reason == "the note was changed since"
    assert notes(session) == {"x": 100}


def test_ops_are_undone_one_by_one_or_together(session: LiveSession) -> None:
    ids = [entry["op_id"] for entry in session.log.read_all()]
    assert undo(session, by_op([ids[2]]), "eve").undone == [ids[2]]
    assert undo(session, by_op(ids[:2]), "eve").undone == ids[:2]
    assert notes(session) == {}


def test_the_undoing_can_be_undone_in_turn(session: LiveSession) -> None:
    first = undo(session, by_intent("louder"), "eve")
    second = undo(session, by_intent(first.intent_id), "eve")
    assert second.undone == [entry["op_id"] for entry in first.entries]
    assert notes(session) == {"x": 100, "y": 64}
    undo(session, by_intent(second.intent_id), "eve")
    assert notes(session) == {"x": 64, "y": 64}


def test_what_is_undone_already_is_not_undone_again(session: LiveSession) -> None:
    undo(session, by_intent("louder"), "eve")
    again = undo(session, by_intent("louder"), "eve")
    assert again.entries == []
    assert [left.reason for left in again.left] == ["it is undone already"]


def test_once_the_one_in_the_way_is_undone_the_rest_can_be(session: LiveSession) -> None:
    undo(session, by_actor("bob"), "eve")
    outcome = undo(session, by_actor("ada"), "eve")
    assert (len(outcome.undone), outcome.left) == (2, [])


def test_what_another_session_changed_stays(session: LiveSession) -> None:
    session.commit("Jam")
    with LiveSession(session.repository.root, "other") as other:
        other.edit("eve", "music", mutate_note("a.mid", "x", C4, velocity=7))
        other.commit("Other")
    outcome = undo(session, by_intent("louder"), "eve")
    assert outcome.entries == []
    assert outcome.left[0].reason.startswith("it is otherwise in the files now")
    assert notes(session) == {"x": 7, "y": 64}


def test_an_op_that_comes_meanwhile_is_taken_into_account(
    session: LiveSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = [mutate_note("a.mid", "x", C4, velocity=3)]
    read = session.repository.read_tree

    def read_and_write(commit_id: str | None) -> dict[str, str]:
        if late:
            session.edit("zoe", "music", late.pop())
        return read(commit_id)

    monkeypatch.setattr(session.repository, "read_tree", read_and_write)
    outcome = undo(session, by_intent("louder"), "eve")
    assert [left.because["actor_id"] for left in outcome.left if left.because] == ["zoe"]


def test_what_no_line_of_the_log_can_hold_is_left_and_named(session: LiveSession) -> None:
    big = bytes(1_000_000)
    session.repository.objects.put(big)
    session.edit("ada", "music", insert_file("big.bin", big, inline=False))
    session.edit("bob", "music", delete_file("big.bin", big), intent_id="away")
    outcome = undo(session, by_intent("away"), "eve")
    assert outcome.entries == []
    assert outcome.left[0].reason.startswith("the log refuses")


def test_a_domain_that_cannot_undo_says_so(session: LiveSession) -> None:
    session.edit("ada", "no-such-domain", {"op": "insert", "address": "a"}, intent_id="i")
    [left] = undo(session, by_intent("i"), "eve").left
    assert (left.address, left.reason) == ("a", "the domain 'no-such-domain' cannot take ops back")


def test_nothing_meant_is_an_error_and_an_unknown_op_too(session: LiveSession) -> None:
    with pytest.raises(NotFoundError, match="no op of session 'jam' is meant"):
        undo(session, by_actor("nobody"), "eve")
    with pytest.raises(NotFoundError, match="has no op 'x'"):
        check_named(session, ["x"])


def test_many_actors_many_edits_and_one_is_undone(session: LiveSession) -> None:
    names = ("kai", "lea", "max")
    for number in range(60):
        actor: Any = names[number % 3]
        session.edit(actor, "music", insert_note("a.mid", f"{actor}-{number}", C4))
        session.edit(actor, "music", move_note("a.mid", f"{actor}-{number}", C4, number))
        if number % 20 == 0:
            session.commit("Meanwhile")
    outcome = undo(session, by_actor("lea"), "eve")
    assert (len(outcome.undone), outcome.left) == (40, [])
    assert {name.partition("-")[0] for name in notes(session)} == {"x", "y", "kai", "max"}
