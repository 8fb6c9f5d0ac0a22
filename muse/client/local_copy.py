"""The log of a session on this machine: to work while the server is away, and to bring the two together."""

import threading
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from typing import Any, NoReturn

from muse.client.failures import OtherRepositoryError
from muse.client.follower import START, byte_of
from muse.core.entry import OpEntry, check_entry
from muse.core.op_log import OpLog, make_op_entry
from muse.disk import layout
from muse.disk.json_file import encode_json, field, field_items, read_json_object
from muse.disk.resource import Resource
from muse.disk.storage import LOCAL
from muse.errors import ConflictError, InvalidEntryError, UsageError

_SCHEMA_VERSION = 3
"""Version 1 has no `acknowledged`, and versions 1 and 2 have no `log`."""


class CopiedLog(OpLog):
    """A log that is a copy of a server's: it is read, and gets ops through its session alone.

    An op that was put into it past the session might never be sent.
    """

    def record(self, *_: Any, **_named: Any) -> NoReturn:
        """Raise `UsageError`: the session records."""
        raise UsageError(
            f"the log of session {self.session_id()!r} here is a copy of the server's: record with the "
            "session, or give the session to CodeReplica, and the op is sent"
        )

    record_many = append = append_many = merge = record

    def take_own(self, actor_id: str, domain: str, domain_op: Mapping[str, Any], **named: Any) -> OpEntry:
        """Record an op of the session; see `OpLog.record`."""
        return super().record(actor_id, domain, domain_op, **named)

    def take_ready(self, entries: Iterable[OpEntry]) -> int:
        """Take in ready entries; see `OpLog.append_many`."""
        return super().append_many(entries)


