"""An op that two sessions got takes effect once: the second leaves it out of its commit, and says so."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from muse.checks.verify import verify_repository
from muse.core.entry import OpEntry
from muse.core.op_log import OpLog, make_op_entry
from muse.history.repository import Repository
from muse.plugins.music.midi_file import Note
from muse.plugins.music.notes import insert_note
from muse.session.commit import CommitOutcome
from muse.session.live import LiveSession
from tests.samples.replicas import make_origin, make_replica, pull_from


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_origin(tmp_path / "here")


def note(number: int) -> OpEntry:
    op = insert_note("song.mid", f"n{number}", Note(60 + number, 90, 480 * number, 240))
    return make_op_entry("ada", "music", op, number + 1)


def put(root: Path, session_id: str, *entries: OpEntry) -> None:
    with OpLog(root, session_id) as log:
        log.append_many(entries)


def commit_of(root: Path, session_id: str) -> CommitOutcome:
    with LiveSession(root, session_id) as live:
        return live.commit(session_id)


def findings_of(root: Path) -> list[str]:
    return [finding.message for finding in verify_repository(str(root), replay=True).findings]


def test_an_op_that_another_session_has_in_history_is_left_out_of_a_commit(root: Path) -> None:
    one, two, three = map(note, (1, 2, 3))
    put(root, "first", one, two)
    put(root, "second", two, three)
    commit_of(root, "first")
    outcome = commit_of(root, "second")
    assert outcome.op_count == 1
    assert outcome.left_out == {two["op_id"]: "first"}
    assert outcome.as_record()["left_out"] == [
        {
            "op_id": two["op_id"],
            "reason": "session 'first' of this repository holds it: it would come into history twice",
        }
    ]
    assert outcome.ignored == ()
    assert findings_of(root) == []
    assert commit_of(root, "second") == CommitOutcome()
    with OpLog(root, "second") as log:
        assert log.replay_since_checkpoint() == []


def test_a_commit_of_nothing_but_what_another_session_has_makes_nothing_and_says_so(root: Path) -> None:
    one = note(1)
    put(root, "first", one)
    put(root, "second", one)
    made = commit_of(root, "first")
    outcome = commit_of(root, "second")
    assert (outcome.commit_ids, outcome.left_out) == ((), {one["op_id"]: "first"})
    assert Repository.open(str(root)).dag.head("main") == made.commit_id
    assert findings_of(root) == []
    assert commit_of(root, "second") == CommitOutcome()
    with LiveSession(root, "second") as live:
        live.recover()
    assert commit_of(root, "second").left_out == {one["op_id"]: "first"}  # the commits alone do not tell it
    put(root, "second", note(2))
    assert commit_of(root, "second").op_count == 1
    assert findings_of(root) == []


def test_of_two_commits_at_once_of_one_op_in_two_sessions_one_leaves_it_out(root: Path) -> None:
    one, two = note(1), note(2)
    put(root, "first", one)
    put(root, "second", one, two)

    class Overtaken(LiveSession):
        def _held_by_others(self, head: str | None, entries: Sequence[OpEntry]) -> dict[str, str]:
            found = super()._held_by_others(head, entries)
            if head is None:
                commit_of(root, "first")
            return found

    with Overtaken(root, "second") as live:
        outcome = live.commit("second")
    assert (outcome.op_count, outcome.left_out) == (1, {one["op_id"]: "first"})
    assert findings_of(root) == []


def test_an_op_that_two_sessions_brought_on_two_lines_takes_effect_once(root: Path, tmp_path: Path) -> None:
    zero, one = note(0), note(1)
    put(root, "first", zero)
    commit_of(root, "first")
    other = make_replica(root, tmp_path / "other")
    put(root, "first", one)
    commit_of(root, "first")
    put(other, "second", one)
    commit_of(other, "second")
    assert pull_from(root, other).transfers[0].result == "merged"
    record = Repository.open(str(root)).dag.read_commit(Repository.open(str(root)).dag.head("main") or "")
    assert "\nMuse-Op-Count: 1\n" in record["message"]
    assert findings_of(root) == []
    assert pull_from(other, root).transfers[0].result == "fast-forward"
    put(other, "third", one)
    assert commit_of(other, "third").left_out.keys() == {one["op_id"]}
    assert findings_of(other) == []
