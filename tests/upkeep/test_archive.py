"""A session is live or archived, whatever fails on the way; its log is the same bytes in both."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zstandard

from muse.checks.verify import verify_repository
from muse.core.file.archive_frames import write_archive
from muse.core.op_log import OpLog, list_sessions
from muse.disk import layout
from muse.disk.storage import Storage
from muse.errors import ConflictError, CorruptionError, MuseError, NotFoundError, UsageError
from muse.history.repository import Repository
from muse.session.live import LiveSession
from muse.testing import DiskModelStorage, FailingStorage, Fault
from muse.upkeep.archive import archive_session, is_archived, restore_session, session_entries
from muse.upkeep.garbage import collect_garbage
from tests.samples.folding_storage import FoldingStorage
from tests.samples.sealed_session import (
    DOMAIN,
    OTHER,
    log_bytes,
    make_session,
    muse_files,
    numbers,
)

ROOT = "/repo"
SEEDS = range(3)


# -- there and back ------------------------------------------------------------------------------


def test_restoring_brings_back_the_same_log_and_checkpoint(tmp_path: Path) -> None:
    root = str(tmp_path)
    data = make_session(root)
    before = {path: (tmp_path / ".muse" / path).read_bytes() for path in muse_files(root)}
    archive_session(root, "jam")
    assert not (tmp_path / ".muse/op_log/jam/ops.jsonl").exists()
    (tmp_path / ".muse/op_log/jam/checkpoint.json").unlink()
    restore_session(root, "jam")
    assert log_bytes(root) == data
    after = {path: (tmp_path / ".muse" / path).read_bytes() for path in muse_files(root)}
    assert after == before


def test_the_archive_is_a_file_that_any_zstd_tool_reads(tmp_path: Path) -> None:
    data = make_session(str(tmp_path))
    archive_session(str(tmp_path), "jam")
    with (tmp_path / ".muse/archives/jam/ops.jsonl.zst").open("rb") as file:
        reader = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)
        assert io.BufferedReader(reader).read() == data


def test_the_manifest_says_what_the_log_was_and_which_commits_cover_it(tmp_path: Path) -> None:
    root = str(tmp_path)
    data = make_session(root)
    with OpLog(root, "jam") as log:
        cut = log.cut()
    outcome = archive_session(root, "jam")
    manifest = json.loads((tmp_path / ".muse/archives/jam/manifest.json").read_bytes())
    assert outcome.manifest == manifest
    assert manifest["log"]["size_bytes"] == len(data)
    assert manifest["log"]["entry_count"] == cut.op_count == 8
    assert (manifest["log"]["first_lamport_ts"], manifest["log"]["last_lamport_ts"]) == (1, cut.lamport_ts)
    assert set(manifest["log"]["frontier"]) == {"ada", "bob"}
    dag = Repository.open(root).dag
    history = {commit["commit_id"]: commit["message"] for commit in dag.history(dag.resolve("HEAD"))}
    assert {commit["commit_id"] for commit in manifest["commits"]} == set(history)
    assert all(f"Muse-Root: {one['root']}" in history[one["commit_id"]] for one in manifest["commits"])
    assert manifest["abandoned"]["op_count"] == 0
    assert manifest["checkpoint"].encode() == (tmp_path / ".muse/op_log/jam/checkpoint.json").read_bytes()


def test_a_log_with_a_torn_end_comes_back_with_it(tmp_path: Path) -> None:
    root = str(tmp_path)
    make_session(root)
    with (tmp_path / ".muse/op_log/jam/ops.jsonl").open("ab") as file:
        file.write(b'{"op_id":"0')
    data = log_bytes(root)
    archive_session(root, "jam")
    restore_session(root, "jam")
    assert log_bytes(root) == data


def test_an_empty_log_is_archived_too(tmp_path: Path) -> None:
    make_session(str(tmp_path))
    (tmp_path / ".muse/op_log/empty").mkdir()
    (tmp_path / ".muse/op_log/empty/ops.jsonl").touch()
    archive_session(tmp_path, "empty")
    assert verify_repository(str(tmp_path)).findings == []
    restore_session(tmp_path, "empty")
    assert (tmp_path / ".muse/op_log/empty/ops.jsonl").read_bytes() == b""


def test_archiving_and_restoring_twice_changes_nothing(tmp_path: Path) -> None:
    root = str(tmp_path)
    make_session(root)
    first = archive_session(root, "jam")
    files = muse_files(root)
    second = archive_session(root, "jam")
    assert (first.was_done, second.was_done) == (False, True)
    assert second.manifest == first.manifest
    assert muse_files(root) == files
    assert [restore_session(root, "jam").was_done for _ in range(2)] == [False, True]


def test_a_restored_session_goes_on_where_it_was(tmp_path: Path) -> None:
    root = str(tmp_path)
    make_session(root)
    archive_session(root, "jam")
    restore_session(root, "jam")
    with LiveSession(root, "jam") as session:
        entry = session.edit("ada", DOMAIN, {"n": 99})
        assert entry["lamport_ts"] == 9
        assert session.commit("More").op_count == 1
    archive_session(root, "jam")
    assert verify_repository(root).findings == []


def test_the_id_of_an_archived_session_stays_taken(tmp_path: Path) -> None:
    make_session(str(tmp_path))
    archive_session(tmp_path, "jam")
    assert list_sessions(tmp_path) == ["jam"]
    with OpLog(tmp_path, "jam") as log, pytest.raises(UsageError, match="archived"):
        log.record("ada", DOMAIN, {"n": 1})
    folding = FoldingStorage()
    with OpLog(tmp_path, "JAM", storage=folding) as log, pytest.raises(MuseError, match="session 'jam'"):
        log.record("ada", DOMAIN, {"n": 1})


def test_entries_are_read_alike_from_a_live_and_an_archived_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("muse.core.file.archive_frames.FRAME_BYTES", 500)  # so that entries lie across frames
    make_session(str(tmp_path), ops=40)
    live = list(session_entries(tmp_path, "jam"))
    offsets = [offset for offset, _ in live]
    archive_session(tmp_path, "jam")
    assert list(session_entries(tmp_path, "jam")) == live
    part = list(session_entries(tmp_path, "jam", start=offsets[7], stop=offsets[30]))
    assert part == live[7:30]


def test_a_session_that_is_not_there_is_neither_archived_nor_restored_nor_read(tmp_path: Path) -> None:
    make_session(str(tmp_path))
    for use in (archive_session, restore_session, lambda root, name: list(session_entries(root, name))):
        with pytest.raises(NotFoundError, match="no session 'other'"):
            use(tmp_path, "other")
    assert not (tmp_path / ".muse/op_log/other").exists()


# -- what is refused -----------------------------------------------------------------------------


def test_a_session_with_a_live_writer_in_this_process_is_refused(tmp_path: Path) -> None:
    make_session(str(tmp_path))
    with OpLog(tmp_path, "jam") as log:
        log.record("ada", DOMAIN, {"n": 1})
        with pytest.raises(ConflictError, match="live writer"):
            archive_session(tmp_path, "jam", abandon_pending=True)
    archive_session(tmp_path, "jam", abandon_pending=True)


WRITER = """
import sys
from muse.core.op_log import OpLog
with OpLog(sys.argv[1], "jam") as log:
    log.record("eve", "d", {"n": 100})
    print("open", flush=True)
    sys.stdin.readline()
    try:
        log.record("eve", "d", {"n": 101})
    except Exception as error:
        print(type(error).__name__, flush=True)
    else:
        print("stored", flush=True)
