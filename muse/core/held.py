"""Entries whose causes have not arrived: kept beside the log, over restarts, until they have."""

from collections.abc import Iterable

from muse.core.entry import OpEntry
from muse.core.record import decode_block, encode_line
from muse.core.storage import Storage
from muse.errors import NotFoundError

HELD_AT_MOST = 100_000
"""How many entries one session holds before more are refused: nobody can fill a disk with orphans."""


class HeldFile:
    """The held entries of one session, as lines of the file at `path`, which is there while there are any.

    Whoever writes holds the session's lock.
    """

    def __init__(self, path: str, storage: Storage) -> None:
        self._path = path
        self._storage = storage

    def is_there(self) -> bool:
        return self._storage.exists(self._path)

    def read(self) -> dict[str, OpEntry]:
        """Return what is held, by op id. A damaged line is passed over: whoever sent it still has it."""
        try:
            data = self._storage.read_bytes(self._path)
        except NotFoundError:
            return {}
        return {entry["op_id"]: entry for entry in decode_block(data, 0).entries}

    def write(self, entries: Iterable[OpEntry]) -> None:
        """Replace what is held, atomically and durably."""
        data = b"".join(map(encode_line, entries))
        if data:
            self._storage.write_atomically(self._path, data)
        else:
            self._storage.remove(self._path)
