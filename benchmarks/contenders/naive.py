"""The log one writes in ten minutes: open, `json.dumps`, close; `json.loads` a line."""

import json
import os
import uuid
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from benchmarks.store import Store
from benchmarks.workload import DOMAIN, Op
from muse.core.op_log import OpEntry


class NaiveStore(Store):
    def __init__(self, directory: str, *, durable: bool) -> None:
        super().__init__()
        self.path = os.path.join(directory, "ops.jsonl")
        self._durable = durable

    def entry(self, actor_id: str, op: Op) -> OpEntry:
        entry: Any = {
            "op_id": str(uuid.uuid4()),
            "actor_id": actor_id,
            "lamport_ts": next(self._clock),
            "parent_op_ids": [],
            "domain": DOMAIN,
            "domain_op": op,
            "created_at": datetime.now(UTC).isoformat(),
            "intent_id": "",
            "reservation_id": "",
        }
        return entry

    def record(self, actor_id: str, op: Op) -> None:
        self.append(self.entry(actor_id, op))

    def append(self, entry: OpEntry) -> None:
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")
            if self._durable:
                file.flush()
                os.fsync(file.fileno())

    def append_many(self, entries: Sequence[OpEntry]) -> None:
        for entry in entries:
            self.append(entry)

    def load(self, entries: Sequence[OpEntry]) -> None:
        with open(self.path, "a", encoding="utf-8") as file:
            file.writelines(json.dumps(entry) + "\n" for entry in entries)

    def highest_lamport(self) -> int:
        return max((entry["lamport_ts"] for entry in self.iterate()), default=0)

    def iterate(self) -> Iterator[Any]:
        with open(self.path, encoding="utf-8") as file:
            for line in file:
                yield json.loads(line)

    def read_all(self) -> list[Any]:
        with open(self.path, encoding="utf-8") as file:
            return [json.loads(line) for line in file]

    def count(self) -> int:
        with open(self.path, "rb") as file:
            return sum(1 for _ in file)


def open_store(directory: str, *, durable: bool) -> NaiveStore:
    return NaiveStore(directory, durable=durable)
