"""A long log with a checkpoint: what it takes to go on with it must not depend on its length."""

from time import perf_counter

from benchmarks.case import Case, Entrant, Job, Metrics, Row, Scale, Target, entrant
from benchmarks.contenders.muse_log import SESSION
from benchmarks.datasets import PENDING, SNAPSHOT_ID, restore
from benchmarks.families.append import check_count
from benchmarks.workload import DOMAIN, work
from muse.core.op_log import OpLog

LIMIT_MILLISECONDS = 5
NOISE = 1.5
"""Two medians of a millisecond each differ by this much without a reason."""


def _reopen(job: Job) -> Metrics:
    """Open, append, replay, checkpoint. Each begins with a handle of its own, as after a restart."""
    if job.contender == "naive":
        return _reopen_naive(job)
    restore(job.dataset)
    ((actor_id, op),) = work(1)

    start = perf_counter()
    log = OpLog(job.dataset, SESSION)
    log.record(actor_id, DOMAIN, op)
    opened = perf_counter() - start
    log.close()

    restore(job.dataset)
    start = perf_counter()
    log = OpLog(job.dataset, SESSION)
    pending = log.replay_since_checkpoint()
    replayed = perf_counter() - start
    check_count(len(pending), PENDING)

    log.to_structured_delta(DOMAIN)
    start = perf_counter()
    checkpoint = log.checkpoint(SNAPSHOT_ID)
    checkpointed = perf_counter() - start
    check_count(checkpoint["op_count"], job.ops)
    log.close()
    restore(job.dataset)
    return {"open": opened * 1e3, "replay": replayed * 1e3, "checkpoint": checkpointed * 1e3}


def _reopen_naive(job: Job) -> Metrics:
    """Without a checkpoint of its own the naive log reads everything to know its clock."""
    store = job.open(directory=job.dataset)
    ((actor_id, op),) = work(1)
    start = perf_counter()
    store.highest_lamport()  # type: ignore[attr-defined]
    store.record(actor_id, op)
    opened = perf_counter() - start
    return {"open": opened * 1e3}


def _sizes(scale: Scale, one: Entrant) -> int:
    return one.size or (scale.small_log if one.name == "muse-small" else scale.big_log)


def _rows(small: str, big: str) -> tuple[Row, ...]:
    targets = (Target("under", LIMIT_MILLISECONDS, who=big), Target("at most", NOISE, small, who=big))
    return (
        Row("open", "open to first append", "ms", targets),
        Row("replay", f"open and replay the last {PENDING:,}", "ms", targets),
        Row("checkpoint", f"checkpoint over {PENDING:,} new ops, synced", "ms", targets),
    )


def _count(scale: Scale) -> int:
    return scale.big_log


_EXPLANATION = (
    "A process that has imported the package, a warm file cache. Opening includes making the handle and "
    f"reading what the checkpoint does not cover ({PENDING:,} ops). The checkpoint syncs those ops, writes, "
    "syncs and renames its file and syncs the directory."
)

CASES = (
    Case(
        name="reopen",
        family="reopen",
        rows=_rows("muse-small", "muse"),
        entrants=(
            entrant("muse", title="Muse op log, the long log"),
            entrant("muse", "muse-small", "Muse op log, the short log"),
            entrant("naive", title="naive log, the long log", rounds=1),
        ),
        count=_count,
        measure=_reopen,
        dataset="checkpointed",
        dataset_size=_sizes,
        sync_before=True,
        explanation=_EXPLANATION,
    ),
    Case(
        name="reopen_long",
        family="reopen",
        rows=_rows("long-small", "long-big"),
        entrants=(
            entrant("muse", "long-big", "Muse op log, 10,000,000 ops", size=10_000_000),
            entrant("muse", "long-small", "Muse op log, 1,000,000 ops", size=1_000_000),
        ),
        count=_count,
        measure=_reopen,
        dataset="checkpointed",
        dataset_size=_sizes,
        sync_before=True,
        long=True,
        explanation=_EXPLANATION,
    ),
)