"""


def test_a_session_with_a_live_writer_in_another_process_is_refused(tmp_path: Path) -> None:
    make_session(str(tmp_path))
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as writer:
        assert writer.stdin is not None
        assert writer.stdout is not None
        assert writer.stdout.readline() == "open\n"
        with pytest.raises(ConflictError, match="live writer"):
            archive_session(tmp_path, "jam", abandon_pending=True)
        writer.stdin.write("go on\n")
        writer.stdin.flush()
        assert writer.stdout.readline() == "stored\n"
    assert numbers(str(tmp_path))[-2:] == [100, 101]
    archive_session(tmp_path, "jam", abandon_pending=True)


def test_pending_ops_are_refused_unless_they_are_abandoned(tmp_path: Path) -> None:
    make_session(str(tmp_path))
    with OpLog(tmp_path, "jam") as log:
        pending = [entry["op_id"] for entry in log.record_many("ada", DOMAIN, [{"n": 1}, {"n": 2}])]
    before = muse_files(str(tmp_path))
    for named in (False, [], pending[:1]):
        with pytest.raises(UsageError, match="2 pending ops"):
            archive_session(tmp_path, "jam", abandon_pending=named)
    assert muse_files(str(tmp_path)) == before
    outcome = archive_session(tmp_path, "jam", abandon_pending=pending)
    assert outcome.manifest is not None
    assert outcome.manifest["abandoned"]["op_ids"] == pending
    assert verify_repository(str(tmp_path)).findings == []
    restore_session(tmp_path, "jam")
    with OpLog(tmp_path, "jam") as log:
        assert [entry["op_id"] for entry in log.replay_since_checkpoint()] == pending


def test_many_abandoned_ops_are_named_by_number_and_root(tmp_path: Path) -> None:
    make_session(str(tmp_path))
    with OpLog(tmp_path, "jam") as log:
        log.record_many("ada", DOMAIN, [{"n": number} for number in range(1001)])
    outcome = archive_session(tmp_path, "jam", abandon_pending=True)
    assert outcome.manifest is not None
    assert outcome.manifest["abandoned"]["op_count"] == 1001
    assert outcome.manifest["abandoned"]["op_ids"] == []
    assert verify_repository(str(tmp_path)).findings == []


def test_a_checkpoint_older_than_the_commits_makes_no_op_pending(tmp_path: Path) -> None:
    make_session(str(tmp_path))
    for name in ("checkpoint.json", "checkpoint.made"):
        (tmp_path / ".muse/op_log/jam" / name).unlink(missing_ok=True)
    archive_session(tmp_path, "jam")
    restore_session(tmp_path, "jam")
    with LiveSession(tmp_path, "jam") as session:
        assert session.commit("Nothing").commit_ids == ()


def test_an_op_that_stands_in_the_log_twice_is_not_pending_again(tmp_path: Path) -> None:
    make_session(str(tmp_path))
    path = tmp_path / ".muse/op_log/jam/ops.jsonl"
    path.write_bytes(path.read_bytes() + path.read_bytes().splitlines(keepends=True)[2])
    outcome = archive_session(tmp_path, "jam")
    assert outcome.manifest is not None
    assert outcome.manifest["log"]["entry_count"] == 8


def test_a_damaged_log_is_refused_and_stays(tmp_path: Path) -> None:
    make_session(str(tmp_path))
    path = tmp_path / ".muse/op_log/jam/ops.jsonl"
    data = path.read_bytes().replace(b'"n":1', b'"n":7', 1)
    path.write_bytes(data)
    with pytest.raises(CorruptionError, match="damaged at byte"):
        archive_session(tmp_path, "jam")
    assert path.read_bytes() == data
    assert not (tmp_path / ".muse/archives/jam").exists()


def test_a_log_that_grows_past_its_lock_is_not_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_session(str(tmp_path))
    path = tmp_path / ".muse/op_log/jam/ops.jsonl"
    whole = write_archive

    def write_meanwhile(*arguments: Any) -> Any:
        result = whole(*arguments)
        with path.open("ab") as file:
            file.write(b"a line of a tool that takes no locks\n")
        return result

    monkeypatch.setattr("muse.upkeep.archive.write_archive", write_meanwhile)
    with pytest.raises(ConflictError, match="grew"):
        archive_session(tmp_path, "jam")
    assert path.read_bytes().endswith(b"no locks\n")
    assert not is_archived(str(tmp_path), "jam")


def test_an_archive_that_does_not_read_back_leaves_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = make_session(str(tmp_path))
    whole = write_archive

    def spoil(path: str, *arguments: Any) -> Any:
        result = whole(path, *arguments)
        content = bytearray(Path(path).read_bytes())
        content[len(content) // 2] ^= 1
        Path(path).write_bytes(content)
        return result

    monkeypatch.setattr("muse.upkeep.archive.write_archive", spoil)
    with pytest.raises(CorruptionError, match="not have the digest"):
        archive_session(tmp_path, "jam")
    assert log_bytes(str(tmp_path)) == data
    assert not is_archived(str(tmp_path), "jam")


@pytest.mark.parametrize("name", ["ops.jsonl.zst", "manifest.json"])
def test_a_damaged_archive_is_not_restored(tmp_path: Path, name: str) -> None:
    make_session(str(tmp_path))
    archive_session(tmp_path, "jam")
    path = tmp_path / ".muse/archives/jam" / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    before = muse_files(str(tmp_path))
    with pytest.raises(CorruptionError, match=name):
        restore_session(tmp_path, "jam")
    assert muse_files(str(tmp_path)) == before


def test_a_session_whose_tombstone_is_lost_is_restored_from_the_manifest(tmp_path: Path) -> None:
    data = make_session(str(tmp_path))
    archive_session(tmp_path, "jam")
    (tmp_path / ".muse/op_log/jam/receipt.json").unlink()
    restore_session(tmp_path, "jam")
    assert log_bytes(str(tmp_path)) == data


@pytest.mark.parametrize("use", [archive_session, restore_session])
def test_a_log_that_something_wrote_past_the_tombstone_is_kept(
    tmp_path: Path, use: Callable[[Path, str], object]
) -> None:
    make_session(str(tmp_path))
    archive_session(tmp_path, "jam")
    path = tmp_path / ".muse/op_log/jam/ops.jsonl"
    path.write_bytes(b"a line of a tool that knows no tombstones\n")
    with pytest.raises(ConflictError, match="beside the tombstone"):
        use(tmp_path, "jam")
    assert path.read_bytes() == b"a line of a tool that knows no tombstones\n"


# -- faults at every call ------------------------------------------------------------------------


def prepared() -> tuple[DiskModelStorage, bytes, bytes]:
    disk = DiskModelStorage()
    disk.make_directory(ROOT)
    data = make_session(ROOT, storage=disk)
    disk.power_cut(1)
    assert log_bytes(ROOT, storage=disk) == data
    return disk, data, disk.read_bytes(layout.checkpoint_file(ROOT, "jam"))


def archived() -> tuple[DiskModelStorage, bytes, bytes]:
    disk, data, checkpoint = prepared()
    archive_session(ROOT, "jam", storage=disk)
    disk.power_cut(1)
    return disk, data, checkpoint


State = tuple[DiskModelStorage, bytes, bytes]
Act = Callable[[Storage], object]


def do_archive(storage: Storage) -> object:
    return archive_session(ROOT, "jam", storage=storage)


def do_restore(storage: Storage) -> object:
    return restore_session(ROOT, "jam", storage=storage)


WAYS = [
    pytest.param(prepared, do_archive, id="archive"),
    pytest.param(archived, do_restore, id="restore"),
]


def runs(start: Callable[[], State], act: Act, fault: Fault) -> Iterator[tuple[State, str, bool]]:
    """Fail the first call of `act`, then the second, and so on: yield state, call, whether it raised."""
    for fails_at in range(1, 1000):
        state = start()
        storage = FailingStorage(fails_at, fault, inner=state[0])
        raised = False
        try:
            act(storage)
        except MuseError:
            raised = True
        yield state, storage.calls[min(fails_at, len(storage.calls)) - 1], raised
        if not storage.failed:
            assert not raised
            return
    raise AssertionError("it makes more calls than can be")


def converges(state: State, act: Act) -> None:
    """What is on the disk is sound as it is; doing it again does it; nothing is left over."""
    disk, data, checkpoint = state
    assert log_bytes(ROOT, storage=disk) == data
    assert verify_repository(ROOT, disk).findings == []
    act(disk)
    assert is_archived(ROOT, "jam", storage=disk) is (act is do_archive)
    assert log_bytes(ROOT, storage=disk) == data
    assert disk.read_bytes(layout.checkpoint_file(ROOT, "jam")) == checkpoint
    assert verify_repository(ROOT, disk).findings == []
    collect_garbage(ROOT, grace_seconds=0, storage=disk)
    expected = {"receipt.json"} if act is do_archive else {"ops.jsonl"}
    caches = {"checkpoint.json", "checkpoint.made", "session.lock", "commit.lock", "op_index.ids"}
    found = {path.partition("op_log/jam/")[2] for path in muse_files(ROOT, disk) if "op_log/jam" in path}
    assert found - caches == expected
    assert any("archives/" in path for path in muse_files(ROOT, disk)) is (act is do_archive)


@pytest.mark.parametrize(("start", "act"), WAYS)
@pytest.mark.parametrize("fault", ["ENOSPC", "EIO", "short", "sync", "crash"])
def test_a_fault_at_any_call_leaves_the_session_live_or_archived_and_the_next_run_finishes(
    start: Callable[[], State], act: Act, fault: Fault
) -> None:
    faults = 0
    for state, call, raised in runs(start, act, fault):
        faults += raised
        # A disk that is full as something is written: the old state stands.
        if raised and fault in {"ENOSPC", "short"} and call in {"write", "make_directory"}:
            assert is_archived(ROOT, "jam", storage=state[0]) is (act is do_restore)
        converges(state, act)
    assert faults >= (1 if fault == "sync" else 5)


@pytest.mark.parametrize(("start", "act"), WAYS)
def test_a_power_cut_at_any_call_leaves_the_session_live_or_archived(
    start: Callable[[], State], act: Act
) -> None:
    states = set()
    for seed in SEEDS:
        for state, _, _ in runs(start, act, "crash"):
            state[0].power_cut(seed)
            states.add(is_archived(ROOT, "jam", storage=state[0]))
            converges(state, act)
    assert states == {True, False}


@pytest.mark.parametrize(("start", "act"), WAYS)
def test_after_a_crash_the_opposite_can_be_done_as_well(start: Callable[[], State], act: Act) -> None:
    opposite = do_restore if act is do_archive else do_archive
    for state, _, _ in runs(start, act, "crash"):
        opposite(state[0])
        converges(state, opposite)


def test_the_domains_of_a_session_are_archived_together(tmp_path: Path) -> None:
    make_session(str(tmp_path))
    archive_session(tmp_path, "jam")
    with OpLog(tmp_path, "jam") as log:
        assert {entry["domain"] for entry in log.entries()} == {DOMAIN, OTHER}
    assert os.listdir(tmp_path / ".muse/archives") == ["jam"]
