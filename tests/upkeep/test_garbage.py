"""Garbage collection removes what nothing needs, and never what something does."""

import errno
import inspect
import multiprocessing
import os
import shutil
import threading
import time
import uuid
from collections.abc import Callable
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import orjson
import pytest
import zstandard

from muse.checks.verify import verify_repository
from muse.core.entry import OpEntry
from muse.core.file.objects import ObjectStore
from muse.core.line import frame
from muse.core.op_log import OpLog
from muse.disk import layout
from muse.disk.storage import LOCAL, READ_BLOCK_BYTES, Storage
from muse.domain import Application
from muse.errors import ConflictError, MuseError, NotFoundError, StorageError, UsageError
from muse.history.dag import make_commit_record
from muse.history.repository import Repository
from muse.session.guarded_log import GuardedLog
from muse.session.live import LiveSession
from muse.session.policy import Policy, write_policy
from muse.session.text_replica import CodeReplica
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


# -- everything that may name an object is a root ----------------------------------------------------

READ_BY_THEIR_FORM = {"repo_file", "head_file", "branch_file", "tombstone_file", "manifest_file"}
"""Files that say where the roots are: what is no such file raises, and nothing is removed."""
CONTENT = {"object_file", "snapshot_file"}
"""What is found by its own id, and is needed only where something names it."""
ARGUMENTS = {
    "branch": "main",
    "name": "root",
    "digest": "0" * 64,
    "session_id": "jam",
    "key_id": "0" * 64,
    "object_id": "0" * 64,
    "snapshot_id": "0" * 64,
    "commit_id": "0" * 64,
}


def all_files_of_ours(root: str) -> dict[str, str]:
    """Return name -> path of each file that the layout knows."""
    found = {}
    for name, function in inspect.getmembers(layout, inspect.isfunction):
        if name.endswith("_file"):
            parameters = list(inspect.signature(function).parameters)[1:]
            arguments = ARGUMENTS | {"path": os.path.join(layout.muse_directory(root), "a")}
            found[name] = function(root, *(arguments[parameter] for parameter in parameters))
    return found


def old_object(sample: Sample, content: bytes) -> str:
    object_id = sample.repository.objects.put(content)
    age(layout.object_file(sample.root, object_id), 1e6)
    return object_id


def test_an_object_that_any_file_of_ours_names_is_kept(sample: Sample) -> None:
    collect_garbage(sample.root, grace_seconds=0)
    unnamed = old_object(sample, b"unnamed")
    files = all_files_of_ours(sample.root)
    assert len(files) >= 28
    named = {}
    for name in sorted(files.keys() - READ_BY_THEIR_FORM - CONTENT - {"commit_file", "archived_ops_file"}):
        named[name] = old_object(sample, name.encode())
        os.makedirs(os.path.dirname(files[name]), exist_ok=True)
        with open(files[name], "ab") as file:
            file.write(b" " * (READ_BLOCK_BYTES - 70) + f'{{"content_id":"{named[name]}"}}\n'.encode())
    log = zstandard.compress(old_object(sample, b"in an archive without its tombstone").encode())
    os.makedirs(layout.archive_directory(sample.root, "jam"), exist_ok=True)
    Path(layout.archived_ops_file(sample.root, "jam")).write_bytes(log)
    Path(layout.manifest_file(sample.root, "jam")).write_bytes(b"{}")
    collected = collect_garbage(sample.root)
    assert collected.paths == [layout.object_file(sample.root, unnamed)]
    assert [name for name, object_id in named.items() if not sample.repository.objects.has(object_id)] == []


def test_an_object_that_a_commit_names_is_kept_though_no_log_is_here(sample: Sample) -> None:
    named = old_object(sample, b"named by the delta of a commit")
    with LiveSession(sample.root, "jam") as session:
        session.edit("ada", DOMAIN, {"content_id": named})
        session.commit("One", full=True)
    shutil.rmtree(layout.session_directory(sample.root, "jam"))
    collect_garbage(sample.root)
    assert sample.repository.objects.has(named)


def test_an_id_whose_digits_are_escaped_is_an_id(sample: Sample) -> None:
    named = old_object(sample, b"named by a tool that escapes all it writes")
    escaped = "".join(f"\\u{ord(digit):04x}" for digit in named)
    with OpLog(sample.root, "jam") as log:
        entry = log.record("ada", DOMAIN, {"n": 1})
    body = orjson.dumps({**entry, "op_id": str(uuid.uuid4()), "domain_op": {"content_id": "HERE"}})
    with open(layout.ops_file(sample.root, "jam"), "ab") as file:
        file.write(frame(body.replace(b"HERE", escaped.encode())))
    collect_garbage(sample.root)
    assert sample.repository.objects.has(named)


