"""Tests to inherit say what every storage must do.

    class TestMyStorage(StorageConformance):
        def storage(self) -> Storage: ...
        def root(self, tmp_path) -> str: ...    # only where it is not a directory of this machine

A storage that passes carries an op log with all that is promised of one.
"""

import errno
import os
import stat
from collections.abc import Callable
from typing import Any

from muse.core.op_log import OpLog, list_sessions
from muse.disk.storage import Storage
from muse.errors import NotFoundError, StorageError

_NEW = os.O_RDWR | os.O_CREAT
_WRITES_AT_MOST = 1000
_LOG = _NEW | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK


def _error_number(call: Callable[[], object]) -> int | None:
    """Return the errno with which `call` fails."""
    try:
        call()
    except OSError as error:
        return error.errno
    raise AssertionError("it did not fail")


def _is_refused(call: Callable[[], object], kind: type[Exception]) -> bool:
    try:
        call()
    except kind:
        return True
    return False


class StorageConformance:
    """The tests of a storage. A subclass makes the storage."""

    def storage(self) -> Storage:
        """Return the storage that is tested. A suite must say this."""
        raise NotImplementedError

    def root(self, tmp_path: Any) -> str:
        """Return a directory of the storage that is there and empty."""
        return str(tmp_path)

    # -- single calls ---------------------------------------------------------------------------

    def test_appends_go_to_the_end_after_those_of_others(self, tmp_path: Any) -> None:
        storage, path = self.storage(), f"{self.root(tmp_path)}/file"
        one, two = storage.open(path, _LOG), storage.open(path, _LOG)
        assert [storage.write(one, b"a\n"), storage.write(two, b"bc\n"), storage.write(one, b"d\n")] == [
            2,
            3,
            2,
        ]
        assert storage.pread(two, 100, 0) == b"a\nbc\nd\n"
        assert storage.seek(one, 0, os.SEEK_END) == 7
        storage.close(one)
        storage.close(two)
        assert storage.read_bytes(path) == b"a\nbc\nd\n"

    def test_reads_start_at_the_offset_and_stop_at_the_end(self, tmp_path: Any) -> None:
        storage = self.storage()
        descriptor = storage.open(f"{self.root(tmp_path)}/file", _NEW)
        storage.write_all(descriptor, b"0123456789")
        assert storage.pread(descriptor, 3, 4) == b"456"
        assert storage.pread(descriptor, 100, 8) == b"89"
        assert storage.pread(descriptor, 100, 10) == b""
        assert storage.seek(descriptor, 0, os.SEEK_CUR) == 10
        storage.close(descriptor)

    def test_bytes_are_overwritten_in_place_and_a_gap_reads_as_nuls(self, tmp_path: Any) -> None:
        storage = self.storage()
        descriptor = storage.open(f"{self.root(tmp_path)}/file", _NEW)
        storage.write(descriptor, b"0123456789")
        assert storage.pwrite(descriptor, b"ab", 2) == 2
        storage.pwrite(descriptor, b"z", 12)
        assert storage.pread(descriptor, 100, 0) == b"01ab456789\0\0z"
        storage.truncate(descriptor, 4)
        assert storage.pread(descriptor, 100, 0) == b"01ab"
        storage.close(descriptor)

    def test_opening_with_truncation_empties_a_file(self, tmp_path: Any) -> None:
        storage, path = self.storage(), f"{self.root(tmp_path)}/file"
        storage.write_atomically(path, b"old")
        storage.close(storage.open(path, os.O_WRONLY | os.O_TRUNC))
        assert storage.read_bytes(path) == b""

    def test_a_file_is_made_only_when_asked_for_and_only_once_exclusively(self, tmp_path: Any) -> None:
        storage, path = self.storage(), f"{self.root(tmp_path)}/file"
        assert _error_number(lambda: storage.open(path, os.O_RDONLY)) == errno.ENOENT
        storage.close(storage.open(path, _NEW | os.O_EXCL))
        assert _error_number(lambda: storage.open(path, _NEW | os.O_EXCL)) == errno.EEXIST

    def test_a_path_through_a_file_or_nothing_is_refused(self, tmp_path: Any) -> None:
        storage, root = self.storage(), self.root(tmp_path)
        storage.write_atomically(f"{root}/file", b"")
        assert _error_number(lambda: storage.open(f"{root}/file/x", _NEW)) == errno.ENOTDIR
        assert _error_number(lambda: storage.open(f"{root}/none/x", _NEW)) == errno.ENOENT
        assert _error_number(lambda: storage.make_directory(f"{root}/none/x")) == errno.ENOENT
        assert _error_number(lambda: storage.open(f"{root}/{'n' * 256}", _NEW)) == errno.ENAMETOOLONG

    def test_a_directory_is_not_written_to_and_a_file_is_no_directory(self, tmp_path: Any) -> None:
        storage, root = self.storage(), self.root(tmp_path)
        storage.make_directory(f"{root}/directory")
        storage.write_atomically(f"{root}/file", b"")
        assert _error_number(lambda: storage.open(f"{root}/directory", os.O_WRONLY)) == errno.EISDIR
        flags = os.O_RDONLY | os.O_DIRECTORY
        assert _error_number(lambda: storage.open(f"{root}/file", flags)) == errno.ENOTDIR
        assert _is_refused(lambda: storage.read_bytes(f"{root}/directory"), StorageError)

    def test_a_descriptor_opened_to_read_does_not_write_and_a_closed_one_does_nothing(
        self, tmp_path: Any
    ) -> None:
        storage, path = self.storage(), f"{self.root(tmp_path)}/file"
        storage.write_atomically(path, b"old")
        descriptor = storage.open(path, os.O_RDONLY)
        assert _error_number(lambda: storage.write(descriptor, b"x")) == errno.EBADF
        storage.close(descriptor)
        assert _error_number(lambda: storage.pread(descriptor, 1, 0)) == errno.EBADF

    def test_an_open_file_and_its_path_tell_of_one_identity_until_it_is_replaced(self, tmp_path: Any) -> None:
        storage, path = self.storage(), f"{self.root(tmp_path)}/file"
        descriptor = storage.open(path, _NEW)
        storage.write(descriptor, b"abc")
        status, of_path = storage.status(descriptor), storage.path_status(path)
        assert (status.st_dev, status.st_ino) == (of_path.st_dev, of_path.st_ino)
        assert (status.st_size, status.st_nlink, stat.S_ISREG(status.st_mode)) == (3, 1, True)
        storage.write_atomically(path, b"new")
        assert storage.path_status(path).st_ino != status.st_ino
        assert storage.status(descriptor).st_nlink == 0
        assert storage.pread(descriptor, 10, 0) == b"abc"
        storage.close(descriptor)

    def test_a_watch_never_misses_that_a_path_changed_its_file(self, tmp_path: Any) -> None:
        storage, root = self.storage(), self.root(tmp_path)
        for change in (
            storage.unlink,
            lambda path: storage.replace(path, f"{root}/elsewhere"),
            lambda path: storage.write_atomically(path, b"new"),
        ):
            path = f"{root}/watched"
            storage.write_atomically(path, b"old")
            watch = storage.watch(path)
            change(path)
            watch.ask()
            assert watch.answer[0]
            assert watch.may_have_moved()

    def test_a_rename_replaces_a_file_and_nothing_else(self, tmp_path: Any) -> None:
        storage, root = self.storage(), self.root(tmp_path)
        storage.write_atomically(f"{root}/a", b"a")
        storage.write_atomically(f"{root}/b", b"b")
        storage.make_directories(f"{root}/full/inside")
        storage.replace(f"{root}/a", f"{root}/b")
        assert storage.read_bytes(f"{root}/b") == b"a"
        assert not storage.exists(f"{root}/a")
        assert _error_number(lambda: storage.replace(f"{root}/a", f"{root}/b")) == errno.ENOENT
        assert _error_number(lambda: storage.replace(f"{root}/b", f"{root}/full")) == errno.EISDIR
        assert _error_number(lambda: storage.replace(f"{root}/full", f"{root}/b")) == errno.ENOTDIR

    def test_two_files_exchange_their_names_or_it_is_said_that_they_cannot(self, tmp_path: Any) -> None:
        storage, root = self.storage(), self.root(tmp_path)
        storage.write_atomically(f"{root}/a", b"a")
        storage.write_atomically(f"{root}/b", b"b")
        is_done = storage.exchange(f"{root}/a", f"{root}/b")
        found = [storage.read_bytes(f"{root}/{name}") for name in "ab"]
        assert found == ([b"b", b"a"] if is_done else [b"a", b"b"])
        if is_done:
            assert _error_number(lambda: storage.exchange(f"{root}/a", f"{root}/none")) == errno.ENOENT

    def test_a_file_gets_a_second_name_that_is_free(self, tmp_path: Any) -> None:
        storage, root = self.storage(), self.root(tmp_path)
        storage.write_atomically(f"{root}/a", b"a")
        storage.link(f"{root}/a", f"{root}/b")
        assert _error_number(lambda: storage.link(f"{root}/a", f"{root}/b")) == errno.EEXIST
        storage.unlink(f"{root}/a")
        assert storage.read_bytes(f"{root}/b") == b"a"
        assert not storage.is_open_to_write(f"{root}/b")

    def test_directories_are_made_listed_and_removed_when_empty(self, tmp_path: Any) -> None:
        storage, root = self.storage(), self.root(tmp_path)
        storage.make_directories(f"{root}/a/b", sync=True)
        storage.write_atomically(f"{root}/a/file", b"")
        assert storage.list_directory(f"{root}/a") == [("b", True), ("file", False)]
        assert storage.list_directory(f"{root}/none") == []
        assert _error_number(lambda: storage.make_directory(f"{root}/a")) == errno.EEXIST
        assert _error_number(lambda: storage.remove_directory(f"{root}/a")) == errno.ENOTEMPTY
        assert _error_number(lambda: storage.remove_directory(f"{root}/a/file")) == errno.ENOTDIR
        assert _error_number(lambda: storage.unlink(f"{root}/a/none")) == errno.ENOENT
        storage.remove_directory(f"{root}/a/b")
        assert not storage.is_directory(f"{root}/a/b")

    def test_a_touched_file_is_as_young_as_a_new_one_and_keeps_its_bytes(self, tmp_path: Any) -> None:
        storage, root = self.storage(), self.root(tmp_path)
        storage.write_atomically(f"{root}/old", b"bytes")
        before = newer = storage.path_status(f"{root}/old").st_mtime
        for _ in range(_WRITES_AT_MOST):
            if newer > before:  # the clock of the storage has moved, if it has one
                break
            storage.write_atomically(f"{root}/new", b"", sync=False)
            newer = storage.path_status(f"{root}/new").st_mtime
        storage.touch(f"{root}/old")
        assert storage.path_status(f"{root}/old").st_mtime >= newer
        assert storage.read_bytes(f"{root}/old") == b"bytes"
        assert _error_number(lambda: storage.touch(f"{root}/none")) == errno.ENOENT
        assert storage.make_young(f"{root}/old")
        assert not storage.make_young(f"{root}/none")

    # -- locks ----------------------------------------------------------------------------------

    def test_an_exclusive_lock_keeps_others_out_and_a_shared_one_the_exclusive(self, tmp_path: Any) -> None:
        storage, path = self.storage(), f"{self.root(tmp_path)}/lock"
        one, two, three = (storage.open(path, _NEW) for _ in range(3))
        assert storage.lock(one, exclusive=False, wait=False)
        assert storage.lock(two, exclusive=False, wait=False)
        assert not storage.lock(three, exclusive=True, wait=False)
        storage.unlock(one)
        storage.close(two)
        assert storage.lock(three, exclusive=True, wait=False)
        assert not storage.lock(one, exclusive=False, wait=False)
        storage.close(three)
        assert storage.lock(one, exclusive=True, wait=False)
        storage.close(one)

    def test_a_lock_is_held_while_its_block_runs(self, tmp_path: Any) -> None:
        storage, path = self.storage(), f"{self.root(tmp_path)}/lock"
        with storage.locked(path) as taken:
            assert taken
            with storage.locked(path, wait=False) as taken_too:
                assert not taken_too
        with storage.locked(path, wait=False) as taken:
            assert taken

    # -- whole files ----------------------------------------------------------------------------

    def test_a_file_is_replaced_as_a_whole_and_leaves_no_temporary(self, tmp_path: Any) -> None:
        storage, root = self.storage(), self.root(tmp_path)
        for content in (b"one", b"", b"three" * 500_000):
            storage.write_atomically(f"{root}/a/b/file", content, mode=0o754)
            assert storage.read_bytes(f"{root}/a/b/file") == content
        assert storage.list_directory(f"{root}/a/b") == [("file", False)]
        assert stat.S_IMODE(storage.path_status(f"{root}/a/b/file").st_mode) == 0o754
        storage.make_durable(f"{root}/a/b/file")
        storage.remove(f"{root}/a/b/file")
        storage.remove(f"{root}/a/b/file")
        assert _is_refused(lambda: storage.read_bytes(f"{root}/a/b/file"), NotFoundError)

    # -- an op log on it ------------------------------------------------------------------------

    def test_a_log_keeps_what_it_acknowledged_once_and_in_order(self, tmp_path: Any) -> None:
        storage, root = self.storage(), self.root(tmp_path)
        with OpLog(root, "jam", storage=storage) as log:
            first = log.record("ada", "notes", {"n": 1}, durability="disk")
            batch = log.record_many("ada", "notes", [{"n": 2}, {"n": 3}])
            assert not log.append(first)
            delta = log.to_structured_delta("notes")
            assert len(delta["ops"]) == 3
            log.checkpoint("e" * 64)
            last = log.record("bob", "notes", {"n": 4})
            log.sync()
        with OpLog(root, "jam", storage=storage) as log:
            assert log.read_all() == [first, *batch, last]
            assert log.replay_since_checkpoint() == [last]
            assert log.next_lamport_ts() == 5
            assert list(log.damages()) == []
        assert list_sessions(root, storage=storage) == ["jam"]

    def test_a_log_taken_away_under_its_writer_acknowledges_nothing_more(self, tmp_path: Any) -> None:
        storage, root = self.storage(), self.root(tmp_path)
        with OpLog(root, "jam", storage=storage) as log:
            log.record("ada", "notes", {})
            storage.unlink(f"{root}/.muse/op_log/jam/ops.jsonl")
            assert _is_refused(lambda: log.record("ada", "notes", {}), StorageError)
