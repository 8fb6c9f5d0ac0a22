"""Tells whether a session is here, and whether it is live or archived."""

from muse.disk import layout
from muse.disk.storage import LOCAL, Storage
from muse.errors import NotFoundError


def is_archived(root: str, session_id: str, *, storage: Storage = LOCAL) -> bool:
    """Return whether the session is archived, that is whether its tombstone exists."""
    return storage.exists(layout.tombstone_file(root, session_id))


def session_exists(root: str, session_id: str, *, storage: Storage = LOCAL) -> bool:
    """Return whether the session is here, live or archived: its log is, or the file that has its place."""
    places = (layout.ops_file(root, session_id), layout.tombstone_file(root, session_id))
    return any(map(storage.exists, places))


def check_session_exists(root: str, session_id: str, *, storage: Storage = LOCAL) -> str:
    """Give back the id of a session that is here; raise `NotFoundError` for any other."""
    if not session_exists(root, session_id, storage=storage):
        raise NotFoundError(f"there is no session {session_id!r} in {root}: see 'muse session list'")
    return session_id