def test_what_is_set_aside_keeps_its_content_until_it_is_accepted(sample: Sample) -> None:
    content = old_object(sample, b"set aside")
    write_policy(sample.root, "jam", Policy("propose", "report"))
    sample.repository.coordination.reserve("ada", ["a.bin"], branch="main", ttl_seconds=3600)
    op = {"op": "insert", "address": "a.bin", "position": None, "content_id": content}
    with OpLog(sample.root, "jam") as log:
        guarded = GuardedLog(sample.repository, log)
        [receipt] = guarded.append([{"domain": "code", "domain_op": op}], actor_id="bob")
        assert receipt.status == "proposed"
        collect_garbage(sample.root)
        guarded.accept(receipt.op_id, actor_id="ada")
    with LiveSession(sample.root, "jam") as session:
        assert session.commit("Accepted").written == ("a.bin",)


# -- put again while old ---------------------------------------------------------------------------


def test_to_put_a_stored_object_makes_it_young(sample: Sample) -> None:
    old = old_object(sample, b"left by a crash")
    assert sample.repository.objects.put(b"left by a crash") == old
    assert collect_garbage(sample.root).objects == []


def test_what_is_put_while_a_collector_is_about_to_remove_it_is_there_afterwards(sample: Sample) -> None:
    collect_garbage(sample.root, grace_seconds=0)
    path = layout.object_file(sample.root, old_object(sample, b"old"))
    is_at_the_lock_or_done = threading.Event()

    class Putting(Storage):
        def lock(self, descriptor: int, *, exclusive: bool = True, wait: bool = True) -> bool:
            is_at_the_lock_or_done.set()
            return super().lock(descriptor, exclusive=exclusive, wait=wait)

    def put() -> None:
        ObjectStore(sample.root, Putting()).put(b"old")
        is_at_the_lock_or_done.set()

    class Collecting(Storage):
        def unlink(self, path: str) -> None:
            putter.start()
            assert is_at_the_lock_or_done.wait(60)
            super().unlink(path)

    putter = threading.Thread(target=put)
    assert collect_garbage(sample.root, storage=Collecting()).objects == [path]
    putter.join()
    assert Path(path).read_bytes() == b"old"


def test_an_object_of_another_user_is_written_again_to_make_it_young(sample: Sample) -> None:
    class NotOurs(Storage):
        def touch(self, path: str) -> None:
            raise PermissionError(errno.EPERM, "not permitted", path)

    old_object(sample, b"of another user")
    ObjectStore(sample.root, NotOurs()).put(b"of another user")
    assert collect_garbage(sample.root).objects == []


def test_a_large_file_outlives_a_collector_that_comes_before_its_op(
    sample: Sample, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = OpLog.record
    collectors: list[threading.Thread] = []

    def record_late(*arguments: Any, **options: Any) -> OpEntry:
        collector = threading.Thread(target=collect_garbage, args=(sample.root,), kwargs={"grace_seconds": 0})
        collector.start()
        collectors.append(collector)  # it waits, or has removed what nothing named yet
        return record(*arguments, **options)

    monkeypatch.setattr(OpLog, "record", record_late)
    with LiveSession(sample.root, "jam") as session:
        editor = CodeReplica(session, session.log, "ada")
        editor.create("large.txt", "line\n" * 200_000)
        for collector in collectors:
            collector.join(60)
        assert [collector.is_alive() for collector in collectors] == [False]
        assert session.commit("Large").written == ("large.txt",)


# -- what is no file -----------------------------------------------------------------------------


def put_link(path: Path) -> None:
    path.symlink_to("elsewhere")


def put_directory(path: Path) -> None:
    path.mkdir()


def put_pipe(path: Path) -> None:
    os.mkfifo(path)


@pytest.mark.parametrize("put", [put_link, put_directory, put_pipe])
@pytest.mark.parametrize(
    "name",
    [
        "note",
        "op_log/note",
        "keys/note",
        f"commits/{'a' * 64}.json",
        f"snapshots/{'a' * 64}.json",
        f"objects/aa/{'a' * 62}",
        "objects/aa/.x.tmp-1-1",
    ],
)
def test_what_is_no_file_is_left_alone_and_the_rest_is_collected(
    sample: Sample, put: Callable[[Path], None], name: str
) -> None:
    path = Path(sample.root, ".muse", name)
    path.parent.mkdir(exist_ok=True)
    put(path)
    collected = collect_garbage(sample.root, grace_seconds=0)
    assert len(collected.commits) == 2
    assert os.path.lexists(path)
    assert str(path) not in collected.paths


def test_a_link_in_the_place_of_a_log_stops_the_collector(sample: Sample) -> None:
    make_session(sample.root)
    log = Path(layout.ops_file(sample.root, "jam"))
    log.rename(log.with_name("elsewhere"))
    log.symlink_to("elsewhere")
    with pytest.raises(StorageError, match=r"ops\.jsonl"):
        collect_garbage(sample.root, grace_seconds=0)
    assert sample.repository.dag.has_commit(sample.lost)
