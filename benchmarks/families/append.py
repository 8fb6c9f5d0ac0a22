"""Appending, visible to other processes on return: one at a time and a hundred at a time."""

from collections.abc import Iterable, Iterator
from itertools import islice
from time import perf_counter

from benchmarks.case import PURE_NAME, Case, Entrant, Job, Metrics, Row, Scale, Target, both_forms, entrant
from benchmarks.peak_memory import resident_bytes
from benchmarks.store import Store
from benchmarks.workload import DOMAIN, batches, work
from muse.core.op_log import OpEntry, make_op_entry

BATCH = 100
_LONG_LOG = 6_000_000
_BEHIND = 100_000


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


def _ready_batches(count: int, behind: int = 0) -> Iterator[list[OpEntry]]:
    """Yield as many ready entries, a hundred at a time, with stamps above that of `behind`."""
    for actor_id, ops in batches(count, BATCH):
        yield [make_op_entry(actor_id, DOMAIN, op, behind + step) for step, op in enumerate(ops, 1)]
        behind += len(ops)


def _append_many(job: Job) -> Metrics:
    store = job.open()
    elapsed = _append_ready(store, _ready_batches(job.ops))
    check_count(store.count(), job.ops // BATCH * BATCH)
    store.close()
    return {"append": elapsed / (job.ops // BATCH * BATCH) * 1e6}


def _append_many_behind(job: Job) -> Metrics:
    store = job.open(directory=job.dataset)
    entries = _ready_batches(_BEHIND + BATCH, behind=_LONG_LOG * 2)
    _append_ready(store, islice(entries, 1))  # opens the log and its index
    elapsed = _append_ready(store, entries)
    store.close()
    return {"append": elapsed / _BEHIND * 1e6}


def _append_ready(store: Store, entries: Iterable[list[OpEntry]]) -> float:
    """Append batches; return the seconds that the appending takes."""
    elapsed = 0.0
    for batch in entries:
        ready = store.prepared_batch(batch)
        start = perf_counter()
        store.append_many(ready)
        elapsed += perf_counter() - start
    return elapsed


def _index_memory(job: Job) -> Metrics:
    store = job.open()
    before = 0
    for entries in _ready_batches(job.ops):
        store.append_many(entries)
        before = before or resident_bytes()
    held = resident_bytes() - before
    store.close()
    return {"memory": held / job.ops}


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


def _ten_thousand(_: Scale) -> int:
    return 10_000


def _a_million(scale: Scale) -> int:
    return scale.big_log


def _long_log(_: Scale, _one: Entrant) -> int:
    return _LONG_LOG


def _over_bare(compiled: float, pure: float) -> tuple[Target, ...]:
    return Target("at most", compiled, "bare"), Target("at most", pure, "bare", who=PURE_NAME)


CASES = (
    Case(
        name="record",
        family="append",
        rows=(
            Row(
                "append",
                "record: clock, entry, crc, append, visible on return; one at a time",
                "us/op",
                (*_over_bare(2.1, 4), Target("faster", 8, "naive")),
            ),
        ),
        entrants=(*both_forms(), entrant("bare"), entrant("naive", share=0.25), *_peers(0.005)),
        count=_all_ops,
        measure=_record,
        explanation="Peers make their entry as the op log does (ids from a stock, cached time), encode it "
        "with orjson and take the stamp from a counter in memory, which does not see other processes' ops.",
    ),
    Case(
        name="record_many",
        family="append",
        rows=(
            Row(
                "append",
                f"record_many: {BATCH} ops a call, entries made",
                "us/op",
                (*_over_bare(4, 12), Target("faster", 20, "naive"), Target("ahead")),
            ),
        ),
        entrants=(*both_forms(), entrant("bare"), entrant("naive", share=0.25), *_peers(0.05)),
        count=_all_ops,
        measure=_record_many,
        explanation="The bare write takes the joined lines. The naive log writes them one at a time.",
    ),
    Case(
        name="append_many",
        family="append",
        rows=(
            Row(
                "append",
                f"append_many: {BATCH} ready entries a call, the first ten thousand of a log",
                "us/op",
                (*_over_bare(5, 20), Target("faster", 20, "naive"), Target("ahead")),
            ),
        ),
        entrants=(*both_forms(), entrant("bare"), entrant("naive", share=0.25), *_peers(0.05)),
        count=_ten_thousand,
        measure=_append_many,
        explanation="Ours gives more: every entry is checked, and stored once however often it is appended; "
        "the peers take what they are given.",
    ),
    Case(
        name="append_many_long",
        family="append",
        rows=(
            Row(
                "append",
                f"append_many: {BATCH} ready entries a call, behind {_LONG_LOG:,}",
                "us/op",
                (*_over_bare(7, 30), Target("ahead")),
            ),
        ),
        entrants=(*both_forms(), entrant("bare"), entrant("lmdb", title="LMDB, sync off")),
        count=_all_ops,
        measure=_append_many_behind,
        dataset="appended",
        dataset_size=_long_log,
        long=True,
        explanation="Written in place: each measurement leaves its log longer by as much as it appends.",
    ),
    Case(
        name="index_memory",
        family="append",
        rows=(
            Row(
                "memory",
                "memory that the index of ids takes",
                "bytes/op",
                (Target("under", 40), Target("under", 48, who=PURE_NAME)),
            ),
        ),
        entrants=both_forms(),
        count=_a_million,
        measure=_index_memory,
        explanation="What a process holds more after as many ready entries were appended, by hundreds, than "
        "after the first hundred.",
    ),
)
