"""Looks through a directory for the files that people work on."""

import os
import stat
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from muse.core.content_id import object_id
from muse.disk.put_over import left_behind, put_over, remove_version
from muse.disk.storage import Storage, is_same_version
from muse.disk.system_calls import storage_error
from muse.disk.tree_path import may_mean
from muse.errors import NotFoundError
from muse.plugins.op_fields import NAMES_DIRECTORY, place_fault
from muse.workdir.ignore import IGNORE_FILE, Skips, is_junk, skips_of
from muse.workdir.step import is_music

_A_DIRECTORY = "a directory"  # in the place of a digest


@dataclass(frozen=True, slots=True)
class FileFault:
    """A file that is left out, and why."""

    path: str
    reason: str


@dataclass(slots=True)
class Scan:
    """The plain files of a directory, path -> status, and what in it cannot be a file of a tree.

    `directories` are all that were looked through, "" for the whole.
    """

    files: dict[str, os.stat_result] = field(default_factory=dict)
    directories: list[str] = field(default_factory=list)
    faults: list[FileFault] = field(default_factory=list)
    unknown: set[str] = field(default_factory=set)
    """Directories that could not be listed, "" for the whole: nothing is known of the files in them."""

    def is_unknown(self, path: str) -> bool:
        """Return whether a path is below a directory that could not be listed, or is itself at fault."""
        return "" in self.unknown or any(path == one or path.startswith(f"{one}/") for one in self.unknown)


