"""`muse session sync`, `muse pull`, `muse push`, `muse clone`: what they print, and their exit status."""

import json
import os
from pathlib import Path

import pytest

from muse.plugins.music.midi_file import Note
from muse.plugins.music.notes import insert_note
from muse.session.live import LiveSession
from muse.upkeep.archive import archive_session
from tests.samples.muse_command import Muse, make_muse, run_muse
from tests.samples.replicas import commit, log_of, make_origin, make_replica, write


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path]:
    first = make_origin(tmp_path / "first")
    write(first, "jam", 1, 2)
    commit(first)
    return first, make_replica(first, tmp_path / "second")


@pytest.fixture
def muse(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], two: tuple[Path, Path]) -> Muse:
    return make_muse(monkeypatch, capsys, two[0])


def test_a_sync_says_for_each_session_what_went_where(two: tuple[Path, Path], muse: Muse) -> None:
    write(two[0], "jam", 3)
    write(two[1], "solo", 4, 5)
    ran = muse("session", "sync", "../second")
    assert ran.status == 0
    heading, jam, solo, traffic = ran.out.splitlines()
    assert heading.split() == ["SESSION", "SENT", "RECEIVED", "KNOWN", "HELD", "IN", "CONFLICT", "REFUSED"]
    assert jam.split() == ["jam", "1", "0", "0", "0", "0", "0"]
    assert solo.split() == ["solo", "0", "2", "0", "0", "0", "0"]
    assert "round trips" in traffic
    assert log_of(two[0], "solo") == log_of(two[1], "solo")


def test_a_sync_tells_programs_what_went_over_the_wire(two: tuple[Path, Path], muse: Muse) -> None:
    write(two[0], "jam", 3)
    session, total = muse("session", "sync", "../second", "jam", "--json").records
    assert session == {
        "session_id": "jam",
        "sent": 1,
        "received": 0,
        "known": 0,
        "held": 0,
        "conflicts": 0,
        "refused": 0,
        "reasons": [],
        "faults": [],
    }
    assert total["sessions"] == 1
    assert total["traffic"]["round_trips"] > 2
    assert total["traffic"]["sent_bytes"] > 300


def test_what_cannot_be_moved_is_a_finding_and_the_rest_is_moved(two: tuple[Path, Path], muse: Muse) -> None:
    archive_session(str(two[1]), "jam")
    write(two[0], "jam", 3)
    write(two[0], "solo", 4)
    ran = muse("session", "sync", "../second")
    assert ran.status == 1
    assert "muse session restore jam" in ran.out
    assert ran.err == "muse: what could be moved was, but not all ops of session jam: the output says why\n"
    assert len(log_of(two[1], "solo")) == 1


def test_clone_edit_push_and_pull_as_people_do_them(two: tuple[Path, Path], tmp_path: Path) -> None:
    ran = run_muse("clone", "first", "third", cwd=tmp_path)
    assert (ran.status, ran.err) == (0, "")
    assert ran.out.startswith(f"A replica of {tmp_path / 'first'} is in {tmp_path / 'third'}\n")
    third = tmp_path / "third"
    write(third, "jam", 3)
    made = commit(third)
    ran = run_muse("push", "../first", cwd=third)
    assert ran.status == 0
    assert f"Branch main is moved on, with 1 commit, to {made[:12]}." in ran.out
    ran = run_muse("pull", "../first", "--json", cwd=two[1])
    (branch,) = ran.record["branches"]
    assert (branch["result"], branch["commits"], branch["after"]) == ("fast-forward", 1, made)
    assert "up to date" in run_muse("pull", "../first", cwd=two[1]).out
    assert run_muse("verify", cwd=two[1]).status == 0


def test_the_log_of_a_merge_names_each_commit_before_those_it_builds_on(
    two: tuple[Path, Path], muse: Muse
) -> None:
    base = muse("log", "--json").records[0]["commit_id"]
    made = []
    for root, number in zip(two, (3, 4), strict=True):
        write(root, "jam", number)
        made.append(commit(root))
    assert muse("pull", "../second").status == 0
    found = [record["commit_id"] for record in muse("log", "--json").records]
    assert set(found[1:3]) == set(made)
    assert found[3:] == [base]


def test_a_push_that_would_hide_commits_says_what_to_do(two: tuple[Path, Path], muse: Muse) -> None:
    for root, number in zip(two, (3, 4), strict=True):
        write(root, "jam", number)
        commit(root)
    ran = muse("push", "../second")
    assert ran.status == 1
    assert ran.complaint == "branch 'main' has commits there that are not here: run 'muse pull' first"


@pytest.mark.parametrize("command", [("session", "sync"), ("pull",), ("push",)])
def test_a_path_that_is_no_other_replica_is_misuse(
    two: tuple[Path, Path], muse: Muse, tmp_path: Path, command: tuple[str, ...]
) -> None:
    make_origin(tmp_path / "other")
    (tmp_path / "empty").mkdir()
    link = tmp_path / "link"
    link.symlink_to(two[0])
    for path, reason in [
        ("../nowhere", "is not a Muse repository"),
        ("../empty", "is not a Muse repository"),
        (".", "is this repository itself"),
        ("../link", "is this repository itself"),
        ("../other", "the repositories are unrelated"),
    ]:
        ran = muse(*command, path)
        assert ran.status == 2
        assert reason in ran.complaint


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read what modes forbid")
def test_a_path_that_may_not_be_read_says_so(two: tuple[Path, Path], muse: Muse) -> None:
    (two[1] / ".muse").chmod(0)
    try:
        ran = muse("pull", "../second")
    finally:
        (two[1] / ".muse").chmod(0o755)
    assert ran.status == 1
    assert "permission denied" in ran.complaint


def test_files_changed_by_hand_are_named_and_the_branch_stands(two: tuple[Path, Path], muse: Muse) -> None:
    with LiveSession(two[1], "jam") as session:
        session.edit("bob", "music", insert_note("song.mid", "first", Note(60, 80, 0, 480)))
        made = session.commit("A note").commit_id
    (two[0] / "song.mid").write_text("mine")
    ran = muse("pull", "../second", "--json")
    assert ran.status == 1
    assert ran.record["branches"][0]["after"] == made
    error = json.loads(ran.err)["error"]
    assert (error["kind"], error["paths"]) == ("ChangedFilesError", ["song.mid"])
    assert (two[0] / "song.mid").read_text() == "mine"


def test_a_clone_goes_to_a_new_place_only(muse: Muse, tmp_path: Path) -> None:
    make_origin(tmp_path / "other")
    for target, reason in [
        (".", "is this repository itself"),
        ("../other", "is another repository"),
        ("..", "is in the way"),
    ]:
        ran = muse("clone", ".", target)
        assert ran.status == 2
        assert reason in ran.complaint
    assert muse("clone", "../second", "../third").status == 0
    assert muse("clone", "../second", "../third").status == 0
