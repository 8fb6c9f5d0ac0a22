"""Tells a directory whose files were removed from one that is away: unmounted, moved or removed itself."""

from muse.disk import layout
from muse.disk.storage import Storage
from muse.errors import StorageError
from muse.workdir.base import Base
from muse.workdir.scan import Directory


class AwayError(StorageError):
    """The directory at `path` is not there now, or is another one without any of its files."""


def check_repository(root: str, storage: Storage) -> None:
    """Raise `AwayError` where a repository was, but is not now: nothing is to be made in its place."""
    if not storage.is_directory(layout.muse_directory(root)):
        raise AwayError(
            f"{root} has no repository now: it was moved away, removed or unmounted. Nothing is recorded; "
            "bring it back",
            path=root,
        )


def check_directory(directory: Directory, base: Base, base_path: str, *, is_named: bool) -> None:
    """Note in the base which directory it is of; raise `AwayError` if that is not the one that had the files.

    A disk that is not mounted shows an empty directory: the files are not deleted. With `is_named`, somebody
    named files that are gone, and means that.
    """
    path, count = directory.path, len(base.files)
    files = f"{count} file{'s' if count != 1 else ''}"
    found = directory.identity()
    if found is None and base.files:
        raise AwayError(
            f"{path} is not there: it was moved away, removed or unmounted. Nothing is recorded, and its "
            f"{files} are not taken for deleted; bring it back",
            path=path,
        )
    if found is None or found == base.place:
        return
    is_empty = bool(base.files) and not any(directory.look(one) for one in base.files)
    if is_empty and base.place is not None:
        if is_named:
            return
        raise AwayError(
            f"{path} is another directory than before, and has none of its {files}: it was moved away, "
            "replaced or unmounted. Nothing is recorded; bring it back. If files were removed on purpose, "
            "name them: 'muse record PATH... --actor NAME'; to get them here again as the session has them, "
            f"remove {base_path}",
            path=path,
        )
    base.place, base.has_moved = found, True
