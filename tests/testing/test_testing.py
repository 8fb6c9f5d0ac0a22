"""The disks of the tests behave as real ones do, and power cuts lose what they may and nothing else."""

import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muse.disk.storage import LOCAL, Storage
from muse.domain import DomainPlugin
from muse.errors import StorageError
from muse.plugins.music.midi_file import Note
from muse.plugins.music.notes import delete_note, insert_note, rename_file
from muse.plugins.music.plugin import MusicPlugin
from muse.testing import (
    DiskModelStorage,
    DomainPluginConformance,
    FailingStorage,
    Fault,
    InMemoryStorage,
    StorageConformance,
    failing_at_every_call,
)

NEW = os.O_RDWR | os.O_CREAT
SEEDS = range(60)


class TestLocalStorage(StorageConformance):
    def storage(self) -> Storage:
        return LOCAL


class TestInMemoryStorage(StorageConformance):
    def storage(self) -> Storage:
        return InMemoryStorage()

    def root(self, _tmp_path: Any) -> str:
        return "/"


class TestDiskModelStorage(TestInMemoryStorage):
    def storage(self) -> Storage:
        return DiskModelStorage()


class TestFailingStorageBeforeItFails(StorageConformance):
    def storage(self) -> Storage:
        return FailingStorage(1 << 60)


class TestMusicPlugin(DomainPluginConformance):
    def plugin(self) -> DomainPlugin:
        return MusicPlugin()

    def files(self) -> dict[str, bytes]:
        first = insert_note("a.mid", "one", Note(60, 64, 0, 480))
        return {
            **{
                path: data
                for path, data in MusicPlugin().apply({}, [first], self.fetch).files.items()
                if data
            },
            "readme": b"not music",
        }

    def ops(self) -> list[dict[str, Any]]:
        ops: list[Any] = [
            insert_note("a.mid", "two", Note(62, 64, 480, 480)),
            insert_note("b.mid", "three", Note(64, 64, 0, 480)),
            delete_note("a.mid", "one", Note(60, 64, 0, 480)),
            rename_file("b.mid", "c.mid"),
        ]
        return ops


# -- a storage that fails ------------------------------------------------------------------------


FAILURES = [("ENOSPC", errno.ENOSPC), ("EIO", errno.EIO), ("EACCES", errno.EACCES)]


@pytest.mark.parametrize(("fault", "code"), FAILURES)
def test_one_call_fails_and_the_others_do_not(tmp_path: Path, fault: Fault, code: int) -> None:
    storage = FailingStorage(2, fault)
    descriptor = storage.open(str(tmp_path / "file"), NEW)
    with pytest.raises(OSError, match=os.strerror(code)):
        storage.write(descriptor, b"abc")
    assert storage.write(descriptor, b"def") == 3
    storage.close(descriptor)
    assert storage.calls == ["open", "write", "write"]
    assert (tmp_path / "file").read_bytes() == b"def"


def test_a_short_write_takes_half_and_says_so(tmp_path: Path) -> None:
    storage = FailingStorage(2, "short")
    descriptor = storage.open(str(tmp_path / "file"), NEW)
    assert storage.write(descriptor, b"abcdef") == 3
    storage.close(descriptor)
    assert (tmp_path / "file").read_bytes() == b"abc"


def test_a_sync_fails_and_nothing_else(tmp_path: Path) -> None:
    storage = FailingStorage(2, "sync")
    descriptor = storage.open(str(tmp_path / "file"), NEW)
    storage.sync_data(descriptor)
    storage.write(descriptor, b"abc")
    with pytest.raises(OSError, match="Input/output"):
        storage.sync_data(descriptor)
    storage.close(descriptor)
    assert storage.failed


def test_after_a_crash_nothing_goes_through_but_locks_are_let_go(tmp_path: Path) -> None:
    path = str(tmp_path / "file")
    storage = FailingStorage(3, "crash")
    descriptor = storage.open(path, NEW)
    assert storage.lock(descriptor)
    with pytest.raises(OSError, match="Input/output"):
        storage.write(descriptor, b"abcdef")
    calls: tuple[Callable[[], object], ...] = (
        lambda: storage.write(descriptor, b"ghi"),
        lambda: storage.pwrite(descriptor, b"ghi", 0),
        lambda: storage.pread(descriptor, 1, 0),
        lambda: storage.seek(descriptor, 0, os.SEEK_END),
        lambda: storage.status(descriptor),
        lambda: storage.path_status(path),
        lambda: storage.sync_data(descriptor),
        lambda: storage.truncate(descriptor, 0),
        lambda: storage.change_mode(descriptor, 0o600),
        lambda: storage.replace(path, path + "x"),
        lambda: storage.unlink(path),
        lambda: storage.make_directory(path + "d"),
        lambda: storage.remove_directory(str(tmp_path)),
        lambda: storage.names(str(tmp_path)),
        lambda: storage.open(path, NEW),
        lambda: storage.lock(descriptor),
    )
    for call in calls:
        with pytest.raises(OSError, match="Input/output"):
            call()
    storage.close(descriptor)
    with LOCAL.locked(path, wait=False) as taken:
        assert taken
    assert (tmp_path / "file").read_bytes() == b"abc"


def test_every_call_has_its_turn_to_fail() -> None:
    disks: list[InMemoryStorage] = []

    def inner() -> Storage:
        disks.append(InMemoryStorage())
        return disks[-1]

    raised = list(
        failing_at_every_call(lambda storage: storage.write_atomically("/f", b"x"), "EIO", inner=inner)
    )
    counting = FailingStorage(1 << 60, inner=InMemoryStorage())
    counting.write_atomically("/f", b"x")
    assert len(raised) == len(counting.calls) + 1
    assert raised[-1] is False
    assert all(raised[:-1])
    assert disks[-1].read_bytes("/f") == b"x"


