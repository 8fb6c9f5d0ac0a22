"""Compares three states of each file: that on the disk, that on which both agreed, that of the session."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from muse.core.content_id import object_id
from muse.errors import MuseError
from muse.plugins.code.encodings import detect
from muse.workdir.base import Base, BaseFile, BaseStore
from muse.workdir.scan import Directory, FileFault, Scan
from muse.workdir.step import is_music

ChangeKind = Literal["new", "modified", "deleted", "renamed"]
_SIMILAR = 0.6
"""So much of the larger of two files has to be in the other, for the one to be the other under a new name."""

_PAIRS = 10_000
_TELLING_BYTES = 8
"""A content of fewer bytes may be in two files by accident."""

_EMPTY = object_id(b"")


@dataclass(frozen=True, slots=True)
class ChangedFile:
    """A file that is not as it was.

    One that is renamed was `from_path`; `is_edited`: its content changed too. `meets` is true where the other
    side changed the file as well. One that others renamed meanwhile is at `others_path` in the session.
    """

    path: str
    kind: ChangeKind
    from_path: str = ""
    is_edited: bool = False
    meets: bool = False
    others_path: str = ""

    def as_record(self) -> dict[str, Any]:
        """Return the change as JSON has it."""
        found: dict[str, Any] = {"path": self.path, "change": self.kind}
        if self.from_path:
            found |= {"from_path": self.from_path, "edited": self.is_edited}
        if self.others_path:
            found["others_path"] = self.others_path
        return found | {"on_both_sides": self.meets}


@dataclass(slots=True)
class Divergence:
    """What differs: `here` from the base, by path, and `ahead` in the session: path -> digest, None if gone.

    `disk` has the digests of the files that are there, as far as they matter; `contents` what was read.
    `agreed` are files that are as the session has them, and differ from the base. `is_news`: the base is
    not as it was read any more.
    """

    base: Base
    scan: Scan
    newest: Mapping[str, str]
    disk: dict[str, str] = field(default_factory=dict)
    contents: dict[str, bytes] = field(default_factory=dict)
    here: dict[str, ChangedFile] = field(default_factory=dict)
    ahead: dict[str, str | None] = field(default_factory=dict)
    agreed: list[str] = field(default_factory=list)
    faults: list[FileFault] = field(default_factory=list)
    is_news: bool = False
    together: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def row(self, path: str) -> BaseFile | None:
        """Return what the base knows of a file; None if it is new."""
        return self.base.files.get(path)

    def read(self, path: str, directory: Directory) -> None:
        """Read a file; one that cannot be read is at fault, and nothing more is said of it."""
        try:
            content, status = directory.read(path)
        except MuseError as error:
            self.faults.append(FileFault(path, str(error)))
            self.scan.unknown.add(path)
            return
        self.scan.files[path] = status
        self.contents[path] = content
        self.disk[path] = object_id(content)

    def ahead_changes(self) -> list[ChangedFile]:
        """List what the session has that the files have not, in the order of the paths."""
        return [
            ChangedFile(path, _kind(self.row(path) is not None, digest is not None), meets=path in self.here)
            for path, digest in sorted(self.ahead.items())
        ]


def _kind(was: bool, is_there: bool) -> ChangeKind:  # noqa: FBT001 - a table of two
    return "modified" if was and is_there else "new" if is_there else "deleted"


def compare(base: Base, scan: Scan, newest: Mapping[str, str], directory: Directory) -> Divergence:
    """Compare the files of a directory with their base and with the session, reading as little as needed."""
    found = Divergence(base, scan, newest, faults=list(scan.faults))
    missing = [path for path in base.files if path not in scan.files and not scan.is_unknown(path)]
    differing = {*base.files, *newest}.difference(scan.files)
    for path, status in scan.files.items():
        row = base.files.get(path)
        if row is not None and row.is_version(status, base.taken_ns):
            found.disk[path] = row.digest
            if newest.get(path) == row.digest:
                continue  # all three are one, as nearly always
        elif row is not None or missing or path in newest:
            found.read(path, directory)
        differing.add(path)
    for path in sorted(differing):
        if not scan.is_unknown(path):
            _compare_file(found, path)
    _find_renames(found, missing)
    return found


def _compare_file(found: Divergence, path: str) -> None:
    row, newest = found.row(path), found.newest.get(path)
    is_there = path in found.scan.files
    before = None if row is None else row.digest
    now = found.disk.get(path, "") if is_there else None
    if now == newest and before != newest:
        found.agreed.append(path)
        return
    if before != newest:
        found.ahead[path] = newest
    if before != now:
        found.here[path] = ChangedFile(path, _kind(row is not None, is_there), meets=path in found.ahead)


def no_texts(found: Divergence, store: BaseStore) -> Iterator[str]:
    """Yield the paths of texts that turned into something else."""
    for path, change in found.here.items():
        content, row = found.contents.get(path), found.row(path)
        if change.kind != "modified" or row is None or content is None or detect(content) is not None:
            continue
        was_text = bool(row.part) or (  # of a live text there is always a part
            not row.file_id and detect(store.part(row.digest) or b"\0") is not None
        )
        if was_text and not is_music(path):
            yield path


def unreadable_music(
    found: Divergence, changes: Iterable[ChangedFile], directory: Directory
) -> list[FileFault]:
    """Return the changed files that are no MIDI files that can be read, though their names say so."""
    scores = [
        change.path
        for change in changes
        if is_music(change.path)
        and change.kind != "deleted"
        and not (change.kind == "renamed" and not change.is_edited and is_music(change.from_path))
    ]
    if not scores:
        return []
    from muse.workdir.music_steps import midi_fault  # noqa: PLC0415 - most directories have no MIDI files

    faults = []
    for path in scores:
        if path not in found.contents:
            found.read(path, directory)
        if path in found.contents and (reason := midi_fault(found.contents[path])) is not None:
            faults.append(FileFault(path, reason))
    return faults


# -- renames -------------------------------------------------------------------------------------


def _find_renames(found: Divergence, missing: Iterable[str]) -> None:
    """Take a file that is gone and one that is new for one file, if they have the same content."""
    _find_exchanges(found)
    gone = [path for path in missing if path in found.here]
    new = [path for path, change in sorted(found.here.items()) if change.kind == "new"]
    if not gone:
        return
    by_digest: dict[str, list[str]] = {}
    for path in new:
        by_digest.setdefault(found.disk[path], []).append(path)
    for path in gone:
        row = found.base.files[path]
        if row.digest != _EMPTY and (same := by_digest.get(row.digest)):
            _rename(found, path, same.pop(0), is_edited=False)


def _find_exchanges(found: Divergence) -> None:
    """Take files for moved whose exact contents took each other's places, in a circle or one after another.

    MIDI files are left out: their ops name them by their paths alone.
    """
    changed = [path for path in found.here if not is_music(path)]
    telling = [path for path in changed if len(found.contents.get(path, b"")) >= _TELLING_BYTES]
    before = _only_places((row.digest, path) for path in changed if (row := found.row(path)) is not None)
    now = _only_places((found.disk[path], path) for path in telling)
    to = {path: now[digest] for digest, path in before.items() if digest in now}
    while unclear := _unclear(found, to):
        for path in unclear:
            del to[path]
    changes = {path: found.here.pop(path) for path in {*to, *to.values()}}
    for path, new in to.items():
        found.here[new] = ChangedFile(new, "renamed", path, meets=changes[path].meets or changes[new].meets)
    left, targets = dict(to), set(to.values())
    for start in sorted(to, key=lambda path: (path in targets, path)):
        places = [start]
        while places[-1] in left:
            places.append(left.pop(places[-1]))
        if len(places) > 2:  # a mere rename has two
            found.together |= dict.fromkeys(places, tuple(places))


def _unclear(found: Divergence, to: Mapping[str, str]) -> list[str]:
    """Return of moves those of a file that was copied, as it is still in use, and those over another file."""
    here, targets = found.here, set(to.values())
    return [
        path
        for path, new in to.items()
        if (here[path].kind == "modified" and path not in targets)
        or (here[new].kind == "modified" and new not in to)
    ]


def _only_places(places: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return by digest the path of the one file that has it."""
    found: dict[str, str] = {}
    twice: set[str] = set()
    for digest, path in places:
        if found.setdefault(digest, path) != path:
            twice.add(digest)
    return {digest: path for digest, path in found.items() if digest not in twice}


