"""Garbage collection removes what nothing needs, and never what something does."""

import multiprocessing
import os
import threading
import time
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

from muse.checks.verify import verify_repository
from muse.core.op_log import OpLog
from muse.disk import layout
from muse.disk.storage import LOCAL, Storage
from muse.domain import Application
from muse.errors import ConflictError, MuseError, NotFoundError, UsageError
from muse.history.dag import make_commit_record
from muse.history.repository import Repository
from muse.session.live import LiveSession
from muse.testing import DiskModelStorage, FailingStorage
from muse.upkeep.archive import archive_session, restore_session
from muse.upkeep.garbage import Collected, collect_garbage
from tests.samples.sealed_session import DOMAIN, NOW, make_session, muse_files

LOCKS = {"gc.lock", "gc.turnstile.lock"}


class Sample:
    """A repository with a commit on its branch, and two that no branch leads to, one the other's parent."""

    def __init__(self, root: str, storage: Storage = LOCAL) -> None:
        self.root = root
        self.repository, _ = Repository.init(root, now=NOW, storage=storage)
        self.kept = self.commit("kept", None)
        self.repository.dag.swap_head("main", None, self.kept)
        self.sound = muse_files(root, storage)
        self.lost = self.commit("lost", self.kept)
        self.lost_child = self.commit("lost child", self.lost)

    def commit(self, content: str, parent: str | None) -> str:
        dag = self.repository.dag
        object_id = self.repository.objects.put(content.encode())
        record = make_commit_record(
            repo_id=self.repository.repo_id,
            branch="main",
            snapshot_id=dag.write_snapshot({"a.txt": object_id}, NOW),
            message=content,
            committed_at=NOW,
            parent_commit_id=parent,
            author="nina",
            structured_delta=None,
        )
        return dag.write_commit(record)


@pytest.fixture
def sample(tmp_path: Path) -> Sample:
    return Sample(str(tmp_path))


def counts(collected: Collected) -> tuple[int, int, int]:
    return len(collected.commits), len(collected.snapshots), len(collected.objects)


def test_what_no_branch_leads_to_is_removed_and_nothing_else(sample: Sample) -> None:
    assert verify_repository(sample.root).unreachable == 6
    collected = collect_garbage(sample.root, grace_seconds=0)
    assert counts(collected) == (2, 2, 2)
    assert collected.bytes_freed > 500
    assert muse_files(sample.root) - LOCKS == sample.sound
    assert verify_repository(sample.root).findings == []
    assert verify_repository(sample.root).unreachable == 0
    assert counts(collect_garbage(sample.root, grace_seconds=0)) == (0, 0, 0)


def test_a_dry_run_names_the_same_and_removes_nothing(sample: Sample) -> None:
    before = muse_files(sample.root)
    dry = collect_garbage(sample.root, grace_seconds=0, dry_run=True)
    assert muse_files(sample.root) - LOCKS == before
    done = collect_garbage(sample.root, grace_seconds=0)
    assert (done.paths, done.bytes_freed) == (dry.paths, dry.bytes_freed)


def age(path: str, seconds: float) -> None:
    moment = time.time() - seconds
    os.utime(path, (moment, moment))


def test_what_is_younger_than_the_grace_period_is_kept_with_all_it_leads_to(sample: Sample) -> None:
    assert collect_garbage(sample.root).paths == []
    for path in muse_files(sample.root):
        age(os.path.join(sample.root, ".muse", path), 7200)
    age(layout.commit_file(sample.root, sample.lost_child), 60)
    assert collect_garbage(sample.root).paths == []
    age(layout.commit_file(sample.root, sample.lost_child), 7200)
    assert counts(collect_garbage(sample.root)) == (2, 2, 2)


@pytest.mark.parametrize("grace", [-1, float("nan")])
def test_a_grace_period_that_cannot_be_is_refused(sample: Sample, grace: float) -> None:
    with pytest.raises(UsageError, match="grace"):
        collect_garbage(sample.root, grace_seconds=grace)


def test_every_branch_is_a_root(sample: Sample) -> None:
    sample.repository.dag.swap_head("take/2", None, sample.lost_child)
    assert collect_garbage(sample.root, grace_seconds=0).paths == []


