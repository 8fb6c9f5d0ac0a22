"""Entries whose causes have not arrived: kept beside the log, over restarts, until they have."""

from collections.abc import Iterable, Mapping

from muse.core.blocks import Block, decode_block
from muse.core.entry import OpEntry
from muse.core.line import entry_json, frame
from muse.disk.storage import Storage
from muse.errors import NotFoundError

ORPHANS_AT_MOST = 100_000
ORPHAN_BYTES_AT_MOST = 1 << 26
"""How many orphans one session keeps, and in how many bytes, before more are refused: nobody can fill a
disk with them."""

ByOpId = Mapping[str, tuple[OpEntry, bytes]]
"""Op id -> entry, and its line."""


class OrphanFile:
    """The orphans of one session, as lines of the file at `path`, which is there while there are any.

    A writer holds the session's lock, from before it reads.
    """

    def __init__(self, path: str, storage: Storage) -> None:
        self.path = path
        self._storage = storage
        self._seen: tuple[int, int, int] | None = None
        self._orphans: ByOpId = {}
        self._named: frozenset[str] = frozenset()

    def is_there(self) -> bool:
        """Tell whether the log may have orphans: whether their file exists."""
        return self._storage.exists(self.path)

    def read(self) -> ByOpId:
        """Return the orphans. A damaged line is passed over: its sender still has it."""
        status = self._storage.look(self.path)
        seen = None if status is None else (status.st_ino, status.st_mtime_ns, status.st_size)
        if seen != self._seen:  # read once, however often it is looked at: each append does
            entries = _decoded(self._bytes()).entries
            self._orphans = {entry["op_id"]: (entry, frame(entry_json(entry))) for entry in entries}
            self._named = frozenset(self._orphans).union(*[entry["parent_op_ids"] for entry in entries])
            self._seen = seen
        return self._orphans

    def concerns(self, op_ids: Iterable[str]) -> bool:
        """Tell whether one of those ops is an orphan, or waited for."""
        return bool(self.read()) and not self._named.isdisjoint(op_ids)

    def faults(self) -> list[str]:
        """Return, in words, where bytes are that are no entry."""
        data = self._bytes()
        found = [(damage.offset, damage.length, damage.reason) for damage in _decoded(data).damages]
        if data and not data.endswith(b"\n"):
            found.append((len(data), 0, "the last line is not ended by a newline"))
        return [
            f"{self.path} is damaged at byte {offset}, {length} bytes: {reason}; 'muse session merge' or "
            "'sync' brings the entry again from a replica that has it"
            for offset, length, reason in found
        ]

    def write(self, lines: Iterable[bytes]) -> None:
        """Replace the orphans, atomically and durably."""
        data = b"".join(lines)
        if data:
            self._storage.write_atomically(self.path, data)
        else:
            self._storage.remove(self.path)

    def _bytes(self) -> bytes:
        try:
            return self._storage.read_bytes(self.path)
        except NotFoundError:
            return b""


def _decoded(data: bytes) -> Block:
    return decode_block(data if data.endswith(b"\n") or not data else data + b"\n", 0)
