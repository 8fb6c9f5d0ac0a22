"""Tells whether anyone appended to a session since the last look at it."""

from muse.disk import layout
from muse.disk.storage import version_of
from muse.history.repository import Repository


def log_version(repository: Repository, session_id: str) -> tuple[int, ...]:
    """Return what changes when ops are appended to a session; empty where there is no log."""
    if not session_id:
        return ()
    found = repository.storage.look(layout.ops_file(repository.root, session_id))
    return () if found is None else version_of(found)