def test_leftover_temporary_files_are_removed_and_files_of_people_are_not(sample: Sample) -> None:
    dead = multiprocessing.get_context("spawn").Process(target=os.getpid)
    dead.start()
    dead.join()
    names = [".muse/objects/.ab.tmp-{}-3", ".muse/op_log/.x.tmp-{}-1", ".a.txt.tmp-{}-0"]
    leftovers = [name.format(dead.pid) for name in names]
    theirs = ["notes.tmp-1-1", ".tmp-notes", ".muse/repo.json"]
    for path in leftovers + theirs[:2]:
        Path(sample.root, path).write_bytes(b"half")
    collected = collect_garbage(sample.root, grace_seconds=0)
    assert sorted(collected.temporary_files) == sorted(os.path.join(sample.root, path) for path in leftovers)
    assert not any(Path(sample.root, path).exists() for path in leftovers)
    assert all(Path(sample.root, path).exists() for path in theirs)


def write_slowly(path: str, begun: Event, go_on: Event) -> None:
    with LOCAL.replacing(path) as write:
        write(b"first half, ")
        begun.set()
        go_on.wait(60)
        write(b"second half")


def test_a_temporary_file_of_a_living_writer_is_kept(sample: Sample) -> None:
    processes = multiprocessing.get_context("spawn")
    path = os.path.join(sample.root, ".muse", "slow")
    begun, go_on = processes.Event(), processes.Event()
    writer = processes.Process(target=write_slowly, args=(path, begun, go_on))
    writer.start()
    assert begun.wait(60)
    assert collect_garbage(sample.root, grace_seconds=0).temporary_files == []
    go_on.set()
    writer.join(60)
    assert Path(path).read_bytes() == b"first half, second half"


def test_a_temporary_file_of_a_killed_writer_is_removed(sample: Sample) -> None:
    processes = multiprocessing.get_context("spawn")
    path = os.path.join(sample.root, ".muse", "slow")
    begun, never = processes.Event(), processes.Event()
    writer = processes.Process(target=write_slowly, args=(path, begun, never))
    writer.start()
    assert begun.wait(60)
    writer.kill()
    writer.join(60)
    assert len(collect_garbage(sample.root, grace_seconds=0).temporary_files) == 1
    assert not os.path.exists(path)


def test_what_an_op_in_history_names_is_kept_for_its_replay(sample: Sample) -> None:
    collect_garbage(sample.root, grace_seconds=0)
    named = sample.repository.objects.put(b"named")
    with OpLog(sample.root, "jam") as log:
        log.record("ada", DOMAIN, {"content_id": named})
        snapshot_id = sample.repository.dag.read_commit(sample.kept)["snapshot_id"]
        log.checkpoint(snapshot_id, commit_id=sample.kept)
        assert log.replay_since_checkpoint() == []
    assert collect_garbage(sample.root, grace_seconds=0).paths == []
    assert sample.repository.objects.get(named) == b"named"


def test_what_a_pending_op_names_is_kept_in_a_live_log_and_in_an_archive(sample: Sample) -> None:
    collect_garbage(sample.root, grace_seconds=0)
    named, unnamed = (sample.repository.objects.put(content) for content in (b"named", b"unnamed"))
    in_longer = sample.repository.objects.put(b"in a longer run of digits")
    with OpLog(sample.root, "jam") as log:
        log.record("ada", DOMAIN, {"content_id": named, "note": f"ab{in_longer}cd"})
    collected = collect_garbage(sample.root, grace_seconds=0)
    assert collected.objects == [layout.object_file(sample.root, unnamed)]
    archive_session(sample.root, "jam", abandon_pending=True)
    assert collect_garbage(sample.root, grace_seconds=0).paths == []
    restore_session(sample.root, "jam")
    assert collect_garbage(sample.root, grace_seconds=0).paths == []


def test_the_commits_of_an_archive_are_kept_though_no_branch_leads_to_them(tmp_path: Path) -> None:
    root = str(tmp_path)
    make_session(root)
    archive_session(root, "jam")
    (tmp_path / ".muse/refs/heads/main").write_bytes(b"")
    assert collect_garbage(root, grace_seconds=0).paths == []
    assert verify_repository(root).findings == []


def test_what_a_crash_left_of_an_archive_is_removed(tmp_path: Path) -> None:
    root = str(tmp_path)
    make_session(root)
    directory = tmp_path / ".muse/archives/jam"
    directory.mkdir(parents=True)
    (directory / "ops.jsonl.zst").write_bytes(b"half")
    assert verify_repository(root).findings == []
    dry = collect_garbage(root, grace_seconds=0, dry_run=True)
    assert dry.archives == [str(directory / "ops.jsonl.zst")]
    assert collect_garbage(root, grace_seconds=0).bytes_freed == 4
    assert not directory.exists()


