"""A session's log is read the same live or archived, and an archived one takes no op, whoever writes."""

import errno
import os
import random
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest

from muse.core.file.live_or_archived import check_session_exists, session_exists
from muse.core.file.log_file import LogFile
from muse.core.file.session_file import SessionFile
from muse.core.line import FRAME_LENGTH, frame
from muse.core.op_log import OpLog, make_op_entry
from muse.disk import layout
from muse.disk.storage import LOCAL, Storage
from muse.errors import CorruptionError, MuseError, NotFoundError, StorageError, UsageError
from muse.history.repository import Repository
from muse.session.live import LiveSession
from muse.testing import FailingStorage
from muse.upkeep.archive import archive_session, restore_session
from tests.samples.sealed_session import DOMAIN, NOW, log_bytes, make_session, numbers


def test_an_archived_log_takes_no_op_by_any_way(tmp_path: Path) -> None:
    root = str(tmp_path)
    make_session(root)
    archive_session(root, "jam")
    with OpLog(root, "jam") as log:
        for write in (
            lambda: log.record("ada", DOMAIN, {"n": 1}),
            lambda: log.record_many("ada", DOMAIN, [{"n": 1}]),
            lambda: log.append(make_op_entry("ada", DOMAIN, {"n": 1}, 50)),
            log.sync,
            lambda: log.checkpoint("e" * 64),
        ):
            with pytest.raises(UsageError, match="muse session restore jam"):
                write()
    assert not (tmp_path / ".muse/op_log/jam/ops.jsonl").exists()
    restore_session(root, "jam")
    with OpLog(root, "jam") as log:
        log.record("ada", DOMAIN, {"n": 1})


def test_a_session_exists_live_or_archived_and_any_other_is_named(tmp_path: Path) -> None:
    root = str(tmp_path)
    make_session(root)
    archive_session(root, "jam")
    with OpLog(root, "talk") as log:
        log.record("ada", DOMAIN, {"n": 1})
    assert check_session_exists(root, "jam") == "jam"
    assert check_session_exists(root, "talk") == "talk"
    assert not session_exists(root, "nobody")
    with pytest.raises(NotFoundError, match="there is no session 'nobody' in "):
        check_session_exists(root, "nobody")


def test_a_handle_that_read_a_live_log_may_not_write_it_once_it_is_archived(tmp_path: Path) -> None:
    root = str(tmp_path)
    make_session(root)
    with OpLog(root, "jam") as log:
        before = log.read_all()
        archive_session(root, "jam")
        assert log.read_all() == before
        with pytest.raises(UsageError, match="archived"):
            log.record("ada", DOMAIN, {"n": 1})


def test_a_handle_that_read_an_archive_writes_the_log_once_it_is_restored(tmp_path: Path) -> None:
    root = str(tmp_path)
    make_session(root)
    archive_session(root, "jam")
    with OpLog(root, "jam") as log:
        count = len(log.read_all())
        restore_session(root, "jam")
        log.record("ada", DOMAIN, {"n": 1})
        assert len(log.read_all()) == count + 1


def test_a_writer_that_comes_between_the_look_and_the_lock_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = str(tmp_path)
    make_session(root)
    looks = []

    class Late(SessionFile):
        def _is_archived(self) -> bool:
            looks.append(super()._is_archived())
            if len(looks) == 1:
                archive_session(root, "jam")
            return looks[-1]

    monkeypatch.setattr("muse.core.log_parts.SessionFile", Late)
    file = Late(root, "jam", LOCAL)
    with pytest.raises((UsageError, StorageError)):
        file.append(b"{}\n")
    assert looks == [False, True]
    # The empty file it made is nobody's log.
    assert (tmp_path / ".muse/op_log/jam/ops.jsonl").read_bytes() == b""
    assert len(numbers(root)) == 8
    archive_session(root, "jam")
    assert not (tmp_path / ".muse/op_log/jam/ops.jsonl").exists()


def test_an_archived_session_is_read_replayed_and_committed_as_having_nothing_new(tmp_path: Path) -> None:
    root = str(tmp_path)
    make_session(root)
    with OpLog(root, "jam") as log:
        live = (log.read_all(), log.cut(), log.read_checkpoint(), list(log.damages()))
    archive_session(root, "jam")
    with OpLog(root, "jam") as log:
        assert (log.read_all(), log.cut(), log.read_checkpoint(), list(log.damages())) == live
        assert log.replay_since_checkpoint() == []
    with LiveSession(root, "jam") as session:
        assert session.commit("Nothing").commit_ids == ()


def test_a_damaged_tombstone_is_an_error_and_no_empty_log(tmp_path: Path) -> None:
    make_session(str(tmp_path))
    archive_session(tmp_path, "jam")
    (tmp_path / ".muse/op_log/jam/receipt.json").write_bytes(b"{}")
    with OpLog(tmp_path, "jam") as log, pytest.raises(CorruptionError, match=r"receipt\.json"):
        log.read_all()


def test_an_open_handle_reads_on_after_an_archive_and_a_restore(tmp_path: Path) -> None:
    root = str(tmp_path)
    make_session(root)
    with OpLog(root, "jam") as of_live, OpLog(root, "jam") as of_archive:
        count = len(of_live.read_all())
        archive_session(root, "jam")
        assert len(of_archive.read_all()) == count
        restore_session(root, "jam")
        with OpLog(root, "jam") as other:
            entry = other.record("ada", DOMAIN, {"n": 99})
        for stale in (of_live, of_archive):
            assert stale.cut().op_count == count + 1
            assert entry in stale.read_all()
            assert stale.replay_since_checkpoint() == [entry]


