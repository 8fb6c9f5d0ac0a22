"""A file system that compares names by Unicode case folding, as those of some operating systems do."""

import os
from collections.abc import Iterator
from unicodedata import normalize

from muse.disk.path_watch import PathWatch
from muse.disk.storage import Storage


def folded(name: str) -> str:
    return normalize("NFC", normalize("NFD", name).casefold())


class FoldingStorage(Storage):
    """Each part of a path means the name that is there and folds to the same."""

    def _there(self, path: str) -> str:
        done = "/" if path.startswith("/") else ""
        for part in filter(None, path.split("/")):
            names = os.listdir(done or ".") if os.path.isdir(done or ".") else []
            twin = next((name for name in names if folded(name) == folded(part)), part)
            done = os.path.join(done, part if part in names else twin)
        return done

    def open(self, path: str, flags: int, mode: int = 0o666) -> int:
        return super().open(self._there(path), flags, mode)

    def path_status(self, path: str) -> os.stat_result:
        return super().path_status(self._there(path))

    def replace(self, source: str, target: str) -> None:
        super().replace(self._there(source), self._there(target))

    def link(self, path: str, other: str) -> None:
        super().link(self._there(path), self._there(other))

    def exchange(self, one: str, other: str) -> bool:
        return super().exchange(self._there(one), self._there(other))

    def unlink(self, path: str) -> None:
        super().unlink(self._there(path))

    def make_directory(self, path: str) -> None:
        super().make_directory(self._there(path))

    def remove_directory(self, path: str) -> None:
        super().remove_directory(self._there(path))

    def names(self, path: str) -> Iterator[tuple[str, bool]]:
        return super().names(self._there(path))

    def watch(self, path: str) -> PathWatch:
        return super().watch(self._there(path))
