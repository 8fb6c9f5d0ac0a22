"""A tree of files while music ops are applied to it, and the checks of such ops. Pure."""

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from muse.core.content_id import object_id
from muse.domain import IgnoredOp
from muse.errors import DomainError, NotFoundError
from muse.plugins.music.first_rule import FirstNamesBefore, FirstRuleScore
from muse.plugins.music.found_notes import Find, KeptFindings, Placed
from muse.plugins.music.identified_score import IdentifiedScore, NamesBefore, SecondRuleScore, is_page_of
from muse.plugins.music.note import Note
from muse.plugins.music.note_ops import NOTE_DOMAIN, NoteEdit, read_note_edit
from muse.plugins.op_fields import (
    Fetch,
    address_of,
    check_patch,
    check_path,
    digest_of,
    names_path,
    parents_of,
    shown,
)

FILE_OP_KINDS = ("insert", "delete", "replace", "patch")


class Names(Protocol):
    """What a page of names says, for the content that is at its place now."""

    def identify(self, data: bytes, find: Find) -> "Score":
        """Read a MIDI file. Raises DomainError when `data` cannot be read as one."""
        ...


class Score(Protocol):
    """The notes of a file by name, each with its track, and how they are written."""

    notes: dict[str, Placed]

    def place(self, entity_id: str, track: int, note: Note) -> None:
        """Put a note of this name into a track, or change it there."""
        ...

    def check_editable(self) -> None:
        """Raise DomainError for a file in which no note can be edited."""
        ...

    def data_again(self) -> bytes:
        """Return the bytes of the MIDI file, at little cost where few notes changed since the last time."""
        ...

    def write(self) -> tuple[bytes, bytes | None]:
        """Return the bytes of the MIDI file, and of its page of names; None if it needs no page."""
        ...

    def has_page(self) -> bool:
        """Tell whether the file needs a page of names."""
        ...

    def names_before(self) -> Names:
        """Return what the page of names would say if the file were written now."""
        ...

    def retire(self) -> None:
        """Leave what can be used again to the one that edits the same content next."""
        ...


RULES: Mapping[int, tuple[type[Score], Callable[[bytes | None, Find], Names]]] = {
    1: (FirstRuleScore, lambda page, _: FirstNamesBefore(page)),
    2: (SecondRuleScore, lambda page, find: NamesBefore.of_page(page, SecondRuleScore, find)),
    3: (IdentifiedScore, lambda page, find: NamesBefore.of_page(page, IdentifiedScore, find)),
}
"""How files are read and written, by rule: what a new file is, and how a page of names is read."""
LAST_RULE = max(RULES)


class EditedNote(NamedTuple):
    """An edit of a note that took effect: of the op at `op_index`, in the file at `path`.

    `before` is what the note was; `score` is as it is after.
    """

    op_index: int
    path: str
    edit: NoteEdit
    before: Placed | None
    score: Score

    @property
    def after(self) -> Placed | None:
        """The note as it is now; None if it was deleted."""
        return self.score.notes.get(self.edit.entity_id)