class LocalCopy(Resource):
    """The log in `directory`, which is a cache: it holds what the server has, and what is yet to be sent.

    `cursor`: everything before it on the server was taken in. `acknowledged`: all of the actor's ops that the
    server took are before it there. An entry of `actor_id` behind byte `_sent` of the local log may not be on
    the server yet; those in `refused` will never be. It belongs to a repository, whatever the server's `url`;
    at another URL (it may be that of a clone), or where the local log is not the one that was noted, as
    after a backup of it was put back, all is taken in and sent once more. `UsageError` if it belongs to
    another actor, `ConflictError` if another client uses it now.
    """

    def __init__(self, directory: str, session_id: str, actor_id: str, url: str) -> None:
        self._actor_id = actor_id
        self._url = url
        self._path = layout.client_state_file(directory, session_id)
        self._stack = ExitStack()
        self._lock = threading.Lock()  # a thread may be at work here when the session is closed
        self._is_closed = False
        self._saved = b""
        LOCAL.make_directories(layout.session_directory(directory, session_id))
        with self._stack:
            lock = layout.client_lock_file(directory, session_id)
            if not self._stack.enter_context(LOCAL.locked(lock, wait=False)):
                raise ConflictError(
                    f"{directory} is in use by another client: end it, or give each a directory of its own"
                )
            self.log = self._stack.enter_context(CopiedLog(directory, session_id))
            self._repo_id, self.cursor, self.acknowledged, self._sent, self.refused = self._read()
            self._take_in(self.log.orphans.entries())  # an earlier build kept some back
            self._stack = self._stack.pop_all()

    def _read(self) -> tuple[str, str, str, int, set[str]]:
        if not LOCAL.exists(self._path):
            return "", START, START, 0, set()
        document = read_json_object(self._path, LOCAL)
        actor_id = field(document, "actor_id", str, self._path)
        if actor_id != self._actor_id:
            raise UsageError(
                f"{self._path} is of {actor_id!r}, not of {self._actor_id!r}: give another cache directory"
            )
        is_elsewhere = field(document, "url", str, self._path) != self._url or not self._is_noted(document)
        cursor, sent = field(document, "cursor", str, self._path), field(document, "sent", int, self._path)
        return (
            field(document, "repo_id", str, self._path, ""),
            START if is_elsewhere else cursor,
            START if is_elsewhere else field(document, "acknowledged", str, self._path, START),
            0 if is_elsewhere else sent,
            set(field_items(document, "refused", str, self._path)),
        )

    def _is_noted(self, document: Mapping[str, Any]) -> bool:
        """Return whether the local log still begins with what was in it when `document` was written."""
        noted = field(document, "log", str, self._path, str(field(document, "sent", int, self._path)))
        try:
            self.log.cursors.offset(noted)
        except UsageError:
            return False
        return True

    def check_repository(self, repo_id: str) -> None:
        """Tie the log to this repository; `OtherRepositoryError` if it belongs to another already."""
        with self._lock:
            if not self._repo_id and not self._is_closed:
                self._write(repo_id)  # before anything of it is in the log
                self._repo_id = repo_id
        if repo_id != self._repo_id:
            raise OtherRepositoryError(
                f"{self._path} is of the repository {self._repo_id}, and {self._url} serves "
                f"{repo_id or 'one without a name'}: nothing was sent or taken in; use the URL where "
                "the first is served now, or give another cache directory"
            )

    def record(
        self,
        domain: str,
        domain_op: Mapping[str, Any],
        *,
        op_id: str | None = None,
        parent_op_ids: Sequence[str] | None = None,
        intent_id: str = "",
        reservation_id: str = "",
        seen: Mapping[str, int] | None = None,
        above: int = 0,
    ) -> OpEntry:
        """Append an op, stamped above all that was taken in; one whose `op_id` is known stays as it was.

        With an `op_id`, it is stamped `above` that too.
        Without `parent_op_ids` it rests on what was `seen`, or is here where that is not said.
        """
        found = {} if op_id is None else self.log.find([op_id])
        known = found[op_id][2] if op_id in found else None
        if parent_op_ids is None:
            parent_op_ids = self._seen(domain, seen) if known is None else known["parent_op_ids"]
        if op_id is None:
            return self.log.take_own(
                self._actor_id,
                domain,
                domain_op,
                parent_op_ids=parent_op_ids,
                intent_id=intent_id,
                reservation_id=reservation_id,
            )
        entry = make_op_entry(
            self._actor_id,
            domain,
            domain_op,
            max(self.log.next_lamport_ts(), above + 1),
            parent_op_ids=parent_op_ids,
            intent_id=intent_id,
            reservation_id=reservation_id,
        )
        entry["op_id"] = op_id
        check_entry(entry)
        if known is not None:
            entry |= {"lamport_ts": known["lamport_ts"], "created_at": known["created_at"]}
        self.log.take_ready([entry])
        return entry

    def _seen(self, domain: str, frontier: Mapping[str, int] | None) -> list[str]:
        """Return the heads of what was seen, or of what is here."""
        self.log.heads.catch_up()
        return self.log.heads.names(domain) if frontier is None else self.log.heads.seen_by(domain, frontier)

    def unsent(self) -> list[OpEntry]:
        """Return the actor's ops that the server may not have, in the order in which they were made."""
        return self._own_since(self._sent)

    def own(self) -> list[OpEntry]:
        """Return all ops of the actor that the server did not refuse, in the order of their making."""
        return self._own_since(0)

    def _own_since(self, start: int) -> list[OpEntry]:
        own = self.log.entries(since=start, actor=self._actor_id)
        return [entry for entry in own if entry["op_id"] not in self.refused]

    def note_acknowledged(self, cursor: str) -> None:
        """Note a cursor of the server behind ops of the actor that it has."""
        self.acknowledged = max(self.acknowledged, cursor, key=byte_of)

    def take(self, entries: Sequence[OpEntry], cursor: str) -> None:
        """Take in what the server has before `cursor`."""
        with self._lock:
            if not self._is_closed:
                self._take_in(entries)
                self.cursor = cursor

    def _take_in(self, entries: Sequence[OpEntry]) -> None:
        """Append in the order of the server, which may lack what an op rests on, as after a restore."""
        try:
            self.log.take_ready(entries)
        except (ConflictError, InvalidEntryError):  # one that is here as something else keeps out no other
            for entry in entries:
                with suppress(ConflictError, InvalidEntryError):
                    self.log.take_ready([entry])

    def start_over(self) -> None:
        """Prepare to take in and send everything again: the server's log is not the one it was."""
        self.cursor, self.acknowledged, self._sent = START, START, 0

    def all_sent(self) -> None:
        """Note that the server has every op of the actor."""
        self._sent = self.log.cut().offset

    def save(self) -> None:
        """Write down how far both logs are equal. What was not written down is taken in and sent again."""
        with self._lock:
            if not self._is_closed:
                self._write(self._repo_id)

    def _write(self, repo_id: str) -> None:
        document = {
            "schema_version": _SCHEMA_VERSION,
            "repo_id": repo_id,
            "url": self._url,
            "actor_id": self._actor_id,
            "cursor": self.cursor,
            "acknowledged": self.acknowledged,
            "sent": self._sent,
            "refused": sorted(self.refused),
            "log": self.log.cursors.at(self.log.cut().offset),
        }
        data = encode_json(document, self._path)
        if data != self._saved:
            self.log.sync()
            LOCAL.write_atomically(self._path, data)
            self._saved = data

    def close(self) -> None:
        with self._lock:
            self._is_closed = True
            self._stack.close()
