"""The bytes of one log: appended whole, read in blocks of whole lines."""

import contextlib
import errno
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from muse.core.file import log_file as log_file_module
from muse.core.file.log_file import BLOCK_BYTES, LogFile
from muse.disk.storage import LOCAL, Storage
from muse.errors import CorruptionError, StorageError


@pytest.fixture
def log(tmp_path: Path) -> Iterator[LogFile]:
    one = LogFile(str(tmp_path / "session" / "ops.jsonl"), LOCAL)
    yield one
    one.close()


def whole(log: LogFile) -> bytes:
    return b"".join(data for _, data in log.blocks(0, log.end()))


def test_a_log_that_is_not_there_reads_like_an_empty_one(log: LogFile) -> None:
    assert log.end() == 0
    assert log.read(0, 10) == b""
    assert list(log.blocks(0, 0)) == []
    assert not os.path.exists(os.path.dirname(log.path))


def test_opening_makes_the_file_and_its_directory(log: LogFile) -> None:
    log.open_for_append()
    log.open_for_append()
    assert Path(log.path).read_bytes() == b""


def test_what_is_appended_is_read(log: LogFile) -> None:
    log.open_for_append()
    assert log.append(b"one\n") == 4
    assert log.append(b"two\nthree\n") == 10
    assert log.end() == 14
    assert log.read(4, 100) == b"two\nthree\n"
    assert log.read(14, 5) == b""
    assert whole(log) == b"one\ntwo\nthree\n"


def test_a_reader_stops_at_the_last_newline_and_later_sees_the_whole_line(log: LogFile) -> None:
    log.open_for_append()
    log.append(b"one\n")
    with open(log.path, "ab") as other:
        other.write(b"tw")
        other.flush()
        assert whole(log) == b"one\n"
        other.write(b"o\n")
    assert whole(log) == b"one\ntwo\n"


def test_an_append_that_starts_clean_is_a_line_of_its_own(log: LogFile) -> None:
    log.open_for_append()
    with open(log.path, "ab") as dead:
        dead.write(b"torn")
    log.start_clean()
    log.append(b"one\n")
    log.start_clean()
    log.append(b"two\n")
    assert whole(log) == b"torn\none\ntwo\n"


@pytest.mark.parametrize("length", [BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, 5 * BLOCK_BYTES])
def test_blocks_are_whole_lines_of_any_length(log: LogFile, length: int) -> None:
    log.open_for_append()
    lines = [b"a" * 10 + b"\n", b"b" * length + b"\n", b"c\n" * 1000, b"d" * length + b"\n"]
    for line in lines:
        log.append(line)
    place = 0
    for offset, data in log.blocks(0, log.end()):
        assert offset == place
        assert data.endswith(b"\n")
        place += len(data)
    assert place == log.end()
    assert whole(log) == b"".join(lines)
    assert b"".join(data for _, data in log.blocks(11, log.end())) == b"".join(lines[1:])


def test_blocks_end_before_the_stop(log: LogFile) -> None:
    log.open_for_append()
    log.append(b"one\ntwo\n")
    for stop in range(4, 8):
        assert list(log.blocks(0, stop)) == [(0, b"one\n")]
    assert list(log.blocks(0, 3)) == []


def test_a_log_of_one_endless_line_is_refused_and_not_held_in_memory(
    log: LogFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_file_module, "LONGEST_LINE_BYTES", BLOCK_BYTES * 4)
    log.open_for_append()
    log.append(b"ok\n")
    with open(log.path, "ab") as other:
        other.write(b"x" * BLOCK_BYTES * 9)
    with pytest.raises(CorruptionError, match="no op log") as caught:
        whole(log)
    assert caught.value.offset in {0, 3}


def test_short_reads_are_put_together(tmp_path: Path) -> None:
    class Stingy(Storage):
        def pread(self, descriptor: int, length: int, offset: int, /) -> bytes:
            return os.pread(descriptor, min(length, 7), offset)

    log = LogFile(str(tmp_path / "ops.jsonl"), Stingy())
    log.open_for_append()
    content = b"".join(b"%d\n" % number for number in range(100))
    log.append(content)
    assert whole(log) == content
    log.close()


def test_an_archive_being_made_keeps_new_writers_out(log: LogFile) -> None:
    log.open_for_append()
    log.append(b"one\n")
    log.close()
    with LOCAL.locked(log.path), pytest.raises(StorageError, match="archived"):
        log.open_for_append()
    log.open_for_append()
    log.append(b"two\n")
    assert whole(log) == b"one\ntwo\n"


def test_an_open_writer_keeps_an_archive_from_being_made(log: LogFile) -> None:
    log.open_for_append()
    with LOCAL.locked(log.path, wait=False) as taken:
        assert not taken
    log.close()
    with LOCAL.locked(log.path, wait=False) as taken:
        assert taken


def test_closing_twice_is_fine_and_releases_the_file(log: LogFile) -> None:
    before = len(os.listdir("/dev/fd"))
    log.open_for_append()
    log.append(b"one\n")
    log.close()
    log.close()
    assert len(os.listdir("/dev/fd")) <= before + 1  # the watch of all files is made once


