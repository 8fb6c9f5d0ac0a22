"""One file a contender. Each has `open_store(directory, *, durable, **options) -> Store` and its facts."""

import importlib
from dataclasses import dataclass
from types import ModuleType


@dataclass(frozen=True)
class Contender:
    """`module` is imported only in the process that measures it; `package` is what must be installed."""

    name: str
    title: str
    module: str
    package: str = ""
    note: str = ""

    def load(self) -> ModuleType:
        return importlib.import_module(f"benchmarks.contenders.{self.module}")


CONTENDERS = {
    contender.name: contender
    for contender in (
        Contender("muse", "Muse op log", "muse_log"),
        Contender("bare", "bare write (limit)", "bare", "", "Writes lines that were made beforehand."),
        Contender(
            "naive",
            "naive log",
            "naive",
            "",
            "uuid4, isoformat, json.dumps; opens and closes the file for every op.",
        ),
        Contender(
            "sqlite",
            "SQLite WAL",
            "sqlite_wal",
            "",
            "One transaction a call: gives more than a log (rollback, queries).",
        ),
        Contender(
            "sqlite-ids",
            "SQLite WAL, by op id",
            "sqlite_by_id",
            "",
            "Attaches the other file; one transaction with INSERT OR IGNORE.",
        ),
        Contender("lmdb", "LMDB", "lmdb_store", "lmdb", "One transaction a call: gives more (rollback)."),
        Contender(
            "rocksdb",
            "RocksDB",
            "rocksdb",
            "rocksdict",
            "Gives less: what was written survives its process, but no other process sees it as it comes.",
        ),
        Contender(
            "leveldb",
            "LevelDB",
            "leveldb",
            "plyvel",
            "Gives less: what was written survives its process, but no other process may open it.",
        ),
        Contender(
            "eventsourcing",
            "eventsourcing on SQLite",
            "event_store",
            "eventsourcing",
            "Its recorder, called directly: no aggregates. One transaction a call.",
        ),
        Contender(
            "pycrdt",
            "pycrdt, own file",
            "pycrdt_file",
            "pycrdt",
            "Each op goes into a shared array, the update into a file held open. Gives more: merging.",
        ),
        Contender(
            "pycrdt-text",
            "pycrdt alone",
            "pycrdt_text",
            "pycrdt",
            "Gives less: in memory, nothing is stored, stamped or attributed.",
        ),
        Contender(
            "pycrdt-store",
            "pycrdt FileYStore",
            "pycrdt_store",
            "pycrdt-store",
            "Opens, writes through a worker thread and closes for every update.",
        ),
    )
}
