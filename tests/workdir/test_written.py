"""New files that Muse wrote into a directory are as known to it as those that were recorded there."""

from collections.abc import Callable
from pathlib import Path

import pytest

from muse.session.live import LiveSession
from muse.session.text_replica import CodeReplica
from tests.samples.muse_command import Muse, make_muse
from tests.workdir.test_midi import TUNE, midi

LONGER = (*TUNE, (72, 1920, 240))
Write = Callable[[Path], None]
"""Makes new files in a directory."""


@pytest.fixture
def muse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Muse:
    run = make_muse(monkeypatch, capsys, tmp_path)
    assert run("init").status == 0
    return run


def make_new_files(directory: Path) -> None:
    (directory / "k.txt").write_text("a text that is new here\n")
    (directory / "s.mid").write_bytes(midi(*TUNE))
    (directory / "x.bin").write_bytes(b"\0\xff" * 30)


def switched(muse: Muse, tmp_path: Path) -> None:
    """Let a switch of branches write new files."""
    (tmp_path / "z.txt").write_text("x\n")
    muse("record", "--actor", "ada")
    muse("commit", "-m", "one")
    muse("branch", "create", "b")
    muse("branch", "switch", "b")
    make_new_files(tmp_path)
    muse("record", "--actor", "ada")
    muse("commit", "-m", "two")
    muse("branch", "switch", "main")
    assert muse("branch", "switch", "b").status == 0


def committed(muse: Muse, tmp_path: Path) -> None:
    """Let a commit write new files, which somebody recorded in another directory."""
    (tmp_path / "z.txt").write_text("x\n")
    muse("record", "--actor", "ada")
    other = tmp_path.parent / f"{tmp_path.name}-w"
    other.mkdir()
    muse("record", "--actor", "bob", "--dir", str(other))
    make_new_files(other)
    muse("record", "--actor", "bob", "--dir", str(other))
    assert "wrote k.txt" in muse("commit", "-m", "one").out


WAYS = pytest.mark.parametrize("way", [switched, committed])


def recorded(muse: Muse) -> dict[str, str]:
    done = muse("record", "--actor", "ada", "--json")
    assert (done.status, done.err, done.record["left_out"]) == (0, "", [])
    assert done.record["brought"] == {"written": [], "removed": []}
    return {one["path"]: one["change"] for one in done.record["recorded"]}


def names(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in tmp_path.iterdir() if not path.name.startswith("."))


@WAYS
def test_a_new_file_that_muse_wrote_is_edited_and_not_made_again(
    muse: Muse, tmp_path: Path, way: Callable[[Muse, Path], None]
) -> None:
    way(muse, tmp_path)
    (tmp_path / "k.txt").write_text("a text that is new here\nmore\n")
    (tmp_path / "s.mid").write_bytes(midi(*LONGER))
    (tmp_path / "x.bin").write_bytes(b"\0\xff" * 31)
    changes = dict.fromkeys(("k.txt", "s.mid", "x.bin"), "modified")
    assert recorded(muse) == changes
    assert names(tmp_path) == ["k.txt", "s.mid", "x.bin", "z.txt"]
    assert (tmp_path / "k.txt").read_text() == "a text that is new here\nmore\n"


@WAYS
def test_a_new_file_that_muse_wrote_is_deleted(
    muse: Muse, tmp_path: Path, way: Callable[[Muse, Path], None]
) -> None:
    way(muse, tmp_path)
    for name in ("k.txt", "s.mid", "x.bin"):
        (tmp_path / name).unlink()
    assert recorded(muse) == dict.fromkeys(("k.txt", "s.mid", "x.bin"), "deleted")
    assert names(tmp_path) == ["z.txt"]


@WAYS
def test_a_new_file_that_muse_wrote_is_renamed(
    muse: Muse, tmp_path: Path, way: Callable[[Muse, Path], None]
) -> None:
    way(muse, tmp_path)
    for name in ("k.txt", "s.mid", "x.bin"):
        (tmp_path / name).rename(tmp_path / f"to_{name}")
    assert recorded(muse) == {f"to_{name}": "renamed" for name in ("k.txt", "s.mid", "x.bin")}
    assert names(tmp_path) == ["to_k.txt", "to_s.mid", "to_x.bin", "z.txt"]


def test_a_new_file_of_a_commit_that_others_removed_again_is_removed(muse: Muse, tmp_path: Path) -> None:
    committed(muse, tmp_path)
    with LiveSession(str(tmp_path), "ada") as session:
        CodeReplica(session, session.log, "bob").remove("k.txt")
    done = muse("record", "--actor", "ada", "--json").record
    assert (done["recorded"], done["brought"]) == ([], {"written": [], "removed": ["k.txt"]})
