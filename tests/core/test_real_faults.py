"""Faults of real file systems and of the kernel: full disks, cut power, failed syncs, calls that are refused.

Most need root and a kernel that lets one mount; where that is not so, a test is skipped and says why.
"""

import contextlib
import errno
import fcntl
import os
import resource
import select
import shutil
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from muse.core.file import op_index
from muse.core.op_log import OpLog
from muse.disk import layout
from muse.disk.storage import TEMPORARY_MARK, Storage
from muse.errors import DurabilityError, MuseError, StorageError
from muse.history.repository import Repository
from muse.session.live import LiveSession
from muse.workdir.workdir import Workdir

NOW = "2026-01-02T03:04:05+00:00"
GOING_DOWN = 0x8004587D  # the ioctl that ext4 and xfs share: lose what was not synced, as a power cut does
WITHOUT_FLUSHING = struct.pack("I", 2)
PAD = "x" * 100_000


# -- disks to spoil ------------------------------------------------------------------------------


def run(*command: str | Path) -> str:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr or done.stdout).strip()
        raise RuntimeError(f"{' '.join(map(str, command))}: {said}")
    return done.stdout.strip()


def run_or_skip(*command: str | Path) -> str:
    if shutil.which(str(command[0])) is None:
        pytest.skip(f"there is no {command[0]} here")
    try:
        return run(*command)
    except RuntimeError as refused:
        pytest.skip(f"not possible here: {refused}")


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Mount things below `tmp_path`; they are unmounted at the end."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount")
    mounted: list[Path] = []

    def make(*arguments: str | Path) -> Path:
        place = tmp_path / f"mount-{len(mounted)}"
        place.mkdir()
        run_or_skip("mount", *arguments, place)
        mounted.append(place)
        return place

    yield make
    for place in reversed(mounted):
        subprocess.run(["umount", "-l", place], check=False, capture_output=True)


@pytest.fixture
def loop(tmp_path: Path) -> Iterator[Callable[[Path], str]]:
    """Make block devices of files; they are taken down at the end, after what is mounted on them."""
    devices: list[str] = []

    def make(image: Path) -> str:
        devices.append(run_or_skip("losetup", "--find", "--show", image))
        return devices[-1]

    yield make
    for device in devices:
        subprocess.run(["losetup", "--detach", device], check=False, capture_output=True)
    for image in tmp_path.glob("*.img"):
        image.unlink()


def image_of(path: Path, size: int) -> Path:
    with path.open("wb") as image:
        image.truncate(size)
    return path


def find_ids(root: Path) -> list[str]:
    with OpLog(root, "jam") as log:
        return [entry["op_id"] for entry in log.read_all()]


def record_until_refused(log: OpLog, pad: str, acknowledged: list[str]) -> None:
    while True:
        acknowledged.append(log.record("ada", "notes", {"pad": pad})["op_id"])


# -- disk full -----------------------------------------------------------------------------------


def test_a_full_disk_refuses_an_op_and_takes_the_next_once_there_is_space(
    mount: Callable[..., Path],
) -> None:
    root = mount("-t", "tmpfs", "-o", "size=2m", "tmpfs")
    filler = root / "filler"
    filler.write_bytes(b"x" * 1_000_000)
    acknowledged: list[str] = []
    with OpLog(root, "jam") as log:
        with pytest.raises(StorageError) as caught:
            record_until_refused(log, PAD, acknowledged)
        assert "the disk may be full" in str(caught.value) or caught.value.errno == errno.ENOSPC
        with pytest.raises(StorageError):
            log.checkpoint("e" * 64)
        assert log.read_checkpoint() is None
        assert len(acknowledged) >= 5
        filler.unlink()
        acknowledged.append(log.record("ada", "notes", {"pad": PAD})["op_id"])
        log.checkpoint("e" * 64)
        assert [damage.kind for damage in log.damages()] in ([], ["torn"])
    assert find_ids(root) == acknowledged


