"""eventsourcing's SQLite recorder: each entry is a stored event of the session."""

import itertools
import os
from collections.abc import Iterator
from uuid import NAMESPACE_URL, uuid5

from eventsourcing.persistence import StoredEvent
from eventsourcing.sqlite import SQLiteApplicationRecorder, SQLiteDatastore

from benchmarks.store import LineStore, UnavailableError

_SESSION = uuid5(NAMESPACE_URL, "bench")
_TOPIC = "op"
_PAGE = 10_000


class EventStore(LineStore):
    def __init__(self, directory: str, *, synchronous: str) -> None:
        super().__init__()
        self._datastore = SQLiteDatastore(os.path.join(directory, "events.db"), lock_timeout=60)
        self._recorder = SQLiteApplicationRecorder(self._datastore)
        self._recorder.create_table()
        self._versions = itertools.count((self._recorder.max_notification_id() or 0) + 1)
        self._set_synchronous(synchronous)

    def _set_synchronous(self, synchronous: str) -> None:
        """Set it on the pool's one connection, and see that the pool hands out the same one again."""
        with self._datastore.get_connection(commit=True) as connection:
            connection.cursor().execute(f"PRAGMA synchronous={synchronous}")
        with self._datastore.get_connection(commit=True) as connection:
            cursor = connection.cursor()
            cursor.execute("PRAGMA synchronous")
            if cursor.fetchone()[0] != {"OFF": 0, "NORMAL": 1, "FULL": 2}[synchronous]:
                raise UnavailableError("its pool does not keep the sync setting")

    def _event(self, line: bytes) -> StoredEvent:
        return StoredEvent(_SESSION, next(self._versions), _TOPIC, line)

    def put(self, line: bytes) -> object:
        return self._recorder.insert_events([self._event(line)])

    def put_many(self, lines: list[bytes]) -> object:
        return self._recorder.insert_events([self._event(line) for line in lines])

    def lines(self) -> Iterator[bytes]:
        start = 1
        while page := self._recorder.select_notifications(start, _PAGE):
            for notification in page:
                yield notification.state
            start = page[-1].id + 1

    def count(self) -> int:
        return int(self._recorder.max_notification_id())

    def close(self) -> None:
        self._datastore.close()


def open_store(directory: str, *, durable: bool) -> EventStore:
    return EventStore(directory, synchronous="FULL" if durable else "OFF")
