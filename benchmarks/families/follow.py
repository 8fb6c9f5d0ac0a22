"""From the call that appends in one process until another process has the entry decoded."""

import random
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import orjson

from benchmarks.case import Case, Job, Metrics, Row, Scale, Target, entrant
from benchmarks.contenders.muse_log import SESSION
from benchmarks.contenders.naive import NaiveStore
from benchmarks.contenders.sqlite_wal import SqliteStore
from benchmarks.workload import work
from muse.core.op_log import OpLog

MEAN_GAP_SECONDS = 0.006
LONGEST_GAP_SECONDS = 0.05
POLL_SECONDS = 0.001
_SENT = "sent_ns"


def _measure(job: Job) -> Metrics:
    """Append ops at irregular moments; the other process tells how late it saw each."""
    store = job.open()
    store.record_each(work(1))
    follower = job.start_helper(ops=job.ops)
    if follower.stdout is None or follower.stdout.readline().strip() != "ready":
        raise RuntimeError("the follower did not start")
    random_source = random.Random(7)
    time.sleep(0.05)
    for actor_id, op in work(job.ops):
        time.sleep(min(random_source.expovariate(1 / MEAN_GAP_SECONDS), LONGEST_GAP_SECONDS))
        store.record(actor_id, {**op, _SENT: time.monotonic_ns()})
    output, _ = follower.communicate(timeout=60)
    delays = sorted(orjson.loads(output))
    store.close()
    return {
        "p50": delays[len(delays) // 2],
        "p99": delays[min(len(delays) - 1, len(delays) * 99 // 100)],
    }


def _follow(job: Job) -> None:
    """In the other process: take entries as they come, print the delays in microseconds."""
    source = _SOURCES[job.contender](job.directory)
    delays = []
    for entry in source:
        delays.append((time.monotonic_ns() - entry["domain_op"][_SENT]) / 1e3)
        if len(delays) == job.extra["ops"]:
            break
    sys.stdout.write(orjson.dumps(delays).decode())


def _ready() -> None:
    sys.stdout.write("ready\n")
    sys.stdout.flush()


def _from_muse(directory: str) -> Iterator[Any]:
    with OpLog(directory, SESSION).follow() as follower:
        _ready()
        yield from follower


def _from_naive(directory: str) -> Iterator[Any]:
    """Read on where the last read ended, a partial line kept for the next time."""
    with open(NaiveStore(directory, durable=False).path, "rb") as file:
        file.seek(0, 2)
        _ready()
        rest = b""
        while True:
            *lines, rest = (rest + file.read()).split(b"\n")
            yield from map(orjson.loads, lines)
            if not lines:
                time.sleep(POLL_SECONDS)


def _from_sqlite(directory: str) -> Iterator[Any]:
    store = SqliteStore(directory, synchronous="NORMAL")
    sequence = store.count()
    _ready()
    while True:
        rows = store.lines_after(sequence)
        yield from (orjson.loads(line) for _, line in rows)
        if rows:
            sequence = rows[-1][0]
        else:
            time.sleep(POLL_SECONDS)


_SOURCES: dict[str, Callable[[str], Iterator[Any]]] = {
    "muse": _from_muse,
    "naive": _from_naive,
    "sqlite": _from_sqlite,
}


def _count(scale: Scale) -> int:
    return scale.follow_ops


CASES = (
    Case(
        name="follow",
        family="follow",
        rows=(
            Row(
                "p50",
                "appended until seen by a follower in another process, p50",
                "us",
                (Target("under", 1_000),),
            ),
            Row(
                "p99",
                "appended until seen by a follower in another process, p99",
                "us",
                (Target("under", 5_000),),
            ),
        ),
        entrants=(
            entrant("muse", title="Muse op log, follow"),
            entrant("naive", title="naive log, tail polled each millisecond"),
            entrant("sqlite", title="SQLite WAL, polled each millisecond"),
        ),
        count=_count,
        measure=_measure,
        helper=_follow,
        explanation=f"Appended at random moments, {MEAN_GAP_SECONDS * 1e3:g} ms apart on average. The clock "
        "starts before the append is called and stops when the follower holds the decoded entry.",
    ),
)
