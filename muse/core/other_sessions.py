"""The logs of the other sessions of a repository: an op id that one of them holds belongs to that session."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from muse.core.entry import is_op_id
from muse.core.file.log_reader import LogReader
from muse.core.file.session_file import SessionFile
from muse.core.session_directory import list_sessions
from muse.disk import layout
from muse.disk.resource import Resource
from muse.disk.storage import LOCAL, Storage
from muse.errors import ConflictError


class OtherSessions(Resource):
    """All sessions of the repository at `root` but one. Each log is read once; no file is kept open."""

    def __init__(self, root: str, session_id: str, storage: Storage = LOCAL) -> None:
        self._root = root
        self._session_id = session_id
        self._storage = storage
        self._logs: dict[str, tuple[SessionFile, LogReader]] = {}

    def holders(self, op_ids: Collection[str]) -> dict[str, str]:
        """Return those of the ops that another session holds, archived or not: op id -> its session."""
        found: dict[str, str] = {}
        wanted = list(filter(is_op_id, op_ids))
        for session_id in list_sessions(self._root, storage=self._storage) if wanted else ():
            if session_id != self._session_id:
                file, reader = self._log(session_id)
                found |= dict.fromkeys(reader.find_many(wanted, file.end()), session_id)
                file.close()
        return found

    def check(self, entries: Iterable[Mapping[str, Any]]) -> None:
        """Raise `ConflictError` for an entry whose op another session holds."""
        holders = self.holders([entry["op_id"] for entry in entries])
        for op_id, session_id in holders.items():
            raise ConflictError(f"op {op_id}: {reason(session_id)}", op_id=op_id)

    def _log(self, session_id: str) -> tuple[SessionFile, LogReader]:
        if session_id not in self._logs:
            file = SessionFile(self._root, session_id, self._storage)
            index = layout.op_index_file(self._root, session_id)
            self._logs[session_id] = file, LogReader(file, index, self._storage)
        return self._logs[session_id]

    def close(self) -> None:
        for file, reader in self._logs.values():
            reader.close()
            file.close()
        self._logs.clear()


def reason(holder: str) -> str:
    """Say why an op does not enter that the session `holder` has."""
    return f"session {holder!r} of this repository holds it: it would come into history twice"
