"""What is remembered of a working directory: each file as it was when it and the session last agreed.

It is the base of a merge in three ways: what a file has that its base has not was done here, what the session
has that the base has not was done by others. The format is in `docs/workdir.md`.
"""

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import msgspec

from muse.core.content_id import is_content_id, object_id, sha256_hex
from muse.core.file.objects import ObjectStore
from muse.disk import layout
from muse.disk.json_file import encode_with_digest, read_vouched, read_with_digest
from muse.disk.json_file import field as value_of
from muse.disk.storage import Storage, version_of
from muse.errors import CorruptionError, NotFoundError

FORMAT = 1
Version = tuple[str, tuple[str, ...]]
"""A commit, and the ops from which a state follows."""

_NO_VERSION: Version = ("", ())
SWEPT_AT_ONCE = 256
"""So many parts are removed with one call: those of many removed files take longer than all the rest."""

_RACY_NS = 100_000_000
"""A file written so shortly before it was looked at may be written again within one tick of its clock."""


class BaseFile(msgspec.Struct, frozen=True, gc=False):
    """One file as it was when the directory and the session last agreed about it.

    `size`, `mtime_ns` and `inode` are those of the file on the disk, all 0 where it was not looked at since.
    `digest` is the SHA-256 of its content. Where it is as a commit has it, `commit` names that, and all the
    rest follows from there. Else `file_id` is the live file that it is a copy of, `blob` what an op on that
    has to name, `part` the name of kept bytes: of a text its document, of a MIDI file the page of its names;
    `heads` are the ops from which it follows, and `encoding` is that of a text, "" where it was not kept.
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
    encoding: str = ""

    def is_version(self, found: os.stat_result, taken_ns: int) -> bool:
        """Return whether the file is surely as it was when it was looked at, at `taken_ns`."""
        is_same = version_of(found) == (self.size, self.mtime_ns, self.inode)
        return is_same and self.mtime_ns < taken_ns - _RACY_NS

    def seen_like(self, other: "BaseFile") -> "BaseFile":
        """Return the same file with the status on the disk that another row has."""
        return msgspec.structs.replace(self, size=other.size, mtime_ns=other.mtime_ns, inode=other.inode)

    def seen_as(self, found: os.stat_result) -> "BaseFile":
        """Return the same file with the status that it has on the disk."""
        size, mtime_ns, inode = version_of(found)
        return msgspec.structs.replace(self, size=size, mtime_ns=mtime_ns, inode=inode)


@dataclass(slots=True)
class Seen:
    """The state of the session that was compared last: `ahead` is what it has that the files have not.

    `head` is the commit of the branch, `log` the version of the log's file; `ahead` is path -> digest, None
    for a file that is gone. `heads` are, for each domain of which that is known, the ops from which all of it
    follows, and the actor of each.
    """

    head: str | None = None
    log: tuple[int, ...] = ()
    ahead: dict[str, str | None] = field(default_factory=dict)
    heads: dict[str, dict[str, str]] = field(default_factory=dict)


@dataclass(slots=True)
class Base:
    """All that is remembered of one working directory.

    `plan` are ops that are about to be recorded, `done` the id of the last plan that was carried out;
    `coming` what files are about to be replaced by: after a crash it is not known whether they were.
    `notes` are files of notes that it has taken in, `left` the names of parts that rows had until now.
    `is_lost`: what was remembered was damaged. `place` are the device and the inode of the directory, if they
    are known; `has_moved`: they were others before.
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
    left: set[str] = field(default_factory=set)
    is_new: bool = False
    is_lost: bool = False
    place: tuple[int, int] | None = None
    has_moved: bool = False

    def differing(self, digests: Mapping[str, str]) -> dict[str, str | None]:
        """Return path -> digest of the files that others have otherwise; None where they have none."""
        files = self.files
        changed: dict[str, str | None] = {
            path: digest
            for path, digest in digests.items()
            if (row := files.get(path)) is None or row.digest != digest
        }
        return changed | dict.fromkeys(files.keys() - digests.keys())


def workdir_name(root: str, directory: str) -> str:
    """Return the name below which the base of a directory is kept; both paths are absolute."""
    if directory == root:
        return layout.WORKDIR_OF_ROOT
    return sha256_hex(directory.encode(errors="surrogateescape"))[:16]


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
            base = _read_base(self.path, self._storage)
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
        self._replace(self._journal_path, encode_with_digest(document, self._journal_path))

    def write(self, base: Base) -> None:
        """Replace what is remembered, durably, and count what the journal says as done.

        A crash leaves the old or the new. Parts that it names are there before it.
        """
        if base.plan is not None:
            base.done, base.plan = base.plan["plan_id"], None
        base.coming = {}
        self._replace(self.path, encode_with_digest(_document(base), self.path, is_plain=True))
        for done in (self._journal_path, *base.notes):
            self._storage.remove(done)
        base.notes = []

    def _replace(self, path: str, data: bytes) -> None:
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

    def sweep(self, base: Base, *, is_all: bool) -> None:
        """Remove parts that a base, of which nothing is left to do, does not name: some at each call.

        Unless it is to look for `all` of them, only those that files had until now.
        """
        left, base.left = base.left, set()
        if not is_all and not left:
            return
        needed = {name for row in base.files.values() for name in (row.part, row.digest)}
        unneeded = (name for name in (self._parts() if is_all else left) if name not in needed)
        for name in islice(filter(is_content_id, unneeded), SWEPT_AT_ONCE):
            self._storage.remove(layout.workdir_part_file(self._root, self._name, name))

    def _parts(self) -> Iterator[str]:
        """Yield the name of each part that is kept."""
        directory = os.path.dirname(
            os.path.dirname(layout.workdir_part_file(self._root, self._name, "0" * 64))
        )
        for prefix, is_directory in self._storage.list_directory(directory):
            inner = os.path.join(directory, prefix)
            for rest, _ in self._storage.list_directory(inner) if is_directory else ():
                yield prefix + rest


