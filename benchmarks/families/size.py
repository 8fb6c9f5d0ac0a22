"""What an op takes on disk."""

from benchmarks.case import Case, Entrant, Job, Metrics, Row, Scale, Target, entrant
from benchmarks.store import disk_bytes


def _measure(job: Job) -> Metrics:
    return {"bytes": disk_bytes(job.dataset) / job.ops}


def _count(scale: Scale) -> int:
    return scale.ops


def _size(scale: Scale, one: Entrant) -> int:
    return int(scale.ops * one.share)


CASES = (
    Case(
        name="size",
        family="size",
        rows=(Row("bytes", "bytes on disk", "bytes/op", (Target("at most", 1.05, "bare"),)),),
        entrants=(
            entrant("muse", rounds=1),
            entrant("muse", "muse-index", "Muse op log and its index of ids", dataset="appended", rounds=1),
            entrant("bare", title="the bare JSON line", rounds=1),
            entrant("naive", rounds=1),
            entrant("sqlite", rounds=1),
            entrant("lmdb", rounds=1),
            entrant("rocksdb", title="RocksDB (compresses)", rounds=1),
            entrant("leveldb", title="LevelDB (compresses)", rounds=1),
            entrant("eventsourcing", rounds=1),
            entrant("pycrdt", rounds=1),
            entrant("pycrdt-store", share=0.1, rounds=1),
        ),
        count=_count,
        measure=_measure,
        dataset="plain",
        dataset_size=_size,
        explanation="After closing, written in batches of 1,000. The bare line is the entry without the crc. "
        "A long log that is filled by append_many keeps an index of its ids beside it; record needs none.",
    ),
)
