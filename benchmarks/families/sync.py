"""Two replicas of a long session come together again: what goes over the wire."""

import os
from collections.abc import Sequence
from time import perf_counter

from benchmarks.case import Case, Entrant, Job, Metrics, Row, Scale, Target, entrant
from benchmarks.contenders.muse_log import SESSION
from benchmarks.datasets import DIFFERENT, HALVES
from benchmarks.families.append import check_count
from muse.core.op_log import MergeResult, OpLog
from muse.replication.local_peer import LocalPeer
from muse.replication.peer import Batch
from muse.replication.sync import sync_session


class CountingPeer(LocalPeer):
    """A peer that counts what a wire would carry: messages, and their bytes in both directions."""

    trips = 0
    comparing = 0
    handing_over = 0

    def reconcile(self, session_id: str, message: bytes) -> bytes:
        answer = super().reconcile(session_id, message)
        self.trips += 1
        self.comparing += len(message) + len(answer)
        return answer

    def entries(self, session_id: str, op_ids: Sequence[str]) -> Batch:
        batch = super().entries(session_id, op_ids)
        self.trips += 1
        self.handing_over += sum(map(len, op_ids)) + len(batch.lines)
        return batch

    def offer(self, session_id: str, lines: bytes) -> MergeResult:
        self.trips += 1
        self.handing_over += len(lines)
        return super().offer(session_id, lines)


def _sync(job: Job) -> Metrics:
    one, other = (os.path.join(job.dataset, half) for half in HALVES)
    start = perf_counter()
    with LocalPeer(one) as own, CountingPeer(other) as peer:
        outcome = sync_session(own, peer, SESSION)
    seconds = perf_counter() - start
    check_count(outcome.sent, DIFFERENT)
    check_count(outcome.received, DIFFERENT)
    with OpLog(other, SESSION) as log:
        check_count(log.cut().op_count, job.ops + 2 * DIFFERENT)
    return {
        "comparing": peer.comparing / 1e3,
        "bytes": (peer.comparing + peer.handing_over) / 1e3,
        "trips": peer.trips,
        "seconds": seconds,
    }


def _size(scale: Scale, _: Entrant) -> int:
    return scale.big_log


CASES = (
    Case(
        name="sync",
        family="sync",
        rows=(
            Row(
                "comparing",
                f"sync, {DIFFERENT} ops different on each side: comparing",
                "kB",
                (Target("under", 100),),
            ),
            Row("bytes", "sync: all that is sent, the ops included", "kB"),
            Row("trips", "sync: round trips", "", (Target("under", 20),)),
            Row("seconds", "sync: both sides on one machine", "s"),
        ),
        entrants=(entrant("muse", rounds=1),),
        count=lambda scale: scale.big_log,
        measure=_sync,
        dataset="replicas",
        dataset_size=_size,
        explanation="Bytes of both directions together. Each side reads its log once; the different ops are "
        "anywhere in it.",
    ),
)
