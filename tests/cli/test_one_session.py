"""An op is in one session of a repository: an append or a merge of a file brings it into no second one."""

import json
from pathlib import Path

import pytest

from muse.checks.replay import replay_commits
from muse.core.line import encode_line
from muse.core.op_log import OpLog, make_op_entry
from muse.history.repository import Repository
from muse.session.live import LiveSession
from muse.session.policy import Policy, write_policy
from muse.upkeep.archive import archive_session
from tests.samples.muse_command import Muse, make_muse
from tests.samples.replicas import DOMAIN, make_origin


@pytest.fixture
def here(tmp_path: Path) -> Path:
    return make_origin(tmp_path / "here")


@pytest.fixture
def muse(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], here: Path) -> Muse:
    return make_muse(monkeypatch, capsys, here)


OWN, MOVED = make_op_entry("bob", DOMAIN, {"n": 1}, 1), make_op_entry("ada", DOMAIN, {"n": 2}, 2)
LINES = encode_line(OWN) + encode_line(MOVED)


def put_into(root: Path, session: str) -> None:
    with OpLog(root, session) as log:
        log.append(MOVED)


@pytest.mark.parametrize("guarded", [False, True])
@pytest.mark.parametrize("archived", [False, True])
def test_an_append_refuses_what_another_session_holds(
    muse: Muse, here: Path, *, guarded: bool, archived: bool
) -> None:
    put_into(here, "first")
    if archived:
        archive_session(here, "first", abandon_pending=True)
    if guarded:
        write_policy(str(here), "second", Policy("propose", "report"))
    ran = muse("session", "append", "second", stdin=LINES)
    assert ran.status == 2
    assert f"line 2: op {MOVED['op_id']}: session 'first' of this repository holds it" in ran.err
    with OpLog(here, "second") as log:
        assert log.read_all() == [OWN]


def test_what_its_own_session_holds_is_known(muse: Muse, here: Path) -> None:
    put_into(here, "first")
    ran = muse("session", "append", "first", "--json", stdin=LINES)
    assert (ran.record["stored"], ran.record["known"]) == (1, 1)


def test_a_merge_of_a_file_refuses_what_another_session_holds(muse: Muse, here: Path, tmp_path: Path) -> None:
    put_into(here, "first")
    (tmp_path / "ops.jsonl").write_bytes(LINES)
    ran = muse("session", "merge", "second", "../ops.jsonl")
    assert ran.status == 1
    assert "1 added, 0 known, 0 held, 0 in conflict, 1 refused" in ran.out
    assert f"op {MOVED['op_id']}: session 'first' of this repository holds it" in ran.out
    with OpLog(here, "second") as log:
        assert log.read_all() == [OWN]


def test_a_commit_names_what_it_leaves_out_as_another_session_has_it(muse: Muse, here: Path) -> None:
    for session in ("first", "second"):
        put_into(here, session)
        ran = muse("commit", session, "-m", session)
        assert ran.status == 0
    said = f"left out: op {MOVED['op_id']}: session 'first' of this repository holds it"
    assert said in ran.out
    assert "Nothing to commit" in ran.out
    ran = muse("commit", "second", "-m", "Again", "--json")
    assert ran.record["left_out"] == []


def test_an_op_that_two_sessions_brought_into_one_line_is_named(
    muse: Muse, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("muse.session.live.held_by_others", lambda *_: {})  # as earlier versions committed
    put_into(here, "first")
    put_into(here, "second")
    for session in ("first", "second"):
        with LiveSession(here, session) as live:
            live.commit(session)
    repository = Repository.open(str(here))
    [finding] = replay_commits(repository).findings
    assert f"commits/{repository.dag.head('main')}.json covers ops that its ancestor" in finding.message
    assert "as session 'first' holds them too" in finding.message
    ran = muse("verify", "--replay", "--json")
    assert ran.status == 1
    assert "as session 'first' holds them too" in json.dumps(ran.records)
