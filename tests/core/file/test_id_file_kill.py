"""Writers of ready entries killed around the snapshots of the index: no op is lost, none is stored twice."""

import json
import os
import random
import signal
import time
import uuid
from collections import Counter
from pathlib import Path
from typing import NoReturn

import pytest

from muse.core.file import id_file, op_index
from muse.core.op_log import OpEntry, OpLog
from muse.disk import layout
from muse.disk.storage import TEMPORARY_MARK

ACTORS = ("ada", "bob")
KILLS_A_LOG = 100
LONGEST_PAUSE_SECONDS = 0.006
_UNSURE = 60  # so many of the last ops are sent again by the one who comes after a kill


@pytest.fixture(autouse=True)
def snapshots_of_short_logs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a snapshot written, and read, every few ops."""
    monkeypatch.setattr(op_index, "SNAPSHOT_ROWS", 16)
    monkeypatch.setattr(op_index, "_SHARE", 64)
    monkeypatch.setattr(id_file, "_ROWS_A_SEGMENT", 32)
    monkeypatch.setattr(id_file, "_WRITE_BYTES", 512)


def entry_of(actor: str, number: int) -> OpEntry:
    """Return the entry of a number, the same whoever makes it."""
    octets = random.Random(f"{actor} {number}").randbytes(16)
    return {
        "op_id": str(uuid.UUID(bytes=octets, version=4)),
        "actor_id": actor,
        "lamport_ts": number + 1,
        "parent_op_ids": [],
        "domain": "notes",
        "domain_op": {"n": number},  # type: ignore[typeddict-item]
        "created_at": "2026-11-30T00:00:00.000Z",
        "intent_id": "",
        "reservation_id": "",
    }


def write_until_killed(root: Path, actor: str, acknowledged: int, pipe: int) -> NoReturn:
    """Send the last ops again, then new ones; write a line to the pipe for each that is acknowledged."""
    status = 1
    try:
        chance, number = random.Random(os.getpid()), max(0, acknowledged - _UNSURE)
        with OpLog(root, "jam") as log:
            while True:
                stop = number + chance.randint(1, 30)
                log.append_many([entry_of(actor, each) for each in range(number, stop)])
                os.write(pipe, b"%d\n" % stop)
                number = stop
                old = [entry_of(actor, chance.randrange(number)) for _ in range(10)]
                if log.append_many(old):
                    os.write(pipe, b"-1\n")
    finally:
        os._exit(status)


def killed_writers(root: Path, acknowledged: Counter[str], chance: random.Random) -> int:
    """Let a writer of each actor write, and kill them; return how many snapshots were cut short."""
    writers: list[tuple[str, int, int]] = []
    for actor in ACTORS:
        reader, pipe = os.pipe()
        process = os.fork()
        if not process:
            os.close(reader)
            write_until_killed(root, actor, acknowledged[actor], pipe)
        os.close(pipe)
        writers.append((actor, process, reader))
    begun = [os.read(reader, 1) for _, _, reader in writers]
    for (actor, process, reader), first in zip(writers, begun, strict=True):
        time.sleep(chance.uniform(0, LONGEST_PAUSE_SECONDS))
        os.kill(process, signal.SIGKILL)
        assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == -signal.SIGKILL
        with os.fdopen(reader, "rb") as lines:
            numbers = [int(line) for line in (first + lines.read()).split()]
        assert -1 not in numbers, "an op that the log had was stored again"
        acknowledged[actor] = numbers[-1]
    directory = layout.session_directory(str(root), "jam")
    return sum(TEMPORARY_MARK in name for name in os.listdir(directory))


def check_log(root: Path, acknowledged: Counter[str]) -> None:
    """Each op is in the file once, and all that were acknowledged are."""
    found: Counter[tuple[str, int]] = Counter()
    for line in Path(layout.ops_file(str(root), "jam")).read_bytes().split(b"\n"):
        if line.startswith(b'{"op_id"') and line.endswith(b'"}'):
            op = json.loads(line)
            found[op["actor_id"], op["domain_op"]["n"]] += 1
    assert found.most_common(1)[0][1] == 1
    for actor in ACTORS:
        numbers = [number for who, number in found if who == actor]
        assert len(numbers) == max(numbers) + 1 >= acknowledged[actor]
    with OpLog(root, "jam") as log:
        assert len(log.find([entry_of(*one)["op_id"] for one in found])) == len(found)


def kill_writers(tmp_path: Path, kills: int) -> None:
    chance, cut_short, was_kept = random.Random(14), 0, 0
    for number in range(-(-kills // KILLS_A_LOG)):
        root, acknowledged = tmp_path / str(number), Counter[str]()
        root.mkdir()
        for _ in range(KILLS_A_LOG // len(ACTORS)):
            cut_short += killed_writers(root, acknowledged, chance)
        check_log(root, acknowledged)
        was_kept += Path(layout.op_index_file(str(root), "jam")).exists()
        Path(layout.ops_file(str(root), "jam")).unlink()
    assert cut_short
    assert was_kept


def test_writers_that_are_killed_around_snapshots_lose_and_double_nothing(tmp_path: Path) -> None:
    kill_writers(tmp_path, KILLS_A_LOG)


@pytest.mark.long
def test_ten_thousand_writers_that_are_killed_lose_and_double_nothing(tmp_path: Path) -> None:
    kill_writers(tmp_path, 10_000)
