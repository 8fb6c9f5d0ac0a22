"""SQLite in WAL mode: a table of lines under their op ids, so that two files can be merged."""

import os
import sqlite3
from collections.abc import Iterator

import orjson

from benchmarks.store import Store
from benchmarks.workload import Op
from muse.core.op_log import OpEntry

_MERGE = "INSERT OR IGNORE INTO ops SELECT op_id, line FROM other.ops"


class SqliteById(Store):
    def __init__(self, directory: str, *, synchronous: str) -> None:
        super().__init__()
        self.connection = sqlite3.connect(os.path.join(directory, "ops.db"), isolation_level=None)
        self.connection.execute("PRAGMA journal_mode=WAL")
        self.connection.execute(f"PRAGMA synchronous={synchronous}")
        # The id as 16 bytes, in a table with a rowid: the fastest of the ways that were tried.
        self.connection.execute("CREATE TABLE IF NOT EXISTS ops (op_id BLOB PRIMARY KEY, line BLOB NOT NULL)")

    def record(self, actor_id: str, op: Op) -> None:
        self.append_many([self.entry(actor_id, op)])

    def append_many(self, entries: list[OpEntry]) -> None:
        rows = [(bytes.fromhex(entry["op_id"].replace("-", "")), orjson.dumps(entry)) for entry in entries]
        self.connection.execute("BEGIN IMMEDIATE")
        self.connection.executemany("INSERT INTO ops VALUES (?, ?)", rows)
        self.connection.execute("COMMIT")

    def merge(self, directory: str) -> int:
        self.connection.execute("ATTACH ? AS other", (os.path.join(directory, "ops.db"),))
        self.connection.execute("BEGIN IMMEDIATE")
        added = self.connection.execute(_MERGE).rowcount
        self.connection.execute("COMMIT")
        return added

    def iterate(self) -> Iterator[OpEntry]:
        return (orjson.loads(line) for (line,) in self.connection.execute("SELECT line FROM ops"))

    def count(self) -> int:
        return int(self.connection.execute("SELECT count(*) FROM ops").fetchone()[0])

    def close(self) -> None:
        self.connection.close()


def open_store(directory: str, *, durable: bool) -> SqliteById:
    return SqliteById(directory, synchronous="FULL" if durable else "NORMAL")
