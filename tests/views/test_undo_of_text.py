"""Taking back ops of real sessions of text: pending, committed, of two branches that were merged."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from muse.history.repository import Repository, TreeFiles
from muse.replication.local_peer import LocalPeer
from muse.replication.transfer import clone, pull
from muse.session.live import LiveSession
from muse.session.text_replica import CodeReplica
from muse.upkeep.archive import archive_session
from muse.views.overlaps import session_overlaps
from muse.views.undo import UndoOutcome, by_actor, by_intent, undo


@pytest.fixture
def session(tmp_path: Path) -> Iterator[LiveSession]:
    """A session in which ada made a file and bob wrote in it."""
    Repository.init(str(tmp_path / "one"))
    with LiveSession(tmp_path / "one", "jam") as session:
        CodeReplica(session, session.log, "ada").create("n.txt", "one\ntwo\n")
        CodeReplica(session, session.log, "bob").insert("n.txt", 4, "and a half\n")
        yield session


def text(session: LiveSession, path: str = "n.txt") -> str | bytes:
    return CodeReplica(session, session.log, "reader").read(path)


def committed(session: LiveSession, path: str = "n.txt") -> str:
    session.commit("So far")
    repository = session.repository
    return TreeFiles(repository, repository.read_tree(repository.dag.head("main")))[path].decode()


@pytest.mark.parametrize("commits", [False, True])
def test_an_actor_is_undone_over_pending_and_committed_ops(session: LiveSession, *, commits: bool) -> None:
    if commits:
        session.commit("Before")
    outcome = undo(session, by_actor("ada"), "eve")
    assert text(session) == committed(session) == "and a half\n"
    assert [kept.because["actor_id"] for kept in outcome.kept if kept.because] == ["bob", "bob"]
    undo(session, by_intent(outcome.intent_id), "eve")
    assert committed(session) == "one\nand a half\ntwo\n"
    undo(session, by_actor("bob"), "eve")
    assert committed(session) == "one\ntwo\n"


def test_what_is_undone_at_the_start_of_a_line_stays_out_of_the_line_added_before_it(
    session: LiveSession,
) -> None:
    CodeReplica(session, session.log, "bob").replace("n.txt", 0, 3, "1")
    added = CodeReplica(session, session.log, "ada")
    added.insert("n.txt", 0, "more\n")
    added.insert("n.txt", 5, "and ")
    assert text(session) == "more\nand 1\nand a half\ntwo\n"
    undo(session, by_actor("bob"), "eve")
    assert text(session) == "more\nand one\ntwo\n"


def test_the_ops_of_an_undoing_name_what_they_undo_and_what_was_seen(session: LiveSession) -> None:
    made, added = session.log.read_all()
    outcome = undo(session, by_actor("ada"), "eve")
    assert outcome.undone == [made["op_id"]]
    assert {entry["intent_id"] for entry in outcome.entries} == {outcome.intent_id}
    assert all(entry["domain_op"]["undoes"] == outcome.undone for entry in outcome.entries)  # type: ignore[typeddict-item]
    assert set(outcome.entries[0]["parent_op_ids"]) == {made["op_id"], added["op_id"]}
    assert session_overlaps(session.repository, "jam") == []


def test_what_another_session_wrote_stays(session: LiveSession) -> None:
    session.commit("Before")
    root = session.repository.root
    with LiveSession(root, "other") as other:
        replica = CodeReplica(other, other.log, "zoe")
        replica.delete("n.txt", 0, 2)
        replica.insert("n.txt", 0, "none")
        other.commit("Other")
        undone = undo(other, by_actor("zoe"), "zoe")
        other.commit("Back")
        assert text(session) == "one\nand a half\ntwo\n"
        undo(other, by_intent(undone.intent_id), "zoe")
        other.commit("Again")
    archive_session(root, "other")
    undo(session, by_actor("ada"), "eve")
    assert committed(session) == "nonee\nand a half\n"


def test_ops_of_two_branches_that_were_merged_are_undone(session: LiveSession, tmp_path: Path) -> None:
    session.commit("Before")
    one, two = session.repository, tmp_path / "two"
    clone(LocalPeer(one.root), str(two))
    with LiveSession(two, "jam") as there:
        CodeReplica(there, there.log, "zoe").insert("n.txt", 0, "zero\n")
        there.commit("There")
    raw: Any = {"op": "replace", "address": "n.txt", "position": 0, "length": 3, "text": "1"}
    session.edit("ada", "code", raw)
    session.commit("Here")
    pull(LocalPeer(one.root), LocalPeer(str(two)))
    assert committed(session) == "zero\n1\nand a half\ntwo\n"
    outcome = undo(session, lambda entry: entry["actor_id"] == "zoe" or entry["domain_op"] == raw, "eve")
    assert (len(outcome.undone), outcome.left) == (2, [])
    assert committed(session) == "one\nand a half\ntwo\n"


def test_what_is_typed_while_an_undoing_is_made_stays(
    session: LiveSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = CodeReplica(session, session.log, "zoe")
    edit = session.edit

    def type_and_edit(*arguments: Any, **named: Any) -> Any:
        late.insert("n.txt", 7, "!")
        return edit(*arguments, **named)

    monkeypatch.setattr(session, "edit", type_and_edit)
    undo(session, by_actor("bob"), "eve")
    assert committed(session) == "one\n!two\n"


def test_a_dry_run_appends_nothing_and_says_what_would_be(session: LiveSession) -> None:
    before = session.log.read_all()
    outcome: UndoOutcome = undo(session, by_actor("bob"), "eve", dry_run=True)
    assert session.log.read_all() == before
    assert (outcome.undone, len(outcome.entries)) == ([before[1]["op_id"]], 1)
    assert outcome.before["n.txt"] == b"one\nand a half\ntwo\n"
    assert outcome.after["n.txt"] == b"one\ntwo\n"


def test_an_undoing_does_not_count_as_in_vain_once_all_is_undone(session: LiveSession) -> None:
    assert not undo(session, by_actor("bob"), "eve").is_in_vain
    again = undo(session, by_actor("bob"), "eve")
    assert (again.entries, again.is_in_vain) == ([], False)
    [left] = again.left
    assert (left.reason, left.is_undone) == ("it is undone already", True)


def test_text_replicas_that_are_open_show_an_undoing(session: LiveSession) -> None:
    reader = CodeReplica(session, session.log, "reader")
    undo(session, by_actor("bob"), "eve")
    reader.refresh()
    reader.insert("n.txt", 0, ">")
    assert committed(session) == ">one\ntwo\n" == reader.read("n.txt")


@pytest.mark.parametrize("commits", [False, True])
@pytest.mark.parametrize("deed", ["make", "remove"])
def test_a_name_that_another_file_got_by_what_is_undone_is_given_back(
    session: LiveSession, deed: str, *, commits: bool
) -> None:
    replicas = [CodeReplica(session, session.log, actor) for actor in ("bob", "ada")]
    for number, replica in enumerate(replicas):
        replica.create("f.txt", f"{number}\n")
    actor = "bob" if deed == "make" else "eve"
    if deed == "remove":
        CodeReplica(session, session.log, actor).remove("f.txt")
    if commits:
        session.commit("Before")

    outcome = undo(session, by_actor(actor), "lead")
    if deed == "make":
        outcome = undo(session, by_intent(outcome.intent_id), "lead")

    reader = CodeReplica(session, session.log, "reader")
    after = {path: reader.read(path) for path in reader.paths()}
    assert outcome.left == []
    assert after["f.txt"] == "0\n"
    assert sorted(after.values()) == ["0\n", "1\n", "one\nand a half\ntwo\n"]


def test_a_file_that_one_moved_comes_back_where_the_same_one_made_another(session: LiveSession) -> None:
    eve = CodeReplica(session, session.log, "eve")
    eve.move("n.txt", "m.txt")
    eve.create("n.txt", "of eve\n")

    outcome = undo(session, by_actor("eve"), "lead")

    assert outcome.left == []
    reader = CodeReplica(session, session.log, "reader")
    assert [(path, reader.read(path)) for path in reader.paths()] == [("n.txt", "one\nand a half\ntwo\n")]


@pytest.fixture
def partly(tmp_path: Path) -> Iterator[LiveSession]:
    """A session in which ada's file is undone but for a line that bob wrote in; then ada empties it."""
    Repository.init(str(tmp_path / "one"))
    with LiveSession(tmp_path / "one", "jam") as session:
        CodeReplica(session, session.log, "ada").create("n.txt", "line 1 a\nline 2 a\nline 3 a\n")
        CodeReplica(session, session.log, "bob").insert("n.txt", 17, " bob")
        undo(session, by_actor("ada"), "lead")
        assert text(session) == "line 2 a bob\n"
        yield session