def test_a_full_disk_gets_no_snapshot_of_the_index_and_nobody_is_told(
    mount: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(op_index, "SNAPSHOT_ROWS", 100)
    root = mount("-t", "tmpfs", "-o", "size=1m", "tmpfs")
    snapshot = Path(layout.op_index_file(str(root), "jam"))
    with OpLog(root, "jam") as log:
        entries = log.record_many("ada", "notes", [{"n": number} for number in range(1_000)])
    with contextlib.suppress(OSError), (root / "filler").open("wb", buffering=0) as filler:
        while filler.write(b"x" * 4096):
            pass
    with OpLog(root, "jam") as log:
        for _ in range(3):
            assert log.find([entry["op_id"] for entry in entries]).keys() == {one["op_id"] for one in entries}
    assert not snapshot.exists()
    assert [name for name in os.listdir(snapshot.parent) if TEMPORARY_MARK in name] == []
    (root / "filler").unlink()
    with OpLog(root, "jam") as log:
        assert log.append_many(entries) == 0
    assert snapshot.exists()


def test_a_disk_that_fills_up_in_a_commit_leaves_the_branch_as_it_was(mount: Callable[..., Path]) -> None:
    root = mount("-t", "tmpfs", "-o", "size=1m", "tmpfs")
    Repository.init(str(root), now=NOW, any_domain=True)
    with LiveSession(root, "jam") as session:
        for _ in range(3):
            session.edit("ada", "drawing", {"pad": "x" * 90_000})
        (root / "filler").write_bytes(b"x" * (os.statvfs(root).f_bavail * os.statvfs(root).f_frsize - 8192))
        with pytest.raises(StorageError, match="the disk is full"):
            session.commit("Too much")
        assert session.repository.dag.head("main") is None
        (root / "filler").unlink()
        assert session.commit("Now").op_count == 3


def in_child(work: Callable[[], None]) -> None:
    """Run `work`, which changes what this process may do, in a forked child; fail if it fails."""
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - told to the parent
            os.write(2, f"{error!r}\n".encode())
            os._exit(1)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_file_size_limit_is_a_typed_error_and_the_log_goes_on_once_it_is_lifted(tmp_path: Path) -> None:
    def work() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        acknowledged = []
        with OpLog(tmp_path, "jam") as log:
            resource.setrlimit(resource.RLIMIT_FSIZE, (250_000, hard))
            acknowledged += [log.record("ada", "notes", {"pad": PAD})["op_id"] for _ in range(2)]
            codes = []
            for _ in range(2):
                with pytest.raises(StorageError) as caught:
                    log.record("ada", "notes", {"pad": PAD})
                codes.append(caught.value.errno)
            assert codes == [None, errno.EFBIG]
            resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
            acknowledged.append(log.record("ada", "notes", {"pad": PAD})["op_id"])
        assert find_ids(tmp_path) == acknowledged

    in_child(work)


def test_without_descriptors_everything_is_refused_with_a_reason_and_works_again_after(
    tmp_path: Path,
) -> None:
    def work() -> None:
        Repository.init(str(tmp_path), now=NOW, any_domain=True)
        with LiveSession(tmp_path, "jam") as session:
            session.edit("ada", "drawing", {"n": 0})
            limits = resource.getrlimit(resource.RLIMIT_NOFILE)
            taken = os.open(os.devnull, os.O_RDONLY)
            resource.setrlimit(resource.RLIMIT_NOFILE, (taken, limits[1]))
            session.edit("ada", "drawing", {"n": 1})  # needs none
            uses: tuple[Callable[[], object], ...] = (
                lambda: session.commit("No"),
                lambda: session.log.checkpoint("e" * 64),
                session.log.repair,
                lambda: OpLog(tmp_path, "other").record("ada", "drawing", {}),
                lambda: OpLog(tmp_path, "jam").sync(),
            )
            for use in uses:
                with pytest.raises(StorageError, match="too many open files"):
                    use()
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
            assert session.commit("Yes").op_count == 2

    in_child(work)


# -- power ---------------------------------------------------------------------------------------


def cut_power(place: Path) -> None:
    descriptor = os.open(place, os.O_RDONLY)
    try:
        fcntl.ioctl(descriptor, GOING_DOWN, WITHOUT_FLUSHING)
    except OSError as refused:
        pytest.skip(f"this file system has no shutdown: {refused}")
    finally:
        os.close(descriptor)


def start_durable_writer(root: Path, actor: str) -> tuple[int, int]:
    """Fork a process that records durably until the disk fails, and tells each op id it may rely on."""
    reader, told = os.pipe()
    process = os.fork()
    if process:
        os.close(told)
        return process, reader
    try:
        with OpLog(root, "jam", durability="disk") as log:
            for number in range(1 << 40):
                entry = log.record(actor, "notes", {"n": number, "pad": PAD[: number * 977 % 20_000]})
                os.write(told, f"{entry['op_id']} {time.monotonic_ns():020}\n".encode())
    finally:
        os._exit(0)


def ids_told(process: int, reader: int, before: int) -> list[str]:
    """What the writer was told until the power went: a process without power is told nothing more."""
    os.waitpid(process, 0)
    with open(reader, encoding="utf-8") as pipe:
        lines = [line.split() for line in pipe.read().splitlines()]
    return [op_id for op_id, moment in lines if int(moment) < before]


@pytest.mark.parametrize("kind", ["ext4", "xfs"])
def test_a_power_cut_keeps_all_that_was_acknowledged_as_durable(
    tmp_path: Path, mount: Callable[..., Path], loop: Callable[[Path], str], kind: str
) -> None:
    device = loop(image_of(tmp_path / "disk.img", 320 << 20))
    run_or_skip(f"mkfs.{kind}", "-q", device)
    place = mount("-t", kind, device)
    os.sync()
    writers = [start_durable_writer(place, f"w{number}") for number in range(3)]
    for _, reader in writers:
        select.select([reader], [], [])  # until it was told something
    with OpLog(place, "careless") as careless:
        for number in range(100):
            careless.record("ada", "notes", {"n": number})  # acknowledged, but not as durable
        moment = time.monotonic_ns()
        cut_power(place)
    acknowledged = [ids_told(*writer, moment) for writer in writers]
    run("umount", place)
    place = mount("-t", kind, device)
    assert all(acknowledged)
    with OpLog(place, "jam") as log:
        assert {damage.kind for damage in log.damages()} <= {"torn"}
        by_actor: dict[str, list[str]] = {}
        for entry in log.entries():
            by_actor.setdefault(entry["actor_id"], []).append(entry["op_id"])
        for number, told in enumerate(acknowledged):
            assert by_actor[f"w{number}"][: len(told)] == told
        after = log.record("zoe", "notes", {}, durability="disk")
        assert log.read_all()[-1] == after
    with OpLog(place, "careless") as careless:
        assert len(list(careless.entries())) < 100  # or the power was never cut


# -- syncs that fail -----------------------------------------------------------------------------


def test_a_failed_sync_poisons_the_log_and_what_is_in_doubt_is_written_anew_on_a_sound_disk(
    mount: Callable[..., Path], loop: Callable[[Path], str]
) -> None:
    below = mount("-t", "tmpfs", "-o", "size=24m", "tmpfs")
    device = loop(image_of(below / "disk", 300 << 20))
    run_or_skip("mkfs.ext4", "-q", "-O", "^has_journal", "-E", "lazy_itable_init=1", device)
    place = mount("-t", "ext4", "-o", "dioread_lock,nodelalloc", device)
    acknowledged: list[str] = []
    with OpLog(place, "jam", durability="disk") as log:
        with pytest.raises(DurabilityError) as caught:
            record_until_refused(log, PAD * 5, acknowledged)
        assert len(caught.value.op_ids) == 1
        for use in (log.sync, lambda: log.record("ada", "notes", {})):
            with pytest.raises(MuseError, match=r"in doubt|takes no more"):
                use()
    # What a program that trusts a second sync is told.
    descriptor = os.open(place / ".muse" / "op_log" / "jam" / "ops.jsonl", os.O_RDWR)
    with contextlib.suppress(OSError):
        os.fsync(descriptor)
    os.fsync(descriptor)
    os.close(descriptor)
    run("mount", "-o", "remount,size=200m", below)
    doubtful = caught.value.op_ids
    with OpLog(place, "jam", durability="disk") as log:
        last = log.record("ada", "notes", {})["op_id"]
    run("umount", place)
    place = mount("-t", "ext4", device)
    with OpLog(place, "jam") as log:
        # Where the disk lost bytes, damage is named. Without a journal, what this file system confirmed just
        # before it failed may be among them: that is its word broken, not ours.
        assert "corrupt" in {damage.kind for damage in log.damages()}
        found = [entry["op_id"] for entry in log.read_all(salvage=True)]
        assert [op_id for op_id in found if op_id in acknowledged[:-1]] == acknowledged[:-1]
        assert found[-2:] == [*doubtful, last]
        log.repair()
    assert find_ids(place) == found


# -- read-only, network --------------------------------------------------------------------------


def test_a_read_only_file_system_is_a_clear_error_and_can_still_be_read(mount: Callable[..., Path]) -> None:
    place = mount("-t", "tmpfs", "tmpfs")
    with OpLog(place, "jam") as log:
        first = log.record("ada", "notes", {})
    run("mount", "-o", "remount,ro", place)
    for session_id in ("jam", "new"):
        with OpLog(place, session_id) as log:
            with pytest.raises(StorageError, match="read-only"):
                log.record("ada", "notes", {})
            with pytest.raises(StorageError, match="read-only"):
                log.checkpoint("e" * 64)
    with pytest.raises(StorageError, match="read-only"):
        Repository.init(str(place / "inner"), now=NOW, any_domain=True)
    assert os.listdir(place / ".muse" / "op_log") == ["jam"]
    assert os.listdir(place) == [".muse"]
    assert find_ids(place) == [first["op_id"]]


def test_the_files_of_a_read_only_file_system_are_compared_all_the_same(mount: Callable[..., Path]) -> None:
    place = mount("-t", "tmpfs", "tmpfs")
    Repository.init(str(place), now=NOW)
    (place / "a.txt").write_text("one\n")
    Workdir(Repository.open(str(place)), None, "ada").record()
    (place / "a.txt").write_text("two\n")
    run("mount", "-o", "remount,ro", place)
    workdir = Workdir(Repository.open(str(place)), None, "ada")
    assert [change.path for change in workdir.status().here] == ["a.txt"]
    assert workdir.contents()[:2] == ({"a.txt": b"one\n"}, {"a.txt": b"two\n"})
    with pytest.raises(StorageError, match="read-only"):
        workdir.record()


class Mounts(Storage):
    """Tells of every device that it is mounted as a file system of one kind."""

    def __init__(self, kind: str, device: int) -> None:
        self._line = f"36 35 {os.major(device)}:{os.minor(device)} / / rw - {kind} server:/export rw\n"

    def read_bytes(self, path: str, *, at_most: int | None = None) -> bytes:
        if path == "/proc/self/mountinfo":
            return self._line.encode()
        return super().read_bytes(path, at_most=at_most)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="mounts are known on Linux only")
