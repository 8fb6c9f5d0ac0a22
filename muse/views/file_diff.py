"""What differs between two states of files, as data: the home of every diff that is shown.

A state is a tree, path -> bytes. A text is compared line by line, a MIDI file note by note, any other file by
its size. A file that went and came elsewhere with much the same content was renamed.
"""

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any, Literal

from muse.core.content_id import object_id
from muse.errors import DomainError, NotFoundError
from muse.history.repository import Repository, TreeFiles
from muse.history.tree import tree_changes
from muse.plugins.code.encodings import decode, detect
from muse.plugins.music.identified_score import identify, sound_of
from muse.plugins.op_fields import NAMES_DIRECTORY, names_path
from muse.views.file_diff_notes import NotesDiff, diff_scores
from muse.views.file_diff_text import TextDiff, diff_texts, lines_of

_SIMILAR_PERCENT = 50
_COMPARED_PAIRS = 2500  # of a file that went and one that came
_MIDI_STARTS = (b"MThd", b"RIFF")

Change = Literal["added", "removed", "changed", "renamed"]


@dataclass(frozen=True, slots=True)
class BinaryDiff:
    """Two contents that are neither texts nor music that can be read."""


@dataclass(frozen=True, slots=True)
class FileDiff:
    """One file that differs. A path and a size of None mean that there is no file before, or after.

    `similarity` says, for a file that was renamed, how many percent of its content stayed.
    """

    old_path: str | None
    new_path: str | None
    old_size: int | None
    new_size: int | None
    body: TextDiff | NotesDiff | BinaryDiff
    similarity: int | None = None

    @property
    def path(self) -> str:
        """The path of the file: the new one, or the old one if it was removed."""
        return self.new_path or self.old_path or ""

    @property
    def change(self) -> Change:
        """How the file changed: added, removed, changed or renamed."""
        if self.old_path is None:
            return "added"
        if self.new_path is None:
            return "removed"
        return "changed" if self.old_path == self.new_path else "renamed"

    def as_record(self) -> dict[str, Any]:
        """Return the diff as JSON has it; of notes that did not change, the number alone."""
        record: dict[str, Any] = {
            "path": self.path,
            "old_path": self.old_path,
            "new_path": self.new_path,
            "change": self.change,
            "old_size": self.old_size,
            "new_size": self.new_size,
        }
        if self.similarity is not None:
            record["similarity"] = self.similarity
        if isinstance(self.body, TextDiff):
            return record | {"kind": "text", **asdict(self.body)}
        if isinstance(self.body, BinaryDiff):
            return record | {"kind": "binary"}
        notes = self.body
        return record | {
            "kind": "notes",
            "added": [asdict(note) for note in notes.added],
            "removed": [asdict(note) for note in notes.removed],
            "changed": [asdict(change) for change in notes.changed],
            "kept": len(notes.kept),
            "events_added": [asdict(event) for event in notes.events_added],
            "events_removed": [asdict(event) for event in notes.events_removed],
            "file": notes.file,
        }


def diff_states(
    before: Mapping[str, bytes], after: Mapping[str, bytes], paths: Iterable[str] | None = None
) -> Iterator[FileDiff]:
    """Compare two trees, in the order of their paths; yield what differs, one file at a time.

    With `paths`, only these are looked at: those that are known to differ, for trees that are read as needed.
    """
    candidates = {*before, *after} if paths is None else set(paths)
    shown = sorted(path for path in candidates if not path.startswith(f"{NAMES_DIRECTORY}/"))
    renamed = _renames(before, after, shown)
    gone = {source for source, _ in renamed.values()}
    for path in shown:
        source, similarity = renamed.get(path, (path, None))
        if path in gone and path not in after:
            continue
        if similarity is None and before.get(path) == after.get(path):
            continue
        yield _diff_file(before, after, source, path, similarity)


def diff_commits(
    repository: Repository, before: str | None, after: str | None, wanted: Sequence[str] = ()
) -> Iterator[FileDiff]:
    """Compare the trees of two commits, None being no files; `wanted` are files or directories to look at.

    Raises `NotFoundError` for a wanted path that neither tree has.
    """
    old, new = repository.read_tree(before), repository.read_tree(after)
    check_wanted(wanted, {*old, *new})
    changed = [path for path in tree_changes(old, new) if is_within(path, wanted)]
    return diff_states(TreeFiles(repository, old), TreeFiles(repository, new), changed)


