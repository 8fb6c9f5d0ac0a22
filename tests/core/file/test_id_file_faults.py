"""Whatever goes wrong with a snapshot of the index, no op is stored twice, and nobody is told."""

import contextlib
import errno
import os
import stat
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from muse.core.file import id_file, id_table, op_index
from muse.core.file.id_file import Facts, IdFile, TableError, write_id_file
from muse.core.file.log_reader import LogReader
from muse.core.file.session_file import SessionFile
from muse.core.op_log import OpEntry, OpLog, make_op_entry
from muse.disk import layout
from muse.disk.storage import LOCAL, TEMPORARY_MARK, Storage
from muse.errors import MuseError
from muse.testing import DiskModelStorage, FailingStorage, Fault, failing_at_every_call

ROOT = "/repo"
KNOWN = [make_op_entry("ada", "notes", {"n": number}, number + 1) for number in range(30)]
MORE = [make_op_entry("bob", "notes", {"n": number}, number + 100) for number in range(20)]
FAULTS: tuple[Fault, ...] = ("ENOSPC", "EIO", "EACCES", "short", "sync", "crash")


@pytest.fixture(autouse=True)
def snapshots_of_short_logs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(op_index, "SNAPSHOT_ROWS", 20)
    monkeypatch.setattr(id_file, "_ROWS_A_SEGMENT", 8)
    monkeypatch.setattr(id_file, "_WRITE_BYTES", 256)
    monkeypatch.setattr(id_table, "CACHE_BYTES", 256)


def prepared() -> DiskModelStorage:
    """A disk with a log and its snapshot."""
    disk = DiskModelStorage()
    disk.make_directory(ROOT)
    with OpLog(ROOT, "jam", durability="disk", storage=disk) as log:
        log.append_many(KNOWN)
        assert log.append_many(KNOWN) == 0
    assert disk.exists(layout.op_index_file(ROOT, "jam"))
    disk.power_cut(1)
    return disk


def append_more(storage: Storage) -> None:
    with OpLog(ROOT, "jam", storage=storage) as log:
        for start in range(0, len(MORE), 10):
            assert log.append_many(MORE[start : start + 10] + KNOWN[start : start + 10]) in range(11)
        assert log.append_many(MORE) == 0


def check(storage: Storage) -> None:
    """Every op is found, none that is not there, and none is stored twice."""
    unknown = [make_op_entry("eve", "notes", {}, 1)["op_id"] for _ in range(10)]
    with OpLog(ROOT, "jam", storage=storage) as log:
        own = log.record("eve", "notes", {})  # ends a line that lacks only its newline
    with OpLog(ROOT, "jam", storage=storage) as log:
        there = [entry["op_id"] for entry in log.scan(0, log.cut().offset)]
        assert len(there) == len(set(there))
        assert log.find([*there, *unknown]).keys() == set(there)
        assert log.append_many(KNOWN) == 0
        log.append_many(MORE)
        everything = [entry["op_id"] for entry in log.scan(0, log.cut().offset)]
        assert len(everything) == len({own["op_id"], *everything}) == len(KNOWN) + len(MORE) + 1


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_at_any_call_stores_nothing_twice(fault: Fault) -> None:
    disks: list[DiskModelStorage] = []

    def disk() -> DiskModelStorage:
        disks.append(prepared())
        return disks[-1]

    for number, _ in enumerate(failing_at_every_call(append_more, fault, inner=disk)):
        check(disks[-1])
        assert number < 2_000
    assert len(disks) > (2 if fault == "sync" else 20)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_power_cut_at_any_call_stores_nothing_twice(seed: int) -> None:
    for fails_at in range(1, 1_000):
        disk = prepared()
        storage = FailingStorage(fails_at, "crash", inner=disk)
        with contextlib.suppress(MuseError):
            append_more(storage)
        disk.power_cut(seed + 10 * fails_at if seed > 1 else seed)
        with OpLog(ROOT, "jam", storage=disk) as log:
            log.repair()
        check(disk)
        if not storage.failed:
            return
    raise AssertionError("it never went through")


# -- faults of the snapshot alone ----------------------------------------------------------------------


