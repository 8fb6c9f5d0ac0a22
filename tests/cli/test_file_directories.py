"""Where a directory of files may be: no file is in two of them, and none in what Muse or git keeps."""

from pathlib import Path

import pytest

from tests.samples.muse_command import Muse, make_muse

COMMANDS = pytest.mark.parametrize("command", ["record", "status", "watch"])


@pytest.fixture
def top(tmp_path: Path) -> Path:
    (tmp_path / "r").mkdir()
    return tmp_path


@pytest.fixture
def muse(top: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Muse:
    run = make_muse(monkeypatch, capsys, top / "r")
    assert run("init").status == 0
    return run


def refusal(muse: Muse, command: str, directory: Path | str) -> str:
    refused = muse(command, "--actor", "bot", "--dir", str(directory))
    assert refused.status == 2
    return refused.complaint


@COMMANDS
def test_a_directory_inside_what_muse_keeps_is_refused(muse: Muse, top: Path, command: str) -> None:
    (top / "link").symlink_to(top / "r/.muse/objects")
    for directory in (".muse", ".muse/refs", "../link", str(top / "r/.muse/refs/heads")):
        assert "where a repository is kept" in refusal(muse, command, directory)
    (top / "git/.git/refs").mkdir(parents=True)
    (top / "git/.git/HEAD").touch()
    assert "name a directory beside the repository" in refusal(muse, command, top / "git/.git/refs")


def test_a_replica_of_a_server_is_not_made_inside_what_muse_keeps(muse: Muse, top: Path) -> None:
    refused = muse("watch", "jam", "--actor", "bot", "--dir", ".muse/x", "--repo", "http://127.0.0.1:9")
    assert (refused.status, "where a repository is kept" in refused.complaint) == (2, True)
    assert not (top / "r/.muse/x").exists()


def test_a_directory_that_has_only_a_name_like_that_is_taken(muse: Muse, top: Path) -> None:
    (top / ".muse/work").mkdir(parents=True)
    assert muse("record", "--actor", "bot", "--dir", str(top / ".muse/work")).status == 0


@COMMANDS
def test_a_directory_in_another_one_of_the_repository_is_refused(muse: Muse, top: Path, command: str) -> None:
    inner = top / "w/one/in"
    inner.mkdir(parents=True)
    assert muse("record", "--actor", "ann", "--dir", str(top / "w")).status == 0
    (top / "link").symlink_to(inner)
    for directory in (inner, top / "link"):
        said = refusal(muse, command, directory)
        assert f"is among the files of {top / 'w'}, which is a directory of files of this repository" in said
    (top / "w/.museignore").write_text("one/in/\n")
    if command != "watch":
        assert muse(command, "--actor", "bot", "--dir", str(inner)).status == 0


@COMMANDS
def test_a_directory_around_another_one_of_the_repository_is_refused(
    muse: Muse, top: Path, command: str
) -> None:
    inner = top / "w/one/in"
    inner.mkdir(parents=True)
    assert muse("record", "--actor", "ann", "--dir", str(inner)).status == 0
    said = refusal(muse, command, top / "w")
    assert f"contains {inner}, which is a directory of files of this repository" in said
    assert "name a directory beside it" in said


def test_a_directory_that_is_not_to_be_one_any_more_is_forgotten_as_told(muse: Muse, top: Path) -> None:
    inner = top / "w/in"
    inner.mkdir(parents=True)
    muse("record", "--actor", "ann", "--dir", str(top / "w"))
    told = refusal(muse, "record", inner).rpartition("remove ")[2]
    Path(told).unlink()
    assert muse("record", "--actor", "ann", "--dir", str(inner)).status == 0


def test_what_differs_in_a_directory_is_shown_by_its_name(muse: Muse, top: Path) -> None:
    (top / "w").mkdir()
    (top / "w/a.txt").write_text("one\n")
    assert muse("record", "--actor", "bot", "--dir", str(top / "w")).status == 0
    assert muse("diff", "--dir", str(top / "w")).out == ""
    (top / "w/a.txt").write_text("one\ntwo\n")
    assert "+two\n" in muse("diff", "--dir", str(top / "w"), "a.txt").out
    assert "is for the files here" in muse("diff", "--commit", "HEAD", "--dir", str(top / "w")).complaint
    assert "make it" in muse("diff", "--dir", str(top / "nowhere")).complaint
