"""Where files go when several want one path: the first has it, a later one is put beside it. Pure."""

from collections.abc import Iterable, Iterator
from itertools import count

from muse.plugins.op_fields import parents_of, place_fault

_NAME_BYTES = 240
_SHORT_BYTES = 64


class Places:
    """Gives paths to files, the earliest first. `fixed` are paths that are taken already.

    What it gives depends on nothing else; no path is given twice, and no path is inside a file.
    """

    def __init__(self, fixed: Iterable[str]) -> None:
        self._files: set[str] = set()
        self._directories: set[str] = set()
        for path in fixed:
            self._add(path)

    def take(self, path: str, file_id: str) -> str:
        """Return the path of a file that wants `path`."""
        marks = _marks(file_id)
        found = path
        while (depth := self._part_taken(found)) is not None:
            found = _beside(path, min(depth, path.count("/")), next(marks))
        self._add(found)
        return found

    def _add(self, path: str) -> None:
        self._files.add(path)
        self._directories.update(parents_of(path))

    def _part_taken(self, path: str) -> int | None:
        """Return which part of a path needs another name: the first that is a file; None if no part does."""
        for depth, parent in enumerate(parents_of(path)):
            if parent in self._files:
                return depth
        return path.count("/") if path in self._files or path in self._directories else None


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