class FailsForTheIndex(Storage):
    """Every call on the index, and no other, fails: from the first on, or from a later one."""

    def __init__(self, call: str, code: int, passed: int = 0) -> None:
        self._call, self._code, self._passed = call, code, passed
        self._index: set[int] = set()
        self.failures = 0

    def _count(self, call: str, is_index: bool) -> None:  # noqa: FBT001
        if not is_index or call != self._call:
            return
        self._passed -= 1
        if self._passed < 0:
            self.failures += 1
            raise OSError(self._code, os.strerror(self._code))

    def open(self, path: str, flags: int, mode: int = 0o666) -> int:
        self._count("make" if flags & os.O_CREAT else "open", "op_index" in path)
        descriptor = super().open(path, flags, mode)
        (self._index.add if "op_index" in path else self._index.discard)(descriptor)
        return descriptor

    def write(self, descriptor: int, data: Any, /) -> int:
        self._count("write", descriptor in self._index)
        return os.write(descriptor, data)

    def pread(self, descriptor: int, length: int, offset: int, /) -> bytes:
        self._count("pread", descriptor in self._index)
        return os.pread(descriptor, length, offset)

    def status(self, descriptor: int) -> os.stat_result:
        self._count("status", descriptor in self._index)
        return super().status(descriptor)

    def sync_data(self, descriptor: int) -> None:
        self._count("sync_data", descriptor in self._index)
        super().sync_data(descriptor)

    def replace(self, source: str, target: str) -> None:
        self._count("replace", "op_index" in target)
        super().replace(source, target)

    def unlink(self, path: str) -> None:
        self._count("unlink", "op_index" in path)
        super().unlink(path)

    def path_status(self, path: str) -> os.stat_result:
        self._count("path_status", "op_index" in path)
        return super().path_status(path)


CALLS = [
    ("make", errno.ENOSPC),
    ("make", errno.EROFS),
    ("make", errno.EACCES),
    ("open", errno.EMFILE),
    ("write", errno.ENOSPC),
    ("pread", errno.EIO),
    ("status", errno.EIO),
    ("sync_data", errno.EIO),
    ("replace", errno.EIO),
    ("path_status", errno.EIO),
]


def use(root: Path, storage: Storage) -> None:
    with OpLog(root, "jam", storage=storage) as log:
        for start in range(0, len(MORE), 10):
            assert log.append_many(MORE[start : start + 10]) == 10
            assert log.append_many(KNOWN + MORE[: start + 10]) == 0
        assert len(log.find([entry["op_id"] for entry in KNOWN + MORE])) == len(KNOWN + MORE)


def write_log(root: Path) -> None:
    with OpLog(root, "jam") as log:
        log.append_many(KNOWN)
        assert log.append_many(KNOWN) == 0


def snapshot_of(root: Path) -> Path:
    return Path(layout.op_index_file(str(root), "jam"))


@pytest.mark.parametrize("passed", [0, 1, 2, 5, 9])
@pytest.mark.parametrize(("call", "code"), CALLS)
def test_a_fault_of_the_snapshot_is_nobodys_error(tmp_path: Path, call: str, code: int, passed: int) -> None:
    write_log(tmp_path)
    storage = FailsForTheIndex(call, code, passed)
    use(tmp_path, storage)
    assert storage.failures or passed
    assert not [name for name in os.listdir(snapshot_of(tmp_path).parent) if TEMPORARY_MARK in name]


def test_what_cannot_be_opened_just_now_is_not_thrown_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_log(tmp_path)
    monkeypatch.setattr(op_index, "SNAPSHOT_ROWS", 1_000)  # or a new one takes its place
    before = snapshot_of(tmp_path).stat().st_ino
    with OpLog(tmp_path, "jam", storage=FailsForTheIndex("open", errno.EMFILE)) as log:
        assert len(log.find([entry["op_id"] for entry in KNOWN[:10]])) == 10
        assert snapshot_of(tmp_path).stat().st_ino == before


def test_a_damaged_snapshot_that_cannot_be_removed_is_not_read(tmp_path: Path) -> None:
    write_log(tmp_path)
    snapshot_of(tmp_path).write_bytes(b"muse ids" + bytes(500))
    use(tmp_path, FailsForTheIndex("unlink", errno.EACCES))


