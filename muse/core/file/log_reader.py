"""A reader gives the entries of one log in order, each op once, and names damage. Its memory is bounded."""

import contextlib
import gc
import threading
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from heapq import merge
from itertools import accumulate, chain, starmap
from operator import itemgetter, lt
from typing import NoReturn

from muse.core import compiled
from muse.core.blocks import (
    Block,
    Link,
    Position,
    decode_block,
    decode_links,
    decode_positions,
    decode_stamps,
    op_id_of,
    split_framed,
)
from muse.core.damage import Damage
from muse.core.entry import OpEntry, is_op_id
from muse.core.file.log_file import LogFile
from muse.core.file.op_index import Found, OpIndex
from muse.core.file.op_places import OpPlaces, line_of
from muse.disk.storage import Storage
from muse.errors import ConflictError, CorruptionError

LOOK_UP_COST = 20
"""How many entries can be passed by in the time that one is looked up in the index."""

PLACES_AT_MOST = 1 << 20
"""A merge remembers the places of so many ops."""

NEWEST_AT_MOST = 1 << 11
"""A look-up of the last so many ops needs no look at the file: small batches name those."""

_NOTED_UNASKED = 8
"""So often ops are noted in what was made to be asked; then it is dropped until somebody asks again."""

_NOWHERE = (-1, 0)


class NewestOps:
    """Where the last `NEWEST_AT_MOST` ops or so start, and their stamps. Noting costs next to nothing."""

    def __init__(self) -> None:
        self._noted: deque[tuple[list[str], list[int], list[int]]] = deque()
        self._count = 0
        self._places: dict[str, tuple[int, int]] | None = None  # made when it is asked for
        self._unasked = 0  # how often ops were noted since

    def note(self, op_ids: list[str], starts: list[int], stamps: list[int]) -> None:
        """Note some ops, and forget older ones."""
        self._noted.append((op_ids, starts, stamps))
        self._count += len(op_ids)
        forgotten: list[str] = []
        while self._count > NEWEST_AT_MOST:
            forgotten += self._noted[0][0]
            self._count -= len(self._noted.popleft()[0])
        self._unasked += 1
        if self._unasked > _NOTED_UNASKED:
            self._places = None
        elif self._places is not None:
            self._places.update(_places_of(op_ids, starts, stamps))
            for op_id in forgotten:
                self._places.pop(op_id, None)

    def place(self, op_id: str) -> tuple[int, int]:
        """Return start and stamp of an op, or a start before the log."""
        self._unasked = 0
        if self._places is None:
            self._places = dict(chain.from_iterable(starmap(_places_of, self._noted)))
        return self._places.get(op_id, _NOWHERE)

    def clear(self) -> None:
        """Forget all."""
        self._noted.clear()
        self._count = 0
        self._places = None


def _places_of(
    op_ids: list[str], starts: list[int], stamps: list[int]
) -> Iterable[tuple[str, tuple[int, int]]]:
    return zip(op_ids, zip(starts, stamps, strict=True), strict=True)


