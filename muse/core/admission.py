"""Which ready-made entries may enter a log: new to it, and stamped as its clock can believe."""

from collections.abc import Iterable, Mapping

from muse.core.clock import LamportClock
from muse.core.entry import Limits, OpEntry
from muse.core.file.log_reader import LogReader
from muse.errors import ConflictError, InvalidEntryError

Fresh = dict[str, tuple[OpEntry, bytes]]


class Admission:
    """The door of one log. A caller holds the session's lock, or another entry may enter in between."""

    def __init__(self, session_id: str, reader: LogReader, clock: LamportClock, limits: Limits) -> None:
        self._session_id = session_id
        self._reader = reader
        self._clock = clock
        self._limits = limits

    def fresh(self, batch: list[OpEntry], lines: Iterable[bytes], end: int) -> list[tuple[OpEntry, bytes]]:
        """Return the entries, with their lines, that the log does not hold before byte `end`.

        Raises `ConflictError` for a known id with another body, `InvalidEntryError` for a stamp that
        is absurdly far ahead or does not exceed that of a parent.
        """
        fresh: Fresh = {}
        named = {entry["op_id"] for entry in batch}.union(*[entry["parent_op_ids"] for entry in batch])
        starts = self._reader.find_many(list(named), end) if end else {}
        for entry, line in zip(batch, lines, strict=True):
            op_id = entry["op_id"]
            known = self._known(op_id, fresh, starts)
            if known is None:
                self._check_stamp(entry, fresh, starts)
                fresh[op_id] = entry, line
            elif known != entry:
                raise ConflictError(
                    f"op {op_id} is in the log of session {self._session_id!r} with another body: "
                    "an op id belongs to one op forever; give the new op an id of its own",
                    op_id=op_id,
                )
        return list(fresh.values())

    def are_new(self, op_ids: list[str], highest: int, end: int) -> bool:
        """Tell whether ops without parents may all enter: see `fresh`. `highest`: their last stamp."""
        is_sound = len(set(op_ids)) == len(op_ids) and self._clock.believes(highest)
        return is_sound and not (end and self._reader.find_many(op_ids, end))

    def check_stamps(self, batch: list[OpEntry], end: int) -> None:
        """Raise what `fresh` raises of stamps, for entries that the log does not hold before byte `end`."""
        parents = list({parent for entry in batch for parent in entry["parent_op_ids"]})
        starts = self._reader.find_many(parents, end) if parents and end else {}
        fresh: Fresh = {}
        for entry in batch:
            self._check_stamp(entry, fresh, starts)
            fresh[entry["op_id"]] = entry, b""

    def _check_stamp(self, entry: OpEntry, fresh: Fresh, starts: Mapping[str, int]) -> None:
        if not self._clock.believes(entry["lamport_ts"]):
            raise InvalidEntryError(
                f"lamport_ts {entry['lamport_ts']} is more than {self._limits.lamport_jump} ahead of this "
                f"log's clock ({self._clock.value}): it is not adopted",
                field="lamport_ts",
            )
        for parent_id in entry["parent_op_ids"]:
            stamp = self._stamp(parent_id, fresh, starts)
            if stamp >= entry["lamport_ts"]:
                raise InvalidEntryError(
                    f"lamport_ts {entry['lamport_ts']} does not exceed that of its parent {parent_id} "
                    f"({stamp}): take the stamp from the clock after reading the parent",
                    field="lamport_ts",
                )

    def _stamp(self, op_id: str, fresh: Fresh, starts: Mapping[str, int]) -> int:
        """Return the stamp of an op, 0 if it is not here."""
        if op_id in fresh:
            return fresh[op_id][0]["lamport_ts"]
        return self._reader.stamp_at(op_id, starts[op_id]) if op_id in starts else 0

    def _known(self, op_id: str, fresh: Fresh, starts: Mapping[str, int]) -> OpEntry | None:
        if op_id in fresh:
            return fresh[op_id][0]
        return self._reader.entry_at(starts[op_id]) if op_id in starts else None