@pytest.mark.parametrize("which", ["commit", "snapshot", "ref", "manifest"])
def test_where_it_cannot_be_seen_what_is_needed_nothing_is_removed(sample: Sample, which: str) -> None:
    with LiveSession(sample.root, "jam") as session:
        session.edit("ada", DOMAIN, {"n": 1})
        session.commit("One")
    archive_session(sample.root, "jam")
    snapshot_id = sample.repository.dag.read_commit(sample.kept)["snapshot_id"]
    path = {
        "commit": layout.commit_file(sample.root, sample.kept),
        "snapshot": layout.snapshot_file(sample.root, snapshot_id),
        "ref": layout.branch_file(sample.root, "main"),
        "manifest": layout.manifest_file(sample.root, "jam"),
    }[which]
    Path(path).write_bytes(b"{}")
    before = muse_files(sample.root)
    with pytest.raises(MuseError):
        collect_garbage(sample.root, grace_seconds=0)
    assert muse_files(sample.root) - LOCKS == before - LOCKS


def test_a_crash_at_any_call_leaves_a_sound_repository_and_the_rest_for_the_next_run() -> None:
    fails_at, failed = 0, True
    while failed:
        fails_at += 1
        disk = DiskModelStorage()
        disk.make_directory("/repo")
        sample = Sample("/repo", disk)
        storage = FailingStorage(fails_at, "crash", inner=disk)
        try:
            collect_garbage("/repo", grace_seconds=0, storage=storage)
        except MuseError:
            assert storage.failed
        failed = storage.failed
        assert verify_repository("/repo", disk).findings == []
        collect_garbage("/repo", grace_seconds=0, storage=disk)
        assert muse_files("/repo", disk) - LOCKS == sample.sound
    assert fails_at > 30


class SlowPlugin:
    """Stores what a collector would take for garbage, and waits for it to come by."""

    def __init__(self, waiting: threading.Event, go_on: threading.Event) -> None:
        self._waiting = waiting
        self._go_on = go_on

    def apply(self, *_arguments: object) -> Application:
        self._waiting.set()
        self._go_on.wait(10)
        return Application({"a.txt": b"an old object that no commit has yet"})


class WaitingStorage(Storage):
    """Says when it waits for a lock."""

    def __init__(self) -> None:
        self.waits = threading.Event()

    def lock(self, descriptor: int, *, exclusive: bool = True, wait: bool = True) -> bool:
        if super().lock(descriptor, exclusive=exclusive, wait=False):
            return True
        self.waits.set()
        return wait and super().lock(descriptor, exclusive=exclusive)


def test_a_commit_under_way_loses_nothing_to_a_collector(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = str(tmp_path)
    repository, _ = Repository.init(root, now=NOW)
    object_id = repository.objects.put(b"an old object that no commit has yet")
    age(layout.object_file(root, object_id), 7200)
    waiting, go_on = threading.Event(), threading.Event()
    plugin = SlowPlugin(waiting, go_on)
    monkeypatch.setattr("muse.apply.domains.find_plugin", lambda _domain: plugin)
    with LiveSession(root, "jam") as session:
        session.edit("ada", DOMAIN, {"n": 1})
        committer = threading.Thread(target=session.commit, args=("One",))
        committer.start()
        assert waiting.wait(10)
        storage = WaitingStorage()
        options = {"grace_seconds": 0, "storage": storage}
        collector = threading.Thread(target=collect_garbage, args=(root,), kwargs=options)
        collector.start()
        assert storage.waits.wait(10)  # for the commit
        go_on.set()
        committer.join(10)
        collector.join(10)
    assert repository.objects.get(object_id)
    assert verify_repository(root).findings == []


def test_a_repository_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        collect_garbage(tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()


def test_sessions_that_are_being_archived_are_left_alone(tmp_path: Path) -> None:
    root = str(tmp_path)
    make_session(root)
    directory = tmp_path / ".muse/archives/jam"
    directory.mkdir(parents=True)
    (directory / "ops.jsonl.zst").write_bytes(b"half")
    with LOCAL.locked(layout.session_lock_file(root, "jam")):
        assert collect_garbage(root, grace_seconds=0).archives == []
        with pytest.raises(ConflictError, match="in use"):
            archive_session(root, "jam")
    assert directory.exists()