def test_a_follower_goes_on_after_an_archive_and_a_restore(tmp_path: Path) -> None:
    root = str(tmp_path)
    make_session(root)
    with OpLog(root, "jam") as log, log.follow() as follower, log.follow(since=0) as from_the_start:
        assert follower.next_within(0) is None
        first = next(from_the_start)
        archive_session(root, "jam")
        assert follower.next_within(0) is None
        restore_session(root, "jam")
        with OpLog(root, "jam") as other:
            entry = other.record("ada", DOMAIN, {"n": 99})
        assert follower.next_within(0) == entry
        rest = list(iter(lambda: from_the_start.next_within(0), None))
        assert [first, *rest] == list(log.entries())


def test_a_follower_asleep_wakes_up_after_an_archive_and_a_restore(tmp_path: Path) -> None:
    root = str(tmp_path)
    make_session(root)
    with OpLog(root, "jam") as log, log.follow() as follower:
        found: list[object] = []
        asleep = threading.Thread(target=lambda: found.append(next(follower)))
        asleep.start()
        while follower._signal._wake >= 0 and not follower._signal._watching:  # inotify, where there is any
            threading.Event().wait(0.001)
        archive_session(root, "jam")
        restore_session(root, "jam")
        with OpLog(root, "jam") as other:
            entry = other.record("ada", DOMAIN, {"n": 99})
        asleep.join(10)
        follower.stop()
        asleep.join(10)
        assert found == [entry]


def test_an_archived_session_is_read_by_several_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("muse.core.file.archive_frames.FRAME_BYTES", 1 << 16)
    root = str(tmp_path)
    Repository.init(root, now=NOW)
    with LiveSession(root, "jam") as session:
        session.log.record_many("ada", DOMAIN, [{"n": number, "pad": "x" * 4000} for number in range(200)])
        session.commit("Many")
    expected = log_bytes(root)
    archive_session(root, "jam")
    file = SessionFile(root, "jam", LOCAL)
    wrong: list[object] = []

    def read(thread: int) -> None:
        chance = random.Random(thread)
        try:
            for _ in range(300):
                start = chance.randrange(len(expected))
                if file.read(start, 5000) != expected[start : start + 5000]:
                    wrong.append(start)
        except MuseError as error:
            wrong.append(error)

    threads = [threading.Thread(target=read, args=(number,)) for number in range(4)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
        file.close()
    assert wrong == []


# -- another log in the place of one that was read -------------------------------------------------


def make_other_log(root: str) -> None:
    """Put another log of the session, as long as the first, where that one is."""
    path = Path(layout.ops_file(root, "jam"))
    other = path.read_bytes().replace(b'"ada"', b'"eve"')
    path.unlink()
    path.write_bytes(b"".join(frame(line[:-FRAME_LENGTH] + b"}") for line in other.splitlines()))


def test_another_log_that_was_archived_is_not_read_on_as_the_one_before(tmp_path: Path) -> None:
    root = str(tmp_path)
    Repository.init(root, now=NOW)
    with OpLog(root, "jam") as log:
        log.record_many("ada", DOMAIN, [{"n": number} for number in range(9)])
    with closing(SessionFile(root, "jam", LOCAL)) as file:
        file.read(0, file.end())
        make_other_log(root)
        archive_session(root, "jam", abandon_pending=True)
        for _ in range(2):
            with pytest.raises(StorageError, match="renamed, replaced or deleted"):
                file.end()


def test_a_log_that_was_put_back_and_repaired_is_the_same_log(tmp_path: Path) -> None:
    root = str(tmp_path)
    make_session(root)
    path = Path(layout.ops_file(root, "jam"))
    whole = path.read_bytes()
    path.write_bytes(whole + b"{}\n" + whole.splitlines(keepends=True)[-1])
    with closing(SessionFile(root, "jam", LOCAL)) as of_live, closing(LogFile(str(path), LOCAL)) as of_file:
        for file in (of_live, of_file):
            file.read(0, file.end())
        path.rename(path.with_name("elsewhere"))
        path.write_bytes(path.with_name("elsewhere").read_bytes())
        with OpLog(root, "jam") as log:
            assert log.repair().side_file
        for file in (of_live, of_file):
            assert file.read(0, file.end()) == path.read_bytes()


def test_a_comparison_that_fails_is_not_taken_for_one_that_held(tmp_path: Path) -> None:
    class Failing(Storage):
        fails = False

        def pread(self, descriptor: int, length: int, offset: int, /) -> bytes:
            if self.fails:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return os.pread(descriptor, length, offset)

    root, storage = str(tmp_path), Failing()
    make_session(root)
    with closing(SessionFile(root, "jam", storage)) as file:
        file.read(0, file.end())
        make_other_log(root)
        storage.fails = True
        with pytest.raises(StorageError, match="could not read"):
            file.end()
        storage.fails = False
        with pytest.raises(StorageError, match="renamed, replaced or deleted"):
            file.end()


def test_the_place_of_an_archived_log_is_looked_at_once_to_measure_it(tmp_path: Path) -> None:
    root = str(tmp_path)
    make_session(root)
    archive_session(root, "jam")
    storage = FailingStorage(1 << 30)
    with closing(SessionFile(root, "jam", storage)) as file:
        end = file.end()
        storage.calls.clear()
        assert file.end() == end
    assert storage.calls == ["path_status"]  # of the tombstone
    restore_session(root, "jam")
    with closing(SessionFile(root, "jam", storage)) as file:
        file.end()
        storage.calls.clear()
        assert file.end() == end
    assert storage.calls == ["path_status", "status", "seek"]
