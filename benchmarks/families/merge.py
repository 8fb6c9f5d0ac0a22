"""Two logs become one: the union by op id, durable on return."""

import os
import shutil
from time import perf_counter

from benchmarks.case import PURE_NAME, Case, Job, Metrics, Row, Scale, Target, both_forms, entrant
from benchmarks.datasets import HALVES
from benchmarks.families.append import check_count


def _merge(job: Job) -> Metrics:
    """Merge copies of two logs of `job.ops` entries, half of them in common."""
    one, other = (
        shutil.copytree(os.path.join(job.dataset, half), os.path.join(job.directory, half)) for half in HALVES
    )
    os.sync()
    start = perf_counter()
    store = job.open(directory=one, durable=True)
    added = store.merge(other)
    seconds = perf_counter() - start
    check_count(added, job.ops - job.ops // 2)
    check_count(store.count(), job.ops + added)
    store.close()
    return {"merge": seconds * 1e3}


def _count(scale: Scale) -> int:
    return scale.ops // 2


def _size(scale: Scale, _: object) -> int:
    return _count(scale)


CASES = (
    Case(
        name="merge",
        family="merge",
        rows=(
            Row(
                "merge",
                "merge two logs with half their entries in common, durably",
                "ms",
                (Target("at most", 0.5, "sqlite-ids"), Target("at most", 1, "sqlite-ids", who=PURE_NAME)),
            ),
        ),
        entrants=(*both_forms(), entrant("sqlite-ids")),
        count=_count,
        measure=_merge,
        dataset="halves",
        dataset_size=_size,
        sync_before=True,
        explanation="Each opens its own files and writes the union durably into the first. Ours checks every "
        "crc, the nine fields and limits of what is new, that parents are there, and that what is known "
        "has the same body; `INSERT OR IGNORE` does none of that.",
    ),
)
