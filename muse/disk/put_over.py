"""Replaces or removes a file that other programs write to as well; nothing that they write meanwhile is lost.

A look before a rename is not enough: a save that comes in between would be gone. So the new file and the old
one exchange their names. What was at the path is then looked at, where nobody finds it any more: if it is as
was expected, and nobody has it open to write, it is removed; or else the two exchange their names again. A
process that is killed in between leaves a file whose name ends in `WHOLE_END`: see `left_behind`.
"""

import contextlib
import os
import stat
from collections.abc import Iterator

from muse.disk.storage import NEW_FILE, Storage, is_same_version, temporary_path, temporary_start
from muse.disk.system_calls import translated
from muse.errors import StorageError

WHOLE_END = "-whole"
_ATTEMPTS = 10


def put_over(
    storage: Storage, path: str, data: bytes, before: os.stat_result | None, mode: int | None = None
) -> os.stat_result | None:
    """Put `data` at a path, whole, if `before` is what is there (None: nothing), and return its status.

    Returns None, and what is there stays, if another program was there first, or is writing now.
    """
    with translated(path, "write"):
        temporary, may_go = _written(storage, path, data, mode), True
        try:
            if before is None:
                return _put_new(storage, temporary, path)
            whole = temporary + WHOLE_END
            storage.replace(temporary, whole)
            temporary = whole
            ours, may_go = storage.path_status(whole), False
            try:
                is_exchanged = storage.exchange(whole, path)
            except FileNotFoundError:
                may_go = True
                return None
            if not is_exchanged:
                may_go = True
                return _put_after_a_look(storage, whole, path, before)
            is_put = _is_final(storage, whole, before)
            if not is_put:
                _put_back(storage, whole, path, ours)
            may_go = True
            return ours if is_put else None
        finally:
            if may_go:  # or else it may be what another program saved
                with contextlib.suppress(FileNotFoundError):
                    storage.unlink(temporary)


def remove_version(storage: Storage, path: str, before: os.stat_result) -> bool:
    """Remove a file if it is still `before`; False, and it stays, if it is not, or is being written."""
    whole = temporary_path(path) + WHOLE_END
    with translated(path, "remove"):
        try:
            storage.replace(path, whole)
        except FileNotFoundError:
            return False
        if _is_final(storage, whole, before):
            storage.unlink(whole)
            return True
        try:
            storage.link(whole, path)
        except FileExistsError:
            pass  # it was saved once more since: that is the newest
        except OSError:
            storage.replace(whole, path)
            return False
        storage.unlink(whole)
        return False


def left_behind(storage: Storage, path: str) -> Iterator[tuple[str, bool]]:
    """Yield what killed processes left of files that were to be at a path: where, and whether it is whole.

    One that is whole may be what was at the path, or be saved there, and not only what was to be put there.
    """
    directory, name = os.path.split(path)
    start = temporary_start(name)
    for found, is_directory in storage.list_directory(directory):
        process = found.removeprefix(start).partition("-")[0]
        is_left = found.startswith(start) and process.isdecimal() and not is_directory
        if is_left and not storage.is_running(int(process)):
            yield os.path.join(directory, found), found.endswith(WHOLE_END)


def _written(storage: Storage, path: str, data: bytes, mode: int | None) -> str:
    storage.make_directories(os.path.dirname(path))
    temporary = temporary_path(path)
    descriptor = storage.open(temporary, NEW_FILE)
    try:
        try:
            if mode is not None:
                storage.change_mode(descriptor, mode)
            storage.write_all(descriptor, data)
        finally:
            storage.close(descriptor)
    except BaseException:
        with contextlib.suppress(OSError):
            storage.unlink(temporary)
        raise
    return temporary


def _put_new(storage: Storage, temporary: str, path: str) -> os.stat_result | None:
    """Give a new file its name, unless there is something of that name."""
    try:
        storage.link(temporary, path)
    except FileExistsError:
        return None
    except OSError:  # a file system without links
        if storage.look(path) is not None:
            return None
        storage.replace(temporary, path)
    return storage.path_status(path)


def _put_after_a_look(
    storage: Storage, whole: str, path: str, before: os.stat_result
) -> os.stat_result | None:
    """Rename over a file, where names cannot be exchanged: a save within some microseconds would be lost."""
    if not _is_final(storage, path, before):
        return None
    storage.replace(whole, path)
    return storage.path_status(path)


def _is_final(storage: Storage, path: str, expected: os.stat_result) -> bool:
    """Return whether a file is what is expected, and will stay so."""
    if storage.is_open_to_write(path):
        return False
    found = storage.look(path)
    return found is not None and stat.S_ISREG(found.st_mode) and is_same_version(found, expected)


def _put_back(storage: Storage, whole: str, path: str, ours: os.stat_result) -> None:
    """Exchange until what is aside is ours, or was saved before what is at the path."""
    known = ours
    for _ in range(_ATTEMPTS):
        aside = storage.path_status(whole)
        try:
            storage.exchange(whole, path)
        except FileNotFoundError:  # it was removed, or renamed, since
            storage.replace(whole, path)
            return
        if _is_final(storage, whole, known):
            return
        known = aside
    raise StorageError(f"{path} is written again and again: it could not be replaced", path=path)
