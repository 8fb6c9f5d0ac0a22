"""`muse repair --from`: what it prints, and its exit status."""

from pathlib import Path

import pytest

from tests.samples.muse_command import Muse, make_muse
from tests.samples.replicas import commit, make_origin, make_replica, write


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path]:
    first = make_origin(tmp_path / "first")
    write(first, "jam", 1)
    commit(first)
    return first, make_replica(first, tmp_path / "second")


@pytest.fixture
def muse(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], two: tuple[Path, Path]) -> Muse:
    return make_muse(monkeypatch, capsys, two[1])


def test_repair_says_what_it_mended(two: tuple[Path, Path], muse: Muse) -> None:
    (two[1] / ".muse" / "repo.json").unlink()
    (two[1] / ".muse" / "HEAD").write_text("nowhere")
    ran = muse("repair", "--from", "../first")
    assert ran.status == 0
    assert [line.split()[:2] for line in ran.out.splitlines()] == [
        ["Mended:", "repo"],
        ["Mended:", "head"],
        ["Sound:", "1"],
    ]
    assert (two[1] / ".muse" / "damaged" / "HEAD").read_text() == "nowhere"
    assert muse("verify").status == 0


def test_repair_names_what_could_not_be_mended(two: tuple[Path, Path], muse: Muse) -> None:
    odd = two[1] / ".muse" / "objects" / "odd"
    odd.write_text("no object")
    ran = muse("repair", "--from", "../first", "--json")
    assert ran.status == 1
    assert (ran.record["sound"], ran.record["mended"]) == (False, [])
    assert [one["path"] for one in ran.record["not_mended"]] == [str(odd)]


def test_repair_from_the_repository_itself_is_misuse(muse: Muse) -> None:
    assert muse("repair", "--from", ".").status == 2
    assert muse("repair").status == 2


def test_pull_says_what_it_mended(two: tuple[Path, Path], muse: Muse) -> None:
    [path] = (two[1] / ".muse" / "commits").iterdir()
    path.unlink()
    ran = muse("pull", "../first", "--json")
    assert ran.record["mended"] == [{"kind": "commit", "id": path.stem, "aside": ""}]
    assert muse("verify").status == 0


def test_repair_says_what_moves_a_piece_of_the_log_that_was_copied_to_its_end(
    two: tuple[Path, Path], muse: Muse
) -> None:
    log = two[1] / ".muse/op_log/jam/ops.jsonl"
    log.write_bytes(log.read_bytes() + log.read_bytes()[-200:])
    ran = muse("repair", "--from", "../first")
    assert ran.status == 1
    assert "'muse session repair jam' moves the bytes aside" in ran.out
    assert muse("session", "repair", "jam").status == 0
    assert muse("verify").status == 0