@pytest.mark.parametrize("kind", ["nfs4", "cifs", "fuse.sshfs", "9p"])
def test_a_network_file_system_is_refused_unless_it_is_forced(tmp_path: Path, kind: str) -> None:
    storage = Mounts(kind, tmp_path.stat().st_dev)
    with OpLog(tmp_path, "jam", storage=storage) as log:
        with pytest.raises(StorageError, match=rf"network file system \({kind}\)"):
            log.record("ada", "notes", {})
        assert log.read_all() == []
    with OpLog(tmp_path, "jam", storage=storage, allow_network=True) as log:
        first = log.record("ada", "notes", {})
        assert log.read_all() == [first]


def test_a_local_file_system_is_not_refused(tmp_path: Path) -> None:
    with OpLog(tmp_path, "jam", storage=Mounts("ext4", tmp_path.stat().st_dev)) as log:
        log.record("ada", "notes", {})


# -- calls that the kernel refuses ---------------------------------------------------------------

WORKER = """
import sys
from muse.core.op_log import OpLog
from muse.errors import MuseError
told = open(sys.argv[2], "w", buffering=1)
with OpLog(sys.argv[1], "jam", durability=sys.argv[3]) as log:
    for number in range(6):
        try:
            entry = log.record("ada", "notes", {"n": number, "pad": "x" * 5000})
        except MuseError as error:
            print("refused", type(error).__name__, getattr(error, "errno", None), file=told)
        else:
            print("done", entry["op_id"], file=told)
    try:
        print("read", len(log.read_all()), file=told)
    except MuseError as error:
        print("unread", type(error).__name__, getattr(error, "errno", None), file=told)
"""