def _rename(found: Divergence, path: str, to: str, *, is_edited: bool) -> None:
    meets = found.here.pop(path).meets or found.here[to].meets
    found.here[to] = ChangedFile(to, "renamed", path, is_edited, meets)


def find_similar(found: Divergence, before: Mapping[str, bytes], others_paths: Mapping[str, str]) -> None:
    """Take for renamed what is nearly the same. `before` has the contents of files that are gone.

    `others_paths` says of those that others renamed where they are in the session.
    """
    new = [path for path, change in sorted(found.here.items()) if change.kind == "new"]
    new = [path for path in new if path in found.contents]
    if len(new) * len(before) > _PAIRS:
        return
    texts = [path for path in before if not is_music(path)]
    scores: list[tuple[float, str, str]] = [
        (_likeness(before[path], found.contents[to]), path, to) for path in texts for to in new
    ]
    scores += _likeness_of_music(
        {path: content for path, content in before.items() if is_music(path)},
        {path: found.contents[path] for path in new if is_music(path)},
    )
    scores = [score for score in scores if score[0] >= _SIMILAR]
    taken: set[str] = set()
    for _, path, to in sorted(scores, key=lambda score: (-score[0], score[1:])):
        if not {path, to} & taken:
            taken |= {path, to}
            is_edited = found.contents[to] != before[path]
            if (others_path := others_paths.get(path)) is None:
                _rename(found, path, to, is_edited=is_edited)
                continue
            found.agreed.remove(path)
            found.here[to] = ChangedFile(to, "renamed", path, is_edited, meets=True, others_path=others_path)


def _likeness_of_music(
    gone: Mapping[str, bytes], new: Mapping[str, bytes]
) -> Iterator[tuple[float, str, str]]:
    """Yield which part of the notes of the larger of two MIDI files is in both, and the paths of the two."""
    if not gone or not new:
        return
    from muse.workdir.music_steps import sounds_in  # noqa: PLC0415 - most directories have no MIDI files

    before, after = ({path: sounds_in(files[path]) for path in files} for files in (gone, new))
    for path, was in before.items():
        for to, now in after.items():
            yield (was & now).total() / max(1, was.total(), now.total()), path, to


def _likeness(one: bytes, other: bytes) -> float:
    """Return how much of the larger of two texts is in lines that both have; 0 for what is no text."""
    size = max(len(one), len(other))
    if not size or min(len(one), len(other)) < _SIMILAR * size or b"\0" in one + other:
        return 0
    left: dict[bytes, int] = {}
    for line in one.splitlines(keepends=True):
        left[line] = left.get(line, 0) + 1
    shared = 0
    for line in other.splitlines(keepends=True):
        if left.get(line):
            left[line] -= 1
            shared += len(line)
    return shared / size