@dataclass(slots=True)
class MusicTree:
    """The files while ops are applied. `files` is never changed; `changed` holds what differs.

    A score in `scores` is ahead of its bytes when its path is in `edited`. `unreadable` remembers,
    by path, why the bytes are not MIDI, so that they are parsed once; `directories` all that
    files have been in. A page of names in `unwritten` is the one that the score writes, `names` what a page
    says whose file got other content. `on_edit` is told of each edit of a note; `exists` does not know yet
    of a file that the edit makes. `rule`: by which of the `RULES` files are read and written.
    """

    files: Mapping[str, bytes]
    fetch: Fetch
    changed: dict[str, bytes | None] = field(default_factory=dict)
    scores: dict[str, Score] = field(default_factory=dict)
    edited: set[str] = field(default_factory=set)
    unreadable: dict[str, str] = field(default_factory=dict)
    unwritten: dict[str, Score] = field(default_factory=dict)
    names: dict[str, Names] = field(default_factory=dict)
    findings: KeptFindings = field(default_factory=KeptFindings)
    directories: set[str] = field(default_factory=set)
    ignored: list[IgnoredOp] = field(default_factory=list)
    on_edit: Callable[[EditedNote], None] | None = None
    rule: int = LAST_RULE

    def apply(self, index: int, op: Any) -> None:
        """Apply one op, or raise DomainError; parts of a patch without effect go to `ignored`."""
        kind = kind_of(op)
        path = op.get("address")
        check_path(path)
        if kind == "patch":
            self._patch(index, path, op)
        elif kind == "delete":
            self._require(path)
            self._check_expected(path, op)
            self._remove(path)
        else:
            self._write_file(kind, path, op)

    def changes(self) -> dict[str, bytes | None]:
        """Return the files that differ now, with their new content."""
        for path in sorted(self.edited):
            self._flush(path)
        for page in sorted(self.unwritten):
            self.content(page)
        changed = self.changed.items()
        return {path: content for path, content in changed if content != self.files.get(path)}

    def _write_file(self, kind: str, path: str, op: Mapping[str, Any]) -> None:
        content_id = content_id_of(op)
        if kind == "insert":
            self._require_room(path)
        else:
            self._require(path)
            self._check_expected(path, op)
        content = content_of(op, content_id, self.fetch)
        names = names_of_op(op) if self.rule > 1 else None
        if path in self.edited:  # the page of names must describe the notes that the new content replaces
            self._set_page(path, None)
            self.unwritten[names_path(path)] = self.scores[path]
            self.names[path] = self.scores[path].names_before()
        if path in self.edited or content != self.content(path):
            self._forget(path)
            self.changed[path] = content
        if names is not None and is_page_of(content, names, self.findings.find):
            self._forget(path)
            self._set_page(path, names)

    def _patch(self, index: int, path: str, op: Mapping[str, Any]) -> None:
        check_patch(op, NOTE_DOMAIN)
        source: Any = op.get("from_address")
        self._check_expected(source or path, op)
        if source not in {None, path}:
            self._rename(source, path)
        try:
            if op["child_ops"]:
                self._edit_notes(index, path, op["child_ops"])
        except DomainError as error:
            if source in {None, path}:
                raise
            self.ignored.append(IgnoredOp(index, path, str(error)))  # the rename took effect

    def _edit_notes(self, index: int, path: str, child_ops: Sequence[Any]) -> None:
        score = self.score(path)
        score.check_editable()
        for child in child_ops:
            try:
                edit = read_note_edit(child)
                before = score.notes.get(edit.entity_id)
                edit.apply_to(score)
            except DomainError as error:
                self.ignored.append(IgnoredOp(index, f"{path}/{address_of(child)}", str(error)))
                continue
            if self.on_edit is not None:
                self.on_edit(EditedNote(index, path, edit, before, score))
            self.scores[path] = score
            self.edited.add(path)

    def score(self, path: str) -> Score:
        """Open the score at `path`, a new one where there is no file."""
        if path in self.scores:
            return self.scores[path]
        if path in self.unreadable:
            raise DomainError(f"{path}: {self.unreadable[path]}", path=path)
        content = self.content(path)
        if content is None:
            self._require_room(path)
            return RULES[self.rule][0]()
        find = self.findings.find
        try:
            names = self.names.get(path) or RULES[self.rule][1](self.content(names_path(path)), find)
            if path in self.changed:  # it may get other content again
                self.names[path] = names
            self.scores[path] = names.identify(content, find)
        except DomainError as error:
            self.unreadable[path] = str(error)
            raise DomainError(f"{path}: {error}", path=path) from error
        return self.scores[path]

    def _rename(self, source: str, target: str) -> None:
        """Move a file; a score that is ahead of its bytes goes along, and is not written for that."""
        self._require(source)
        self._require_room(target)
        score, fault, is_edited = self.scores.get(source), self.unreadable.get(source), source in self.edited
        names, unwritten = self.names.get(source), self.unwritten.pop(names_path(source), None)
        content, page = self.content(source), self.content(names_path(source))
        self._remove(source)
        self.changed[target] = content
        self._set_page(target, page)
        if unwritten is not None:
            self.unwritten[names_path(target)] = unwritten
        if names is not None:
            self.names[target] = names
        if score is not None:
            self.scores[target] = score
        if fault is not None:
            self.unreadable[target] = fault
        if is_edited:
            self.edited.add(target)

    def _flush(self, path: str) -> None:
        """Bring the bytes of an edited score up to date."""
        if path in self.edited:
            self.changed[path], page = self.scores[path].write()
            self._set_page(path, page)
            self.edited.discard(path)

    def _remove(self, path: str) -> None:
        self._forget(path)
        self.changed[path] = None
        self._set_page(path, None)

    def _set_page(self, path: str, page: bytes | None) -> None:
        """Give the file at `path` another page of names, or none."""
        self.changed[names_path(path)] = page
        self.unwritten.pop(names_path(path), None)
        self.names.pop(path, None)

    def _forget(self, path: str) -> None:
        if (score := self.scores.pop(path, None)) is not None:
            score.retire()
        self.edited.discard(path)
        self.unreadable.pop(path, None)

    def content(self, path: str) -> bytes | None:
        """Return the bytes of a file, without the edits of its notes; None if it does not exist."""
        if path in self.unwritten:
            self.changed[path] = self.unwritten.pop(path).write()[1]
        return self.changed[path] if path in self.changed else self.files.get(path)

    def exists(self, path: str) -> bool:
        """Tell whether a file is in the tree as it is now."""
        if path in self.unwritten:
            return self.unwritten[path].has_page()
        return path in self.edited or self.content(path) is not None

    def data(self, path: str) -> bytes | None:
        """Return the bytes that the file would have if it were written now."""
        return self.scores[path].data_again() if path in self.edited else self.content(path)

    def _check_expected(self, path: str, op: Mapping[str, Any]) -> None:
        expected = expected_of(op)
        if expected is None:
            return
        content_id = expected.get("content_id")
        data = self.data(path) if content_id is not None else None
        if not self.exists(path) or (data is not None and content_id != object_id(data)):
            raise DomainError(f"{path!r} is not as the op expects it: it was changed or deleted since")

    def _require(self, path: str) -> None:
        if not self.exists(path):
            raise DomainError(f"there is no file {path!r}: it was deleted or renamed, or never inserted")

    def _require_room(self, path: str) -> None:
        """Raise DomainError unless a file can be made at `path`."""
        if self.exists(path):
            raise DomainError(f"a file {path!r} is already there")
        places = (path, names_path(path))
        for place in places:
            for parent in parents_of(place):
                if self.exists(parent):
                    raise DomainError(f"{parent!r} is a file, so {place!r} cannot be in it")
            if self._is_directory(place):
                raise DomainError(f"{place!r} is a directory, so it cannot be a file")
        self.directories.update(parent for place in places for parent in parents_of(place))

    def _is_directory(self, path: str) -> bool:
        """Tell whether any file is below `path`; only places where a file is or was are looked at."""
        if not self.directories:
            self.directories.update(parent for file in self.files for parent in parents_of(file))
        files = (
            {*self.files, *self.changed, *self.edited, *self.unwritten} if path in self.directories else ()
        )
        return any(file.startswith(f"{path}/") and self.exists(file) for file in files)


