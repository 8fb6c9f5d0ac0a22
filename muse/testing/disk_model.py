"""This disk knows what was synced, and after a power cut holds what a disk may then hold.

What POSIX leaves open is done as badly as the worst file systems do it: a name is durable only once its
directory was synced, and a file's bytes once the file was. Of what was not synced, any sectors may have
reached the disk, in any order, and the file's length may be an old one too.
"""

import errno
from random import Random

from muse.testing.memory_storage import InMemoryStorage, Node, OpenFile, fail, place, resize

SECTOR_BYTES = 512
"""A disk writes so many bytes as a whole or not at all."""


class DiskModelStorage(InMemoryStorage):
    """An in-memory storage with a disk beneath. `power_cut` leaves what is on the disk."""

    def __init__(self) -> None:
        super().__init__()
        self._syncs_to_fail = 0

    # -- what is told to the disk ---------------------------------------------------------------

    def _wrote(self, node: Node, offset: int, data: bytes | None) -> None:
        node.unsynced.append((offset, data))

    def _named(self, directory: Node, names: dict[str, Node | None]) -> None:
        directory.unsynced_names.append(names)

    def _sync(self, file: OpenFile) -> None:
        node = file.node
        if self._syncs_to_fail:
            self._syncs_to_fail -= 1
            node.lost_writes += 1
            node.unsynced.clear()
        if file.lost_writes < node.lost_writes:
            file.lost_writes = node.lost_writes
            fail(errno.EIO)
        content = bytearray(node.durable)
        for offset, data in node.unsynced:
            _apply(content, offset, data)
        node.durable = bytes(content)
        node.unsynced.clear()
        node.durable_names = dict(node.names)
        node.unsynced_names.clear()

    def fail_syncs(self, count: int = 1) -> None:
        """Let the next `count` syncs fail and lose the bytes that they were to bring to the disk.

        As in a kernel, each descriptor that is open then is told once. The next sync succeeds and does
        not tell of the lost bytes, which can still be read until the power is cut.
        """
        self._syncs_to_fail = count

    # -- the power cut --------------------------------------------------------------------------

    def power_cut(self, seed: int) -> None:
        """Cut the power and start again with what was synced, and with what `seed` decides of the rest.

        Seed 0 loses all that was not synced, and seed 1 keeps all of it. Any other keeps some sectors,
        names and lengths and loses others. Descriptors and locks from before are gone.
        """
        with self._changed:
            odds = {0: 0.0, 1: 1.0}.get(seed, 0.5)
            self._open.clear()
            self._restart(self._root, Random(seed), odds)
            self._changed.notify_all()

    def is_running(self, process: int) -> bool:  # noqa: ARG002
        """Return False: a writer from before the crash is dead, though its process here lives on."""
        return False

    def _restart(self, node: Node, chance: Random, odds: float) -> None:
        node.lock_holders.clear()
        node.content = _surviving_content(node, chance, odds)
        node.durable = bytes(node.content)
        node.unsynced.clear()
        names: dict[str, Node] = dict(node.durable_names)
        for change in node.unsynced_names:
            if chance.random() < odds:
                for name, child in change.items():
                    if child is None:
                        names.pop(name, None)
                    else:
                        names[name] = child
        node.names, node.durable_names = names, dict(names)
        node.unsynced_names.clear()
        for child in names.values():
            self._restart(child, chance, odds)
            child.links = 1


def _surviving_content(node: Node, chance: Random, odds: float) -> bytearray:
    content = bytearray(node.durable)
    for offset, data in node.unsynced:
        if data is None:
            if chance.random() < odds:
                resize(content, offset)
            continue
        for start, piece in _sectors(offset, data):
            if chance.random() < odds:
                place(content, start, piece)
    if len(content) > len(node.durable) and 0 < odds < 1 and chance.random() < odds:
        resize(content, chance.randrange(len(node.durable), len(content) + 1))
    return content


def _sectors(offset: int, data: bytes) -> list[tuple[int, bytes]]:
    """Split a write where sectors end."""
    end = offset + len(data)
    starts = [offset, *range(offset - offset % SECTOR_BYTES + SECTOR_BYTES, end, SECTOR_BYTES)]
    return [
        (start, data[start - offset : stop - offset])
        for start, stop in zip(starts, [*starts[1:], end], strict=True)
    ]


def _apply(content: bytearray, offset: int, data: bytes | None) -> None:
    if data is None:
        resize(content, offset)
    else:
        place(content, offset, data)
