"""`muse session archive`, `muse session restore` and `muse gc`, as people and programs call them."""

from pathlib import Path

import pytest

from muse.core.op_log import OpLog
from tests.samples.muse_command import Muse, make_muse, run_muse
from tests.samples.sealed_session import DOMAIN, log_bytes, make_session


@pytest.fixture
def muse(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Muse:
    make_session(str(tmp_path))
    return make_muse(monkeypatch, capsys, tmp_path)


def test_a_session_is_archived_looked_into_and_restored(muse: Muse, tmp_path: Path) -> None:
    data = log_bytes(str(tmp_path))
    live_tail = muse("session", "tail", "jam").out
    done = muse("session", "archive", "jam")
    assert done.status == 0
    assert done.out.startswith("Session jam is archived: 8 entries, ")
    assert muse("session", "archive", "jam").out == "Session jam is archived already.\n"
    assert "archived" in muse("session", "list").out
    assert ", archived)" in muse("session", "show", "jam").out
    assert muse("session", "tail", "jam").out == live_tail
    assert muse("session", "check", "jam").out == "No damage.\n"
    assert muse("verify").status == 0
    assert muse("session", "restore", "jam").out == "Session jam is live again: 8 entries.\n"
    assert muse("session", "restore", "jam").out == "Session jam is live already.\n"
    assert log_bytes(str(tmp_path)) == data


def test_an_archived_session_s_checkpoint_comes_back_from_its_archive(muse: Muse, tmp_path: Path) -> None:
    path = tmp_path / ".muse" / "op_log" / "jam" / "checkpoint.json"
    before = path.read_bytes()
    muse("session", "archive", "jam")
    assert muse("session", "recover", "jam").out == "The checkpoint is as it was archived.\n"
    for damage in (path.unlink, lambda: path.write_bytes(b"\xff{")):
        damage()
        assert muse("session", "recover", "jam").out == "The checkpoint is rebuilt from the archive.\n"
        assert path.read_bytes() == before
    assert muse("session", "recover", "jam", "--json").record == {
        "session_id": "jam",
        "rebuilt": False,
        "archived": True,
    }
    (tmp_path / ".muse" / "archives" / "jam" / "manifest.json").unlink()
    assert muse("session", "recover", "jam").status == 1


def test_programs_get_json(muse: Muse) -> None:
    done = muse("session", "archive", "jam", "--json").record
    assert done["entries"] == 8
    assert done["abandoned"]["op_count"] == 0
    assert len(done["commits"]) == 4
    assert done["was_archived"] is False
    assert muse("session", "list", "--json").record["archived"] is True
    assert muse("session", "restore", "jam", "--json").record == {
        "session_id": "jam",
        "entries": 8,
        "was_live": False,
    }
    assert muse("gc", "--json", "--grace", "0").record["bytes_freed"] == 0


def test_pending_ops_are_a_refusal_of_usage_until_they_are_abandoned(muse: Muse, tmp_path: Path) -> None:
    with OpLog(tmp_path, "jam") as log:
        log.record("ada", DOMAIN, {"n": 1})
    refused = muse("session", "archive", "jam")
    assert refused.status == 2
    assert "1 pending op" in refused.complaint
    assert "--abandon-pending" in refused.complaint
    done = muse("session", "archive", "jam", "--abandon-pending")
    assert done.out.endswith("1 pending op is abandoned.\n")


def test_an_archived_session_takes_no_op_and_says_what_to_do(muse: Muse) -> None:
    muse("session", "archive", "jam")
    done = muse(
        "session",
        "append",
        "jam",
        "--actor",
        "ada",
        "--domain",
        "notes",
        stdin=b'{"op":"insert","address":"a.txt"}\n',
    )
    assert done.status == 2
    assert "muse session restore jam" in done.err


def test_a_live_writer_and_a_damaged_archive_are_failures(muse: Muse, tmp_path: Path) -> None:
    with OpLog(tmp_path, "jam") as log:
        log.sync()
        assert muse("session", "archive", "jam").status == 1
    muse("session", "archive", "jam")
    (tmp_path / ".muse/archives/jam/ops.jsonl.zst").write_bytes(b"")
    done = muse("session", "restore", "jam")
    assert done.status == 1
    assert "ops.jsonl.zst" in done.complaint
    verified = muse("verify", "--json")
    assert verified.status == 1
    assert "archive" in {finding["kind"] for finding in verified.record["findings"]}


@pytest.mark.parametrize(
    "arguments", [("session", "archive"), ("session", "restore"), ("gc", "--grace", "-1")]
)
def test_misuse_is_status_two(muse: Muse, arguments: tuple[str, ...]) -> None:
    assert muse(*arguments).status == 2


@pytest.mark.parametrize("command", ["archive", "restore"])
def test_a_session_that_is_not_there_is_status_two(muse: Muse, command: str) -> None:
    done = muse("session", command, "other")
    assert done.status == 2
    assert "no session 'other'" in done.complaint


@pytest.mark.parametrize("command", [("session", "archive"), ("session", "restore"), ("gc",)])
def test_help_ends_with_an_example(muse: Muse, command: tuple[str, ...]) -> None:
    assert f"Example: muse {' '.join(command)}" in muse(*command, "--help").out


def test_garbage_is_named_in_a_dry_run_and_removed_by_the_next(muse: Muse, tmp_path: Path) -> None:
    leftover = tmp_path / ".muse" / ".HEAD.tmp-999999999-1"
    leftover.write_bytes(b"half")
    assert muse("gc").out == "Removed 0 commits, 0 snapshots, 0 objects, 0 leftover files: 0 B\n"
    dry = muse("gc", "--dry-run", "--grace", "0").out
    assert dry == f"{leftover}\nWould remove 0 commits, 0 snapshots, 0 objects, 1 leftover file: 4 B\n"
    done = muse("gc", "--grace", "0")
    assert done.out == "Removed 0 commits, 0 snapshots, 0 objects, 1 leftover file: 4 B\n"
    assert not leftover.exists()


def test_the_commands_work_in_a_process_of_their_own(muse: Muse, tmp_path: Path) -> None:
    assert muse("session", "list").status == 0
    assert run_muse("session", "archive", "jam", cwd=tmp_path).status == 0
    assert run_muse("gc", cwd=tmp_path).status == 0
    assert run_muse("session", "restore", "jam", cwd=tmp_path).status == 0