def kind_of(op: Any) -> str:
    """Return the kind of an op on a file. Raises DomainError when it has none."""
    kind = op.get("op") if isinstance(op, Mapping) else op
    if not isinstance(op, Mapping) or not isinstance(kind, str) or kind not in FILE_OP_KINDS:
        raise DomainError(
            f"an op on a file is an object whose `op` is one of {', '.join(FILE_OP_KINDS)}, not {shown(kind)}"
        )
    return kind


def expected_of(op: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return what an op on a file expects of it: that it is there and, if it says so, its content id."""
    expected: Mapping[str, Any] | None = op.get("expected")
    if expected is None:
        return None
    content_id = expected.get("content_id", "") if isinstance(expected, Mapping) else None
    if not isinstance(content_id, str):
        raise DomainError(
            f"`expected` is an object whose `content_id`, if any, is text, not {shown(expected)}"
        )
    return expected


def content_id_of(op: Mapping[str, Any]) -> str:
    """Return the object id of the content that an op on a whole file brings."""
    return digest_of(op, "content_id" if op["op"] == "insert" else "new_content_id")


def content_of(op: Mapping[str, Any], content_id: str, fetch: Fetch | None) -> bytes:
    """Get the bytes that an op names and check them; without `fetch`, only those it carries."""
    if "content" in op:
        content = _decoded(op["content"])
    elif fetch is None:
        return b""
    else:
        content = _fetched(content_id, fetch)
    if object_id(content) != content_id:
        raise DomainError(f"the content does not have the sha256 {content_id}: send the bytes again")
    return content


def names_of_op(op: Mapping[str, Any]) -> bytes | None:
    """Get the page of names that comes with a whole file, if one does."""
    names = op.get("names")
    if names is None:
        return None
    if not isinstance(names, str):
        raise DomainError(f"`names` is the text of a page of names, not {shown(names)}")
    return names.encode(errors="replace")


def _decoded(text: Any) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (TypeError, ValueError, binascii.Error) as error:
        raise DomainError("`content` is not base64: encode the file's bytes in base64") from error


def _fetched(content_id: str, fetch: Fetch) -> bytes:
    try:
        return fetch(content_id)
    except (NotFoundError, KeyError) as error:
        raise DomainError(
            f"no object {content_id} is in the store: put the bytes in the op's `content`"
        ) from error
