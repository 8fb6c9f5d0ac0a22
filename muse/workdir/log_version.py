"""Tells whether anyone changed what is in a session, or pending in it, since the last look at it."""

from muse.disk import layout
from muse.disk.storage import version_of
from muse.history.repository import Repository


def log_version(repository: Repository, session_id: str) -> tuple[int, ...]:
    """Return what changes when ops are appended to a session, or pending again; empty without a log."""
    if not session_id:
        return ()
    look = repository.storage.look
    log = look(layout.ops_file(repository.root, session_id))
    checkpoint = look(layout.checkpoint_file(repository.root, session_id))
    return () if log is None else (*version_of(log), *(version_of(checkpoint) if checkpoint else ()))
