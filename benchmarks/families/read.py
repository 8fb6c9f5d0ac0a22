"""Reading a log back: into a list, one at a time, and what that takes in memory."""

from collections import deque
from time import perf_counter

from benchmarks.case import PURE_NAME, Case, Entrant, Job, Metrics, Row, Scale, Target, both_forms, entrant
from benchmarks.families.append import check_count
from benchmarks.peak_memory import peak_bytes, resident_bytes

_PEERS = (
    entrant("bare", title="orjson.loads a line, unchecked"),
    entrant("naive", title="naive reader"),
    entrant("sqlite"),
    entrant("lmdb"),
    entrant("rocksdb"),
    entrant("leveldb"),
    entrant("eventsourcing"),
    entrant("pycrdt"),
    entrant("pycrdt-store", share=0.1),
)


def _read_all(job: Job) -> Metrics:
    store = job.open(directory=job.dataset)
    start = perf_counter()
    entries = store.read_all()
    elapsed = perf_counter() - start
    check_count(len(entries), job.ops)
    return {"read": elapsed / job.ops * 1e6}


def _iterate(job: Job) -> Metrics:
    store = job.open(directory=job.dataset)
    start = perf_counter()
    last = deque(enumerate(store.iterate(), 1), maxlen=1)
    elapsed = perf_counter() - start
    check_count(last[0][0], job.ops)
    return {"read": elapsed / job.ops * 1e6}


def _memory(job: Job) -> Metrics:
    store = job.open(directory=job.dataset)
    before = resident_bytes()
    entries = store.read_all()
    peak = peak_bytes()
    check_count(len(entries), job.ops)
    return {"memory": (peak - before) / job.ops}


def _iterate_memory(job: Job) -> Metrics:
    store = job.open(directory=job.dataset)
    before = resident_bytes()
    last = deque(enumerate(store.iterate(), 1), maxlen=1)
    peak = peak_bytes()
    check_count(last[0][0], job.ops)
    return {"memory": (peak - before) / (1 << 20)}


def _count(scale: Scale) -> int:
    return scale.ops


def _size(scale: Scale, one: Entrant) -> int:
    return one.size or int(scale.ops * one.share)


def _sized(title: str, size: int) -> Entrant:
    return entrant("muse", f"muse-{size}", f"{title}, {size:,} ops", size=size)


def _over_plain_json(compiled: float, pure: float) -> tuple[Target, ...]:
    return Target("at most", compiled, "bare"), Target("at most", pure, "bare", who=PURE_NAME)


CASES = (
    Case(
        name="read_all",
        family="read",
        rows=(
            Row(
                "read",
                "read_all: validated, crc checked, each op once, in the total order",
                "us/op",
                _over_plain_json(1.1, 1.5),
            ),
        ),
        entrants=(*both_forms(), *_PEERS),
        count=_count,
        measure=_read_all,
        dataset="plain",
        dataset_size=_size,
        explanation="Peers give back what they hold in their own order, parsed by orjson, neither validated "
        "nor checked beyond their own checksums.",
    ),
    Case(
        name="entries",
        family="read",
        rows=(
            Row(
                "read",
                "entries: one at a time, validated, crc checked",
                "us/op",
                (*_over_plain_json(1.2, 2), Target("ahead")),
            ),
        ),
        entrants=(*both_forms(), *_PEERS),
        count=_count,
        measure=_iterate,
        dataset="plain",
        dataset_size=_size,
    ),
    Case(
        name="memory",
        family="read",
        rows=(
            Row(
                "memory",
                "memory of all entries read at once",
                "bytes/op",
                (Target("at most", 1, "naive"),),
            ),
        ),
        entrants=(
            entrant("muse", title="Muse op log, read_all"),
            entrant("naive", title="naive reader"),
        ),
        count=_count,
        measure=_memory,
        dataset="plain",
        dataset_size=_size,
        explanation="Peak resident set of a fresh process while reading, less what it had before.",
    ),
    Case(
        name="entries_memory",
        family="read",
        rows=(
            Row(
                "memory",
                "memory of iterating over entries, whatever the length",
                "MiB",
                (Target("at most", 1.25, "muse-1000000", who="muse-10000000"),),
            ),
        ),
        entrants=(_sized("Muse op log, entries", 1_000_000), _sized("Muse op log, entries", 10_000_000)),
        count=_count,
        measure=_iterate_memory,
        dataset="plain",
        dataset_size=_size,
        long=True,
    ),
)
