"""Appending, visible to other processes on return: one at a time and a hundred at a time."""

from time import perf_counter

from benchmarks.case import Case, Entrant, Job, Metrics, Row, Scale, Target, entrant
from benchmarks.workload import DOMAIN, batches, work
from muse.core.op_log import make_op_entry

BATCH = 100


def check_count(stored: int, expected: int) -> None:
    if stored != expected:
        raise RuntimeError(f"{stored} ops are in the store, {expected} were written")


def _record(job: Job) -> Metrics:
    store = job.open()
    ops = work(job.ops)
    store.record_each(work(1))  # opens the file, fills the first stock of ids
    start = perf_counter()
    store.record_each(ops)
    elapsed = perf_counter() - start
    check_count(store.count(), job.ops + 1)
    store.close()
    return {"append": elapsed / job.ops * 1e6}


def _record_many(job: Job) -> Metrics:
    store = job.open()
    elapsed = 0.0
    for actor_id, ops in batches(job.ops, BATCH):
        start = perf_counter()
        store.record_many(actor_id, ops)
        elapsed += perf_counter() - start
    check_count(store.count(), job.ops // BATCH * BATCH)
    store.close()
    return {"append": elapsed / (job.ops // BATCH * BATCH) * 1e6}


def _append_many(job: Job) -> Metrics:
    store = job.open()
    elapsed, lamport_ts = 0.0, 0
    for actor_id, ops in batches(job.ops, BATCH):
        entries = [make_op_entry(actor_id, DOMAIN, op, lamport_ts + step) for step, op in enumerate(ops, 1)]
        lamport_ts += len(ops)
        ready = store.prepared_batch(entries)
        start = perf_counter()
        store.append_many(ready)
        elapsed += perf_counter() - start
    check_count(store.count(), job.ops // BATCH * BATCH)
    store.close()
    return {"append": elapsed / (job.ops // BATCH * BATCH) * 1e6}


def _peers(slowest_share: float) -> tuple[Entrant, ...]:
    return (
        entrant(
            "sqlite", "sqlite-off", "SQLite WAL, synchronous=OFF", options={"synchronous": "OFF"}, share=0.25
        ),
        entrant(
            "sqlite",
            "sqlite-normal",
            "SQLite WAL, synchronous=NORMAL",
            options={"synchronous": "NORMAL"},
            share=0.25,
        ),
        entrant("lmdb", title="LMDB, sync off"),
        entrant("lmdb", "lmdb-writemap", "LMDB, sync off, writemap", options={"writemap": True}),
        entrant("rocksdb", compared=False),
        entrant("leveldb", compared=False),
        entrant("eventsourcing", share=0.05),
        entrant("pycrdt", share=0.2),
        entrant("pycrdt-store", share=slowest_share),
    )


def _all_ops(scale: Scale) -> int:
    return scale.ops


_BATCH_TARGETS = (Target("at most", 4, "bare"), Target("faster", 20, "naive"), Target("ahead"))

CASES = (
    Case(
        name="record",
        family="append",
        rows=(
            Row(
                "append",
                "record: clock, entry, crc, append, visible on return; one at a time",
                "us/op",
                (Target("at most", 3, "bare"), Target("faster", 8, "naive")),
            ),
        ),
        entrants=(entrant("muse"), entrant("bare"), entrant("naive", share=0.25), *_peers(0.005)),
        count=_all_ops,
        measure=_record,
        explanation="Peers make their entry as the op log does (ids from a stock, cached time), encode it "
        "with orjson and take the stamp from a counter in memory, which does not see other processes' ops.",
    ),
    Case(
        name="record_many",
        family="append",
        rows=(Row("append", f"record_many: {BATCH} ops a call, entries made", "us/op", _BATCH_TARGETS),),
        entrants=(entrant("muse"), entrant("bare"), entrant("naive", share=0.25), *_peers(0.05)),
        count=_all_ops,
        measure=_record_many,
        explanation="The bare write takes the joined lines. The naive log writes them one at a time.",
    ),
    Case(
        name="append_many",
        family="append",
        rows=(Row("append", f"append_many: {BATCH} ready entries a call", "us/op", _BATCH_TARGETS),),
        entrants=(entrant("muse"), entrant("bare"), entrant("naive", share=0.25), *_peers(0.05)),
        count=_all_ops,
        measure=_append_many,
        explanation="Ours gives more: every entry is checked, and stored once however often it is appended; "
        "the peers take what they are given.",
    ),
)
