"""Tells which paths that a watch names are files that people work on, or belong to the session. Pure."""

from collections.abc import Iterable, Iterator

from muse.disk import layout
from muse.workdir.ignore import is_junk


class Concerns:
    """Knows what is where around one working directory and one session."""

    def __init__(self, directory: str, root: str, session_id: str) -> None:
        self._start = directory.rstrip("/") + "/"
        self._below = (layout.branches_directory(root) + "/", layout.workdir_written_directory(root) + "/")
        self._exactly = {layout.head_file(root), layout.ops_file(root, session_id) if session_id else ""}

    def files(self, places: Iterable[str]) -> Iterator[str]:
        """Yield the paths of files in the directory that are not left out as junk."""
        for place in places:
            if place.startswith(self._start):
                path = place[len(self._start) :]
                parts = path.split("/")
                above = ("/".join(parts[:count]) for count in range(1, len(parts)))
                if not is_junk(path, False) and not any(is_junk(one, True) for one in above):
                    yield path

    def is_of_session(self, place: str) -> bool:
        """Return whether what others do in the session, or a commit, changes this."""
        return place.startswith(self._below) or place in self._exactly
