"""What is remembered of a working directory: each file as it was when it and the session last agreed.

It is the base of a merge in three ways: what a file has that its base has not was done here, what the session
has that the base has not was done by others. The format is in `docs/workdir.md`.
"""

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

from muse.core.content_id import is_content_id, object_id
from muse.core.file.objects import ObjectStore
from muse.disk import layout
from muse.disk.json_file import encode_with_digest, read_with_digest
from muse.disk.json_file import field as value_of
from muse.disk.storage import Storage, version_of
from muse.errors import CorruptionError, NotFoundError

FORMAT = 1
Version = tuple[str, tuple[str, ...]]
"""A commit, and the ops from which a state follows."""

_NO_VERSION: Version = ("", ())
_NAMES = ("file_id", "blob", "part")
SWEPT_AT_ONCE = 256
"""So many parts are removed with one call: those of many removed files take longer than all the rest."""

_RACY_NS = 100_000_000
"""A file written so shortly before it was looked at may be written again within one tick of its clock."""


@dataclass(frozen=True, slots=True)
class BaseFile:
    """One file as it was when the directory and the session last agreed about it.

    `size`, `mtime_ns` and `inode` are those of the file on the disk, all 0 where it was not looked at since.
    `digest` is the SHA-256 of its content. Where it is as a commit has it, `commit` names that, and all the
    rest follows from there. Else `file_id` is the live file that it is a copy of, `blob` what an op on that
    has to name, `part` the name of kept bytes: of a text its document, of a MIDI file the page of its names;
    and `heads` are the ops from which it follows.
    """

    digest: str
    size: int = 0
    mtime_ns: int = 0
    inode: int = 0
    commit: str = ""
    file_id: str = ""
    blob: str = ""
    part: str = ""
    heads: tuple[str, ...] = ()

    def is_version(self, found: os.stat_result, taken_ns: int) -> bool:
        """Return whether the file is surely as it was when it was looked at, at `taken_ns`."""
        is_same = version_of(found) == (self.size, self.mtime_ns, self.inode)
        return is_same and self.mtime_ns < taken_ns - _RACY_NS

    def seen_as(self, found: os.stat_result) -> "BaseFile":
        """Return the same file with the status that it has on the disk."""
        size, mtime_ns, inode = version_of(found)
        return replace(self, size=size, mtime_ns=mtime_ns, inode=inode)


@dataclass(slots=True)
class Seen:
    """The state of the session that was compared last: `ahead` is what it has that the files have not.

    `head` is the commit of the branch, `log` the version of the log's file; `ahead` is path -> digest, None
    for a file that is gone.
    """

    head: str | None = None
    log: tuple[int, ...] = ()
    ahead: dict[str, str | None] = field(default_factory=dict)


@dataclass(slots=True)
class Base:
    """All that is remembered of one working directory.

    `plan` are ops that are about to be recorded, `done` the id of the last plan that was carried out;
    `coming` what files are about to be replaced by: after a crash it is not known whether they were.
    `notes` are files of notes that it has taken in. `is_lost`: what was remembered was damaged. `place` are
    the device and the inode of the directory, if they are known; `has_moved`: they were others before.
    """

    session_id: str = ""
    branch: str = ""
    taken_ns: int = 0
    files: dict[str, BaseFile] = field(default_factory=dict)
    seen: Seen = field(default_factory=Seen)
    done: str = ""
    plan: dict[str, Any] | None = None
    coming: dict[str, BaseFile] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    is_new: bool = False
    is_lost: bool = False
    place: tuple[int, int] | None = None
    has_moved: bool = False


class BaseStore:
    """Where the base of one working directory is kept, below `.muse/workdir`."""

    def __init__(self, root: str, name: str, storage: Storage) -> None:
        self._root = root
        self._name = name
        self._storage = storage
        self._objects = ObjectStore(root, storage)
        self.path = layout.workdir_file(root, name)
        self._journal_path = layout.workdir_journal_file(root, name)
        self.lock_path = layout.workdir_lock_file(root, name)

    def read(self) -> Base:
        """Return what is remembered; a new base if nothing is.

        A file that is damaged counts as lost: then nothing that others did is taken back.
        """
        try:
            base = _read_base(read_with_digest(self.path, self._storage), self.path)
        except NotFoundError:
            base = Base(is_new=True)
        except CorruptionError:
            base = Base(is_lost=True)
        with suppress(NotFoundError, CorruptionError):
            _read_journal(read_with_digest(self._journal_path, self._storage), self._journal_path, base)
        return base

    def write_journal(self, base: Base) -> None:
        """Keep, durably, what is about to be done."""
        coming = {path: row_json(row) for path, row in base.coming.items()}
        document = {"format": FORMAT, "plan": base.plan, "coming": coming}
        self._replace(self._journal_path, document)

    def write(self, base: Base) -> None:
        """Replace what is remembered, durably, and count what the journal says as done.

        A crash leaves the old or the new. Parts that it names are there before it.
        """
        if base.plan is not None:
            base.done, base.plan = base.plan["plan_id"], None
        base.coming = {}
        self._replace(self.path, _document(base))
        for done in (self._journal_path, *base.notes):
            self._storage.remove(done)
        base.notes = []

    def _replace(self, path: str, document: Mapping[str, Any]) -> None:
        data = encode_with_digest(document, path)
        self._storage.make_directories(os.path.dirname(path))
        self._storage.write_atomically(path, data)

    def keep(self, content: bytes) -> str:
        """Keep a part of a base; return its name."""
        name = object_id(content)
        path = layout.workdir_part_file(self._root, self._name, name)
        if self._storage.file_size(path) != len(content):
            self._storage.make_directories(os.path.dirname(path))
            self._storage.write_atomically(path, content, sync=False)
        return name

    def part(self, name: str) -> bytes | None:
        """Return a part of a base, or any object of that name; None if it is lost."""
        if not name:
            return None
        try:
            content = self._storage.read_bytes(layout.workdir_part_file(self._root, self._name, name))
            if object_id(content) == name:
                return content
        except NotFoundError:
            pass
        try:
            return self._objects.get(name)
        except (NotFoundError, CorruptionError):
            return None

    def sweep(self, base: Base) -> None:
        """Remove parts that a base, of which nothing is left to do, does not name: some at each call."""
        needed = {name for row in base.files.values() for name in (row.part, row.digest)}
        unneeded = (path for name, path in self._parts() if name not in needed and is_content_id(name))
        for path in islice(unneeded, SWEPT_AT_ONCE):
            self._storage.remove(path)

    def _parts(self) -> Iterator[tuple[str, str]]:
        """Yield the name of each part that is kept, and where it is."""
        directory = os.path.dirname(
            os.path.dirname(layout.workdir_part_file(self._root, self._name, "0" * 64))
        )
        for prefix, is_directory in self._storage.list_directory(directory):
            inner = os.path.join(directory, prefix)
            for rest, _ in self._storage.list_directory(inner) if is_directory else ():
                yield prefix + rest, os.path.join(inner, rest)