def sessions_of_directories(root: str, storage: Storage) -> set[str]:
    """Return the sessions that the working directories of a repository were last compared with."""
    found: set[str] = set()
    for name, _ in storage.list_directory(layout.workdir_directory(root)):
        kept, end = os.path.splitext(name)
        if end == ".json" and "." not in kept:  # or else it is a journal
            with suppress(NotFoundError, CorruptionError):
                found.add(_read_base(layout.workdir_file(root, kept), storage).session_id)
    return found - {""}


def now_ns() -> int:
    """Return the time, as files have it."""
    return time.time_ns()


# -- as JSON -------------------------------------------------------------------------------------


class _StoredFile(msgspec.Struct, omit_defaults=True, gc=False):
    """A file as the base has it; `version` counts into the versions."""

    digest: str
    size: int
    mtime_ns: int
    inode: int
    file_id: str = ""
    encoding: str = ""
    blob: str = ""
    part: str = ""
    version: int = 0


class _StoredVersion(msgspec.Struct):
    commit: str
    heads: tuple[str, ...]


class _StoredBase(msgspec.Struct):
    """The file of the base."""

    format: int
    session_id: str
    branch: str
    taken_ns: int
    seen: Seen
    files: dict[str, _StoredFile]
    done: str
    versions: list[_StoredVersion]
    place: list[int] = []


_DECODER = msgspec.json.Decoder(_StoredBase)


def _document(base: Base) -> dict[str, Any]:
    versions: dict[Version, int] = {_NO_VERSION: 0}
    document = _StoredBase(
        FORMAT,
        base.session_id,
        base.branch,
        base.taken_ns,
        base.seen,
        {path: _row(row, versions) for path, row in sorted(base.files.items())},
        base.done,
        [],
        list(base.place or ()),
    )
    document.versions = [_StoredVersion(*version) for version in versions]
    found: dict[str, Any] = msgspec.to_builtins(document)
    return found


def _row(row: BaseFile, versions: dict[Version, int]) -> _StoredFile:
    is_of_none = not row.commit and not row.heads
    version = 0 if is_of_none else versions.setdefault((row.commit, row.heads), len(versions))
    return _StoredFile(
        row.digest, row.size, row.mtime_ns, row.inode, row.file_id, row.encoding, row.blob, row.part, version
    )


def row_json(row: BaseFile) -> dict[str, Any]:
    """Return a row as a journal has it, with its version in it."""
    found: dict[str, Any] = msgspec.to_builtins(_row(row, {(row.commit, row.heads): 0}))
    return {**found, "version": {"commit": row.commit, "heads": list(row.heads)}}


def _read_base(path: str, storage: Storage) -> Base:
    try:
        data = read_vouched(path, storage)
        if data is not None:
            document = _DECODER.decode(data)
        else:  # of an earlier version, or damaged
            document = msgspec.convert(read_with_digest(path, storage), _StoredBase)
        return _base_of(document, path)
    except (msgspec.MsgspecError, IndexError) as error:
        raise CorruptionError(f"{path} is no base of a working directory: {error}", path=path) from error


def _base_of(document: _StoredBase, path: str) -> Base:
    if document.format != FORMAT:
        raise CorruptionError(
            f"{path} has a format that is not known here: install a newer version", path=path
        )
    if not all(map(is_content_id, {row.digest for row in document.files.values()})):
        raise CorruptionError(f"{path} has a file without a digest", path=path)
    versions = [(one.commit, one.heads) for one in document.versions]
    return Base(
        session_id=document.session_id,
        branch=document.branch,
        taken_ns=document.taken_ns,
        files={name: _read(row, *versions[row.version]) for name, row in document.files.items()},
        seen=document.seen,
        done=document.done,
        place=(document.place[0], document.place[1]) if len(document.place) == 2 else None,
    )


def _read(row: _StoredFile, commit: str, heads: tuple[str, ...]) -> BaseFile:
    return BaseFile(
        row.digest,
        row.size,
        row.mtime_ns,
        row.inode,
        commit,
        row.file_id,
        row.blob,
        row.part,
        heads,
        row.encoding,
    )


def _read_journal(document: Mapping[str, Any], path: str, base: Base) -> None:
    """Take in what was begun, unless the base says that it was done."""
    plan = value_of(document, "plan", dict, path, {})
    coming = value_of(document, "coming", dict, path)
    if plan and plan.get("plan_id") != base.done:
        base.plan = dict(plan)
    base.coming = {name: read_row(row, row["version"], path) for name, row in coming.items()}


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
            row.get("encoding", ""),
        )
    except (KeyError, TypeError) as error:
        raise CorruptionError(f"{path} has a file without {error}", path=path) from error
    if not is_content_id(found.digest):
        raise CorruptionError(f"{path} has a file without a digest", path=path)
    return found
