"""The items by which two replicas compare one session's log: one for each entry. Streams."""

from collections.abc import Callable, Iterable, Iterator

from muse.core import compiled
from muse.core.blocks import decode_block, decode_stamps, op_id_of, split_framed
from muse.core.damage import Damage
from muse.core.entry import are_op_ids, is_op_id
from muse.core.file.log_file import LogFile
from muse.core.line import entry_json, frame
from muse.replication.reconcile import ItemSet, pack_item, pack_items, sorted_items


def read_items(file: LogFile, note: Callable[[Damage], object] = lambda _damage: None) -> ItemSet:
    """Return the items of the entries in a log as it is now, 28 bytes each; `note` is called with damage.

    The crc of a framed line is taken as it is, checked; that of any other is made from the entry.
    """
    return ItemSet(sorted_items(_items(data, offset, note) for offset, data in file.blocks(0, file.end())))


def _items(data: bytes, offset: int, note: Callable[[Damage], object]) -> Iterable[bytes]:
    scanned = compiled.scan_block(data, offset, check_crc=True)
    if scanned is not None and are_op_ids(scanned[0]):
        ends = [*(start - offset for start in scanned[2][1:]), len(data)]
        crcs = [data[end - 11 : end - 3].decode() for end in ends]
        return pack_items(scanned[1], scanned[0], crcs)
    return _any_items(data, offset, note)


def _any_items(data: bytes, offset: int, note: Callable[[Damage], object]) -> Iterator[bytes]:
    lines, stamps = split_framed(data), decode_stamps(data)
    if lines is None or stamps is None or len(lines) != len(stamps):
        block = decode_block(data, offset)
        for damage in block.damages:
            note(damage)
        entries = block.entries
        lines = [frame(entry_json(entry))[:-1] for entry in entries]
        stamps = [entry["lamport_ts"] for entry in entries]
    for line, stamp in zip(lines, stamps, strict=True):
        op_id = op_id_of(line).decode()
        if is_op_id(op_id):
            yield pack_item(stamp, op_id, int(line[-10:-2], 16))