class Directory:
    """A directory of files that other programs write."""

    def __init__(self, path: str, storage: Storage) -> None:
        self.path = path
        self._storage = storage

    def place(self, path: str) -> str:
        """Return where a file of the tree is."""
        return f"{self.path}/{path}"

    def identity(self) -> tuple[int, int] | None:
        """Return the device and the inode of the directory; None if it does not exist."""
        found = self.look(".")
        return None if found is None else (found.st_dev, found.st_ino)

    def scan(self, known: Collection[str]) -> Scan:
        """Look through all of it; no link is followed.

        Files that are left out are not in the outcome, unless they are `known`: those are in the session.
        """
        found = Scan()
        skips = self._skips()
        waiting = [""]
        while waiting:
            inner = waiting.pop()
            try:
                names = list(self._storage.names(self.place(inner) if inner else self.path))
            except OSError as error:
                found.unknown.add(inner)
                found.faults.append(FileFault(inner or ".", _why(error, inner or ".", "list")))
                continue
            found.directories.append(inner)
            start = f"{inner}/" if inner else ""
            for name, is_directory in names:
                path = start + name
                if skips(path, is_directory):
                    if not inner and may_mean(name, NAMES_DIRECTORY):
                        self._take_strangers(path, found, known, is_directory=is_directory)
                    continue
                if is_directory:
                    waiting.append(path)
                else:
                    self._take(path, found, is_known=path in known)
        for path in [path for path in known if path not in found.files]:
            if not found.is_unknown(path) and self.is_in_plain_directories(path):
                self._take(path, found, is_known=True)
        found.faults.sort(key=lambda fault: fault.path)
        return found

    def _take_strangers(self, path: str, found: Scan, known: Collection[str], *, is_directory: bool) -> None:
        """Name what is no page of names, and yet where Muse keeps these: once, however many files it is."""
        waiting, strangers = [path] if is_directory else [], [] if is_directory else [path]
        while waiting:
            inner = waiting.pop()
            with suppress(OSError):  # it holds nothing that is recorded
                for name, is_inner in self._storage.names(self.place(inner)):
                    one = f"{inner}/{name}"
                    if is_inner:
                        waiting.append(one)
                    elif not is_junk(one, False) and not _is_page(one.removeprefix(f"{path}/"), known):
                        strangers.append(one)
        if strangers:
            more = f", and {len(strangers) - 1} more there are not either" if len(strangers) > 1 else ""
            reason = f"it is not recorded, as {NAMES_DIRECTORY} is Muse's own{more}: move it elsewhere"
            found.faults.append(FileFault(min(strangers), reason))

    def leaves_out(self, path: str) -> bool:
        """Return whether a directory is left out, or one that it is in."""
        skips, parts = self._skips(), path.split("/")
        return any(skips("/".join(parts[:count]), True) for count in range(1, len(parts) + 1))

    def _skips(self) -> Skips:
        try:
            return skips_of(self._storage.read_bytes(self.place(IGNORE_FILE)))
        except NotFoundError:
            return skips_of(None)

    def _take(self, path: str, found: Scan, *, is_known: bool) -> None:
        if not is_known and (fault := _name_fault(path) or place_fault(path)) is not None:
            found.faults.append(FileFault(path, fault))
            return
        try:
            status = self._storage.path_status(self.place(path))
        except (FileNotFoundError, NotADirectoryError):
            return  # it went meanwhile
        except OSError as error:
            found.unknown.add(path)
            found.faults.append(FileFault(path, _why(error, path, "look at")))
            return
        if stat.S_ISREG(status.st_mode):
            found.files[path] = status
        elif not stat.S_ISDIR(status.st_mode):
            what = "a symbolic link" if stat.S_ISLNK(status.st_mode) else "no plain file"
            reason = f"it is {what}, which no tree holds: name it in {IGNORE_FILE}, or put a file there"
            found.unknown.add(path)
            found.faults.append(FileFault(path, reason))

    def read(self, path: str) -> tuple[bytes, os.stat_result]:
        """Return a file and its status. Raises `StorageError` for one that is written to, or not readable."""
        return self._storage.read_settled(self.place(path))

    def look(self, path: str) -> os.stat_result | None:
        """Return the status of what is at a path; None if nothing is, or a parent is no directory."""
        return self._storage.look(self.place(path))

    def is_open_to_write(self, path: str) -> bool:
        """Return whether some program has a file open to write, as far as the system tells."""
        return bool(self._storage.is_open_to_write(self.place(path)))

    def is_closed(self, path: str, found: os.stat_result) -> bool:
        """Return whether surely no program has a file open to write, and none wrote to it since `found`."""
        if self._storage.is_open_to_write(self.place(path)) is not False:
            return False
        now = self.look(path)
        return now is not None and is_same_version(now, found)

    def is_in_plain_directories(self, path: str) -> bool:
        """Return whether a file may be made at a path: each parent is a directory, or is not there."""
        parts = path.split("/")
        for count in range(1, len(parts)):
            found = self.look("/".join(parts[:count]))
            if found is None:
                return True
            if not stat.S_ISDIR(found.st_mode):
                return False
        return True

    def replace(
        self, path: str, content: bytes, before: os.stat_result | None, mode: int | None
    ) -> os.stat_result | None:
        """Put a new content at a path, whole, over `before`, and return its status.

        Returns None, and what is there stays, if another program was there first, or is writing now.
        """
        return put_over(self._storage, self.place(path), content, before, mode)

    def remove(self, path: str, before: os.stat_result) -> bool:
        """Remove a file that is still `before`, and directories that are empty then; False if it is not."""
        if not remove_version(self._storage, self.place(path), before):
            return False
        for parent in self._parents(path):
            try:
                self._storage.remove_directory(parent)
            except OSError:
                break
        return True

    def sweep(self, path: str, known: Collection[str]) -> None:
        """Remove what a crash left behind of a file that was to be put at a path.

        What has none of the `known` digests was saved there by another program just then: it is put back,
        unless there was a later save. Where a directory became something else, nothing was left in it.
        """
        if not self.is_in_plain_directories(path):
            return
        place = self.place(path)
        for left, is_whole in left_behind(self._storage, place):
            if is_whole and self._digest(left) not in known and self._digest(place) in {"", *known}:
                self._storage.replace(left, place)
            else:
                self._storage.remove(left)

    def _digest(self, place: str) -> str:
        """Return the digest of what is at a place; "" if nothing is, and another word for a directory."""
        if self._storage.is_directory(place):
            return _A_DIRECTORY
        try:
            return object_id(self._storage.read_bytes(place))
        except NotFoundError:
            return ""

    def _parents(self, path: str) -> Iterator[str]:
        parts = path.split("/")
        return (self.place("/".join(parts[:count])) for count in range(len(parts) - 1, 0, -1))


def _is_page(path: str, known: Collection[str]) -> bool:
    """Return whether a file where pages of names are may be one: that of a score, or of what is known."""
    of_file, end = os.path.splitext(path)
    return end == ".json" and (is_music(of_file) or of_file in known)


def _name_fault(path: str) -> str | None:
    """Say what is wrong with a name that is no text, as other systems and older programs leave them."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return "its name, or that of its directory, is not text in UTF-8: rename it"
    return None


def _why(error: OSError, path: str, action: str) -> str:
    return str(storage_error(error, path, action))
