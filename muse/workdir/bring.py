"""Brings what others did into the files of a directory, never over what was done there."""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field

from muse.core.content_id import object_id
from muse.disk.storage import is_same_version
from muse.errors import MuseError
from muse.workdir.base import Base, BaseFile, BaseStore
from muse.workdir.code_steps import CodeSteps
from muse.workdir.newest import Newest
from muse.workdir.record import Recorder
from muse.workdir.scan import Directory, FileFault
from muse.workdir.status import Divergence


@dataclass(slots=True)
class Brought:
    """The files that were written, merged with what was done here, and removed; and those that were left."""

    written: list[str] = field(default_factory=list)
    merged: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    faults: list[FileFault] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Coming:
    """A file that is to have this content, None for none; `row` is what is remembered of it then."""

    path: str
    content: bytes | None
    row: BaseFile | None
    is_merged: bool = False


class Bringer:
    """Writes the newest state of a session into the files of a directory."""

    def __init__(self, newest: Newest, recorder: Recorder, store: BaseStore, directory: Directory) -> None:
        self._newest = newest
        self._recorder = recorder
        self._store = store
        self._directory = directory

    def look(
        self, found: Divergence, is_wanted: Callable[[str], bool], *, merges: bool
    ) -> tuple[Brought, list[Coming]]:
        """Return what is to be written into files that are as they were, or merged where `merges` says so.

        Files that agree with the session are taken into the base, those that cannot be merged are named.
        """
        outcome = Brought()
        return outcome, list(self._coming(found, outcome, is_wanted, merges=merges))

    def put(self, found: Divergence, coming: Collection[Coming], outcome: Brought) -> None:
        """Write what is coming, and say so in `outcome`. No session is read.

        `found` says how the files are; they are looked at again before they are touched. What is about to be
        done is kept before it is done: after a crash, each file is known to be old or new.
        """
        if coming:
            rows = ((one.path, one.row or found.base.files.get(one.path)) for one in coming)
            found.base.coming = {path: row for path, row in rows if row is not None}
            self._store.write_journal(found.base)
        for one in sorted(coming, key=lambda one: (one.content is not None, one.path)):
            try:
                self._put(found, one, outcome)
            except MuseError as error:
                outcome.faults.append(FileFault(one.path, str(error)))

    def _coming(
        self, found: Divergence, outcome: Brought, is_wanted: Callable[[str], bool], *, merges: bool
    ) -> Iterator[Coming]:
        base, newest = found.base, self._newest.digests
        for path in sorted(base.differing(newest)):
            row, digest = base.files.get(path), newest.get(path)
            before = None if row is None else row.digest
            if found.scan.is_unknown(path):
                continue
            now = found.disk.get(path, "") if path in found.scan.files else None
            if now == digest:
                self._agree(base, path, found)
            elif not is_wanted(path):
                continue
            elif now == before:
                content = None if digest is None else self._newest.files[path]
                yield Coming(path, content, None if digest is None else self._recorder.row_of(path))
            elif merges:
                try:
                    yield self._merged(path, None if digest is None else row, found.contents.get(path))
                except MuseError as error:
                    outcome.faults.append(FileFault(path, str(error)))

    def _agree(self, base: Base, path: str, found: Divergence) -> None:
        if path in self._newest.digests:
            base.files[path] = self._recorder.row_of(path).seen_as(found.scan.files[path])
        else:
            base.files.pop(path, None)

    def _merged(self, path: str, row: BaseFile | None, content: bytes | None) -> Coming:
        steps = self._recorder.steps_for(path)
        if row is None or content is None or not isinstance(steps, CodeSteps):
            raise MuseError(
                f"others changed {path} since you had it, and so did you: run 'muse record', which "
                "merges them or says why it cannot"
            )
        merged = steps.merged(path, row, content)
        return Coming(path, merged, self._recorder.row_of(path), is_merged=True)

    def _put(self, found: Divergence, one: Coming, outcome: Brought) -> None:
        """Replace or remove one file, if it is still as it was found."""
        path, directory = one.path, self._directory
        before, now = found.scan.files.get(path), directory.look(path)
        is_same = before is now is None or (before and now and is_same_version(before, now))
        changed = MuseError("it was changed while others' work was brought: it stays, run this again")
        if not is_same or not directory.is_in_plain_directories(path):
            raise changed
        if one.content is None:
            if now is not None and not directory.remove(path, now):
                raise changed
            found.base.files.pop(path, None)
            outcome.removed.append(path)
            return
        mode = None if now is None else now.st_mode & 0o7777
        status = directory.replace(path, one.content, now, mode)
        if status is None:
            raise changed
        if one.row is not None:
            is_as_known = object_id(one.content) == one.row.digest
            found.base.files[path] = one.row.seen_as(status) if is_as_known else one.row
        (outcome.merged if one.is_merged else outcome.written).append(path)
