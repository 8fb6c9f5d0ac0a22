"""Taking back ops of a session, with other ops."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from muse.core.entry import OpEntry
from muse.core.op_log import make_op_entry
from muse.disk import layout
from muse.errors import NotFoundError, UsageError
from muse.history.repository import Repository, TreeFiles
from muse.plugins.music.identified_score import identified_notes
from muse.plugins.music.midi_file import Note
from muse.plugins.music.notes import (
    delete_file,
    insert_file,
    insert_note,
    move_note,
    mutate_note,
    one_patch,
)
from muse.session.live import LiveSession
from muse.views.undo import by_actor, by_intent, by_op, named_ops, undo
from tests.samples.muse_command import COMMAND

C4 = Note(60, 64, 0, 480)


@pytest.fixture
def session(tmp_path: Path) -> Iterator[LiveSession]:
    """A session in which ada put in a note, bob made it louder, and ada put in another."""
    Repository.init(str(tmp_path), now="2026-01-02T03:04:05+00:00", any_domain=True)
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
    assert session.repository.read_tree(session.commit("So far").commit_ids[-1]) == {}


def test_the_undoing_can_be_undone_in_turn(session: LiveSession) -> None:
    first = undo(session, by_intent("louder"), "eve")
    second = undo(session, by_intent(first.intent_id), "eve")
    assert second.undone == [entry["op_id"] for entry in first.entries]
    assert notes(session) == {"x": 100, "y": 64}
    undo(session, by_intent(second.intent_id), "eve")
    assert notes(session) == {"x": 64, "y": 64}


def test_what_was_undone_and_brought_back_can_be_undone_anew(session: LiveSession) -> None:
    wanted = by_intent("more")
    first = undo(session, wanted, "eve")
    back = undo(session, by_intent(first.intent_id), "eve")
    third = undo(session, wanted, "eve")
    assert (third.undone, third.left) == (first.undone, [])
    assert notes(session) == {"x": 100}
    again = undo(session, wanted, "eve")
    assert [left.reason for left in again.left] == ["it is undone already"]
    assert undo(session, by_intent(back.intent_id), "eve").left[0].because == third.entries[0]


def test_each_undoing_has_an_intent_of_its_own(session: LiveSession) -> None:
    wanted = by_intent("louder")
    first = undo(session, wanted, "eve")
    back = undo(session, by_intent(first.intent_id), "eve")
    again = undo(session, wanted, "eve")
    and_back = undo(session, by_intent(first.intent_id), "eve")
    assert len({first.intent_id, back.intent_id, again.intent_id, and_back.intent_id}) == 4
    assert undo(session, by_intent(again.intent_id), "eve").undone == [again.entries[0]["op_id"]]


def test_an_undoing_of_the_rest_once_it_is_free_has_an_intent_of_its_own(session: LiveSession) -> None:
    first = undo(session, by_actor("ada"), "eve")
    undo(session, by_actor("bob"), "eve")
    rest = undo(session, by_actor("ada"), "eve")
    assert first.entries
    assert rest.entries
    assert first.intent_id != rest.intent_id


def test_an_undoing_that_was_stopped_goes_on_under_its_intent(
    session: LiveSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    session.edit("bob", "music", insert_note("b.mid", "z", C4), intent_id="louder")
    edit, done = session.edit, list[OpEntry]()

    def stop_after_one(*arguments: Any, **named: Any) -> Any:
        if done:
            raise KeyboardInterrupt
        done.append(edit(*arguments, **named))
        return done[0]

    with monkeypatch.context() as patched:
        patched.setattr(session, "edit", stop_after_one)
        with pytest.raises(KeyboardInterrupt):
            undo(session, by_intent("louder"), "eve")
    session.edit("ada", "music", insert_note("a.mid", "w", C4))
    rest = undo(session, by_intent("louder"), "eve")
    assert [len(rest.entries), len(rest.left)] == [1, 1]
    assert rest.intent_id == done[0]["intent_id"]
    assert len(undo(session, by_intent(rest.intent_id), "eve").undone) == 2


def test_what_is_undone_already_is_not_undone_again(session: LiveSession) -> None:
    undo(session, by_intent("louder"), "eve")
    again = undo(session, by_intent("louder"), "eve")
    assert again.entries == []
    assert [left.reason for left in again.left] == ["it is undone already"]


def test_once_the_one_in_the_way_is_undone_the_rest_can_be(session: LiveSession) -> None:
    undo(session, by_actor("bob"), "eve")
    outcome = undo(session, by_actor("ada"), "eve")
    assert (len(outcome.undone), outcome.left) == (2, [])


def test_two_who_wrote_a_field_in_turn_take_it_all_back_in_turn(session: LiveSession) -> None:
    """The last value is by chance the first one: values alone do not tell what the undoings took back."""
    for actor, velocity in (("ada", 74), ("bob", 97), ("ada", 74)):
        session.edit(actor, "music", mutate_note("a.mid", "x", C4, velocity=velocity), intent_id="turn")
    turns = {actor: [e["op_id"] for e in by_turn(session, actor)] for actor in ("ada", "bob")}
    assert undo(session, by_op(turns["ada"]), "ada").undone == turns["ada"][1:]
    assert undo(session, by_op(turns["bob"]), "bob").undone == turns["bob"]
    last = undo(session, by_op(turns["ada"]), "ada")
    assert last.undone == turns["ada"][:1]
    assert [(left.op["op_id"], left.reason) for left in last.left] == [
        (turns["ada"][1], "it is undone already")
    ]
    assert notes(session) == {"x": 100, "y": 64}


def test_a_value_that_another_confirmed_can_go_once_the_confirming_is_undone(session: LiveSession) -> None:
    session.edit("eve", "music", mutate_note("a.mid", "x", C4, velocity=100))
    [left] = undo(session, by_actor("bob"), "bob").left
    assert left.because is not None
    assert left.because["actor_id"] == "eve"
    outcome = undo(session, by_actor("eve"), "eve")
    assert (outcome.undone, outcome.left) == ([left.because["op_id"]], [])
    assert undo(session, by_op(outcome.undone), "eve").left[0].reason == "it is undone already"
    assert undo(session, by_actor("bob"), "bob").left == []
    assert notes(session) == {"x": 64, "y": 64}


def by_turn(session: LiveSession, actor: str) -> list[OpEntry]:
    return [e for e in session.log.read_all() if (e["actor_id"], e["intent_id"]) == (actor, "turn")]


def test_what_another_session_changed_stays(session: LiveSession) -> None:
    session.commit("Jam")
    with LiveSession(session.repository.root, "other") as other:
        other.edit("eve", "music", mutate_note("a.mid", "x", C4, velocity=7))
        other.commit("Other")
    outcome = undo(session, by_intent("louder"), "eve")
    assert outcome.entries == []
    assert outcome.left[0].reason.startswith("it is otherwise in the files now")
    assert notes(session) == {"x": 7, "y": 64}


def before_the_first_new_op(
    session: LiveSession, monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]
) -> None:
    """Act once all is read and what to append is known, but nothing is appended yet."""
    edit, acts = session.edit, [act]

    def act_and_edit(*arguments: Any, **named: Any) -> OpEntry:
        if acts:
            acts.pop()()
        return edit(*arguments, **named)

    monkeypatch.setattr(session, "edit", act_and_edit)


def muse(session: LiveSession, *arguments: str, stdin: str = "") -> None:
    """Run the command in a process of its own."""
    command = [*COMMAND, "--repo", session.repository.root, *arguments]
    subprocess.run(command, input=stdin, text=True, check=True, capture_output=True, timeout=60)


def test_what_another_process_writes_at_the_last_moment_stays_and_is_named(
    session: LiveSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = json.dumps(mutate_note("a.mid", "x", C4, velocity=3))

    def write() -> None:
        muse(session, "session", "append", "jam", "--actor", "zoe", "--domain", "music", stdin=late)

    before_the_first_new_op(session, monkeypatch, write)
    outcome = undo(session, by_intent("louder"), "eve")
    [left] = outcome.left
    assert left.because is not None
    assert (left.op["actor_id"], left.because["actor_id"], outcome.undone) == ("bob", "zoe", [])
    assert notes(session) == {"x": 3, "y": 64}


def test_what_was_overtaken_in_part_is_undone_in_the_rest(
    session: LiveSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    bright = mutate_note("a.mid", "y", C4, velocity=90, pitch=72)
    both = session.edit("kai", "music", one_patch("a.mid", [insert_note("a.mid", "z", C4), bright]))
    late = mutate_note("a.mid", "y", C4, velocity=3)
    before_the_first_new_op(session, monkeypatch, lambda: session.log.record("zoe", "music", late))
    outcome = undo(session, by_actor("kai"), "eve")
    assert [(left.address, left.reason) for left in outcome.left] == [
        ("a.mid/note/y", "the note's velocity was changed since")
    ]
    assert outcome.undone == [both["op_id"]]
    session.commit("So far")
    repository = session.repository
    files = TreeFiles(repository, repository.read_tree(repository.dag.head("main")))
    found = {name: note for name, (_, note) in identified_notes(files, "a.mid").items()}
    assert found == {"x": Note(60, 100, 0, 480), "y": Note(60, 3, 0, 480)}


def test_what_is_overtaken_time_and_again_is_left(
    session: LiveSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = mutate_note("a.mid", "y", C4, velocity=3)
    monkeypatch.setattr("muse.views.undo._ATTEMPTS", 1)
    before_the_first_new_op(session, monkeypatch, lambda: session.log.record("zoe", "music", late))
    outcome = undo(session, by_op([session.log.read_all()[2]["op_id"]]), "eve")
    assert outcome.undone == []
    assert "try again when it is quieter" in outcome.left[0].reason
    assert notes(session) == {"x": 100, "y": 3}


def test_what_another_session_commits_at_the_last_moment_stays(
    session: LiveSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    session.commit("Jam")
    with LiveSession(session.repository.root, "other") as other:
        other.edit("zoe", "music", mutate_note("a.mid", "x", C4, velocity=7))
    before_the_first_new_op(session, monkeypatch, lambda: muse(session, "commit", "other", "-m", "Other"))
    outcome = undo(session, by_intent("louder"), "eve")
    assert (len(outcome.left), outcome.undone) == (1, [])
    assert notes(session) == {"x": 7, "y": 64}


def test_what_arrives_later_with_an_older_stamp_is_not_reverted(session: LiveSession) -> None:
    [new] = undo(session, by_intent("louder"), "eve").entries
    late = make_op_entry("zoe", "music", mutate_note("a.mid", "x", C4, velocity=3), new["lamport_ts"] - 1)
    session.log.append(late)
    outcome = session.commit("All")
    assert [ignored.address for ignored in outcome.ignored] == ["a.mid/note/x"]
    assert notes(session) == {"x": 3, "y": 64}


def test_commits_of_the_session_wait_until_the_undoing_is_whole(
    session: LiveSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = session.repository.root
    command = [*COMMAND, "--repo", root, "commit", "jam", "-m", "Meanwhile"]
    committers: list[subprocess.Popen[bytes]] = []

    def commit() -> None:
        committers.append(subprocess.Popen(command, stdout=subprocess.DEVNULL))
        with session.repository.storage.locked(
            layout.session_commit_lock_file(root, "jam"), wait=False
        ) as taken:
            assert not taken

    before_the_first_new_op(session, monkeypatch, commit)
    outcome = undo(session, by_intent("louder"), "eve")
    assert (len(outcome.undone), outcome.left) == (1, [])
    assert committers[0].wait(60) == 0
    assert notes(session) == {"x": 64, "y": 64}


WRITER = """
import itertools, sys
from muse.core.op_log import OpLog
from muse.plugins.midi_file import Note
from muse.plugins.notes import insert_note, mutate_note
note = Note(60, 64, 0, 480)
with OpLog(sys.argv[1], "jam") as log:
    log.record("zoe", "music", insert_note("a.mid", "z", note))
    print("writing", flush=True)
    for number in itertools.count():
        log.record("zoe", "music", mutate_note("a.mid", "z", note, velocity=1 + number % 127))