def now_ns() -> int:
    """Return the time, as files have it."""
    return time.time_ns()


# -- as JSON -------------------------------------------------------------------------------------


def _document(base: Base) -> dict[str, Any]:
    versions: dict[Version, int] = {_NO_VERSION: 0}
    rows = {path: _row_json(row, versions) for path, row in sorted(base.files.items())}
    return {
        "format": FORMAT,
        "session_id": base.session_id,
        "branch": base.branch,
        "taken_ns": base.taken_ns,
        "place": list(base.place or ()),
        "seen": {"head": base.seen.head, "log": list(base.seen.log), "ahead": base.seen.ahead},
        "files": rows,
        "done": base.done,
        "versions": [{"commit": commit, "heads": list(heads)} for commit, heads in versions],
    }


def row_json(row: BaseFile) -> dict[str, Any]:
    """Return a row as a journal has it, with its version in it."""
    return {**_row_json(row, {}), "version": {"commit": row.commit, "heads": list(row.heads)}}


def _row_json(row: BaseFile, versions: dict[Version, int]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "digest": row.digest,
        "size": row.size,
        "mtime_ns": row.mtime_ns,
        "inode": row.inode,
    }
    for name in _NAMES:
        if value := getattr(row, name):
            found[name] = value
    version = row.commit, row.heads
    if version != _NO_VERSION:
        found["version"] = versions.setdefault(version, len(versions))
    return found


def _read_base(document: Mapping[str, Any], path: str) -> Base:
    if document.get("format") != FORMAT:
        raise CorruptionError(
            f"{path} has a format that is not known here: install a newer version", path=path
        )
    seen = value_of(document, "seen", dict, path)
    versions = value_of(document, "versions", list, path)
    place = tuple(document.get("place", ()))
    return Base(
        session_id=value_of(document, "session_id", str, path),
        branch=value_of(document, "branch", str, path),
        taken_ns=value_of(document, "taken_ns", int, path),
        files=dict(_rows(value_of(document, "files", dict, path), versions, path)),
        seen=Seen(seen.get("head"), tuple(seen.get("log", ())), dict(seen.get("ahead", {}))),
        done=value_of(document, "done", str, path),
        place=place if len(place) == 2 else None,
    )


def _read_journal(document: Mapping[str, Any], path: str, base: Base) -> None:
    """Take in what was begun, unless the base says that it was done."""
    plan = value_of(document, "plan", dict, path, {})
    coming = value_of(document, "coming", dict, path)
    if plan and plan.get("plan_id") != base.done:
        base.plan = dict(plan)
    base.coming = {name: read_row(row, row["version"], path) for name, row in coming.items()}


def _rows(rows: Mapping[str, Any], versions: list[Any], path: str) -> Iterator[tuple[str, BaseFile]]:
    for name, row in rows.items():
        yield name, read_row(row, versions[row.get("version", 0)], path)


def read_row(row: Mapping[str, Any], version: Mapping[str, Any], path: str) -> BaseFile:
    """Read one row. Raises `CorruptionError`, which names the file at `path`, for anything else."""
    try:
        found = BaseFile(
            row["digest"],
            row["size"],
            row["mtime_ns"],
            row["inode"],
            version["commit"],
            row.get("file_id", ""),
            row.get("blob", ""),
            row.get("part", ""),
            tuple(version["heads"]),
        )
    except (KeyError, TypeError) as error:
        raise CorruptionError(f"{path} has a file without {error}", path=path) from error
    if not is_content_id(found.digest):
        raise CorruptionError(f"{path} has a file without a digest", path=path)
    return found
