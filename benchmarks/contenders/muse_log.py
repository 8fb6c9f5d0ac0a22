"""The op log itself, through its public calls."""

from collections.abc import Iterator, Sequence
from typing import Any

from benchmarks.store import Store
from benchmarks.workload import DOMAIN, Op, Work
from muse.core.op_log import OpEntry, OpLog, make_op_entry

SESSION = "bench"


class MuseStore(Store):
    def __init__(self, directory: str, *, durable: bool) -> None:
        super().__init__()
        self.log = OpLog(directory, SESSION, durability="disk" if durable else "os")
        self._record_many = getattr(self.log, "record_many", None)
        self.note = "" if self._record_many else "record_many is not there: next_lamport_ts and append_many"

    def record(self, actor_id: str, op: Op) -> OpEntry:
        return self.log.record(actor_id, DOMAIN, op)

    def record_each(self, work: Sequence[Work]) -> None:
        record = self.log.record
        for actor_id, op in work:
            record(actor_id, DOMAIN, op)

    def record_many(self, actor_id: str, ops: Sequence[Op]) -> object:
        if self._record_many:
            return self._record_many(actor_id, DOMAIN, ops)
        tick = self.log.next_lamport_ts
        return self.log.append_many([make_op_entry(actor_id, DOMAIN, op, tick()) for op in ops])

    def append_many(self, entries: Sequence[OpEntry]) -> int:
        return self.log.append_many(entries)

    def merge(self, directory: str) -> int:
        with OpLog(directory, SESSION) as other:
            return self.log.merge(other).added

    def read_all(self) -> Sequence[Any]:
        return self.log.read_all()

    def iterate(self) -> Iterator[Any]:
        return self.log.entries()

    def count(self) -> int:
        return self.log.cut().op_count

    def close(self) -> None:
        self.log.close()


def open_store(directory: str, *, durable: bool) -> MuseStore:
    return MuseStore(directory, durable=durable)
