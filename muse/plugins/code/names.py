"""Where files go when several want one path: the first has it, a later one is put beside it. Pure."""

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import count

from muse.plugins.code.file_ids import Stamp
from muse.plugins.op_fields import parents_of, place_fault

_NAME_BYTES = 240
_SHORT_BYTES = 64


class Places:
    """Gives paths to files, the earliest first. `fixed` are paths that are taken already.

    What it gives depends on nothing else; no path is given twice, and no path is inside a file. `blocked` are
    the files and directories that were in somebody's way.
    """

    def __init__(self, fixed: Iterable[str]) -> None:
        self._files: set[str] = set()
        self._directories: Counter[str] = Counter()
        self.blocked: set[str] = set()
        for path in fixed:
            self._add(path)

    def take(self, path: str, file_id: str) -> str:
        """Return the path of a file that wants `path`."""
        marks = _marks(file_id)
        found = path
        while (depth := self._part_taken(found)) is not None:
            self.blocked.add("/".join(found.split("/")[: depth + 1]))
            found = _beside(path, min(depth, path.count("/")), next(marks))
        self._add(found)
        return found

    def is_free(self, path: str) -> bool:
        """Return whether a file that wants `path` would have it."""
        return self._part_taken(path) is None

    def release(self, path: str) -> bool:
        """Take a path back; return False, and it stays, if it may have been in another's way."""
        parents = parents_of(path)
        going = [path, *(parent for parent in parents if self._directories[parent] == 1)]
        if not self.blocked.isdisjoint(going):
            return False
        self._files.remove(path)
        self._directories.subtract(parents)
        for parent in going[1:]:
            del self._directories[parent]
        return True

    def _add(self, path: str) -> None:
        self._files.add(path)
        self._directories.update(parents_of(path))

    def _part_taken(self, path: str) -> int | None:
        """Return which part of a path needs another name: the first that is a file; None if no part does."""
        for depth, parent in enumerate(parents_of(path)):
            if parent in self._files:
                return depth
        return path.count("/") if path in self._files or path in self._directories else None


_Wish = tuple[Stamp, str, str]
"""When a file was given a path, its id, and the path."""


class LivePlaces:
    """The paths of the live files of a tree, kept up to date while nobody's path depends on another's.

    What would change the paths of other files is left undone, and the answer is False: then all are to be
    placed again, from the first. `fixed` are the paths of the files that are not live.
    """

    def __init__(self, fixed: Iterable[str], wishes: Iterable[_Wish]) -> None:
        self._places = Places(fixed)
        self.paths: dict[str, str] = {}
        self.by_path: dict[str, str] = {}
        self._last: _Wish | None = None
        self._blocked_early: set[str] = set()  # in the way of a file that counts from before all ops
        for wish in sorted(wishes):
            self._take(wish)

    def add(self, wish: _Wish) -> bool:
        """Place a file that came, or has another path now."""
        if self._last is not None and wish < self._last and not self._places.is_free(wish[2]):
            return False
        self._take(wish)
        return True

    def remove(self, file_id: str) -> bool:
        """Take the place of a file away."""
        path = self.paths[file_id]
        if not self._places.release(path):
            return False
        del self.paths[file_id], self.by_path[path]
        return True

    def adopt(self, file_id: str, path: str) -> bool:
        """Have a file that was not live keep the path that it has."""
        if not self._blocked_early.isdisjoint([path, *parents_of(path)]):
            return False
        self.paths[file_id], self.by_path[path] = path, file_id
        return True

    def _take(self, wish: _Wish) -> None:
        stamp, file_id, path = wish
        found = self.paths[file_id] = self._places.take(path, file_id)
        self.by_path[found] = file_id
        self._last = wish if self._last is None else max(wish, self._last)
        if found != path and not any(stamp):
            self._blocked_early |= self._places.blocked


def _marks(file_id: str) -> Iterator[str]:
    """Yield more and more of a file id, and then the whole with a number: one of them is free."""
    yield from (file_id[:length] for length in range(8, len(file_id) + 1, 8))
    yield from (f"{file_id}-{number}" for number in count(2))


def _beside(path: str, depth: int, mark: str) -> str:
    """Put a mark into one part of a path; where that makes no possible path, give the file a shorter one."""
    before, part, after = _parted(path, depth)
    name = path.rpartition("/")[2]
    candidates = (
        f"{before}{_marked(part, mark)}{after}",
        f"{before}{_cut(part, _NAME_BYTES - len(mark) - 1)}~{mark}{after}",
        f"{_cut(name, _SHORT_BYTES)}~{mark}",
    )
    possible = (candidate for candidate in candidates if place_fault(candidate) is None)
    return next(possible, f"file~{mark}")


def _parted(path: str, depth: int) -> tuple[str, str, str]:
    """Return a part of a path, and what is before and after it."""
    parts = path.split("/")
    before = "".join(f"{part}/" for part in parts[:depth])
    after = "".join(f"/{part}" for part in parts[depth + 1 :])
    return before, parts[depth], after


def _marked(part: str, mark: str) -> str:
    stem, dot, extension = part.rpartition(".")
    if not stem:
        stem, dot, extension = part, "", ""
    tail = f"~{mark}{dot}{extension}"
    return _cut(stem, max(1, _NAME_BYTES - len(tail.encode()))) + tail


def _cut(text: str, size: int) -> str:
    return text.encode()[:size].decode(errors="ignore")
