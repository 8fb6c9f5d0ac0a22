"""A storage that tells which locks are taken inside which: two orders of one pair may block forever."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from muse.disk.storage import Storage


class NestedLocks(Storage):
    """Notes which locks are taken while which others are held, by the names of their files."""

    def __init__(self) -> None:
        super().__init__()
        self.held: list[str] = []
        self.nested: set[tuple[str, str]] = set()

    @contextmanager
    def locked(self, path: str, *, exclusive: bool = True, wait: bool = True) -> Iterator[bool]:
        name = os.path.basename(path)
        with super().locked(path, exclusive=exclusive, wait=wait) as is_taken:
            self.nested.update((other, name) for other in self.held)
            self.held.append(name)
            try:
                yield is_taken
            finally:
                self.held.remove(name)
