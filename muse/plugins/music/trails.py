"""Records what each op did to each file and note: the trail that blame and undo follow back. Pure.

A trail belongs to a file, not to a path: it follows the file through renames, and stays when the
file is deleted. Ops are told apart by their places in the sequence that is looked at.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from muse.errors import DomainError
from muse.plugins.music.identified_score import IdentifiedScore, Placed
from muse.plugins.music.squash import edits_notes_only
from muse.plugins.music.tree import EditedNote, MusicTree, kind_of
from muse.plugins.op_fields import Fetch

ALL_FIELDS = frozenset({"pitch", "velocity", "start_tick", "duration_ticks", "channel", "release", "track"})


@dataclass(frozen=True, slots=True)
class NoteStep:
    """One op's effect on one note: the fields it `wrote`, and what the note was and became."""

    op_index: int
    wrote: frozenset[str]
    before: Placed | None
    after: Placed | None


@dataclass(frozen=True, slots=True)
class FileContent:
    """A file as it was at some moment. A file that is not music has no `score`.

    Two are equal if they have the same notes by the same names and the same other events: by which rule
    they were written is no difference.
    """

    data: bytes = field(compare=False)
    score: IdentifiedScore | None = field(compare=False)
    notes: Mapping[str, Placed]
    rest: object


@dataclass(frozen=True, slots=True)
class FileStep:
    """One op's effect on a whole file. `kind` "make": the first edit of a note made the file.

    `before` is the content that a replace or delete took away; `source` is the old path of a renamed file.
    """

    op_index: int
    kind: str
    before: FileContent | None = None
    source: str = ""


@dataclass(slots=True)
class FileTrail:
    """All that happened to one file. `origin`: its path before all ops, "" if they made it."""

    path: str
    origin: str = ""
    alive: bool = True
    steps: list[FileStep] = field(default_factory=list)
    notes: dict[str, list[NoteStep]] = field(default_factory=dict)
    touched_by: list[int] = field(default_factory=list)

    def add_note_step(self, entity_id: str, step: NoteStep) -> None:
        """Take in what an op did to a note."""
        self.notes.setdefault(entity_id, []).append(step)
        self.touched(step.op_index)

    def touched(self, op_index: int) -> None:
        """Note that an op concerned the file; one that does so several times counts once."""
        if not self.touched_by or self.touched_by[-1] != op_index:
            self.touched_by.append(op_index)


class Trails:
    """Applies ops, and keeps the trail of every file that one of them touched."""

    def __init__(self, files: Mapping[str, bytes], fetch: Fetch) -> None:
        self.tree = MusicTree(files, fetch, on_edit=self._note_edited)
        self.all: list[FileTrail] = []
        self.refused: dict[int, str] = {}
        self._by_path: dict[str, FileTrail] = {}

    def follow(self, ops: Sequence[Mapping[str, Any]]) -> None:
        """Follow ops from the first on; those that cannot take effect are `refused`, with the reason."""
        for index, op in enumerate(ops):
            try:
                self._follow_one(index, op)
            except DomainError as error:
                self.refused[index] = str(error)
        for ignored in self.tree.ignored:
            self.refused.setdefault(ignored.index, ignored.reason)

    def trail_at(self, path: str) -> FileTrail:
        """Return the trail of the file that is at `path`."""
        if path not in self._by_path:
            self._by_path[path] = FileTrail(path, origin=path if self.tree.exists(path) else "")
            self.all.append(self._by_path[path])
        return self._by_path[path]

    def content(self, path: str) -> FileContent | None:
        """Return the file that is at `path` now."""
        return file_content(self.tree, path)

    def _follow_one(self, index: int, op: Any) -> None:
        if edits_notes_only(op):
            self.tree.apply(index, op)
            return
        kind, path = kind_of(op), op.get("address")
        if kind == "patch":
            self._rename(index, op)
        elif kind == "insert":
            self.tree.apply(index, op)
            self._file_made(index, path)
        else:
            self._file_changed(index, kind, path, op)

    def _rename(self, index: int, op: Any) -> None:
        """Follow a rename, and then the edits that come with it; they do not count if the rename fails."""
        source = op["from_address"]
        children, rename = op.get("child_ops"), {**op, "child_ops": []}
        if not isinstance(children, list | tuple):
            rename = op  # malformed: the tree says how
        trail = self.trail_at(source) if isinstance(source, str) and self.tree.exists(source) else None
        self.tree.apply(index, rename)
        if trail is not None:
            del self._by_path[source]
            trail.path = op["address"]
            self._by_path[trail.path] = trail
            trail.steps.append(FileStep(index, "rename", source=source))
            trail.touched(index)
        if children:
            self.tree.apply(index, {**op, "from_address": None})

    def _file_made(self, index: int, path: str) -> None:
        self._by_path.pop(path, None)
        trail = FileTrail(path, steps=[FileStep(index, "insert")])
        self.all.append(trail)
        self._by_path[path] = trail
        trail.touched(index)
        self._compare_notes(index, trail, {})

    def _file_changed(self, index: int, kind: str, path: str, op: Any) -> None:
        before = self.content(path) if isinstance(path, str) and self.tree.exists(path) else None
        trail = self.trail_at(path) if before is not None else None
        self.tree.apply(index, op)
        if trail is None or before is None:
            return
        trail.steps.append(FileStep(index, kind, before))
        trail.touched(index)
        if kind == "delete":
            trail.alive = False
            del self._by_path[path]
        else:
            self._compare_notes(index, trail, before.notes)

    def _compare_notes(self, index: int, trail: FileTrail, before: Mapping[str, Placed]) -> None:
        content = self.content(trail.path)
        after = content.notes if content else {}
        for entity_id in [*before, *(name for name in after if name not in before)]:
            old, new = before.get(entity_id), after.get(entity_id)
            if old != new:
                trail.add_note_step(entity_id, NoteStep(index, ALL_FIELDS, old, new))

    def _note_edited(self, edited: EditedNote) -> None:
        made = not self.tree.exists(edited.path)
        if made:
            self._by_path.pop(edited.path, None)
        trail = self.trail_at(edited.path)
        if made:
            trail.steps.append(FileStep(edited.op_index, "make"))
        edit = edited.edit
        wrote = frozenset(edit.changes) if edit.note is None else ALL_FIELDS - {"track"}
        if edit.track is not None or edited.before is None or edited.after is None:
            wrote |= {"track"} if edited.before and edited.after else ALL_FIELDS
        trail.add_note_step(edit.entity_id, NoteStep(edited.op_index, wrote, edited.before, edited.after))


def file_content(tree: MusicTree, path: str) -> FileContent | None:
    """Return the file at `path` of a tree, or None."""
    if not tree.exists(path):
        return None
    data = tree.data(path)
    if data is None:
        return None
    try:
        score = tree.score(path)
    except DomainError:
        score = None
    if not isinstance(score, IdentifiedScore):
        return FileContent(data, None, {}, data)
    copy = IdentifiedScore(score.read, dict(score.notes))
    return FileContent(data, copy, copy.notes, score.read.others())
