"""LMDB: lines under a sequence number, appended in key order (its fastest way), one transaction a call."""

import struct
from collections.abc import Iterator

import lmdb

from benchmarks.store import LineStore

_KEY = struct.Struct(">Q")
_MAP_BYTES = 16 << 30


class LmdbStore(LineStore):
    def __init__(self, directory: str, *, durable: bool, writemap: bool) -> None:
        super().__init__()
        self.environment = lmdb.open(directory, map_size=_MAP_BYTES, sync=durable, writemap=writemap)

    def _next(self, transaction: lmdb.Transaction) -> int:
        """Take the number inside the transaction: other processes write too."""
        cursor = transaction.cursor()
        return _KEY.unpack(cursor.key())[0] + 1 if cursor.last() else 1

    def put(self, line: bytes) -> None:
        with self.environment.begin(write=True) as transaction:
            transaction.put(_KEY.pack(self._next(transaction)), line, append=True)

    def put_many(self, lines: list[bytes]) -> None:
        with self.environment.begin(write=True) as transaction:
            first = self._next(transaction)
            items = [(_KEY.pack(number), line) for number, line in enumerate(lines, first)]
            transaction.cursor().putmulti(items, append=True)

    def lines(self) -> Iterator[bytes]:
        with self.environment.begin() as transaction:
            yield from transaction.cursor().iternext(keys=False, values=True)

    def count(self) -> int:
        return int(self.environment.stat()["entries"])

    def close(self) -> None:
        self.environment.close()


def open_store(directory: str, *, durable: bool, writemap: bool = False) -> LmdbStore:
    return LmdbStore(directory, durable=durable, writemap=writemap)
