"""Entries whose causes have not arrived: kept beside the log, over restarts, until they have."""

from collections.abc import Iterable, Mapping

from muse.core.blocks import Block, decode_block
from muse.core.entry import OpEntry
from muse.core.line import entry_json, frame
from muse.disk.storage import Storage
from muse.errors import NotFoundError

HELD_AT_MOST = 100_000
HELD_BYTES_AT_MOST = 1 << 26
"""How many entries one session holds, and how many bytes they take, before more are refused: nobody can
fill a disk with orphans."""

Held = Mapping[str, tuple[OpEntry, bytes]]
"""Op id -> entry, and its line."""


class HeldFile:
    """The held entries of one session, as lines of the file at `path`, which is there while there are any.

    Whoever writes holds the session's lock, from before it read.
    """

    def __init__(self, path: str, storage: Storage) -> None:
        self.path = path
        self._storage = storage
        self._data = b""
        self._held: Held = {}
        self._named: frozenset[str] = frozenset()

    def is_there(self) -> bool:
        return self._storage.exists(self.path)

    def read(self) -> Held:
        """Return what is held. A damaged line is passed over: whoever sent it still has it."""
        data = self._bytes()
        if data != self._data:  # decoded once, however often it is looked at
            entries = _decoded(data).entries
            self._held = {entry["op_id"]: (entry, frame(entry_json(entry))) for entry in entries}
            self._named = frozenset(self._held).union(*[entry["parent_op_ids"] for entry in entries])
            self._data = data
        return self._held

    def concerns(self, op_ids: Iterable[str]) -> bool:
        """Whether one of those ops is held, or waited for."""
        return bool(self.read()) and not self._named.isdisjoint(op_ids)

    def faults(self) -> list[str]:
        """Return, in words, where bytes are that are no entry."""
        data = self._bytes()
        found = [(damage.offset, damage.length, damage.reason) for damage in _decoded(data).damages]
        if data and not data.endswith(b"\n"):
            found.append((len(data), 0, "the last line is not ended by a newline"))
        return [
            f"{self.path} is damaged at byte {offset}, {length} bytes: {reason}; 'muse session merge' or "
            "'sync' brings the entry again from whoever has it"
            for offset, length, reason in found
        ]

    def write(self, lines: Iterable[bytes]) -> None:
        """Replace what is held, atomically and durably."""
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
