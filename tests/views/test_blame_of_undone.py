"""Blame of what an undoing brought back, pending or committed: it is the work of those whose it was."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from muse.history.repository import Repository
from muse.plugins.music.midi_file import Note
from muse.plugins.music.notes import delete_file, delete_note, insert_note, replace_note
from muse.session.live import LiveSession
from muse.session.text_replica import CodeReplica
from muse.views.blame import blame_file, blame_newest
from muse.views.undo import by_actor, by_intent, undo

Between = Callable[[LiveSession], None]
C4, D4, E4 = Note(60, 64, 0, 480), Note(62, 64, 480, 480), Note(64, 64, 480, 480)


@pytest.fixture
def session(tmp_path: Path) -> Iterator[LiveSession]:
    Repository.init(str(tmp_path / "one"))
    with LiveSession(tmp_path / "one", "jam") as session:
        yield session


def keep_pending(_session: LiveSession) -> None:
    """Commit nothing between two steps."""


def commit(session: LiveSession) -> None:
    """Commit between two steps."""
    session.commit("So far")


both_ways = pytest.mark.parametrize("between", [keep_pending, commit])


def replica(session: LiveSession, actor: str) -> CodeReplica:
    return CodeReplica(session, session.log, actor)


def blamed(session: LiveSession, path: str = "n.txt") -> dict[str, tuple[str, str]]:
    """Who made each part and who changed it last: the same for pending work as once it is committed."""
    repository = session.repository
    newest = blame_newest(repository, path, "jam")
    session.commit("All")
    head = repository.dag.resolve("HEAD")
    found = [
        [(part.summary, part.made.actor_id, part.changed.actor_id) for part in blame.parts]
        for blame in (newest, blame_file(repository, path, head))
    ]
    assert found[0] == found[1]
    assert all(part.made.commit_id for part in blame_file(repository, path, head).parts)
    return {summary: (made, changed) for summary, made, changed in found[0]}


@both_ways
def test_a_line_that_was_removed_and_came_back_is_its_writer_s(
    session: LiveSession, between: Between
) -> None:
    replica(session, "ada").create("n.txt", "one\ntwo\nthree\n")
    between(session)
    replica(session, "cyd").insert("n.txt", 7, " by cyd")
    between(session)
    replica(session, "bob").delete("n.txt", 4, 11)
    between(session)
    undo(session, by_actor("bob"), "eve")
    assert blamed(session) == {
        "one": ("ada", "ada"),
        "two by cyd": ("ada", "cyd"),
        "three": ("ada", "ada"),
    }


@both_ways
def test_a_line_that_is_as_it_was_is_its_writer_s_again(session: LiveSession, between: Between) -> None:
    replica(session, "ada").create("n.txt", "one two three\n")
    between(session)
    replica(session, "bob").replace("n.txt", 4, 3, "2")
    replica(session, "bob").insert("n.txt", 0, "so: ")
    between(session)
    undo(session, by_actor("bob"), "eve")
    assert blamed(session) == {"one two three": ("ada", "ada")}


@both_ways
def test_an_undoing_that_was_undone_leaves_the_work_to_its_makers(
    session: LiveSession, between: Between
) -> None:
    replica(session, "ada").create("n.txt", "one\n")
    between(session)
    replica(session, "bob").insert("n.txt", 4, "by bob\n")
    between(session)
    first = undo(session, by_actor("bob"), "eve")
    between(session)
    undo(session, by_intent(first.intent_id), "eve")
    assert blamed(session) == {"one": ("ada", "ada"), "by bob": ("bob", "bob")}


@both_ways
def test_a_line_that_was_changed_after_it_came_back(session: LiveSession, between: Between) -> None:
    replica(session, "ada").create("n.txt", "one\ntwo\nthree\n")
    between(session)
    replica(session, "bob").delete("n.txt", 4, 4)
    between(session)
    undo(session, by_actor("bob"), "eve")
    between(session)
    replica(session, "cyd").insert("n.txt", 7, " and more")
    assert blamed(session)["two and more"] == ("ada", "cyd")


@both_ways
def test_a_line_with_what_others_wrote_meanwhile_names_the_undoing(
    session: LiveSession, between: Between
) -> None:
    replica(session, "ada").create("n.txt", "one two\n")
    between(session)
    replica(session, "bob").delete("n.txt", 0, 4)
    replica(session, "cyd").insert("n.txt", 3, " more")
    between(session)
    undo(session, by_actor("bob"), "eve")
    assert blamed(session) == {"one two more": ("ada", "eve")}


@both_ways
def test_equal_lines_are_told_apart_by_what_is_around_them(session: LiveSession, between: Between) -> None:
    replica(session, "ada").create("n.txt", "a {\n}\n")
    between(session)
    replica(session, "cyd").insert("n.txt", 6, "c {\n}\n")
    between(session)
    replica(session, "bob").delete("n.txt", 6, 6)
    between(session)
    undo(session, by_actor("bob"), "eve")
    parts = blame_newest(session.repository, "n.txt", "jam").parts
    assert [part.made.actor_id for part in parts] == ["ada", "ada", "cyd", "cyd"]


@both_ways
def test_a_note_that_was_deleted_and_came_back_is_its_maker_s(session: LiveSession, between: Between) -> None:
    session.edit("ada", "music", insert_note("a.mid", "c", C4))
    session.edit("ada", "music", insert_note("a.mid", "d", D4))
    between(session)
    session.edit("cyd", "music", replace_note("a.mid", "d", D4, E4))
    between(session)
    session.edit("bob", "music", delete_note("a.mid", "c", C4))
    session.edit("bob", "music", replace_note("a.mid", "d", E4, C4))
    between(session)
    undo(session, by_actor("bob"), "eve")
    assert [*blamed(session, "a.mid").values()] == [("ada", "ada"), ("ada", "cyd")]


@both_ways
def test_the_notes_of_a_file_that_came_back_are_their_makers(session: LiveSession, between: Between) -> None:
    session.edit("ada", "music", insert_note("a.mid", "c", C4))
    between(session)
    session.edit("cyd", "music", insert_note("a.mid", "d", D4))
    between(session)
    session.edit("bob", "music", delete_file("a.mid", b""))
    between(session)
    undo(session, by_actor("bob"), "eve")
    assert [*blamed(session, "a.mid").values()] == [("ada", "ada"), ("cyd", "cyd")]


def test_what_is_in_no_commit_has_a_maker_without_one(session: LiveSession) -> None:
    replica(session, "ada").create("n.txt", "one\n")
    session.commit("One")
    replica(session, "bob").insert("n.txt", 4, "two\n")
    one, two = blame_newest(session.repository, "n.txt", "jam").parts
    assert (one.made.actor_id, bool(one.made.commit_id)) == ("ada", True)
    assert (two.made.actor_id, two.made.commit_id, two.made.session_id) == ("bob", "", "jam")
    assert two.made.op_id == session.log.read_all()[-1]["op_id"]
