"""Finds what a file is a copy of, where Muse may have replaced it since the base was written."""

from collections.abc import Iterator
from itertools import islice

import msgspec

from muse.core.content_id import object_id
from muse.errors import MuseError
from muse.history.commit_record import CommitRecord
from muse.history.working_tree import WrittenFiles
from muse.plugins.code.encodings import detect
from muse.plugins.code.hunks import patches_between
from muse.workdir.base import Base, BaseFile
from muse.workdir.newest import Newest
from muse.workdir.record import Recorder
from muse.workdir.scan import Directory, Scan

_COMMITS = 1_000


def renew_texts(base: Base, newest: Newest, recorder: Recorder) -> None:
    """Let the base be what the session has now, where others may have worked in a text.

    An equal digest does not mean the same document: what was removed and written again has other characters.
    Where it may be any text, none counts as at hand any more.
    """
    touched = newest.touched_since(base)
    for path, row in base.files.items():
        if touched is not None and row.file_id not in touched and path not in touched:
            continue
        if newest.digests.get(path) == row.digest and (touched is not None or row.commit):
            base.files[path] = recorder.row_of(path).seen_like(row)
        elif row.encoding:
            base.files[path] = msgspec.structs.replace(row, encoding="")


class Settler:
    """Settles the base of files that a commit, a checkout or a call that was cut off may have replaced."""

    def __init__(
        self, base: Base, scan: Scan, directory: Directory, newest: Newest, recorder: Recorder
    ) -> None:
        self._base = base
        self._scan = scan
        self._directory = directory
        self._newest = newest
        self._recorder = recorder
        self._commits: Iterator[CommitRecord] | None = None
        self._commit_of: dict[tuple[str, str], str] = {}

    def take_notes(self, written: WrittenFiles) -> None:
        """Take into the base that files were replaced; of an update that was cut off, only what is seen."""
        for path, digest in written.files.items():
            if not written.is_done:
                row = self._base.files.get(path)
                self._directory.sweep(path, {digest or "", row.digest if row is not None else ""})
            if self._is_as_known(path) or (not written.is_done and not self._is(path, digest)):
                continue
            if digest is None:
                self._base.files.pop(path, None)
            else:
                self._base.files[path] = self._committed(path, digest)

    def take_coming(self) -> None:
        """Decide for each file that was about to be replaced whether it was.

        It was not if it is the file of before. If somebody went on from there, what it differs from least
        was there.
        """
        for path, coming in sorted(self._base.coming.items()):
            row = self._base.files.get(path)
            self._directory.sweep(path, {one.digest for one in (row, coming) if one is not None})
            status = self._scan.files.get(path)
            if status is None or self._is_as_known(path):
                continue
            content = self._content(path)
            if content is None or (row is not None and row.inode == status.st_ino):
                continue
            candidates = [one for one in (row, coming) if one is not None]
            self._base.files[path] = self._nearest(path, content, candidates)
        self._base.coming = {}

    def _content(self, path: str) -> bytes | None:
        try:
            return self._directory.read(path)[0]
        except MuseError:
            return None  # the comparison reads it again, and says so

    def _is_as_known(self, path: str) -> bool:
        """Return whether a file is as the base has it."""
        row, status = self._base.files.get(path), self._scan.files.get(path)
        if row is None or status is None:
            return False
        if row.is_version(status, self._base.taken_ns):
            return True
        content = self._content(path)
        return content is not None and object_id(content) == row.digest

    def _is(self, path: str, digest: str | None) -> bool:
        if path not in self._scan.files:
            return digest is None
        content = self._content(path)
        return content is not None and object_id(content) == digest

    def _committed(self, path: str, digest: str) -> BaseFile:
        """Return what is to be remembered of a file of some commit."""
        repository, head = self._newest.repository, self._newest.head
        if self._newest.committed.get(path) == digest or head is None:
            return BaseFile(digest, commit=head or "")
        if self._commits is None:
            self._commits = islice(repository.dag.history(head), _COMMITS)
        while (path, digest) not in self._commit_of:
            record = next(self._commits, None)
            if record is None:
                return BaseFile(digest)
            for version in repository.dag.read_snapshot(record["snapshot_id"])["manifest"].items():
                self._commit_of.setdefault(version, record["commit_id"])
        return BaseFile(digest, commit=self._commit_of[path, digest])

    def _nearest(self, path: str, content: bytes, candidates: list[BaseFile]) -> BaseFile:
        digest, steps = object_id(content), self._recorder.steps_for(path)
        found: list[tuple[int, int]] = []
        for place, row in enumerate(candidates):
            if row.digest == digest:
                return row
            before = steps.content_of(path, row)
            if before is not None:
                found.append((_difference(before, content), place))
        return candidates[min(found)[1]] if found else candidates[0]


def _difference(one: bytes, other: bytes) -> int:
    """Count the characters in which two texts differ, or the bytes of what is no text."""
    encoding = detect(one)
    if encoding is None or encoding != detect(other):
        return len(one) + len(other)
    patches = patches_between(one.decode(encoding), other.decode(encoding))
    return sum(length + len(added) for _, length, added in patches)
