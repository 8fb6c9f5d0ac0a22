"""A repository that an earlier build of ours made opens, verifies and goes on."""

import tarfile
from pathlib import Path

import pytest

from tests.samples.muse_command import Muse, make_muse
from tests.samples.project import TESTS

MADE_BY_0_1_0 = TESTS / "samples" / "older_build.tar.gz"
"""Music and text, a signed commit, a merge of two replicas, an undo, an archive and a proposal."""


@pytest.fixture
def muse(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Muse:
    with tarfile.open(MADE_BY_0_1_0) as archive:
        archive.extractall(tmp_path, filter="data")
    return make_muse(monkeypatch, capsys, tmp_path)


def unsigned_after_signed(muse: Muse) -> int:
    """The number of faults that `verify` finds, all of them of one kind that is in the sample on purpose."""
    findings = muse("verify", "--replay", "--json").record["findings"]
    assert {finding["kind"] for finding in findings} == {"signature"}
    return len(findings)


def test_an_older_repository_is_found_sound(muse: Muse) -> None:
    assert unsigned_after_signed(muse) == 4
    assert "9 commits of 16 ops" in muse("verify", "--replay").out


def test_an_older_repository_shows_its_sessions_and_who_made_what(muse: Muse) -> None:
    assert [row["session_id"] for row in muse("session", "list", "--json").records] == ["code", "done", "jam"]
    blamed = muse("blame", "a.txt", "--json").records
    assert [(part["made"]["actor_id"], part["changed"]["actor_id"]) for part in blamed][2] == ("ada", "bob")
    assert muse("session", "check", "jam").status == 0


def test_work_goes_on_in_an_older_repository(muse: Muse, tmp_path: Path) -> None:
    (proposal,) = muse("session", "proposals", "code", "--json").records
    assert muse("session", "accept", "code", proposal["proposal_id"], "--actor", "bob").status == 0
    assert muse("commit", "code", "-m", "What was pending").status == 0
    assert (tmp_path / "pending.txt").read_text() == "p\n"
    assert muse("session", "restore", "done").status == 0
    assert muse("undo", "jam", "--actor", "ada", "--as", "lead").status in {0, 1}
    assert muse("commit", "jam", "-m", "Undone").status == 0
    assert unsigned_after_signed(muse) == 6
