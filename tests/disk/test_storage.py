"""Files are replaced whole or not at all, locks die with their holder, and errors say what to do."""

import errno
import os
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from muse.disk.storage import LOCAL, TEMPORARY_MARK, Storage
from muse.errors import NotFoundError, StorageError
from muse.testing import Fault, failing_at_every_call


class RecordingStorage(Storage):
    """Notes the calls that make something durable, in order."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self._names: dict[int, str] = {}

    def open(self, path: str, flags: int, mode: int = 0o666) -> int:
        descriptor = super().open(path, flags, mode)
        self._names[descriptor] = "new" if TEMPORARY_MARK in path else os.path.basename(path)
        return descriptor

    def sync_data(self, descriptor: int) -> None:
        self.calls.append(f"sync {self._names[descriptor]}")
        super().sync_data(descriptor)

    def replace(self, source: str, target: str) -> None:
        self.calls.append(f"rename {os.path.basename(target)}")
        super().replace(source, target)


def test_a_file_is_replaced_as_a_whole_and_keeps_no_temporary(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "file"
    LOCAL.write_atomically(str(path), b"one")
    LOCAL.write_atomically(str(path), b"two" * 1_000_000)
    assert path.read_bytes() == b"two" * 1_000_000
    assert os.listdir(path.parent) == ["file"]


def test_writers_with_one_process_id_never_share_a_temporary_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two containers that share a directory have a process of the same id each."""
    monkeypatch.setattr(os, "getpid", lambda: 1)
    path = str(tmp_path / "file")
    with LOCAL.replacing(path) as write_one, LOCAL.replacing(path) as write_two:
        write_one(b"one")
        write_two(b"two")
        temporary = os.listdir(tmp_path)
        assert len(temporary) == 2
    assert Path(path).read_bytes() == b"one"
    assert os.listdir(tmp_path) == ["file"]


def test_a_temporary_file_of_another_is_neither_written_to_nor_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "urandom", bytes)
    theirs = tmp_path / f".file{TEMPORARY_MARK}{os.getpid()}-0"
    theirs.write_bytes(b"theirs")
    with pytest.raises(StorageError):
        LOCAL.write_atomically(str(tmp_path / "file"), b"ours")
    assert theirs.read_bytes() == b"theirs"


def test_bytes_are_synced_before_the_rename_and_the_name_after(tmp_path: Path) -> None:
    storage = RecordingStorage()
    (tmp_path / "d").mkdir()
    storage.write_atomically(str(tmp_path / "d" / "file"), b"x")
    assert storage.calls == ["sync new", "rename file", "sync d"]


def test_new_directories_are_synced_into_their_parents(tmp_path: Path) -> None:
    storage = RecordingStorage()
    storage.make_directories(str(tmp_path / "a" / "b"), sync=True)
    assert storage.calls == [f"sync {tmp_path.name}", "sync a"]


def test_without_sync_nothing_is_synced(tmp_path: Path) -> None:
    storage = RecordingStorage()
    storage.write_atomically(str(tmp_path / "file"), b"x", sync=False)
    assert storage.calls == ["rename file"]


@pytest.mark.parametrize("fault", ["EIO", "short", "crash"])
def test_a_fault_at_any_call_leaves_the_old_bytes_or_the_new(tmp_path: Path, fault: Fault) -> None:
    path = tmp_path / "file"
    old, new = b"old" * 1000, b"new" * 1000
    path.write_bytes(old)
    faults = 0
    for raised in failing_at_every_call(lambda storage: storage.write_atomically(str(path), new), fault):
        assert path.read_bytes() in {old, new}
        assert raised or path.read_bytes() == new
        faults += raised
        path.write_bytes(old)
    assert faults >= 5


def test_a_failed_write_takes_its_temporary_away(tmp_path: Path) -> None:
    class Full(Storage):
        def write(self, _descriptor: int, _data: Any, /) -> int:
            raise OSError(errno.ENOSPC, "full")

    with pytest.raises(StorageError, match="the disk is full: free space") as caught:
        Full().write_atomically(str(tmp_path / "file"), b"x")
    assert caught.value.errno == errno.ENOSPC
    assert caught.value.path == str(tmp_path / "file")
    assert os.listdir(tmp_path) == []


