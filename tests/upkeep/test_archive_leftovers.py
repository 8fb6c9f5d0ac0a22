"""An archive whose tombstone is lost, and pending ops that are abandoned one by one."""

import shutil
from pathlib import Path

import pytest

from muse.checks.verify import verify_repository
from muse.core.op_log import OpLog
from muse.errors import ConflictError, UsageError
from muse.session.live import LiveSession
from muse.upkeep.archive import archive_session, restore_session
from muse.upkeep.garbage import collect_garbage
from tests.samples.muse_command import Muse, make_muse
from tests.samples.sealed_session import DOMAIN, log_bytes, make_session, numbers


@pytest.fixture
def muse(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Muse:
    return make_muse(monkeypatch, capsys, tmp_path)


def archive_directory(root: Path) -> Path:
    return root / ".muse" / "archives" / "jam"


@pytest.fixture
def begun_again(tmp_path: Path) -> tuple[Path, bytes]:
    """Make an archive that lost its tombstone, and a log begun in its place; return its bytes."""
    make_session(str(tmp_path))
    whole = log_bytes(str(tmp_path))
    archive_session(tmp_path, "jam")
    shutil.rmtree(tmp_path / ".muse/op_log/jam")
    archive_directory(tmp_path).rename(tmp_path / "aside")
    with OpLog(tmp_path, "jam") as log:
        log.record("cy", DOMAIN, {"n": 99})
    (tmp_path / "aside").rename(archive_directory(tmp_path))
    return tmp_path, whole


def test_no_log_is_begun_where_an_archive_has_lost_its_tombstone(tmp_path: Path) -> None:
    make_session(str(tmp_path))
    whole = log_bytes(str(tmp_path))
    archive_session(tmp_path, "jam")
    shutil.rmtree(tmp_path / ".muse/op_log/jam")
    with OpLog(tmp_path, "jam") as log, pytest.raises(UsageError, match="muse session restore jam"):
        log.record("cy", DOMAIN, {"n": 99})
    assert not (tmp_path / ".muse/op_log/jam").exists()
    restore_session(tmp_path, "jam")
    with OpLog(tmp_path, "jam") as log:
        log.record("cy", DOMAIN, {"n": 99})
    assert log_bytes(str(tmp_path)).startswith(whole)


def test_an_archive_that_holds_what_the_log_does_not_is_never_removed(
    begun_again: tuple[Path, bytes], muse: Muse
) -> None:
    root, whole = begun_again
    directory = archive_directory(root)
    before = {path.name: path.read_bytes() for path in directory.iterdir()}
    collected = muse("gc", "--grace", "0", "--json")
    assert (collected.status, collected.record["kept_archives"]) == (0, [str(directory)])
    assert f"Kept {directory}" in muse("gc", "--grace", "0").out
    for command in ("restore", "archive"):
        refused = muse("session", command, "jam")
        assert (refused.status, str(directory) in refused.complaint) == (1, True)
    assert {path.name: path.read_bytes() for path in directory.iterdir()} == before
    assert [finding.path for finding in verify_repository(str(root)).findings] == [str(directory)]
    (root / ".muse/op_log/jam/ops.jsonl").unlink()
    restore_session(root, "jam")
    assert log_bytes(str(root)) == whole


@pytest.mark.parametrize("has_grown", [False, True])
def test_what_a_crash_left_of_a_restore_is_removed_though_the_log_has_grown(
    tmp_path: Path,
    has_grown: bool,  # noqa: FBT001
) -> None:
    make_session(str(tmp_path))
    archive_session(tmp_path, "jam")
    shutil.copytree(archive_directory(tmp_path), tmp_path / "copy")
    restore_session(tmp_path, "jam")
    (tmp_path / "copy").rename(archive_directory(tmp_path))
    if has_grown:
        with OpLog(tmp_path, "jam") as log:
            log.record("cy", DOMAIN, {"n": 99})
    assert verify_repository(str(tmp_path)).findings == []
    assert collect_garbage(tmp_path).archives == []  # younger than the grace period
    collected = collect_garbage(tmp_path, grace_seconds=0)
    assert (len(collected.archives), collected.kept_archives) == (2, [])
    assert not archive_directory(tmp_path).exists()


def test_an_archive_whose_manifest_cannot_be_read_is_kept_beside_a_live_log(tmp_path: Path) -> None:
    make_session(str(tmp_path))
    directory = archive_directory(tmp_path)
    directory.mkdir(parents=True)
    (directory / "manifest.json").write_bytes(b"{")
    assert collect_garbage(tmp_path, grace_seconds=0).kept_archives == [str(directory)]
    with pytest.raises(ConflictError):
        restore_session(tmp_path, "jam")
    assert directory.exists()


def test_pending_ops_are_abandoned_one_by_one(tmp_path: Path, muse: Muse) -> None:
    make_session(str(tmp_path))
    with LiveSession(tmp_path, "jam") as session:
        one, two = (session.edit("ada", DOMAIN, {"n": number})["op_id"] for number in (70, 80))
    refused = muse("session", "archive", "jam", "--abandon", one)
    assert (refused.status, "--abandon OP_ID" in refused.complaint) == (2, True)
    done = muse("session", "archive", "jam", "--abandon", one, "--abandon", two, "--json")
    assert (done.status, done.record["abandoned"]["op_ids"]) == (0, [one, two])
    assert muse("session", "restore", "jam").status == 0
    assert numbers(str(tmp_path))[-2:] == [70, 80]


@pytest.mark.parametrize(
    "options",
    [("--abandon", "x"), ("--abandon", "c1bd0e2e-6a5e-4c3d-9f57-0d4f6d1f2a3b", "--abandon-pending")],
)
def test_a_bad_choice_of_what_to_abandon_is_misuse(
    tmp_path: Path, muse: Muse, options: tuple[str, ...]
) -> None:
    make_session(str(tmp_path))
    assert muse("session", "archive", "jam", *options).status == 2
