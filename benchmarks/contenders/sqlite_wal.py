"""SQLite in WAL mode: a table of lines under a sequence number, one transaction a call."""

import os
import sqlite3
from collections.abc import Iterator

from benchmarks.store import LineStore

_INSERT = "INSERT INTO ops (line) VALUES (?)"


class SqliteStore(LineStore):
    def __init__(self, directory: str, *, synchronous: str) -> None:
        super().__init__()
        self._directory = directory
        self._synchronous = synchronous
        self.connection = sqlite3.connect(
            os.path.join(directory, "ops.db"), isolation_level=None, check_same_thread=False, timeout=60
        )
        self.connection.execute("PRAGMA journal_mode=WAL")
        self.connection.execute(f"PRAGMA synchronous={synchronous}")
        self.connection.execute(
            "CREATE TABLE IF NOT EXISTS ops (seq INTEGER PRIMARY KEY, line BLOB NOT NULL)"
        )

    def put(self, line: bytes) -> object:
        return self.connection.execute(_INSERT, (line,))

    def put_many(self, lines: list[bytes]) -> None:
        connection = self.connection
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(_INSERT, [(line,) for line in lines])
        connection.execute("COMMIT")

    def lines(self) -> Iterator[bytes]:
        return (line for (line,) in self.connection.execute("SELECT line FROM ops ORDER BY seq"))

    def lines_after(self, sequence: int) -> list[tuple[int, bytes]]:
        return self.connection.execute("SELECT seq, line FROM ops WHERE seq > ?", (sequence,)).fetchall()

    def count(self) -> int:
        return int(self.connection.execute("SELECT count(*) FROM ops").fetchone()[0])

    def for_thread(self) -> "SqliteStore":
        other = SqliteStore(self._directory, synchronous=self._synchronous)
        other._clock = self._clock  # one clock for the whole process
        return other

    def close(self) -> None:
        self.connection.close()


def open_store(directory: str, *, durable: bool, synchronous: str = "NORMAL") -> SqliteStore:
    return SqliteStore(directory, synchronous="FULL" if durable else synchronous)
