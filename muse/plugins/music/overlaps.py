"""Finds edits of music that came in each other's way: the later author had not seen the earlier edit. Pure.

An author has seen an edit that its op names as a cause, that it knew when it made an earlier op, or
that shows in what its op says of what was there: the old value of a field, the content id. Only an op
that says nothing and names no cause gets the benefit of the doubt. An op that names a note has seen it made.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from muse.causality import CausalHistory
from muse.core.content_id import object_id
from muse.domain import Overlap
from muse.errors import DomainError
from muse.plugins.music.identified_score import Placed
from muse.plugins.music.note_ops import NOTE_DOMAIN, NOTE_PREFIX, NoteEdit, read_note_edit
from muse.plugins.music.trails import FileContent, file_content
from muse.plugins.music.tree import MusicTree, Score, kind_of
from muse.plugins.op_fields import Fetch, check_patch, check_path

_IN_CONTENT_ID = ("pitch", "velocity", "start_tick", "duration_ticks", "channel")
_FIELDS = (*_IN_CONTENT_ID, "release", "track")
_DONE = {"delete": "deleted", "patch": "renamed", "replace": "replaced"}


_Change = tuple[Placed, Placed | None]


def overlaps_of_music(
    files: Mapping[str, bytes], entries: Sequence[Mapping[str, Any]], fetch: Fetch
) -> list[Overlap]:
    """List the overlaps among `entries`, by the places of the ops that met edits their authors had not seen.

    Of two that wrote the same, neither is overwritten. Where one overwrote another in turn, each counts
    against the one right after it. A whole file that was replaced or deleted counts against the last
    lost edit of each other actor.
    """
    finder = _Finder(files, entries, fetch)
    for place, entry in enumerate(entries):
        with suppress(DomainError):
            finder.look_at(place, entry["domain_op"])
    return list(finder.overlaps())


@dataclass(slots=True)
class _NoteHistory:
    """Which op wrote which field of a note last, and what the note has been: by place and content id.

    `made`: the op that inserted it, None for one from before. `again`: a note of its name was deleted before.
    """

    made: int | None = None
    again: bool = False
    writers: dict[str, int] = field(default_factory=dict)
    contents: list[tuple[int, str]] = field(default_factory=list)

    def seen_at(self, content_id: Any) -> int | None:
        """Return the place of the last op after which the note was so."""
        return next((place for place, known in reversed(self.contents) if known == content_id), None)


@dataclass(slots=True)
class _File:
    """Which op made or replaced a file, and what became of its notes; `deleted`: by which op."""

    made: int | None = None
    replaced: int | None = None
    notes: dict[str, _NoteHistory] = field(default_factory=dict)
    deleted: dict[str, int] = field(default_factory=dict)

    def note(self, entity_id: str, before: Placed) -> _NoteHistory:
        if entity_id not in self.notes:
            self.notes[entity_id] = _NoteHistory(contents=[(-1, before[1].content_id)])
        return self.notes[entity_id]


@dataclass(frozen=True, slots=True)
class _Gone:
    """The op that took a file away, and its notes; without a `score` it was no music.

    A file that was renamed goes on, so both may show what came later too.
    """

    place: int
    score: Score | None
    file: _File

    def had_note(self, entity_id: str) -> bool:
        """Return whether a note was in the file when it was taken away."""
        if (deleted := self.file.deleted.get(entity_id)) is not None:
            return deleted > self.place
        if self.score is None or entity_id not in self.score.notes:
            return False
        made = self.file.notes[entity_id].made if entity_id in self.file.notes else None
        return made is None or made <= self.place


class _Finder:
    def __init__(
        self, files: Mapping[str, bytes], entries: Sequence[Mapping[str, Any]], fetch: Fetch
    ) -> None:
        self._tree = MusicTree(files, fetch)
        self._entries = entries
        self._history = CausalHistory(entries)
        self._files: dict[str, _File] = {}
        self._gone: dict[str, _Gone] = {}
        self._found: dict[tuple[str, int, int], list[str]] = {}

    def overlaps(self) -> Iterator[Overlap]:
        for (address, kept, overwritten), reasons in self._found.items():
            yield Overlap(address, ", ".join(reasons), kept, overwritten)

    def look_at(self, place: int, op: Any) -> None:
        """Apply one op, and note what it overwrites unseen. Raises DomainError as the tree does."""
        kind, path = kind_of(op), op.get("address")
        check_path(path)
        if kind == "patch":
            self._patch(place, path, op)
        elif kind == "insert":
            self._insert_file(place, path, op)
        else:
            self._write_over(place, kind, path, op)

    # -- files ----------------------------------------------------------------------------------

    def _file(self, path: str) -> _File:
        return self._files.setdefault(path, _File())

    def _patch(self, place: int, path: str, op: Mapping[str, Any]) -> None:
        check_patch(op, NOTE_DOMAIN)
        source = op.get("from_address")
        if source not in {None, path}:
            self._rename(place, source, path, op)
        for child in op["child_ops"]:
            with suppress(DomainError):
                self._edit_note(place, path, {**op, "from_address": None, "child_ops": [child]})

    def _rename(self, place: int, source: str, target: str, op: Mapping[str, Any]) -> None:
        self._meet_gone(place, "patch", source)
        self._tree.apply(place, {**op, "child_ops": []})
        self._files[target] = self._files.pop(source, _File())
        self._gone[source] = _Gone(place, self._score(target), self._files[target])

    def _insert_file(self, place: int, path: str, op: Mapping[str, Any]) -> None:
        made = self._file(path).made if self._tree.exists(path) else None
        if made is not None and self._entries[made]["domain_op"].get("content_id") != op.get("content_id"):
            self._came_too_late(path, place, made, "both inserted it")
        self._tree.apply(place, op)
        self._files[path] = _File(made=place)

    def _write_over(self, place: int, kind: str, path: str, op: Mapping[str, Any]) -> None:
        self._meet_gone(place, kind, path)
        before, score = file_content(self._tree, path), self._score(path)
        self._tree.apply(place, op)
        if before is None:
            raise AssertionError("the tree refuses to replace or delete what is not there")
        after = file_content(self._tree, path)
        name = "old_content_id" if kind == "replace" else "content_id"
        says_seen = object_id(before.data) == op[name] if op.get(name) else None
        for lost in self._lost(path, before, after):
            if self._is_unseen(place, lost, says_seen=says_seen):
                self._add(path, place, lost, f"the file was {_DONE[kind]} by one who had not seen the edit")
        if after is None:
            self._gone[path] = _Gone(place, score, self._files.pop(path, _File()))
        else:
            self._rewritten(place, self._file(path), before, after)

    def _meet_gone(self, place: int, kind: str, path: Any) -> None:
        """Note an op on a whole file that is not there any more; two deletions do not collide."""
        gone = self._gone.get(path) if isinstance(path, str) and not self._tree.exists(path) else None
        if gone is None:
            return
        verb = self._entries[gone.place]["domain_op"]["op"]
        if (kind, verb) != ("delete", "delete"):
            reason = f"the file was {_DONE[verb]} before it could be {_DONE[kind]}"
            self._came_too_late(path, place, gone.place, reason)

    def _score(self, path: str) -> Score | None:
        try:
            return self._tree.score(path)
        except DomainError:
            return None

    def _lost(self, path: str, before: FileContent, after: FileContent | None) -> list[int]:
        """Return the last op of each actor whose work on the file is lost."""
        file = self._file(path)
        lost = set() if file.replaced is None else {file.replaced}
        for entity_id, note in file.notes.items():
            now = after.notes.get(entity_id) if after else None
            changed = _changed(before.notes.get(entity_id), now)
            lost.update(writer for name, writer in note.writers.items() if name in changed)
        newest = {self._entries[place]["actor_id"]: place for place in sorted(lost)}
        return sorted(newest.values())

    def _rewritten(self, place: int, file: _File, before: FileContent, after: FileContent) -> None:
        file.replaced = place
        for entity_id, old in before.notes.items():
            new = after.notes.get(entity_id)
            if new is None:
                file.notes.pop(entity_id, None)
                file.deleted[entity_id] = place
            elif old != new:
                self._wrote(place, file.note(entity_id, old), _changed(old, new), new)
        for entity_id in after.notes.keys() - before.notes.keys():
            self._inserted(place, file, entity_id, after.notes[entity_id])

    # -- notes ----------------------------------------------------------------------------------

    def _edit_note(self, place: int, path: str, patch: Mapping[str, Any]) -> None:
        [child] = patch["child_ops"]
        edit = read_note_edit(child)
        address = f"{path}/{NOTE_PREFIX}{edit.entity_id}"
        existed = self._tree.exists(path)
        before = self._tree.score(path).notes.get(edit.entity_id)
        ignored = len(self._tree.ignored)
        self._tree.apply(place, patch)
        if len(self._tree.ignored) > ignored:
            self._refused(place, path, address, edit, before)
            return
        if not existed:
            self._files[path] = _File(made=place)
        file, after = self._file(path), self._tree.score(path).notes.get(edit.entity_id)
        if before is None:
            if after is not None:
                self._inserted(place, file, edit.entity_id, after)
            return
        note = file.note(edit.entity_id, before)
        self._compare(place, address, child, note, (before, after))
        if after is None:
            del file.notes[edit.entity_id]
            file.deleted[edit.entity_id] = place
        else:
            self._wrote(place, note, _changed(before, after), after)

    def _refused(self, place: int, path: str, address: str, edit: NoteEdit, before: Placed | None) -> None:
        """Note an edit without effect, if an op of another actor is the cause."""
        file = self._file(path)
        if edit.kind == "insert":
            made = file.notes[edit.entity_id].made if edit.entity_id in file.notes else None
            if made is not None and before is not None and edit.note != before[1]:
                self._came_too_late(address, place, made, "both inserted a note of this name")
            return
        taken_by, reason = file.deleted.get(edit.entity_id), "the note was deleted before it could be changed"
        gone = self._gone.get(path)
        if taken_by is None and gone is not None and gone.had_note(edit.entity_id):
            verb = self._entries[gone.place]["domain_op"]["op"]
            taken_by, reason = gone.place, f"the file was {_DONE[verb]} before the note could be changed"
        if taken_by is not None and edit.kind != "delete":
            self._came_too_late(address, place, taken_by, reason)

    def _compare(
        self, place: int, address: str, child: Mapping[str, Any], note: _NoteHistory, change: _Change
    ) -> None:
        """Note the unseen ops whose fields this edit writes, or deletes with the note."""
        before, after = change
        old, new = _values(before), _values(after) if after else None
        unseen: dict[int, list[str]] = {}
        for name in sorted(_changed(before, after), key=_FIELDS.index):
            writer = note.writers.get(name)
            if writer is None or (writer == note.made and not note.again):
                continue
            says_seen = _says_seen(child, name, old[name], note, writer)
            if self._is_unseen(place, writer, says_seen=says_seen):
                unseen.setdefault(writer, []).append(f"{name} {new[name]} over {old[name]}" if new else name)
        for writer, names in unseen.items():
            what = "both wrote " if new else "deleted by one who had not seen a change of "
            self._add(address, place, writer, what + ", ".join(names))

    def _inserted(self, place: int, file: _File, entity_id: str, after: Placed) -> None:
        note = _NoteHistory(made=place, again=file.deleted.pop(entity_id, None) is not None)
        file.notes[entity_id] = note
        self._wrote(place, note, frozenset(_FIELDS), after)

    def _wrote(self, place: int, note: _NoteHistory, names: frozenset[str], after: Placed) -> None:
        note.writers.update(dict.fromkeys(names, place))
        note.contents.append((place, after[1].content_id))

    # -- findings -------------------------------------------------------------------------------

    def _is_unseen(self, later: int, earlier: int, *, says_seen: bool | None) -> bool:
        """Tell whether the author of the op at `later` had not seen the other; its op gives `says_seen`."""
        if self._history.knows(later, earlier) or says_seen:
            return False
        return says_seen is False or bool(self._entries[later]["parent_op_ids"])

    def _came_too_late(self, address: str, place: int, earlier: int, reason: str) -> None:
        """Note an op without effect whose cause is an op that its author had not seen."""
        if self._is_unseen(place, earlier, says_seen=False):
            self._add(address, earlier, place, reason)

    def _add(self, address: str, kept: int, overwritten: int, reason: str) -> None:
        self._found.setdefault((address, kept, overwritten), []).append(reason)


def _values(placed: Placed) -> dict[str, int | None]:
    track, note = placed
    return {**{name: getattr(note, name) for name in (*_IN_CONTENT_ID, "release")}, "track": track}


def _changed(before: Placed | None, after: Placed | None) -> frozenset[str]:
    """Return the fields that differ; all of them where a note came or went."""
    if before is None or after is None:
        return frozenset(_FIELDS)
    old, new = _values(before), _values(after)
    return frozenset(name for name in _FIELDS if old[name] != new[name])


def _says_seen(
    child: Mapping[str, Any], name: str, now: int | None, note: _NoteHistory, writer: int
) -> bool | None:
    """Tell whether an edit says that its author had seen what `writer` wrote; None: it says nothing."""
    if child["op"] == "mutate":
        change = child["fields"][name]
        return change["old"] == now if "old" in change else None
    if child["op"] == "move":
        return child["from_position"] == now if "from_position" in child else None
    content_id = child.get("old_content_id" if child["op"] == "replace" else "content_id")
    if not content_id or name not in _IN_CONTENT_ID:
        return None
    seen_at = note.seen_at(content_id)
    return seen_at is not None and seen_at >= writer
