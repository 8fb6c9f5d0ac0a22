"""Where files go when several want one path: the first has it, a later one is put beside it. Pure."""

from collections.abc import Iterable, Sequence

from muse.plugins.op_fields import parents_of

_NAME_BYTES = 240


def place_files(fixed: Iterable[str], wanted: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Return file id -> path for `wanted`, pairs of file id and path, the earliest first.

    `fixed` are paths that are taken already. The result depends on nothing else; no path is given twice, and
    no path is inside a file.
    """
    places = _Places(fixed)
    return {file_id: places.take(path, file_id) for file_id, path in wanted}


class _Places:
    def __init__(self, fixed: Iterable[str]) -> None:
        self._files: set[str] = set()
        self._directories: set[str] = set()
        for path in fixed:
            self._add(path)

    def take(self, path: str, file_id: str) -> str:
        digits = 8
        found = path
        while (depth := self._part_taken(found)) is not None:
            found = _beside(path, depth, file_id[:digits])
            digits += 8
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


def _beside(path: str, depth: int, mark: str) -> str:
    parts = path.split("/")
    stem, dot, extension = parts[depth].rpartition(".")
    if not stem:
        stem, dot, extension = parts[depth], "", ""
    tail = f"~{mark}{dot}{extension}"
    kept = stem.encode()[: max(1, _NAME_BYTES - len(tail.encode()))].decode(errors="ignore")
    parts[depth] = kept + tail
    return "/".join(parts)