@contextlib.contextmanager
def collector_paused() -> Iterator[None]:
    """Pause the cyclic garbage collector while many entries are made: they are in no cycles.

    It would take half of the time, as it walks the new entries again and again.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def raise_two_bodies(path: str, entry: OpEntry, offset: int) -> NoReturn:
    """Raise `ConflictError`: the log at `path` has another body of the op of `entry` before byte `offset`."""
    raise ConflictError(
        f"{path} has op {entry['op_id']} twice with different bodies (the second at byte "
        f"{offset}): one of them is not its author's; read with salvage=True to see the first",
        op_id=entry["op_id"],
    )


class LogReader:
    """The entries of the log at `log_file`. `index_path` is where the index may keep its table."""

    def __init__(self, log_file: LogFile, index_path: str, storage: Storage) -> None:
        self._file = log_file
        self._index_path = index_path
        self._storage = storage
        self._index: OpIndex | None = None
        self._index_lock = threading.Lock()
        self._places: OpPlaces | None = None
        self._newest = NewestOps()

    @property
    def path(self) -> str:
        """The path of the log."""
        return self._file.path

    def scan(self, start: int, stop: int, *, salvage: bool = False) -> Iterator[tuple[int, OpEntry]]:
        """Yield (offset, entry) for every line, repeated ones too.

        Raises `CorruptionError` at damage that may hide an op, unless `salvage`.
        """
        for block, _ in self.blocks(start, stop, salvage=salvage):
            yield from zip(block.starts, block.entries, strict=True)

    def located(self, start: int, stop: int) -> Iterator[tuple[int, OpEntry | None]]:
        """Yield (offset, entry) for every line, and (offset, None) where bytes may hide an op."""
        for offset, data in self._file.blocks(start, stop):
            block = decode_block(data, offset)
            found: list[tuple[int, OpEntry | None]] = list(zip(block.starts, block.entries, strict=True))
            hidden = [(damage.offset, None) for damage in block.damages if damage.kind == "corrupt"]
            yield from merge(found, hidden, key=itemgetter(0)) if hidden else found

    def chosen(
        self, stop: int, choose: Callable[[list[str]], Container[str]], *, salvage: bool = False
    ) -> Iterator[tuple[int, OpEntry]]:
        """Yield (offset, entry) for every line before byte `stop` whose op is chosen; see `scan`.

        `choose` is shown the op ids of some lines after others, each once, and returns which it wants, or
        nothing: then their entries are not made.
        """
        for offset, data in self._file.blocks(0, stop):
            scanned = compiled.scan_block(data, offset, check_crc=True)
            wanted = None if scanned is None else choose(scanned[0])
            if scanned is not None and not wanted:
                continue
            for block, _ in self._decoded(data, offset, salvage=salvage):
                picked = choose([entry["op_id"] for entry in block.entries]) if wanted is None else wanted
                for start, entry in zip(block.starts, block.entries, strict=True):
                    if entry["op_id"] in picked:
                        yield start, entry

    def blocks(self, start: int, stop: int, *, salvage: bool = False) -> Iterator[tuple[Block, int]]:
        """Yield decoded lines and the byte they reach to; raise `CorruptionError` where damage begins."""
        for offset, data in self._file.blocks(start, stop):
            yield from self._decoded(data, offset, salvage=salvage)

    def _decoded(self, data: bytes, offset: int, *, salvage: bool) -> Iterator[tuple[Block, int]]:
        """Yield whole lines, decoded, as `blocks` does."""
        block = decode_block(data, offset)
        corrupt = (damage for damage in block.damages if damage.kind == "corrupt" and not salvage)
        damage = next(corrupt, None)
        if damage is None:
            yield block, offset + len(data)
            return
        bad_line = offset + data.rfind(b"\n", 0, damage.offset - offset) + 1
        good = bisect_left(block.starts, bad_line)
        if good:
            yield Block(block.entries[:good], block.starts[:good]), bad_line
        self._raise_at(damage)

    def distinct(
        self, start: int, stop: int, frontier: dict[str, int] | None = None, *, salvage: bool = False
    ) -> Iterator[tuple[int, OpEntry]]:
        """Yield (offset, entry) for every op once, at its first line in the log.

        A line can repeat an op only if its stamp does not exceed its actor's stamps so far; only such lines
        are looked up in the index. `frontier` has each actor's highest stamp before `start`. Raises
        `ConflictError` where the bodies differ, unless `salvage`.
        """
        return chain.from_iterable(self._distinct_blocks(start, stop, dict(frontier or {}), salvage=salvage))

    def _distinct_blocks(
        self, start: int, stop: int, frontier: dict[str, int], *, salvage: bool
    ) -> Iterator[Iterable[tuple[int, OpEntry]]]:
        highest = max(frontier.values(), default=0)
        for offset, data in self._file.blocks(start, stop):
            taken = 0
            rising = compiled.rising_entries(data, offset, highest, frontier)
            if rising is not None:
                yield rising
                highest, taken = rising.highest, rising.taken
            if taken < len(data):
                rest = self._decoded(data[taken:], offset + taken, salvage=salvage)
                for block, _ in rest:
                    yield self._distinct_in(block, highest, frontier, salvage=salvage)
                    highest = max([highest, *(entry["lamport_ts"] for entry in block.entries)])

    def _distinct_in(
        self, block: Block, highest: int, frontier: dict[str, int], *, salvage: bool
    ) -> Iterable[tuple[int, OpEntry]]:
        """Return what of a block repeats no op; `highest` is the highest stamp of all before."""
        located = zip(block.starts, block.entries, strict=True)
        stamps = [entry["lamport_ts"] for entry in block.entries]
        if stamps and stamps[0] > highest and all(map(lt, stamps, stamps[1:])):
            # Every stamp is new, as where one process writes: nothing to look at one by one.
            frontier.update(zip([entry["actor_id"] for entry in block.entries], stamps, strict=True))
            return located
        return [found for found in located if self._is_first(*found, frontier, salvage=salvage)]

    def collect(self, stop: int, found: dict[str, OpEntry], *, salvage: bool) -> bool:
        """Take every op before byte `stop` into `found`, by its id; return whether they are in total order.

        Raises `CorruptionError` at damage that may hide an op, `ConflictError` at two bodies of one, unless
        `salvage`.
        """
        highest = 0
        for offset, data in self._file.blocks(0, stop):
            taken, highest = compiled.collect_entries(data, found, highest)
            if taken == len(data):
                continue
            highest = -1
            for block, _ in self._decoded(data[taken:], offset + taken, salvage=salvage):
                for place, entry in zip(block.starts, block.entries, strict=True):
                    known = found.setdefault(entry["op_id"], entry)
                    if known is not entry and known != entry and not salvage:
                        raise_two_bodies(self.path, entry, place)
        return highest >= 0

    def _is_first(self, offset: int, entry: OpEntry, frontier: dict[str, int], *, salvage: bool) -> bool:
        actor, stamp = entry["actor_id"], entry["lamport_ts"]
        if stamp > frontier.get(actor, 0):
            frontier[actor] = stamp
            return True
        return not self.repeats(entry, offset, salvage=salvage)

    def repeats(self, entry: OpEntry, offset: int, *, salvage: bool = False) -> bool:
        """Return whether the op has an earlier line; raise `ConflictError` if the bodies differ."""
        first = self.find(entry["op_id"], offset)
        if first is None or first >= offset:
            return False
        if not salvage and self.entry_at(first) != entry:
            raise_two_bodies(self.path, entry, offset)
        return True

    def positions(self, start: int, stop: int) -> Iterator[Position]:
        """Yield what the index keeps of each line between two bytes; damage is passed over."""
        for offset, data in self._file.blocks(start, stop):
            yield from decode_positions(data, offset)

    def links(self, start: int, stop: int) -> Iterator[Link]:
        """Yield what every op rests on, those of repeated lines too; damage is passed over."""
        for offset, data in self._file.blocks(start, stop):
            yield from decode_links(data, offset)

    # -- by id ----------------------------------------------------------------------------------

    def find(self, op_id: str, upto: int) -> int | None:
        """Return where the op's first line starts, if it is before byte `upto`; build the index if needed."""
        return self.find_many([op_id], upto).get(op_id)

    def find_many(self, op_ids: Sequence[str], upto: int) -> dict[str, int]:
        """Return where the first line of each op starts, of those in the log before byte `upto`."""
        with self._index_lock:
            return self._opened_index().find_many(op_ids, upto)

    def _opened_index(self) -> OpIndex:
        if self._index is None:
            self._index = OpIndex(self._index_path, self._storage, self._file.read, self._ids, self._op_id_at)
        return self._index

    def _op_id_at(self, start: int, likely: str) -> str | None:
        """Return the op id of the line at a byte, None if no entry can be read there."""
        if self._newest.place(likely)[0] == start:
            return likely
        with contextlib.suppress(CorruptionError):  # the line was damaged since, or is not one
            return self.entry_at(start)["op_id"]
        return None

    def stamp_at(self, op_id: str, start: int) -> int:
        """Return the stamp of an op that `find_many` found."""
        place, stamp = self._newest.place(op_id)
        return stamp if place == start else self.entry_at(start)["lamport_ts"]

    def lines_of(self, wanted: Mapping[str, bytes], end: int, op_count: int) -> dict[str, bytes]:
        """Return the line, without newline, of each op in `wanted` that is in the log before byte `end`.

        `wanted` gives for each op id the line that is expected, if any, which spares a look at the crc.
        A few are looked up in the index; for many, the whole log of `op_count` ops is read.
        """
        if not wanted or not end:
            return {}
        if op_count > min(PLACES_AT_MOST, len(wanted) * LOOK_UP_COST):
            starts = self.find_many(list(filter(is_op_id, wanted)), end)
            return {op_id: line_of(self.entry_at(start)) for op_id, start in starts.items()}
        places = self._places or OpPlaces(self._file)
        places.catch_up(end)
        return places.lines(wanted)

    @contextlib.contextmanager
    def remembering(self) -> Iterator[OpPlaces]:
        """Keep the places of the ops in memory while the block runs, as far as the log is read."""
        self._places = OpPlaces(self._file)
        try:
            yield self._places
        finally:
            self._places = None

    def remember(self, end: int, op_count: int, other_end: int) -> None:
        """Remember the ops before byte `end`, unless the other log, of `other_end` bytes, is far shorter."""
        if self._places is not None and op_count <= PLACES_AT_MOST and end <= other_end * LOOK_UP_COST:
            self._places.catch_up(end)

    def stamps(self, data: bytes, offset: int) -> list[int]:
        """Return the stamps of the entries in a block; crcs are checked only where a line is unusual."""
        places = self._places
        if places is not None and places.end == offset and len(places) < PLACES_AT_MOST:
            return places.look(data, offset)
        scanned = compiled.scan_block(data, offset, check_crc=False)
        stamps = decode_stamps(data) if scanned is None else scanned[1]
        if stamps is None:
            stamps = [entry["lamport_ts"] for entry in decode_block(data, offset).entries]
        return stamps

    def learn(
        self, op_ids: list[str], stamps: list[int], lengths: Iterable[int], start: int, end: int
    ) -> None:
        """Note the ops that were just written from byte `start` to `end`, in lines of `lengths` bytes."""
        if self._places is not None and self._places.end == start:
            self._places.learn(op_ids, start, end - start)
        with self._index_lock:
            if self._index is not None:
                starts = list(accumulate(lengths, initial=start))[:-1]
                self._index.learn(op_ids, starts, start, end)
                self._newest.note(op_ids, starts, stamps)

    def _ids(self, start: int, stop: int) -> Iterator[Found]:
        for offset, data in self._file.blocks(start, stop):
            scanned = compiled.scan_block(data, offset, check_crc=True)
            if scanned is None:
                positions = decode_positions(data, offset)
                op_ids, stamps = [one.op_id for one in positions], [one.lamport_ts for one in positions]
                scanned = op_ids, stamps, [one.offset for one in positions]
            op_ids, stamps, starts = scanned
            self._newest.note(op_ids, starts, stamps)
            yield offset + len(data), op_ids, starts

    def entry_at(self, offset: int) -> OpEntry:
        """Return the entry whose line starts at byte `offset`; raise `CorruptionError` without one."""
        return self.line_at(offset)[0]

    def line_at(self, offset: int) -> tuple[OpEntry, int]:
        """Return the entry whose line starts at byte `offset`, and the byte after the line."""
        size = 1 << 12
        while b"\n" not in (data := self._file.read(offset, size)) and len(data) == size:
            size *= 8
        line, newline, _ = data.partition(b"\n")
        block = decode_block(line + newline, offset) if newline else Block()
        if not block.entries:
            raise CorruptionError(
                f"{self._file.path} has no readable entry at byte {offset}: see 'muse session check'",
                path=self._file.path,
                offset=offset,
            )
        return block.entries[0], offset + len(line) + 1

    def op_id_before(self, end: int) -> str:
        """Return the op id of the line that ends at byte `end`; "" if it is not an entry of ours."""
        size = 1 << 12
        while True:
            start = max(0, end - size)
            lines = self._file.read(start, end - start).split(b"\n")
            if len(lines) > 2 or start == 0:
                break
            size *= 8
        framed = split_framed(lines[-2] + b"\n") if len(lines) > 1 else None
        return op_id_of(framed[0]).decode() if framed else ""

    def forget_ids(self) -> None:
        """Throw the index and its snapshot away, after the log's bytes were changed."""
        with self._index_lock:
            self._opened_index().discard()
            self._index = None
        self._newest.clear()

    def close(self, *, wait: bool = True) -> None:
        """Close the index. It is opened again when it is needed.

        A child that was forked must not `wait`: what its parent's threads do is not done here.
        """
        index, self._index = self._index, None
        if index is not None:
            index.close(wait=wait)

    # -- damage ---------------------------------------------------------------------------------

    def damages(self, *, unfinished: bool = True) -> Iterator[Damage]:
        """Yield each damage, that is bytes of the log that are no entry, with its line number.

        With `unfinished`, what follows the last newline too: a write that is under way, or was cut.
        """
        lines, reached = 1, 0
        stop = self._file.end()
        for offset, data in self._file.blocks(0, stop):
            is_sound = compiled.scan_block(data, offset, check_crc=True) is not None
            for damage in () if is_sound else decode_block(data, offset).damages:
                yield replace(damage, line=lines + data.count(b"\n", 0, damage.offset - offset))
            lines += data.count(b"\n")
            reached = offset + len(data)
        if unfinished and reached < stop:
            yield Damage(reached, stop - reached, "torn", "no newline yet", line=lines)

    def line_number(self, offset: int) -> int:
        """Return the number, from 1, of the line that byte `offset` is in."""
        before = (data.count(b"\n") for _, data in self._file.blocks(0, offset))
        return 1 + sum(before)

    def _raise_at(self, damage: Damage) -> NoReturn:
        op = f", op {damage.op_id}" if damage.op_id else ""
        raise CorruptionError(
            f"{self._file.path} is damaged at byte {damage.offset} (line "
            f"{self.line_number(damage.offset)}{op}), {damage.length} bytes: {damage.reason}; "
            "'muse session check' lists all damage, salvage=True reads the rest",
            path=self._file.path,
            offset=damage.offset,
        )