def make_directory(path: Path) -> None:
    path.mkdir()


def make_link(path: Path) -> None:
    path.with_name("elsewhere").write_bytes(b"x")
    path.symlink_to("elsewhere")


def make_pipe(path: Path) -> None:
    os.mkfifo(path)


@pytest.mark.parametrize("make", [make_directory, make_link, make_pipe])
def test_what_is_no_file_is_not_read(tmp_path: Path, make: Callable[[Path], None]) -> None:
    write_log(tmp_path)
    snapshot_of(tmp_path).unlink()
    make(snapshot_of(tmp_path))
    use(tmp_path, LOCAL)


def test_a_snapshot_that_vanishes_while_the_log_is_open_does_no_harm(tmp_path: Path) -> None:
    write_log(tmp_path)
    with OpLog(tmp_path, "jam") as log:
        assert not log.append(KNOWN[0])
        snapshot_of(tmp_path).unlink()
        assert log.append_many(KNOWN) == 0
        assert log.append_many(MORE) == len(MORE)
        assert log.append_many(MORE) == 0


def test_where_the_directory_is_gone_none_is_made_again(tmp_path: Path) -> None:
    write_log(tmp_path)
    directory = snapshot_of(tmp_path).parent
    with (
        contextlib.closing(SessionFile(str(tmp_path), "jam", LOCAL)) as file,
        contextlib.closing(LogReader(file, str(directory / "gone" / "op_index.ids"), LOCAL)) as reader,
    ):
        assert len(reader.find_many([entry["op_id"] for entry in KNOWN], file.end())) == len(KNOWN)
    assert not (directory / "gone").exists()


def test_a_snapshot_has_the_permissions_of_any_new_file(tmp_path: Path) -> None:
    write_log(tmp_path)
    assert stat.S_IMODE(snapshot_of(tmp_path).stat().st_mode) & 0o077 == 0o066 & ~umask()


def umask() -> int:
    before = os.umask(0)
    os.umask(before)
    return before


# -- bytes ---------------------------------------------------------------------------------------------


def rows_of(count: int) -> list[bytes]:
    return [(number << 56).to_bytes(8, "big") + number.to_bytes(8, "big") for number in range(count)]


def test_every_flipped_bit_is_noticed_where_it_counts(tmp_path: Path) -> None:
    path = tmp_path / "ids"
    segments = [b"".join(rows_of(256)[start : start + 128 : 16]) for start in (0, 128)]
    write_id_file(str(path), LOCAL, Facts(1, bytes(96), 1000, bytes(32)), segments)
    sound = path.read_bytes()
    for bit in range(len(sound) * 8):
        damaged = bytearray(sound)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        refused = 0
        try:
            file = IdFile(str(path), LOCAL)
        except TableError:
            continue
        for number, rows in enumerate(segments):
            for read in (file.segment, partial(file.rows, number)):
                try:
                    assert read(number) == rows
                except TableError:
                    refused += 1
        with pytest.raises(TableError):
            file.rows(0, 1)
        file.close()
        assert refused == 2, bit


@pytest.mark.parametrize("kept", [0, 1, 3])
def test_entries_of_a_log_survive_any_mixture_of_two_snapshots(tmp_path: Path, kept: int) -> None:
    """As where some sectors of a file were written and others are those of the file before."""
    entries: list[OpEntry] = [*KNOWN]
    write_log(tmp_path)
    old = snapshot_of(tmp_path).read_bytes()
    with OpLog(tmp_path, "jam") as log:
        log.append_many(MORE)
        assert log.append_many(MORE) == 0
    new = snapshot_of(tmp_path).read_bytes()
    assert new != old
    for sector in range(0, len(new), 512):
        mixed = bytearray(new)
        mixed[sector : sector + 512 * (kept + 1)] = old[sector : sector + 512 * (kept + 1)]
        snapshot_of(tmp_path).write_bytes(mixed)
        with OpLog(tmp_path, "jam") as log:
            assert log.append_many(entries + MORE) == 0