def is_within(path: str, wanted: Sequence[str]) -> bool:
    """Tell whether a path is one of `wanted` or in one of them; without any, every path is."""
    return not wanted or any(path == place or path.startswith(f"{place}/") for place in wanted)


def check_wanted(wanted: Sequence[str], known: Iterable[str]) -> None:
    """Raise `NotFoundError` for a wanted file or directory that has none of the `known` files."""
    paths = list(known)
    for place in wanted:
        if not any(is_within(path, [place]) for path in paths):
            raise NotFoundError(f"there is no file or directory {place!r} on either side: see 'muse show'")


def _diff_file(
    before: Mapping[str, bytes],
    after: Mapping[str, bytes],
    source: str,
    path: str,
    similarity: int | None,
) -> FileDiff:
    old, new = before.get(source), after.get(path)
    pages = before.get(names_path(source)), after.get(names_path(path))
    return FileDiff(
        old_path=None if old is None else source,
        new_path=None if new is None else path,
        old_size=None if old is None else len(old),
        new_size=None if new is None else len(new),
        body=_body(old, new, *pages),
        similarity=similarity,
    )


def _body(
    old: bytes | None, new: bytes | None, old_page: bytes | None, new_page: bytes | None
) -> TextDiff | NotesDiff | BinaryDiff:
    contents = [content for content in (old, new) if content is not None]
    if all(content.startswith(_MIDI_STARTS) for content in contents):
        with suppress(DomainError):
            return diff_scores(old, new, old_page, new_page)
    encodings = [detect(content) for content in contents]
    if None in encodings:
        return BinaryDiff()
    (old_text, old_encoding), (new_text, new_encoding) = map(_text, (old, new))
    return diff_texts(old_text, new_text, old_encoding=old_encoding, new_encoding=new_encoding)


def _text(content: bytes | None) -> tuple[str, str]:
    encoding = "" if content is None else detect(content) or ""
    return ("" if content is None else decode(content, encoding)), encoding


# -- renames ----------------------------------------------------------------------------------------


def _renames(
    before: Mapping[str, bytes], after: Mapping[str, bytes], paths: Sequence[str]
) -> dict[str, tuple[str, int]]:
    """Find the files that went and came elsewhere: new path -> (old path, percent of it that stayed)."""
    gone = [path for path in paths if path in before and path not in after and before[path]]
    come = [path for path in paths if path in after and path not in before and after[path]]
    if not gone or not come:
        return {}
    ids: dict[str, list[str]] = {}
    for path in reversed(gone):
        ids.setdefault(object_id(before[path]), []).append(path)
    found: dict[str, tuple[str, int]] = {}
    for path in come:
        if same := ids.get(object_id(after[path])):
            found[path] = same.pop(), 100
    taken = {source for source, _ in found.values()}
    left = [path for path in gone if path not in taken], [path for path in come if path not in found]
    return found | _similar(before, after, *left)


def _similar(
    before: Mapping[str, bytes], after: Mapping[str, bytes], gone: Sequence[str], come: Sequence[str]
) -> dict[str, tuple[str, int]]:
    if not gone or not come or len(gone) * len(come) > _COMPARED_PAIRS:
        return {}
    old = {path: _pieces(before[path]) for path in gone}
    new = {path: _pieces(after[path]) for path in come}
    pairs = [(_similarity(old[source], new[path]), source, path) for source in gone for path in come]
    found: dict[str, tuple[str, int]] = {}
    taken: set[str] = set()
    for similarity, source, path in sorted(pairs, key=lambda pair: (-pair[0], pair[1:])):
        if similarity >= _SIMILAR_PERCENT and source not in taken and path not in found:
            found[path] = source, similarity
            taken.add(source)
    return found


def _pieces(content: bytes) -> Counter[Hashable]:
    """Cut a file into what may be alike: the notes of a MIDI file, or the lines of a text by their length."""
    if content.startswith(_MIDI_STARTS):
        try:
            return Counter((track, sound_of(note)) for track, note in identify(content, None).notes.values())
        except DomainError:
            return Counter()
    encoding = detect(content)
    weights: Counter[Hashable] = Counter()
    for line in lines_of(decode(content, encoding)) if encoding else ():
        weights[line] += len(line)
    return weights


def _similarity(old: Counter[Hashable], new: Counter[Hashable]) -> int:
    """Return how many percent of the larger of two files both have; below 100, as they are not equal."""
    largest = max(old.total(), new.total())
    return min(99, 100 * (old & new).total() // largest) if largest else 0
