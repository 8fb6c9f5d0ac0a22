import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from muse.disk.kept_lock import KeptLock
from muse.disk.storage import LOCAL, Storage
from muse.errors import StorageError


class Counting(Storage):
    """Counts how often a file is opened."""

    def __init__(self) -> None:
        self.opened = 0

    def open(self, path: str, flags: int, mode: int = 0o666) -> int:
        self.opened += 1
        return super().open(path, flags, mode)


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "lock")


def is_free(path: str) -> bool:
    with Storage().locked(path, wait=False) as taken:
        return taken


def open_descriptors() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


def test_the_lock_is_held_while_the_block_runs_and_its_file_is_opened_once(path: str) -> None:
    lock = KeptLock(path, storage := Counting())
    for _ in range(3):
        with lock.held() as taken:
            assert taken
            assert not is_free(path)
        assert is_free(path)
    assert storage.opened == 1


def test_an_error_releases_it(path: str) -> None:
    lock = KeptLock(path, LOCAL)
    with pytest.raises(RuntimeError), lock.held():
        raise RuntimeError
    assert is_free(path)
    with lock.held() as taken:
        assert taken


def test_without_wait_it_is_not_taken_from_another_process_or_handle(path: str) -> None:
    lock = KeptLock(path, LOCAL)
    with KeptLock(path, LOCAL).held(), lock.held(wait=False) as taken:
        assert not taken
    with lock.held(wait=False) as taken:
        assert taken


def test_threads_that_share_it_take_turns(path: str) -> None:
    lock, inside, most = KeptLock(path, LOCAL), 0, 0

    def work() -> None:
        nonlocal inside, most
        for _ in range(200):
            with lock.held():
                inside += 1
                most = max(most, inside)
                assert not is_free(path)
                inside -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1
    with lock.held():
        other = threading.Thread(target=lambda: found.append(taken_without_wait(lock)))
        found: list[bool] = []
        other.start()
        other.join()
    assert found == [False]


def taken_without_wait(lock: KeptLock) -> bool:
    with lock.held(wait=False) as taken:
        return taken


@pytest.mark.parametrize("replaced", [False, True])
def test_a_file_that_was_removed_or_replaced_is_opened_again(path: str, replaced: bool) -> None:  # noqa: FBT001
    lock = KeptLock(path, LOCAL)
    with lock.held():
        pass
    os.unlink(path)
    if replaced:
        Path(path).write_bytes(b"")
    with lock.held() as taken:
        assert taken
        assert not is_free(path)  # it is the file at the path that is locked
    assert is_free(path)


def test_a_file_that_is_replaced_while_it_is_waited_for_is_opened_again(path: str) -> None:
    lock = KeptLock(path, LOCAL)
    held, moved = threading.Event(), threading.Event()

    def replace() -> None:
        with LOCAL.locked(path):
            held.set()
            moved.wait()
            os.replace(path, path + ".old")

    other = threading.Thread(target=replace)
    other.start()
    held.wait()
    moved.set()
    with lock.held() as taken:
        assert taken
        assert not is_free(path) or not os.path.exists(path)
    other.join()


def test_a_child_keeps_no_copy_and_can_take_it_once_its_parent_is_done(path: str) -> None:
    lock = KeptLock(path, LOCAL)
    with lock.held():
        child = os.fork()
        if child == 0:
            os._exit(1 if taken_without_wait(KeptLock(path, LOCAL)) else 0)
        assert os.waitpid(child, 0)[1] == 0
        assert not is_free(path)
    child = os.fork()
    if child == 0:
        os._exit(0 if taken_without_wait(lock) else 1)  # with a file of its own
    assert os.waitpid(child, 0)[1] == 0
    with lock.held() as taken:
        assert taken


def test_it_dies_with_its_process(path: str) -> None:
    program = (
        "import os, sys\nfrom muse.disk.kept_lock import KeptLock\nfrom muse.disk.storage import LOCAL\n"
        "with KeptLock(sys.argv[1], LOCAL).held():\n os.kill(os.getpid(), 9)\n"
    )
    subprocess.run([sys.executable, "-c", program, path], check=False)
    assert is_free(path)


def test_what_is_closed_leaves_no_descriptor_open_also_if_it_is_in_use(path: str) -> None:
    before = open_descriptors()
    lock = KeptLock(path, LOCAL)
    with lock.held():
        lock.close()
        assert not is_free(path)
    assert is_free(path)
    lock = KeptLock(path, LOCAL)
    with lock.held():
        pass
    lock.close()
    lock.close()
    assert open_descriptors() == before
    with lock.held() as taken:
        assert taken
    assert open_descriptors() == before


def test_a_lock_in_no_directory_is_an_error_and_leaves_it_usable(tmp_path: Path) -> None:
    lock = KeptLock(str(tmp_path / "none" / "lock"), LOCAL)
    with pytest.raises(StorageError), lock.held():
        pass
    (tmp_path / "none").mkdir()
    with lock.held() as taken:
        assert taken
