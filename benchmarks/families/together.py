"""Several writers at once, for information: threads that share a handle, processes that share a log."""

import sys
import time

import orjson

from benchmarks.case import Case, Job, Metrics, Row, Scale, entrant
from benchmarks.families.append import check_count
from benchmarks.families.durable import WRITERS, measure_threads
from benchmarks.workload import work

PROCESSES = 4


def _threads(job: Job) -> Metrics:
    return measure_threads(job, durable=False)


def _processes(job: Job) -> Metrics:
    store = job.open()
    store.record_each(work(1))
    helpers = [job.start_helper(ops=job.ops // PROCESSES) for _ in range(PROCESSES)]
    for helper in helpers:
        if helper.stdout is None or helper.stdout.readline().strip() != "ready":
            raise RuntimeError("a writer did not start")
    begin = time.monotonic_ns() + 50_000_000
    spans = []
    for helper in helpers:
        if helper.stdin is not None:
            helper.stdin.write(f"{begin}\n")
            helper.stdin.flush()
    for helper in helpers:
        output, _ = helper.communicate(timeout=300)
        spans.append(orjson.loads(output))
    written = job.ops // PROCESSES * PROCESSES
    check_count(store.count(), written + PROCESSES + 1)
    store.close()
    return {"append": (max(end for _, end in spans) - min(start for start, _ in spans)) / 1e3 / written}


def _write(job: Job) -> None:
    store = job.open()
    store.record_each(work(1))
    ops = work(job.extra["ops"])
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    begin = int(sys.stdin.readline())
    time.sleep(max(0, begin - time.monotonic_ns()) / 1e9)
    start = time.monotonic_ns()
    store.record_each(ops)
    sys.stdout.write(orjson.dumps([start, time.monotonic_ns()]).decode())
    sys.stdout.flush()
    store.close()


def _count(scale: Scale) -> int:
    return scale.ops // 4


_SHARED = (
    entrant("muse"),
    entrant("bare"),
    entrant("naive", share=0.4),
    entrant("sqlite", share=0.2),
    entrant("lmdb", title="LMDB, sync off", share=0.4),
)

CASES = (
    Case(
        name="threads",
        family="together",
        rows=(Row("append", f"{WRITERS} threads appending through one handle", "us/op"),),
        entrants=(*_SHARED, entrant("rocksdb", compared=False), entrant("leveldb", compared=False)),
        count=_count,
        measure=_threads,
    ),
    Case(
        name="processes",
        family="together",
        rows=(Row("append", f"{PROCESSES} processes appending to one log", "us/op"),),
        entrants=_SHARED,
        count=_count,
        measure=_processes,
        helper=_write,
        explanation="Time from the first start to the last end over all ops. RocksDB and LevelDB take one "
        "process only. Ours takes in what the others wrote before each stamp; the others' stamps are each "
        "process's own.",
    ),
)