def test_a_writer_that_cannot_be_opened_leaves_no_descriptor_behind(tmp_path: Path) -> None:
    (tmp_path / "target").write_bytes(b"")
    os.link(tmp_path / "target", tmp_path / "ops.jsonl")
    before = len(os.listdir("/dev/fd"))
    for _ in range(3):
        log = LogFile(str(tmp_path / "ops.jsonl"), LOCAL)
        with pytest.raises(StorageError, match="hard links"):
            log.open_for_append()
        with pytest.raises(StorageError, match="hard links"):
            log.end()
    assert len(os.listdir("/dev/fd")) == before


def test_names_are_made_durable_before_the_first_sync_returns(tmp_path: Path) -> None:
    synced: list[str] = []

    class Recording(Storage):
        def __init__(self) -> None:
            self.paths: dict[int, str] = {}

        def open(self, path: str, flags: int, mode: int = 0o666) -> int:
            descriptor = super().open(path, flags, mode)
            self.paths[descriptor] = path
            return descriptor

        def sync_data(self, descriptor: int) -> None:
            synced.append(os.path.relpath(self.paths[descriptor], tmp_path))
            super().sync_data(descriptor)

    storage: Any = Recording()
    log = LogFile(str(tmp_path / ".muse" / "op_log" / "jam" / "ops.jsonl"), storage)
    log.open_for_append()
    log.append(b"one\n")
    log.sync()
    assert synced == [".muse/op_log/jam/ops.jsonl", ".muse/op_log/jam", ".muse/op_log", ".muse", "."]
    log.append(b"two\n")
    log.sync()
    assert synced[5:] == [".muse/op_log/jam/ops.jsonl"]
    log.close()


def test_threads_that_open_a_log_at_once_leave_no_descriptor_behind(tmp_path: Path) -> None:
    class Meeting(Storage):
        """Lets those who open at the same time meet on the way."""

        def __init__(self) -> None:
            self.open_files: set[int] = set()
            self._meeting = threading.Barrier(2)

        def open(self, path: str, flags: int, mode: int = 0o666) -> int:
            with contextlib.suppress(threading.BrokenBarrierError):
                self._meeting.wait(0.2)
            descriptor = super().open(path, flags, mode)
            self.open_files.add(descriptor)
            return descriptor

        def close(self, descriptor: int) -> None:
            super().close(descriptor)
            self.open_files.discard(descriptor)

    (tmp_path / "ops.jsonl").write_bytes(b"one\n")
    storage = Meeting()
    log = LogFile(str(tmp_path / "ops.jsonl"), storage)
    found: list[list[tuple[int, bytes]]] = []
    threads = [threading.Thread(target=lambda: found.append(list(log.blocks(0, 4)))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.close()
    assert found == [[(0, b"one\n")]] * 2
    assert storage.open_files == set()


def test_a_failure_while_bytes_in_doubt_are_written_anew_leaves_them_in_doubt(log: LogFile) -> None:
    class Failing(Storage):
        fails = ""

        def sync_data(self, descriptor: int) -> None:
            if self.fails == "sync":
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            super().sync_data(descriptor)

        def write(self, descriptor: int, data: Any, /) -> int:
            if self.fails == "write":
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return os.write(descriptor, data)

    storage = Failing()
    doubtful = LogFile(log.path, storage)
    doubtful.append(b"one\n")
    storage.fails = "sync"
    with pytest.raises(StorageError):
        doubtful.sync()
    doubtful.close()
    storage.fails = "write"
    again = LogFile(log.path, storage)
    for _ in range(2):
        with pytest.raises(StorageError, match="disk is full"):
            again.append(b"two\n")
    storage.fails = ""
    again.append(b"two\n")
    again.close()
    assert whole(log) == b"one\none\ntwo\n"
    assert os.listdir(os.path.dirname(log.path)) == ["ops.jsonl"]


class RefusesToSync(Storage):
    """Syncs nothing, or nothing but files that are replaced as a whole."""

    def __init__(self, path: str, *, only_the_log: bool) -> None:
        self._path, self._only_the_log, self.is_sound = path, only_the_log, False

    def sync_data(self, descriptor: int) -> None:
        is_log = os.path.samestat(os.fstat(descriptor), os.stat(self._path))
        if not self.is_sound and (is_log or not self._only_the_log):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        super().sync_data(descriptor)


@pytest.mark.parametrize(("only_the_log", "growth"), [(False, 1), (True, 11)])
def test_a_log_that_is_opened_again_and_again_on_a_disk_that_syncs_nothing_stays_bounded(
    log: LogFile, growth: int, *, only_the_log: bool
) -> None:
    log.append(b"".join(b"line %d\n" % number for number in range(100)))
    log.close()
    first, size = whole(log), os.path.getsize(log.path)
    storage = RefusesToSync(log.path, only_the_log=only_the_log)
    failed = LogFile(log.path, storage)
    with pytest.raises(StorageError):
        failed.sync()
    failed.close()
    for _ in range(10):
        with pytest.raises(StorageError):
            LogFile(log.path, storage).append(b"more\n")
    assert os.path.getsize(log.path) == size * growth
    storage.is_sound = True
    LogFile(log.path, storage).append(b"more\n")
    assert whole(log) == first * (growth + 1) + b"more\n"
    assert os.listdir(os.path.dirname(log.path)) == ["ops.jsonl"]
