"""pycrdt with the file store of pycrdt-store: the same array, the update handed to FileYStore."""

import asyncio
import os
from collections.abc import Iterator, Sequence
from typing import Any

import orjson
from pycrdt import Array, Doc, TransactionEvent
from pycrdt.store import FileYStore

from benchmarks.store import LineStore, UnavailableError
from benchmarks.workload import Work


class PycrdtStore(LineStore):
    def __init__(self, directory: str) -> None:
        super().__init__()
        self._path = os.path.join(directory, "updates.y")
        self._store = FileYStore(self._path)
        self._document: Doc[Any] = Doc()
        self._ops: Array[str] = self._document.get("ops", type=Array)
        self._updates: list[bytes] = []
        self._loop = asyncio.new_event_loop()
        self._subscription = self._document.observe(self._note)

    def _note(self, event: TransactionEvent) -> None:
        self._updates.append(event.update)

    def record_each(self, work: Sequence[Work]) -> None:
        """Run all ops in one event loop: starting a loop for each would not be the store's cost."""

        async def record_each() -> None:
            for actor_id, op in work:
                self._ops.append(orjson.dumps(self.entry(actor_id, op)).decode())
                await self._store.write(self._updates.pop())

        self._loop.run_until_complete(record_each())

    def put_many(self, lines: list[bytes]) -> None:
        with self._document.transaction():
            self._ops.extend([line.decode() for line in lines])
        self._loop.run_until_complete(self._store.write(self._updates.pop()))

    def iterate(self) -> Iterator[Any]:
        document: Doc[Any] = Doc()
        ops = document.get("ops", type=Array)

        async def read() -> None:
            async for update, _, _ in self._store.read():
                document.apply_update(update)

        self._loop.run_until_complete(read())
        return map(orjson.loads, ops.to_py())

    def close(self) -> None:
        self._document.unobserve(self._subscription)
        self._loop.close()


def open_store(directory: str, *, durable: bool) -> PycrdtStore:
    if durable:
        raise UnavailableError("FileYStore never syncs")
    return PycrdtStore(directory)