"""


def test_a_session_in_which_others_never_pause_can_be_undone_in(session: LiveSession) -> None:
    command = [sys.executable, "-c", WRITER, session.repository.root]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        outcome = undo(session, by_intent("louder"), "eve")
        writer.kill()
    assert (len(outcome.undone), outcome.left) == (1, [])
    assert notes(session)["x"] == 64


def test_what_no_line_of_the_log_can_hold_is_left_and_named(session: LiveSession) -> None:
    big = bytes(1_000_000)
    session.repository.objects.put(big)
    session.edit("ada", "music", insert_file("big.bin", big, inline=False))
    session.edit("bob", "music", delete_file("big.bin", big), intent_id="away")
    outcome = undo(session, by_intent("away"), "eve")
    assert outcome.entries == []
    assert outcome.left[0].reason.startswith("the log refuses")


def test_a_domain_that_cannot_undo_says_so(session: LiveSession) -> None:
    session.log.record("ada", "no-such-domain", {"op": "insert", "address": "a"}, intent_id="i")
    [left] = undo(session, by_intent("i"), "eve").left
    assert (left.address, left.reason) == ("a", "the domain 'no-such-domain' cannot take ops back")


def test_nothing_meant_is_an_error_and_an_unknown_op_too(session: LiveSession) -> None:
    with pytest.raises(NotFoundError, match="no op of session 'jam' is meant: its ops are by ada, bob;"):
        undo(session, by_actor("nobody"), "eve")
    with pytest.raises(NotFoundError, match="session 'jam' has no op '0000': 'muse session tail jam --json'"):
        named_ops(session, ["0000"])
    with pytest.raises(UsageError, match=r"'abc' is not an op id: .*'muse session tail SESSION --json'"):
        named_ops(session, ["abc"])


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
