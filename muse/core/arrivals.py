"""Entries that others made: they enter the log, or wait beside it for their parents."""

from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate, pairwise

from muse.core.admission import Admission
from muse.core.appends import Appends, Durability
from muse.core.blocks import checked_lines, encode_lines
from muse.core.entry import OpEntry, total_order
from muse.core.file.log_file import LogFile
from muse.core.file.log_reader import LogReader, collector_paused
from muse.core.file.op_places import OpPlaces
from muse.core.intake import Incoming, from_entries, from_log
from muse.core.line import entry_json, frame
from muse.core.merge import Check, Holders, Merge, MergeResult
from muse.core.orphan_file import OrphanFile
from muse.core.session_directory import SessionDirectory


class Arrivals:
    """The way into one log for ready entries, from clients and replicas, and for its orphans."""

    def __init__(
        self,
        directory: SessionDirectory,
        store: OrphanFile,
        appends: Appends,
        file: LogFile,
        reader: LogReader,
    ) -> None:
        self._directory = directory
        self._store = store
        self._appends = appends
        self._file = file
        self._reader = reader
        self._limits = directory.limits
        self._admission = Admission(directory.session_id, reader, appends.clock, directory.limits)

    def create(self) -> bool:
        """Make an empty log where none exists, durably; return whether this call made it."""
        self._appends.check_open()
        with self._appends.exclusive():
            is_new = not self._directory.has_log_file()
            self._file.open_for_append()
            self._file.sync()
        return is_new

    def append(self, entries: list[OpEntry], durability: Durability | None) -> int:
        """Append those of the entries that the log lacks, with one write; return how many."""
        lines, op_ids, stamps, lengths, has_parents = checked_lines(entries, self._limits)
        if not entries:
            return 0
        appends, is_plain = self._appends, not has_parents
        appends.check_open()
        if not self._file.is_open_for_append and not self._directory.has_log_file():
            self._admission.fresh(entries, _split(lines), 0)  # refused before a directory is made for them
        with appends.exclusive():
            end = appends.take_in()
            if is_plain and self._admission.are_new(op_ids, max(stamps), appends.seen_end):
                appends.write_lines(lines, op_ids, stamps, lengths, end)
                count = len(entries)
            else:
                count = self._append_fresh(entries, _split(lines), end)
            self._release_awaiting(op_ids)
            ticket = appends.ticket(durability)
        if ticket:
            appends.wait_durable(ticket, entries)
        return count

    def _append_fresh(self, entries: list[OpEntry], lines: list[bytes], end: int) -> int:
        """Append those of the entries that the log lacks, whatever else is to be said of them."""
        fresh = self._admission.fresh(entries, lines, self._appends.seen_end)
        self._appends.write_ready(
            [line for _, line in fresh],
            [entry["op_id"] for entry, _ in fresh],
            [entry["lamport_ts"] for entry, _ in fresh],
            end,
        )
        return len(fresh)

    def append_new(self, entries: list[OpEntry]) -> list[tuple[int, int]]:
        """Append checked entries that the log lacks, in a block of `Appends.exclusive`.

        Return where the line of each starts and ends.
        """
        lines = _split(encode_lines(entries, self._limits))
        end = self._appends.take_in()
        self._admission.check_stamps(entries, self._appends.seen_end)
        op_ids = [entry["op_id"] for entry in entries]
        if self._appends.write_ready(lines, op_ids, [entry["lamport_ts"] for entry in entries], end):
            places = list(pairwise(accumulate((len(line) + 1 for line in lines), initial=end)))
        else:
            self._appends.take_in()
            starts = self._reader.find_many(op_ids, self._appends.seen_end)
            places = [(starts[op_id], self._reader.line_at(starts[op_id])[1]) for op_id in op_ids]
        self._release_awaiting(op_ids)
        return places

    def merge(
        self,
        other: LogFile | Iterable[OpEntry],
        check: Check | None,
        holders: Holders | None,
        progress: Callable[[int], None],
    ) -> MergeResult:
        """Take in the entries of another replica; `progress` is told how many were looked at."""
        merge = self._new_merge(check, holders)
        done = 0
        with collector_paused(), self._reader.remembering() as places:
            for batch in self._batches_of(other, places):
                if batch.lines or self._store.is_there():
                    with self._appends.exclusive():
                        self._let_in(merge, batch)
                else:
                    merge.count(batch)
                done += len(batch.lines) + batch.repeated + len(batch.conflicts) + len(batch.refused)
                progress(done)
        return merge.result()

    def _new_merge(self, check: Check | None = None, holders: Holders | None = None) -> Merge:
        return Merge(self._reader, self._appends.clock, self._limits, check, holders)

    def _batches_of(self, other: LogFile | Iterable[OpEntry], places: OpPlaces) -> Iterator[Incoming]:
        if not isinstance(other, LogFile):
            return from_entries(other, self._limits)
        appends = self._appends
        with appends.lock:
            appends.take_in()
            self._reader.remember(appends.seen_end, appends.op_count, other.end())
        return from_log(other, self._limits, places)

    def _let_in(self, merge: Merge, batch: Incoming) -> None:
        """Append what may enter of a batch and of the orphans, then keep what must wait.

        An orphan leaves its file last, once it is on the disk in the log: it is in both or in one.
        """
        end = self._appends.take_in()
        orphans = self._store.read()
        ready, waiting = merge.sort_out(batch, orphans, self._appends.seen_end, self._appends.op_count)
        found = [one for one, _ in ready]
        stamps = [one.lamport_ts for one in found]
        self._appends.write_ready([line for _, line in ready], [one.op_id for one in found], stamps, end)
        if waiting.keys() != orphans.keys():
            self._file.open_for_append()  # so that there is a session, and no archive
            if not orphans.keys() <= waiting.keys():
                self._appends.sync()
            self._store.write(line + b"\n" for line in waiting.values())

    # -- orphans ----------------------------------------------------------------------------------

    def release(self) -> int:
        """Append the orphans whose parents are in the log by now; return how many."""
        merge = self._new_merge()
        if self._store.is_there():
            with self._appends.exclusive():
                self._let_in(merge, Incoming())
        return merge.added

    def _release_awaiting(self, op_ids: Iterable[str]) -> None:
        """Append the orphans that waited for one of the ops."""
        if self._store.concerns(op_ids):
            self._let_in(self._new_merge(), Incoming())

    def release_covered(self, op_ids: Iterable[str]) -> None:
        """Append those of the ops that are orphans: a commit that covers them vouches for them."""
        orphans = self._store.read()
        self.let_in_covered(orphans[op_id][0] for op_id in op_ids if op_id in orphans)

    def let_in_covered(self, entries: Iterable[OpEntry]) -> None:
        """Append those of the entries that the log lacks: a commit that covers them vouches for them.

        So they may be beyond the limits, stamped far ahead, or lack their parents: another log has them so.
        """
        by_id = {entry["op_id"]: entry for entry in entries}
        if not by_id:
            return
        with self._appends.exclusive():
            end = self._appends.take_in()
            known = self._reader.find_many(list(by_id), self._appends.seen_end)
            new = sorted((one for op_id, one in by_id.items() if op_id not in known), key=total_order)
            self._appends.write_ready(
                [frame(entry_json(entry))[:-1] for entry in new],
                [entry["op_id"] for entry in new],
                [entry["lamport_ts"] for entry in new],
                end,
            )
            self._file.sync()
            orphans = self._store.read()
            if not by_id.keys().isdisjoint(orphans):
                self._store.write(line for op_id, (_, line) in orphans.items() if op_id not in by_id)


def _split(lines: bytes) -> list[bytes]:
    return lines.split(b"\n")[:-1]
