"""Appending so that it survives power loss: one writer, and eight threads that share a store."""

import threading
from collections.abc import Sequence
from time import perf_counter

from benchmarks.case import OUR_NAME, PURE_NAME, Case, Job, Metrics, Row, Scale, Target, both_forms, entrant
from benchmarks.families.append import check_count
from benchmarks.store import Store
from benchmarks.workload import Work, work

WRITERS = 8


def _one_writer(job: Job) -> Metrics:
    store = job.open(durable=True)
    ops = work(job.ops)
    store.record_each(work(1))  # makes the file and syncs its name
    start = perf_counter()
    store.record_each(ops)
    elapsed = perf_counter() - start
    check_count(store.count(), job.ops + 1)
    store.close()
    return {"append": elapsed / job.ops * 1e6}


def threads_elapsed(stores: Sequence[Store], chunks: Sequence[list[Work]]) -> float:
    """Let each store write its chunk in a thread of its own; return the seconds until all are done."""
    begin = threading.Barrier(len(stores) + 1)
    failures: list[BaseException] = []

    def write(store: Store, chunk: list[Work]) -> None:
        begin.wait()
        try:
            store.record_each(chunk)
        except Exception as error:  # noqa: BLE001 - reported by the thread that waits
            failures.append(error)

    threads = [threading.Thread(target=write, args=pair) for pair in zip(stores, chunks, strict=True)]
    for thread in threads:
        thread.start()
    begin.wait()
    start = perf_counter()
    for thread in threads:
        thread.join()
    elapsed = perf_counter() - start
    if failures:
        raise failures[0]
    return elapsed


def measure_threads(job: Job, *, durable: bool) -> Metrics:
    store = job.open(durable=durable)
    store.record_each(work(1))
    stores = [store.for_thread() for _ in range(WRITERS)]
    each = job.ops // WRITERS
    elapsed = threads_elapsed(stores, [work(each) for _ in range(WRITERS)])
    check_count(store.count(), each * WRITERS + 1)
    for opened in {id(one): one for one in (*stores, store)}.values():
        opened.close()
    return {"append": elapsed / (each * WRITERS) * 1e6}


def _eight_writers(job: Job) -> Metrics:
    return measure_threads(job, durable=True)


def _count(scale: Scale) -> int:
    return scale.durable_ops


_TARGETS = tuple(
    target
    for who in (OUR_NAME, PURE_NAME)
    for target in (Target("at most", 1.3, "bare", who=who), Target("ahead", peers=("leveldb",), who=who))
)
_ENTRANTS = (
    *both_forms('Muse op log, durability="disk"'),
    entrant("bare", title="bare write + fdatasync (limit)"),
    entrant("naive", title="naive log + fsync"),
    entrant("sqlite", title="SQLite WAL, synchronous=FULL"),
    entrant("lmdb", title="LMDB, sync on"),
    entrant("rocksdb", title="RocksDB, sync on"),
    entrant("leveldb", title="LevelDB, sync on"),
    entrant("eventsourcing", title="eventsourcing on SQLite, synchronous=FULL"),
    entrant("pycrdt", title="pycrdt, own file + fdatasync"),
    entrant("pycrdt-store"),
)

CASES = (
    Case(
        name="durable",
        family="durable",
        rows=(
            Row(
                "append",
                "durable record, one writer",
                "us/op",
                (*_TARGETS, Target("ahead", peers=("sqlite", "lmdb", "rocksdb"))),
            ),
        ),
        entrants=_ENTRANTS,
        count=_count,
        measure=_one_writer,
        sync_before=True,
    ),
    Case(
        name="durable_8",
        family="durable",
        rows=(Row("append", f"durable record, {WRITERS} threads", "us/op", (*_TARGETS, Target("ahead"))),),
        entrants=tuple(one for one in _ENTRANTS if one.contender != "pycrdt"),
        count=_count,
        measure=_eight_writers,
        sync_before=True,
        explanation="One handle for all threads; SQLite gets a connection a thread. The bare write syncs "
        "for each line on its own. A pycrdt document belongs to one thread, so it is not here.",
    ),
)