def test_a_file_killed_while_it_is_replaced_is_old_or_new(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"0" * 200_000)
    program = (
        "import sys\nfrom muse.disk.storage import LOCAL\nprint('go', flush=True)\nn = 0\n"
        "while True:\n n = (n + 1) % 10\n LOCAL.write_atomically(sys.argv[1], str(n).encode() * 200_000)\n"
    )
    for _ in range(3):
        with subprocess.Popen([sys.executable, "-c", program, path], stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            writer.stdout.readline()
            for _ in range(20):
                data = path.read_bytes()
                assert (len(data), len(set(data))) == (200_000, 1)
            writer.send_signal(signal.SIGKILL)
        data = path.read_bytes()
        assert (len(data), len(set(data))) == (200_000, 1)


def test_a_mode_is_given_to_the_new_file(tmp_path: Path) -> None:
    LOCAL.write_atomically(str(tmp_path / "file"), b"x", mode=0o754)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o754


def test_a_name_of_255_bytes_can_be_replaced(tmp_path: Path) -> None:
    LOCAL.write_atomically(str(tmp_path / ("n" * 255)), b"x")
    assert LOCAL.read_bytes(str(tmp_path / ("n" * 255))) == b"x"


def test_descriptors_do_not_pass_to_other_programs(tmp_path: Path) -> None:
    descriptor = LOCAL.open(str(tmp_path / "file"), os.O_WRONLY | os.O_CREAT)
    assert not os.get_inheritable(descriptor)
    LOCAL.close(descriptor)


# -- reading and listing -------------------------------------------------------------------------


def test_a_missing_file_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        LOCAL.read_bytes(str(tmp_path / "none"))
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(NotFoundError):
        LOCAL.read_bytes(str(tmp_path / "file" / "none"))


def test_links_directories_and_pipes_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    (tmp_path / "directory").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for name in ("link", "directory", "pipe"):
        with pytest.raises(StorageError):
            LOCAL.read_bytes(str(tmp_path / name))


def test_an_error_while_reading_is_no_empty_file(tmp_path: Path) -> None:
    class Broken(Storage):
        def pread(self, _descriptor: int, _length: int, _offset: int, /) -> bytes:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(StorageError) as caught:
        Broken().read_bytes(str(tmp_path / "file"))
    assert caught.value.errno == errno.EIO


def test_large_files_are_read_and_written_whole_through_small_calls(tmp_path: Path) -> None:
    class Stingy(Storage):
        def write(self, descriptor: int, data: Any, /) -> int:
            return os.write(descriptor, data[:1000])

        def pread(self, descriptor: int, length: int, offset: int, /) -> bytes:
            return os.pread(descriptor, min(length, 999), offset)

    content = os.urandom(50_001)
    Stingy().write_atomically(str(tmp_path / "file"), content)
    assert Stingy().read_bytes(str(tmp_path / "file")) == content


def test_a_listing_is_sorted_and_that_of_no_directory_is_empty(tmp_path: Path) -> None:
    for name in "cab":
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "d").mkdir()
    assert LOCAL.list_directory(str(tmp_path)) == [("a", False), ("b", False), ("c", False), ("d", True)]
    assert LOCAL.list_directory(str(tmp_path / "none")) == []
    with pytest.raises(StorageError, match="not a directory"):
        LOCAL.list_directory(str(tmp_path / "a"))


def test_what_is_at_a_path_is_told_without_following_links(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    (tmp_path / "link").symlink_to("nowhere")
    assert LOCAL.exists(str(tmp_path / "link"))
    assert not LOCAL.exists(str(tmp_path / "none"))
    assert LOCAL.is_file(str(tmp_path / "file"))
    assert not LOCAL.is_file(str(tmp_path / "link"))
    assert LOCAL.is_directory(str(tmp_path))
    assert LOCAL.file_size(str(tmp_path / "file")) == 3
    assert LOCAL.file_size(str(tmp_path)) is None


def test_removing_twice_is_fine(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    LOCAL.remove(str(tmp_path / "file"))
    LOCAL.remove(str(tmp_path / "file"))
    assert os.listdir(tmp_path) == []


# -- locks ---------------------------------------------------------------------------------------


def is_free(path: Path) -> bool:
    with Storage().locked(str(path), wait=False) as taken:
        return taken


def test_a_lock_is_held_while_the_block_runs_and_no_longer(tmp_path: Path) -> None:
    with LOCAL.locked(str(tmp_path / "lock")) as taken:
        assert taken
        assert not is_free(tmp_path / "lock")
    assert is_free(tmp_path / "lock")


def test_a_lock_is_released_by_an_error(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), LOCAL.locked(str(tmp_path / "lock")):
        raise RuntimeError
    assert is_free(tmp_path / "lock")


def test_a_lock_dies_with_its_process(tmp_path: Path) -> None:
    program = (
        "import sys\nfrom muse.disk.storage import LOCAL\n"
        "with LOCAL.locked(sys.argv[1]):\n print('locked', flush=True)\n sys.stdin.read()\n"
    )
    lock, pipe = tmp_path / "lock", subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", program, lock], stdin=pipe, stdout=pipe) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"locked\n"
        assert not is_free(lock)
        holder.send_signal(signal.SIGKILL)
    assert is_free(lock)


def fork_that_waits() -> tuple[int, int]:
    """Fork a child, wait until it runs, and let it live until the returned descriptor is closed."""
    reader, writer = os.pipe()
    running, started = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(writer)
        os.write(started, b"x")
        os.read(reader, 1)
        os._exit(0)
    os.read(running, 1)
    for descriptor in (reader, running, started):
        os.close(descriptor)
    return child, writer


def test_a_child_forked_while_another_thread_holds_a_lock_does_not_keep_it(tmp_path: Path) -> None:
    held, release = threading.Event(), threading.Event()

    def hold() -> None:
        with LOCAL.locked(str(tmp_path / "lock")):
            held.set()
            release.wait()

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait()
    child, writer = fork_that_waits()
    release.set()
    holder.join()
    try:
        assert is_free(tmp_path / "lock")
    finally:
        os.close(writer)
        os.waitpid(child, 0)


def test_a_child_forked_while_another_thread_opens_a_lock_does_not_keep_it(tmp_path: Path) -> None:
    children: list[tuple[int, int]] = []

    class Forking(Storage):
        def open(self, path: str, flags: int, mode: int = 0o666) -> int:
            descriptor = super().open(path, flags, mode)
            children.append(fork_that_waits())  # as when another thread forks at this moment
            return descriptor

    with Forking().locked(str(tmp_path / "lock")) as taken:
        assert taken
    try:
        assert is_free(tmp_path / "lock")
    finally:
        for child, writer in children:
            os.close(writer)
            os.waitpid(child, 0)


def test_a_child_that_leaves_the_block_does_not_release_its_parents_lock(tmp_path: Path) -> None:
    with LOCAL.locked(str(tmp_path / "lock")):
        child = os.fork()
        if child:
            os.waitpid(child, 0)
            assert not is_free(tmp_path / "lock")
    if child == 0:
        os._exit(0)
    assert is_free(tmp_path / "lock")


def test_a_lock_in_no_directory_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError), LOCAL.locked(str(tmp_path / "none" / "lock")):
        pass
