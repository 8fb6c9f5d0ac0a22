"""LevelDB: lines under a sequence number."""

import os
import struct
from collections.abc import Iterator

import plyvel

from benchmarks.store import LineStore

_KEY = struct.Struct(">Q")


class LevelStore(LineStore):
    def __init__(self, directory: str, *, durable: bool) -> None:
        super().__init__()
        self._durable = durable
        self._database = plyvel.DB(os.path.join(directory, "level"), create_if_missing=True)

    def put(self, line: bytes) -> None:
        # One count serves as the key; the clock is one ahead of it.
        self._database.put(_KEY.pack(next(self._clock)), line, sync=self._durable)

    def put_many(self, lines: list[bytes]) -> None:
        with self._database.write_batch(sync=self._durable) as batch:
            for line in lines:
                batch.put(_KEY.pack(next(self._clock)), line)

    def lines(self) -> Iterator[bytes]:
        return iter(self._database.iterator(include_key=False))

    def count(self) -> int:
        return sum(1 for _ in self._database.iterator(include_value=False))

    def close(self) -> None:
        self._database.close()


def open_store(directory: str, *, durable: bool) -> LevelStore:
    return LevelStore(directory, durable=durable)
