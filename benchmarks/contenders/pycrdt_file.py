"""pycrdt: each op goes into a shared array; the update it causes is appended to a file held open."""

import os
from collections.abc import Iterator
from typing import Any

import orjson
from pycrdt import Array, Decoder, Doc, TransactionEvent, write_var_uint

from benchmarks.store import LineStore


class PycrdtFile(LineStore):
    def __init__(self, directory: str, *, durable: bool) -> None:
        super().__init__()
        self._path = os.path.join(directory, "updates.y")
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC)
        self._durable = durable
        self._document: Doc[Any] = Doc()
        self._ops: Array[str] = self._document.get("ops", type=Array)
        self._subscription = self._document.observe(self._write)

    def _write(self, event: TransactionEvent) -> None:
        update = event.update
        os.write(self._descriptor, write_var_uint(len(update)) + update)
        if self._durable:
            os.fdatasync(self._descriptor)

    def put(self, line: bytes) -> None:
        self._ops.append(line.decode())

    def put_many(self, lines: list[bytes]) -> None:
        with self._document.transaction():
            self._ops.extend([line.decode() for line in lines])

    def _read(self) -> Any:
        """Apply the updates one by one: in one transaction, or merged, the cost grows with the square."""
        document: Doc[Any] = Doc()
        ops = document.get("ops", type=Array)
        with open(self._path, "rb") as file:
            data = file.read()
        for update in Decoder(data).read_messages():
            document.apply_update(update)
        return ops

    def iterate(self) -> Iterator[Any]:
        return map(orjson.loads, self._read().to_py())

    def count(self) -> int:
        return len(self._read())

    def close(self) -> None:
        self._document.unobserve(self._subscription)
        os.close(self._descriptor)


def open_store(directory: str, *, durable: bool) -> PycrdtFile:
    return PycrdtFile(directory, durable=durable)
