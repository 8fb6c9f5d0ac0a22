"""Archiving and restoring killed at random, and the memory they take: real processes, real signals."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from muse.checks.verify import verify_repository
from muse.core.file.live_or_archived import is_archived
from muse.upkeep.archive import archive_session, restore_session
from muse.upkeep.garbage import collect_garbage
from tests.samples.sealed_session import log_bytes, make_session

LONGEST_LIFE_SECONDS = 0.03


def start_turns(root: str) -> int:
    """Fork a process that archives and restores the session in turn, until it is killed."""
    process = os.fork()
    if process:
        return process
    try:
        while True:
            archive_session(root, "jam")
            restore_session(root, "jam")
    finally:
        os._exit(1)


def kill_in_turns(root: str, rounds: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("muse.core.file.archive_frames.FRAME_BYTES", 1 << 12)
    data = make_session(root, ops=400)
    chance = random.Random(11)
    states = set()
    for number in range(rounds):
        process = start_turns(root)
        time.sleep(chance.uniform(0, LONGEST_LIFE_SECONDS))
        os.kill(process, signal.SIGKILL)
        assert os.WIFSIGNALED(os.waitpid(process, 0)[1])
        states.add(is_archived(root, "jam"))
        assert log_bytes(root) == data
        assert verify_repository(root).findings == []
        # The next run finishes either way, now the one, now the other.
        (restore_session, archive_session)[number % 2](root, "jam")
        assert is_archived(root, "jam") is bool(number % 2)
        assert log_bytes(root) == data
    restore_session(root, "jam")
    collect_garbage(root, grace_seconds=0)
    assert verify_repository(root).unreachable == 0
    found = {path.name for path in (Path(root) / ".muse").rglob("*") if path.is_file()}
    assert not {name for name in found if ".tmp-" in name or name.endswith(".zst")}
    assert states == {True, False}  # so it was killed in both


def test_a_kill_at_any_moment_leaves_the_session_live_or_archived(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kill_in_turns(str(tmp_path), 40, monkeypatch)


@pytest.mark.long
def test_hundreds_of_kills_leave_the_session_live_or_archived(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kill_in_turns(str(tmp_path), 600, monkeypatch)


# -- memory --------------------------------------------------------------------------------------

MAKE = """
import sys
from muse.core.op_log import OpLog
root, count = sys.argv[1], int(sys.argv[2])
with OpLog(root, "jam") as log:
    for start in range(0, count, 1000):
        log.record_many("ada", "notes", [{"n": start + n, "pad": "x" * 80} for n in range(1000)])
    log.checkpoint("e" * 64)
"""

MEASURE = """
import json, resource, sys
from muse.checks.archives import check_archives
from muse.disk.storage import LOCAL
from muse.upkeep.archive import archive_session, restore_session, session_entries
root = sys.argv[1]
count = archive_session(root, "jam").manifest["log"]["entry_count"]
_, faults = check_archives(root, LOCAL, lambda _kind, _count: None)
read = sum(1 for _ in session_entries(root, "jam"))
restore_session(root, "jam")
print(json.dumps([count, read, faults, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss]))
"""


def peak_kilobytes(root: Path, count: int) -> int:
    """Archive, check, read and restore a log of `count` ops; return the most memory that took."""
    root.mkdir()
    subprocess.run([sys.executable, "-c", MAKE, str(root), str(count)], check=True)
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(root)], check=True, capture_output=True, text=True
    )
    entries, read, faults, peak = json.loads(done.stdout)
    assert (entries, read, faults) == (count, count, [])
    return int(peak)


def memory_stays_flat(tmp_path: Path, few: int, many: int) -> None:
    small, large = (peak_kilobytes(tmp_path / str(count), count) for count in (few, many))
    assert large - small < 8_000, f"{small} kB for {few} ops, {large} kB for {many}"


def test_memory_does_not_grow_with_the_log(tmp_path: Path) -> None:
    memory_stays_flat(tmp_path, 20_000, 200_000)


@pytest.mark.long
def test_memory_does_not_grow_at_a_million_ops(tmp_path: Path) -> None:
    memory_stays_flat(tmp_path, 20_000, 1_000_000)
