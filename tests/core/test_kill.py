"""Writers killed at random: what was acknowledged is read once, in order. A naive log loses some."""

import json
import os
import random
import signal
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import pytest

from muse.core.op_log import OpLog

WRITERS = 8
SHORTEST, LONGEST = 1_000, 300_000
LONGEST_PAUSE_SECONDS = 0.004
PAD = "x" * LONGEST


class Write(Protocol):
    """Appends one op; when it returns, the op counts as acknowledged."""

    def __call__(self, actor: str, number: int, pad: str) -> object: ...


class Log(NamedTuple):
    """A way to keep a log at a path: how it is opened for writing, and what each actor's ops are read as."""

    writing: Callable[[Path], Any]
    read: Callable[[Path], dict[str, list[int]]]


# -- the op log, and a naive one -----------------------------------------------------------------


@contextmanager
def writing_op_log(root: Path) -> Iterator[Write]:
    with OpLog(root, "jam") as log:
        yield lambda actor, number, pad: log.record(actor, "notes", {"n": number, "pad": pad})


def read_op_log(root: Path) -> dict[str, list[int]]:
    found: dict[str, list[int]] = defaultdict(list)
    stamps: dict[str, int] = defaultdict(int)
    lines = 0
    with OpLog(root, "jam") as log:
        for entry in log.entries():
            op: Any = entry["domain_op"]
            found[entry["actor_id"]].append(op["n"])
            assert entry["lamport_ts"] > stamps[entry["actor_id"]]
            stamps[entry["actor_id"]] = entry["lamport_ts"]
            lines += 1
        assert log.cut().op_count == lines
    return found


@contextmanager
def writing_naively(root: Path) -> Iterator[Write]:
    def write(actor: str, number: int, pad: str) -> None:
        with (root / "ops.jsonl").open("a", encoding="utf-8") as file:
            json.dump({"actor": actor, "n": number, "pad": pad}, file)
            file.write("\n")

    yield write


def read_naively(root: Path) -> dict[str, list[int]]:
    found: dict[str, list[int]] = defaultdict(list)
    with (root / "ops.jsonl").open("rb") as file:
        for line in file:
            try:
                op = json.loads(line)
                found[op["actor"]].append(op["n"])
            except (ValueError, KeyError, TypeError):
                continue
    return found


OP_LOG = Log(writing_op_log, read_op_log)
NAIVE = Log(writing_naively, read_naively)


# -- killing -------------------------------------------------------------------------------------


class Writer(NamedTuple):
    actor: str
    process: int
    acknowledgements: int


def start_writer(root: Path, log: Log, actor: str) -> Writer:
    """Fork a process that writes lines of all lengths until it is killed, and one byte a line to a pipe."""
    reader, acknowledgements = os.pipe()
    process = os.fork()
    if process:
        os.close(acknowledgements)
        return Writer(actor, process, reader)
    try:
        os.nice(4)  # or the one who kills would hardly get a turn
        chance = random.Random(actor)
        with log.writing(root) as write:
            for number in range(1 << 40):
                write(
                    actor,
                    number,
                    PAD[: int(SHORTEST * (LONGEST / SHORTEST) ** max(chance.random(), chance.random()))],
                )
                os.write(acknowledgements, b".")
    finally:
        os._exit(1)


def kill(writer: Writer) -> int:
    """Kill the writer; return how many lines it has acknowledged."""
    os.kill(writer.process, signal.SIGKILL)
    os.waitpid(writer.process, 0)
    count = 0
    while acknowledged := os.read(writer.acknowledgements, 1 << 16):
        count += len(acknowledged)
    os.close(writer.acknowledgements)
    return count


def acknowledged_under_fire(root: Path, log: Log, batches: int, chance: random.Random) -> dict[str, int]:
    """Let eight writers write at once and kill them one after the other; return their acknowledged lines."""
    counts: dict[str, int] = {}
    for batch in range(batches):
        writers = [start_writer(root, log, f"w{batch}-{number}") for number in range(WRITERS)]
        firsts = [len(os.read(writer.acknowledgements, 1)) for writer in writers]
        for writer, first in zip(writers, firsts, strict=True):
            time.sleep(chance.uniform(0, LONGEST_PAUSE_SECONDS))
            counts[writer.actor] = first + kill(writer)
    return counts


def losses(found: dict[str, list[int]], counts: dict[str, int]) -> int:
    """How many acknowledged lines are missing, repeated or out of their writer's order."""
    lost = 0
    for actor, count in counts.items():
        numbers = found.get(actor, [])
        lost += sum(numbers.count(number) != 1 for number in range(count))
        lost += numbers != sorted(numbers)
    return lost


def rounds_of_kills(tmp_path: Path, rounds: int, batches: int) -> int:
    """Check that nothing is lost, and that a naive log loses some; return how many writes were cut short."""
    chance = random.Random(7)
    torn = lost_naively = 0
    for number in range(rounds):
        root = tmp_path / f"ours-{number}"
        root.mkdir()
        counts = acknowledged_under_fire(root, OP_LOG, batches, chance)
        with OpLog(root, "jam") as log:
            log.record("after", "notes", {"n": 0})
            kinds = [damage.kind for damage in log.damages()]
            assert set(kinds) <= {"torn"}
            torn += len(kinds)
        found = read_op_log(root)
        assert losses(found, counts) == 0
        assert found.pop("after") == [0]
        # Besides what was acknowledged, at most the line that its writer was killed behind.
        assert all(len(numbers) <= counts[actor] + 1 for actor, numbers in found.items())
        (root / ".muse" / "op_log" / "jam" / "ops.jsonl").unlink()

        root = tmp_path / f"naive-{number}"
        root.mkdir()
        counts = acknowledged_under_fire(root, NAIVE, 1, chance)
        lost_naively += losses(NAIVE.read(root), counts)
        (root / "ops.jsonl").unlink()
    assert lost_naively > 0  # so this test can fail
    return torn


def test_every_acknowledged_op_is_read_once_and_in_order_though_its_writers_are_killed(
    tmp_path: Path,
) -> None:
    rounds_of_kills(tmp_path, rounds=2, batches=4)


@pytest.mark.long
def test_hundreds_of_kills_lose_no_acknowledged_op(tmp_path: Path) -> None:
    assert rounds_of_kills(tmp_path, rounds=10, batches=5) > 0
