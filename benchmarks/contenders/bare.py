"""The physical limit: one `os.write` of lines that are ready, and nothing else."""

import os
from collections.abc import Iterator, Sequence
from itertools import cycle, islice
from typing import Any

import orjson

from benchmarks.store import Store
from benchmarks.workload import DOMAIN, POOL_SIZE, Op, Work, pool
from muse.core.line import encode_line
from muse.core.op_log import OpEntry, make_op_entry


class BareStore(Store):
    """Writes the very lines the op log would write, made beforehand."""

    def __init__(self, directory: str, *, durable: bool, batch: int = 100) -> None:
        super().__init__()
        self._path = os.path.join(directory, "lines.jsonl")
        self._durable = durable
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC)
        self._lines = [encode_line(make_op_entry(actor, DOMAIN, op, 123_456)) for actor, op in pool()]
        starts = range(0, POOL_SIZE - batch + 1, batch)
        self._joined = cycle([b"".join(self._lines[start : start + batch]) for start in starts])

    def record_each(self, work: Sequence[Work]) -> None:
        write, sync, descriptor = os.write, os.fdatasync, self._descriptor
        lines = islice(cycle(self._lines), len(work))
        if not self._durable:
            for line in lines:
                write(descriptor, line)
            return
        for line in lines:
            write(descriptor, line)
            sync(descriptor)

    def record_many(self, actor_id: str, ops: Sequence[Op]) -> int:
        return os.write(self._descriptor, next(self._joined))

    def prepared_batch(self, entries: Sequence[OpEntry]) -> bytes:
        return b"".join([encode_line(entry) for entry in entries])

    def append_many(self, entries: Any) -> int:
        """Write the joined lines; entries that were not prepared as plain JSON without a crc."""
        if not isinstance(entries, bytes):
            entries = b"".join([orjson.dumps(entry) + b"\n" for entry in entries])
        return os.write(self._descriptor, entries)

    def iterate(self) -> Iterator[Any]:
        with open(self._path, "rb") as file:
            yield from map(orjson.loads, file)

    def count(self) -> int:
        with open(self._path, "rb") as file:
            return sum(1 for _ in file)

    def close(self) -> None:
        os.close(self._descriptor)


def open_store(directory: str, *, durable: bool) -> BareStore:
    return BareStore(directory, durable=durable)
