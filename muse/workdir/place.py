"""Tells where a directory of files may be: no file may be in two of them, nor in what a program keeps."""

import os
from collections.abc import Iterator

from muse.disk import layout
from muse.disk.storage import Storage
from muse.disk.tree_path import RESERVED, may_mean
from muse.errors import UsageError
from muse.workdir.base import workdir_name
from muse.workdir.ignore import IGNORE_FILE
from muse.workdir.scan import Directory

_HEAD = "HEAD"
"""A file that every repository has, of Muse and of git: a directory without it has only the name of one."""


def check_is_no_inside(place: str, wanted: str, storage: Storage) -> None:
    """Raise `UsageError` for a directory that is inside what Muse or git keeps of a repository.

    `place` is an absolute path without symbolic links, `wanted` what the user called it.
    """
    for outer in (place, *_parents(place)):
        name = os.path.basename(outer)
        if any(may_mean(name, one) for one in RESERVED) and storage.exists(os.path.join(outer, _HEAD)):
            raise UsageError(
                f"{wanted} is in {outer}, where a repository is kept, and no files that people work on: name "
                "a directory beside the repository"
            )


def check_place(root: str, storage: Storage, place: str, wanted: str) -> None:
    """Raise `UsageError` for a directory that shares files with another one of the repository at `root`.

    Each save in it would be recorded in both. A directory that the other one leaves out is fine. `place` may
    be missing, and is not `root`; both are absolute paths without symbolic links.
    """
    if _is_in(root, place):
        raise UsageError(
            f"{wanted} contains the repository {root}, whose files would be recorded as its own: name "
            "a directory beside it"
        )
    if _is_in(place, root) and not _leaves_out(root, place, storage):
        raise UsageError(
            f"{wanted} is among the files of {root}, and what is saved in it would be recorded twice: name a "
            f"directory outside of it, or name it in {IGNORE_FILE}"
        )
    for outer in _parents(place):
        if _is_known(root, outer, storage) and not _leaves_out(outer, place, storage):
            raise UsageError(
                f"{wanted} is among the files of {outer}, which is a directory of files of this repository "
                f"itself, and what is saved in it would be recorded twice: {_way_out(root, outer)}"
            )
    if not _is_known(root, place, storage):
        for path in Directory(place, storage).scan(()).directories if storage.is_directory(place) else ():
            inner = os.path.join(place, path)
            if path and _is_known(root, inner, storage):
                raise UsageError(
                    f"{wanted} contains {inner}, which is a directory of files of this repository itself, "
                    f"and what is saved in that would be recorded twice: {_way_out(root, inner)}"
                )


def _way_out(root: str, other: str) -> str:
    return (
        f"name a directory beside it. If {other} is not to be one any more, remove "
        f"{layout.workdir_file(root, workdir_name(root, other))}"
    )


def _is_known(root: str, directory: str, storage: Storage) -> bool:
    """Return whether a directory was compared with a session, other than that of the repository itself."""
    return directory != root and storage.exists(layout.workdir_file(root, workdir_name(root, directory)))


def _leaves_out(outer: str, place: str, storage: Storage) -> bool:
    return Directory(outer, storage).leaves_out(os.path.relpath(place, outer))


def _is_in(place: str, outer: str) -> bool:
    return os.path.join(place, "").startswith(os.path.join(outer, ""))


def _parents(place: str) -> Iterator[str]:
    """Yield the directories that an absolute path is in, the innermost first."""
    while (outer := os.path.dirname(place)) != place:
        yield outer
        place = outer
