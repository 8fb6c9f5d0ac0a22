"""RocksDB: lines under a sequence number, its write-ahead log on."""

import os
import struct
from collections.abc import Iterator

from rocksdict import Options, Rdict, WriteBatch, WriteOptions

from benchmarks.store import LineStore

_KEY = struct.Struct(">Q")


class RocksStore(LineStore):
    def __init__(self, directory: str, *, durable: bool) -> None:
        super().__init__()
        self._write_options = WriteOptions()
        self._write_options.sync = durable
        self._database = Rdict(os.path.join(directory, "rocks"), Options(raw_mode=True))
        self._database.set_write_options(self._write_options)

    def put(self, line: bytes) -> None:
        # One count serves as the key; the clock is one ahead of it.
        self._database[_KEY.pack(next(self._clock))] = line

    def put_many(self, lines: list[bytes]) -> None:
        batch = WriteBatch(raw_mode=True)
        for line in lines:
            batch.put(_KEY.pack(next(self._clock)), line)
        self._database.write(batch, self._write_options)

    def lines(self) -> Iterator[bytes]:
        return iter(self._database.values())

    def count(self) -> int:
        return sum(1 for _ in self._database.keys())  # noqa: SIM118 - not a dict

    def close(self) -> None:
        self._database.close()


def open_store(directory: str, *, durable: bool) -> RocksStore:
    return RocksStore(directory, durable=durable)