# -- a disk whose power is cut -------------------------------------------------------------------


def outcomes(prepare: Callable[[DiskModelStorage], object], path: str = "/file") -> set[bytes | None]:
    """What may be at `path` after a power cut: None if nothing is."""
    found: set[bytes | None] = set()
    for seed in SEEDS:
        disk = DiskModelStorage()
        prepare(disk)
        disk.power_cut(seed)
        found.add(disk.read_bytes(path) if disk.exists(path) else None)
    return found


def written(disk: DiskModelStorage, data: bytes, *, sync: bool = False, name: bool = True) -> int:
    descriptor = disk.open("/file", NEW | os.O_APPEND)
    if name:
        disk.sync_directory("/")
    disk.write(descriptor, data)
    if sync:
        disk.sync_data(descriptor)
    return descriptor


def test_what_was_synced_with_its_name_survives_every_power_cut() -> None:
    assert outcomes(lambda disk: written(disk, b"x" * 5000, sync=True)) == {b"x" * 5000}


def test_a_synced_file_whose_name_was_not_may_be_gone() -> None:
    assert outcomes(lambda disk: written(disk, b"abc", sync=True, name=False)) == {None, b"abc"}


def test_unsynced_bytes_are_kept_lost_torn_or_become_a_hole() -> None:
    data = b"a" * 512 + b"b" * 512 + b"c" * 512
    found = outcomes(lambda disk: written(disk, data))
    assert {b"", data} <= found
    assert any(one and one.startswith(b"\0") and one.rstrip(b"\0") for one in found)
    assert any(one and len(one) % 512 for one in found)
    assert all(one is not None and len(one) <= len(data) for one in found)


def test_a_later_write_may_survive_an_earlier_one() -> None:
    def prepare(disk: DiskModelStorage) -> None:
        descriptor = written(disk, b"a" * 512)
        disk.write(descriptor, b"b" * 512)

    assert b"\0" * 512 + b"b" * 512 in outcomes(prepare)


def test_a_rename_before_a_sync_may_leave_an_empty_file_and_after_it_never() -> None:
    def replaced(disk: DiskModelStorage, *, sync: bool) -> None:
        written(disk, b"old", sync=True)
        disk.write_atomically("/file", b"new", sync=sync)

    assert outcomes(lambda disk: replaced(disk, sync=False)) >= {b"old", b"new", b""}
    assert outcomes(lambda disk: replaced(disk, sync=True)) == {b"new"}


def test_a_directory_that_was_not_synced_may_be_gone_with_all_in_it() -> None:
    def prepare(disk: DiskModelStorage) -> None:
        disk.make_directory("/d")
        disk.write_atomically("/d/file", b"x")

    assert outcomes(prepare, "/d/file") == {None, b"x"}


def test_a_deletion_that_was_not_synced_may_be_undone() -> None:
    def prepare(disk: DiskModelStorage) -> None:
        written(disk, b"x", sync=True)
        disk.unlink("/file")

    assert outcomes(prepare) == {None, b"x"}


def test_shortening_is_durable_only_once_it_is_synced() -> None:
    def prepare(disk: DiskModelStorage) -> None:
        disk.truncate(written(disk, b"abc", sync=True), 1)

    assert outcomes(prepare) == {b"a", b"abc"}


def test_the_same_seed_leaves_the_same_disk() -> None:
    for seed in SEEDS:
        both = []
        for _ in range(2):
            disk = DiskModelStorage()
            written(disk, b"a" * 3000)
            disk.power_cut(seed)
            both.append(disk.read_bytes("/file"))
        assert both[0] == both[1]


def test_descriptors_and_locks_end_with_the_power() -> None:
    disk = DiskModelStorage()
    descriptor = written(disk, b"abc", sync=True)
    assert disk.lock(descriptor)
    disk.power_cut(1)
    with pytest.raises(OSError, match="Bad file descriptor"):
        disk.write(descriptor, b"x")
    with disk.locked("/file", wait=False) as taken:
        assert taken


@given(
    st.lists(st.sampled_from(["append", "overwrite", "sync", "cut"]), max_size=25), st.integers(2, 1 << 20)
)
def test_synced_bytes_are_there_after_any_history(steps: list[str], seed: int) -> None:
    disk = DiskModelStorage()
    descriptor = written(disk, b"")
    synced, content = b"", b""
    for number, step in enumerate(steps):
        piece = bytes([65 + number]) * 700
        if step == "append":
            disk.write(descriptor, piece)
            content += piece
        elif step == "overwrite" and len(content) > len(synced):
            disk.pwrite(descriptor, piece[:9], len(synced))
            content = content[: len(synced)] + piece[:9] + content[len(synced) + 9 :]
        elif step == "sync":
            disk.sync_data(descriptor)
            synced = content
        elif step == "cut":
            disk.power_cut(seed + number)
            descriptor = disk.open("/file", NEW | os.O_APPEND)
            content = disk.read_bytes("/file")
            assert content.startswith(synced)
            synced = content
    assert disk.read_bytes("/file") == content


def test_threads_wait_for_a_lock_in_memory_as_processes_do_for_one_on_disk() -> None:
    disk, inside = InMemoryStorage(), []

    def work(name: str) -> None:
        for _ in range(50):
            with disk.locked("/lock"):
                inside.append(name)
                assert len(inside) == 1
                inside.clear()

    threads = [threading.Thread(target=work, args=(str(number),)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_an_action_without_end_is_not_run_for_ever() -> None:
    def endless(storage: Storage) -> None:
        raise StorageError(str(storage))

    with pytest.raises(AssertionError, match="still fails after"):
        list(failing_at_every_call(endless, "EIO"))