def injected(tmp_path: Path, fault: str, durability: str = "os") -> list[list[str]]:
    """Run the worker with a fault in its calls on the log file; return what it told."""
    if shutil.which("strace") is None:
        pytest.skip("there is no strace here")
    log, told = tmp_path / ".muse" / "op_log" / "jam" / "ops.jsonl", tmp_path / "told"
    call = fault.partition(":")[0]
    strace = ["strace", "-f", "-qq", "-o", str(tmp_path / "trace"), "-P", str(log), "-e", f"trace={call}"]
    done = subprocess.run(
        [
            *strace,
            "-e",
            f"inject={fault}",
            sys.executable,
            "-c",
            WORKER,
            str(tmp_path),
            str(told),
            durability,
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    if "ptrace" in done.stderr.lower() and not told.exists():
        pytest.skip(f"strace may not trace here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    assert "INJECTED" in (tmp_path / "trace").read_text(encoding="utf-8")
    return [line.split() for line in told.read_text(encoding="utf-8").splitlines()]


def done_ids(told: list[list[str]]) -> list[str]:
    return [line[1] for line in told if line[0] == "done"]


@pytest.mark.parametrize("code", ["ENOSPC", "EIO", "EDQUOT"])
def test_a_write_that_the_kernel_refuses_costs_that_op_alone(tmp_path: Path, code: str) -> None:
    told = injected(tmp_path, f"write:error={code}:when=3")
    assert [line[0] for line in told] == ["done", "done", "refused", "done", "done", "done", "read"]
    assert told[2][1:] == ["StorageError", str(getattr(errno, code))]
    assert find_ids(tmp_path) == done_ids(told)


def test_a_write_interrupted_before_its_first_byte_goes_unnoticed(tmp_path: Path) -> None:
    told = injected(tmp_path, "write:error=EINTR:when=3")
    assert [line[0] for line in told] == ["done"] * 6 + ["read"]
    assert find_ids(tmp_path) == done_ids(told)


def test_a_sync_that_the_kernel_refuses_poisons_the_log(tmp_path: Path) -> None:
    told = injected(tmp_path, "fdatasync:error=EIO:when=3", "disk")
    assert [line[0] for line in told[:6]] == ["done", "done", "refused", "refused", "refused", "refused"]
    assert told[2][1:] == ["DurabilityError", str(errno.EIO)]
    assert set(done_ids(told)) <= set(find_ids(tmp_path))


def test_a_read_that_the_kernel_refuses_is_no_empty_log(tmp_path: Path) -> None:
    told = injected(tmp_path, "pread64:error=EIO:when=1+")
    assert told[-1] == ["unread", "StorageError", str(errno.EIO)]
    assert find_ids(tmp_path) == done_ids(told)


@pytest.mark.parametrize("code", ["EMFILE", "EACCES", "EINTR"])
def test_an_open_that_the_kernel_refuses_is_an_error_and_the_next_works(tmp_path: Path, code: str) -> None:
    told = injected(tmp_path, f"openat:error={code}:when=1..2")
    assert len(find_ids(tmp_path)) == len(done_ids(told)) >= 4
    assert all(line[1] == "StorageError" for line in told if line[0] == "refused")
