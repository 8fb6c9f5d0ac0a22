"""Damaged files are kept when sound ones take their places: nobody can say what their bytes are worth."""

import os.path

from muse.disk import layout
from muse.disk.storage import Storage
from muse.disk.system_calls import translated


def keep_aside(root: str, path: str, storage: Storage) -> str:
    """Move what is at `path` to the damaged files; return where it is now, "" if nothing was there.

    A crash leaves it in one of the two places.
    """
    if not storage.exists(path):
        return ""
    wanted = layout.damaged_file(root, path)
    storage.make_directories(os.path.dirname(wanted), sync=True)
    with storage.locked(layout.refs_lock_file(root)):  # of two at once, none takes the other's name
        aside, number = wanted, 1
        while storage.exists(aside):
            aside, number = f"{wanted}.{number}", number + 1
        with translated(path, "move aside"):
            storage.replace(path, aside)
    storage.sync_directory(os.path.dirname(aside))
    return aside
