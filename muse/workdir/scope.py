"""A scope: the files of a directory that a call is about."""

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from muse.errors import NotFoundError
from muse.workdir.status import ChangedFile, Divergence

Settled = Callable[[str, os.stat_result | None], bool]
"""Tells of a file, and of what is at its path, whether it may be taken for what its writer wants it to be."""


@dataclass(frozen=True, slots=True)
class Scope:
    """The paths that are meant: those files, and all in those directories; all without any."""

    paths: tuple[str, ...]
    is_settled: Settled | None = None

    def takes(self, change: ChangedFile, found: Divergence) -> bool:
        """Return whether a change is meant, and all that it is about is as its writer wants it."""
        if (together := found.together.get(change.path)) is not None:
            return any(map(self.has, together)) and all(self._is_settled(path, found) for path in together)
        of_one = [change.path, change.from_path] if change.from_path else [change.path]
        return self.has(change.path) and all(self._is_settled(path, found) for path in of_one)

    def has_nothing(self, found: Divergence, *, brings: bool) -> bool:
        """Return whether nothing is to be recorded now, and nothing to be brought."""
        return not (brings and found.ahead) and not any(
            self.takes(change, found) for change in found.here.values()
        )

    def may_write(self, found: Divergence, path: str) -> bool:
        """Return whether a file is meant, and is as its writer wants it."""
        return self.has(path) and self._is_settled(path, found)

    def _is_settled(self, path: str, found: Divergence) -> bool:
        return self.is_settled is None or self.is_settled(path, found.scan.files.get(path))

    def names(self, path: str) -> bool:
        """Return whether a file itself is named."""
        return path in self.paths

    def has(self, path: str) -> bool:
        """Return whether a path is meant."""
        return not self.paths or any(path == one or path.startswith(f"{one}/") for one in self.paths)

    def check(self, found: Divergence) -> None:
        """Raise `NotFoundError` for a path at which neither side has anything."""
        if not self.paths:
            return
        known = {*found.scan.files, *found.base.files, *found.newest, *(fault.path for fault in found.faults)}
        for path in self.paths:
            if not any(name == path or name.startswith(f"{path}/") for name in known):
                raise NotFoundError(f"there is no file {path!r}, here or in the session: see 'muse status'")


def scope_of(paths: Iterable[str], is_settled: Settled | None = None) -> Scope:
    """Return the scope of paths as they are typed."""
    return Scope(tuple(path.strip("/") for path in paths), is_settled)