@pytest.mark.parametrize("bob_types", ["", "bob7 "])
def test_undoing_an_undoing_brings_back_no_more_than_that_one_took(
    partly: LiveSession, bob_types: str
) -> None:
    ada, bob = (CodeReplica(partly, partly.log, actor) for actor in ("ada", "bob"))
    if bob_types:
        bob.insert("n.txt", 0, bob_types)
    ada.refresh()
    ada.delete("n.txt", len(bob_types), len("line 2 a bob\n"))
    assert text(partly) == bob_types

    outcome = undo(partly, by_actor("ada"), "lead")
    assert text(partly) == f"{bob_types}line 2 a bob\n"
    undo(partly, by_intent(outcome.intent_id), "lead")

    assert text(partly) == committed(partly) == bob_types


def test_what_is_undone_already_stays_so_though_it_is_older_than_all_that_is_to_be_undone(
    tmp_path: Path,
) -> None:
    Repository.init(str(tmp_path / "one"))
    with LiveSession(tmp_path / "one", "jam") as session:
        CodeReplica(session, session.log, "ada").create("n.txt", "one\ntwo\nthree\n")
        session.commit("Made")
        CodeReplica(session, session.log, "bob").delete("n.txt", 4, 4)
        undo(session, by_actor("ada"), "lead")
        assert CodeReplica(session, session.log, "reader").paths() == []

        undo(session, by_actor("bob"), "lead")

        assert CodeReplica(session, session.log, "reader").paths() == []
