"""A record that is killed at any of its writes: run again, it gives the same, and nothing twice."""

import os
import shutil
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from muse.core.op_log import OpLog
from muse.disk.storage import Storage
from muse.history.repository import Repository
from muse.session.live import LiveSession
from muse.session.text_replica import CodeReplica
from muse.workdir.workdir import RecordOutcome, Workdir
from tests.samples.trees import committed_files
from tests.workdir.test_midi import TUNE, midi

FILES = {
    "a.txt": b"bob\none\ntwo\nfour\n",
    "new.txt": b"new\n",
    "renamed.txt": b"kept as it is\n",
    "theirs.txt": b"by bob\n",
    "logo.bin": b"\0two",
    "song.mid": midi((60, 0, 240), (64, 720, 240), (67, 960, 240)),
}


class KillingStorage(Storage):
    """Kills its process before the change of the disk with a given number, counted from 1."""

    def __init__(self, last: int) -> None:
        self.left = last

    def _count(self) -> None:
        self.left -= 1
        if not self.left:
            os.kill(os.getpid(), signal.SIGKILL)

    def write(self, descriptor: int, data: bytes) -> int:  # type: ignore[override]
        self._count()
        return super().write(descriptor, data)

    def replace(self, source: str, target: str) -> None:
        self._count()
        super().replace(source, target)

    def exchange(self, one: str, other: str) -> bool:
        self._count()
        return super().exchange(one, other)

    def link(self, path: str, other: str) -> None:
        self._count()
        super().link(path, other)

    def unlink(self, path: str) -> None:
        self._count()
        super().unlink(path)


def record(root: Path, storage: Storage | None = None) -> RecordOutcome:
    repository = Repository.open(str(root), storage) if storage else Repository.open(str(root))
    return Workdir(repository, None, "ada", session_id="jam").record()


def prepare(root: Path) -> None:
    """Lay out a directory in which both sides did something since they last agreed."""
    Repository.init(str(root))
    (root / "a.txt").write_bytes(b"one\ntwo\nthree\n")
    (root / "old.txt").write_bytes(b"kept as it is\n")
    (root / "gone.txt").write_bytes(b"gone\n")
    (root / "logo.bin").write_bytes(b"\0one")
    (root / "song.mid").write_bytes(midi(*TUNE))
    assert record(root).faults == []
    with LiveSession(str(root), "jam") as session:
        bob = CodeReplica(session, session.log, "bob")
        bob.insert("a.txt", 0, "bob\n")
        bob.create("theirs.txt", "by bob\n")
    (root / "a.txt").write_bytes(b"one\ntwo\nfour\n")
    (root / "new.txt").write_bytes(FILES["new.txt"])
    (root / "logo.bin").write_bytes(FILES["logo.bin"])
    (root / "song.mid").write_bytes(FILES["song.mid"])
    (root / "old.txt").rename(root / "renamed.txt")
    (root / "gone.txt").unlink()


def run_killed(root: Path, last: int) -> bool:
    """Record in a process that is killed; return whether it was."""
    child = os.fork()
    if not child:
        try:
            record(root, KillingStorage(last))
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


def found(root: Path) -> dict[str, bytes]:
    return {place.name: place.read_bytes() for place in root.iterdir() if place.is_file()}


def ops(root: Path) -> Counter[str]:
    """The ops of the log, without what is by chance in them."""
    with OpLog(str(root), "jam") as log:
        said: list[dict[str, Any]] = [dict(entry["domain_op"]) for entry in log.read_all()]
    return Counter(f"{op['op']} {op['address']} {op.get('text')}" for op in said)


def heard(root: Path) -> dict[str, bytes]:
    with LiveSession(str(root), "jam") as session:
        session.commit("all")
    files = committed_files(Repository.open(str(root)))
    return {path: content for path, content in files.items() if not path.startswith(".")}


def check(root: Path, expected: Counter[str]) -> None:
    assert record(root).faults == []
    assert ops(root) == expected
    assert found(root) == FILES
    assert record(root).recorded == []
    assert heard(root) == FILES


def kill_at_each(tmp_path: Path, step: int) -> None:
    prepared = tmp_path / "prepared"
    prepare(prepared)
    whole = tmp_path / "whole"
    shutil.copytree(prepared, whole)
    assert record(whole).faults == []
    expected = ops(whole)
    check(whole, expected)
    last = 1
    while True:
        root = tmp_path / f"killed-{last}"
        shutil.copytree(prepared, root)
        was_killed = run_killed(root, last)
        check(root, expected)
        if not was_killed:
            break
        last += step
    assert last > 10


def test_a_record_that_is_killed_gives_the_same_when_it_is_run_again(tmp_path: Path) -> None:
    kill_at_each(tmp_path, 3)


@pytest.mark.long
def test_a_record_that_is_killed_at_every_write_gives_the_same_when_it_is_run_again(tmp_path: Path) -> None:
    kill_at_each(tmp_path, 1)


def test_what_is_done_after_a_first_record_was_killed_is_one_edit_of_each_file(tmp_path: Path) -> None:
    """A first record has no base yet, and its plan alone says what the files were."""
    for last in range(1, 60):
        root = tmp_path / str(last)
        Repository.init(str(root))
        (root / "a.txt").write_bytes(b"one\n")
        (root / "gone.txt").write_bytes(b"gone\n")
        (root / "song.mid").write_bytes(midi(*TUNE))
        record(root)
        with LiveSession(str(root), "jam") as session:
            session.commit("all")
        shutil.rmtree(root / ".muse" / "workdir")  # as in a clone
        (root / "a.txt").write_bytes(b"one\ntwo\n")
        (root / "song.mid").write_bytes(FILES["song.mid"])
        if not run_killed(root, last):
            break
        (root / "a.txt").write_bytes(b"one\ntwo\nthree\n")
        (root / "gone.txt").unlink()
        outcome = record(root)
        assert outcome.faults == []
        assert (
            heard(root)
            == found(root)
            == {
                "a.txt": b"one\ntwo\nthree\n",
                "song.mid": FILES["song.mid"],
            }
        )
    else:
        raise AssertionError("it was killed in every run")
