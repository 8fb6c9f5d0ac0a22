"""From the log into history: what a commit, its proof, its archive and its replay cost."""

import os
import resource
from time import perf_counter

from benchmarks.case import Case, Job, Metrics, Row, Scale, Target, entrant
from benchmarks.families.append import check_count
from benchmarks.workload import work
from muse.checks.replay import replay_commits
from muse.core.blocks import encode_lines
from muse.core.op_log import OpLog, make_op_entry
from muse.core.timestamp import now_text
from muse.disk.layout import ops_file
from muse.history.repository import Repository
from muse.plugins.music.midi_file import Note
from muse.plugins.music.notes import insert_note
from muse.session.live import LiveSession
from muse.upkeep.archive import archive_session, restore_session

SESSION = "bench"
PLAIN_DOMAIN = "bench-plain"  # no plugin: what is measured is the way, not a domain's work on its files
SNAPSHOT_ID = "0" * 64
_BATCH = 2_000


def _pending(scale: Scale) -> int:
    return scale.ops * 3 // 10


def _append(root: str, count: int) -> None:
    with OpLog(root, SESSION) as log:
        for start in range(0, count, _BATCH):
            ops = [op for _, op in work(min(_BATCH, count - start))]
            log.record_many("agent", PLAIN_DOMAIN, ops)


def _cover(root: str, count: int) -> None:
    """Write `count` entries and a checkpoint over them, as long use leaves them behind."""
    path = ops_file(root, SESSION)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        for start in range(1, count + 1, _BATCH):
            ops = work(min(_BATCH, count + 1 - start))
            entries = [
                make_op_entry(actor, PLAIN_DOMAIN, op, stamp) for stamp, (actor, op) in enumerate(ops, start)
            ]
            file.write(encode_lines(entries))
    with OpLog(root, SESSION) as log:
        log.checkpoint(SNAPSHOT_ID)


def _commit(job: Job) -> Metrics:
    """Commit the pending ops, on a log that is otherwise empty or has a long covered part."""
    Repository.init(job.directory, now=now_text())
    if job.entrant == "muse":
        _cover(job.directory, int(job.extra.get("covered", 0)) or 1_000_000)
    _append(job.directory, job.ops)
    with LiveSession(job.directory, SESSION) as session:
        session.heal()
        start = perf_counter()
        outcome = session.commit("Bench")
        seconds = perf_counter() - start
    check_count(outcome.op_count, job.ops)
    return {"commit": seconds * 1e3}


def _commit_music(job: Job) -> Metrics:
    """Commit note edits through the music plugin: net delta, files, seal with the proofs' root."""
    Repository.init(job.directory, now=now_text())
    with LiveSession(job.directory, SESSION) as session:
        for start in range(0, job.ops, _BATCH):
            ops = [
                insert_note("song.mid", f"n{number}", Note(40 + number % 40, 80, number * 30, 120))
                for number in range(start, min(start + _BATCH, job.ops))
            ]
            session.log.record_many("agent", "music", ops)
        begin = perf_counter()
        outcome = session.commit("Bench")
        seconds = perf_counter() - begin
    check_count(outcome.op_count, job.ops)
    return {"commit_music": seconds * 1e3}


def _keep(job: Job) -> Metrics:
    """Commit in pieces, derive every commit anew, archive and restore; the peak memory of all that."""
    Repository.init(job.directory, now=now_text())
    count = job.ops if job.entrant == "muse" else job.ops // 10
    for start in range(0, count, _BATCH):
        _append(job.directory, min(_BATCH, count - start))
        with LiveSession(job.directory, SESSION) as session:
            session.commit("Bench")
    metrics: Metrics = {}
    for name, action in (
        ("replay_check", lambda: replay_commits(Repository.open(job.directory))),
        ("archive", lambda: archive_session(job.directory, SESSION)),
        ("restore", lambda: restore_session(job.directory, SESSION)),
    ):
        begin = perf_counter()
        action()
        metrics[name] = (perf_counter() - begin) * 1e6 / count
    metrics["peak"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return metrics


def _ten_thousand(scale: Scale) -> int:
    return min(10_000, scale.ops)


def _ops(scale: Scale) -> int:
    return scale.ops


CASES = (
    Case(
        name="commit",
        family="history",
        rows=(
            Row(
                "commit",
                "commit the pending ops behind 1,000,000 covered ones",
                "ms",
                (Target("at most", 1.5, "empty"),),
            ),
        ),
        entrants=(
            entrant("muse", title="behind 1,000,000 covered ops", rounds=3),
            entrant("muse", "empty", "on a log without others", rounds=3),
        ),
        count=_pending,
        measure=_commit,
        sync_before=True,
        explanation="Cut, sync, collapse, seal by a Merkle root, store and sync the commit, swap the ref.",
    ),
    Case(
        name="commit_music",
        family="history",
        rows=(
            Row(
                "commit_music", "10,000 note edits to a proof-carrying commit", "ms", (Target("under", 1000),)
            ),
        ),
        entrants=(entrant("muse", rounds=3),),
        count=_ten_thousand,
        measure=_commit_music,
        sync_before=True,
        explanation="Through the music plugin, the net delta computed and checked against all ops.",
    ),
    Case(
        name="keep",
        family="history",
        rows=(
            Row("replay_check", "verify --replay, an op", "us"),
            Row("archive", "archive, an op", "us"),
            Row("restore", "restore, an op", "us"),
            Row("peak", "peak memory of the process", "MiB", (Target("at most", 1.25, "tenth"),)),
        ),
        entrants=(
            entrant("muse", title="all the ops", rounds=2),
            entrant("muse", "tenth", "a tenth of the ops", rounds=2),
        ),
        count=_ops,
        measure=_keep,
        sync_before=True,
        explanation=f"Commits of {_BATCH:,} ops each. The peak must not grow with the log.",
    ),
)
