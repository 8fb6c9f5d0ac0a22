"""The one interface of all contenders, and what most of them share."""

import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import orjson

from benchmarks.workload import DOMAIN, Op, Work
from muse.core.op_log import OpEntry, make_op_entry


class UnavailableError(Exception):
    """A contender cannot take part in a row; the message is the reason the table shows."""


class Store:
    """A place where ops are kept. When a write method returns, the ops have reached what the row asks for.

    `record*` make the entries themselves; `append_many` takes ready ones. What `prepared_batch`
    returns is made outside the measured time.
    """

    def __init__(self) -> None:
        self._clock = itertools.count(1)

    def entry(self, actor_id: str, op: Op) -> OpEntry:
        """Make an entry as the op log does, so that only the store differs."""
        return make_op_entry(actor_id, DOMAIN, op, next(self._clock))

    def record(self, actor_id: str, op: Op) -> object:
        raise UnavailableError("cannot append one op")

    def record_each(self, work: Sequence[Work]) -> None:
        record = self.record
        for actor_id, op in work:
            record(actor_id, op)

    def record_many(self, actor_id: str, ops: Sequence[Op]) -> object:
        return self.append_many([self.entry(actor_id, op) for op in ops])

    def append_many(self, entries: Sequence[OpEntry]) -> object:
        raise UnavailableError("cannot append a batch")

    def load(self, entries: Sequence[OpEntry]) -> object:
        """Store ready entries the fastest way there is, to have something to read."""
        return self.append_many(entries)

    def merge(self, directory: str) -> int:
        """Take in what the contender's other files, in `directory`, hold; return how many ops were new."""
        raise UnavailableError("cannot merge")

    def prepared_batch(self, entries: Sequence[OpEntry]) -> Any:
        return entries

    def read_all(self) -> Sequence[Any]:
        return list(self.iterate())

    def iterate(self) -> Iterator[Any]:
        raise UnavailableError("cannot be read")

    def count(self) -> int:
        return sum(1 for _ in self.iterate())

    def for_thread(self) -> "Store":
        """Return what one more thread uses to write to the same store."""
        return self

    def close(self) -> None:
        """Release everything."""


class LineStore(Store):
    """A store whose values are JSON lines, encoded by the fastest encoder there is."""

    def put(self, line: bytes) -> object:
        raise NotImplementedError

    def put_many(self, lines: list[bytes]) -> object:
        raise NotImplementedError

    def lines(self) -> Iterable[bytes]:
        raise NotImplementedError

    def record(self, actor_id: str, op: Op) -> object:
        return self.put(orjson.dumps(make_op_entry(actor_id, DOMAIN, op, next(self._clock))))

    def append_many(self, entries: Sequence[OpEntry]) -> object:
        return self.put_many([orjson.dumps(entry) for entry in entries])

    def iterate(self) -> Iterator[Any]:
        return map(orjson.loads, self.lines())


def disk_bytes(directory: str) -> int:
    """Return what the files take: their length, or less where they have holes."""
    total = 0
    for root, _, names in os.walk(directory):
        for name in names:
            status = os.stat(os.path.join(root, name))
            total += min(status.st_size, status.st_blocks * 512)
    return total
