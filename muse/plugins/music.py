"""The music domain: ops on a tree of files, and on the notes inside its MIDI files. Pure.

On files: `insert`, `delete` and `replace` of a whole file, whose bytes are in the op's `content`
(base64) or in the store under its content id; a `patch` with `from_address` renames. On notes: a
`patch` of child domain `midi_notes`, its child ops as `note_ops` describes.

Ops stand in an append-only log, so a bad one must not stand in the way of the others: whatever
cannot take effect is listed as ignored, with the reason.
"""

import base64
import binascii
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from muse.core.content_id import object_id
from muse.domain import Application, IgnoredOp
from muse.errors import DomainError, NotFoundError
from muse.plugins.identified_score import NAMES_DIRECTORY, IdentifiedScore, identify, names_path
from muse.plugins.midi_file import shown
from muse.plugins.note_ops import NOTE_DOMAIN, read_note_edit

FILE_OP_KINDS = ("insert", "delete", "replace", "patch")
PATH_LENGTH = 1024
NAME_BYTES = 250  # file systems allow 255 for one part of a path, and a page of names adds `.json`
_RESERVED = (".muse", NAMES_DIRECTORY)
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_SHA256 = re.compile(r"[0-9a-f]{64}")

Fetch = Callable[[str], bytes]


class MusicPlugin:
    """Applies music ops. Stateless, and as pure as `DomainPlugin` asks."""

    def apply(
        self, files: Mapping[str, bytes], ops: Sequence[Mapping[str, Any]], fetch: Fetch
    ) -> Application:
        """Apply `ops` in order. Raises nothing over an op, only what `fetch` raises of a broken store.

        Applying a part of the ops, and then the rest to the outcome, gives the same bytes as all at once.
        """
        tree = _Tree(files, fetch)
        for index, op in enumerate(ops):
            try:
                tree.apply(index, op)
            except DomainError as error:
                tree.ignored.append(IgnoredOp(index, _address(op), str(error)))
        return Application(tree.changes(), tree.ignored)


def check_op(op: Any) -> None:
    """Check an op before it is logged. Raises DomainError, saying what is wrong, and nothing else.

    An op that passes is one that `MusicPlugin.apply` can apply, the state of the tree allowing; of
    a `patch`, every child op must pass.
    """
    kind = _kind(op)
    check_path(op.get("address"))
    if kind == "patch":
        _check_patch(op)
        for child in op["child_ops"]:
            read_note_edit(child)
    elif kind != "delete":
        _content(op, _content_id(op), fetch=None)


def check_path(path: Any) -> None:
    """Check where a file may be. Raises DomainError for a path outside the tree or in Muse's own places."""
    if not isinstance(path, str) or not 0 < len(path) <= PATH_LENGTH:
        raise DomainError(
            f"the address of a file is a path of 1 to {PATH_LENGTH} characters, not {shown(path)}"
        )
    parts = path.split("/")
    if any(part in {"", ".", ".."} or _UNPRINTABLE.search(part) for part in parts):
        raise DomainError(f"{shown(path)} is no path inside the tree: give names, with '/' between them")
    if any(len(part.encode()) > NAME_BYTES for part in parts):
        raise DomainError(f"{shown(path)} has a name of more than {NAME_BYTES} bytes: give a shorter one")
    if parts[0] in _RESERVED:
        raise DomainError(f"{shown(path)} is in a directory that Muse keeps for itself: choose another")


@dataclass(slots=True)
class _Tree:
    """The files while ops are applied. `files` is never changed; `changed` holds what differs.

    A score in `scores` is ahead of its bytes when its path is in `edited`. `unreadable` remembers,
    by path, why the bytes are not MIDI, so that they are parsed once; `directories` all that files
    have been in.
    """

    files: Mapping[str, bytes]
    fetch: Fetch
    changed: dict[str, bytes | None] = field(default_factory=dict)
    scores: dict[str, IdentifiedScore] = field(default_factory=dict)
    edited: set[str] = field(default_factory=set)
    unreadable: dict[str, DomainError] = field(default_factory=dict)
    directories: set[str] = field(default_factory=set)
    ignored: list[IgnoredOp] = field(default_factory=list)

    def apply(self, index: int, op: Any) -> None:
        """Apply one op, or raise DomainError; parts of a patch without effect go to `ignored`."""
        kind = _kind(op)
        path = op.get("address")
        check_path(path)
        if kind == "patch":
            self._patch(index, path, op)
        elif kind == "delete":
            self._require(path)
            self._remove(path)
        else:
            self._write_file(kind, path, op)

    def changes(self) -> dict[str, bytes | None]:
        """Tell which files differ now, with their new content."""
        for path in sorted(self.edited):
            self._flush(path)
        changed = self.changed.items()
        return {path: content for path, content in changed if content != self.files.get(path)}

    def _write_file(self, kind: str, path: str, op: Mapping[str, Any]) -> None:
        content_id = _content_id(op)
        if kind == "insert":
            self._require_room(path)
        else:
            self._require(path)
        content = _content(op, content_id, self.fetch)
        self._flush(path)  # the page of names must describe the notes that the new content replaces
        self._forget(path)
        self.changed[path] = content

    def _patch(self, index: int, path: str, op: Mapping[str, Any]) -> None:
        _check_patch(op)
        source: Any = op.get("from_address")
        if source not in {None, path}:
            self._rename(source, path)
        if op["child_ops"]:
            self._edit_notes(index, path, op["child_ops"])

    def _edit_notes(self, index: int, path: str, child_ops: Sequence[Any]) -> None:
        score = self._score(path)
        effective = False
        for child in child_ops:
            try:
                read_note_edit(child).apply_to(score)
                effective = True
            except DomainError as error:
                self.ignored.append(IgnoredOp(index, f"{path}/{_address(child)}", str(error)))
        if effective:
            self.scores[path] = score
            self.edited.add(path)

    def _score(self, path: str) -> IdentifiedScore:
        """Open the score at `path`, a new one where there is no file."""
        if path in self.scores:
            return self.scores[path]
        if path in self.unreadable:
            raise self.unreadable[path]
        content = self._content(path)
        if content is None:
            self._require_room(path)
            return IdentifiedScore()
        try:
            self.scores[path] = identify(content, self._content(names_path(path)))
        except DomainError as error:
            self.unreadable[path] = DomainError(f"{path}: {error}", path=path)
            raise self.unreadable[path] from error
        return self.scores[path]

    def _rename(self, source: str, target: str) -> None:
        self._require(source)
        self._require_room(target)
        self._flush(source)
        content, page = self._content(source), self._content(names_path(source))
        self._remove(source)
        self.changed[target] = content
        self.changed[names_path(target)] = page

    def _flush(self, path: str) -> None:
        """Bring the bytes of an edited score up to date."""
        if path in self.edited:
            self.changed[path], self.changed[names_path(path)] = self.scores[path].write()
            self.edited.discard(path)

    def _remove(self, path: str) -> None:
        self._forget(path)
        self.changed[path] = self.changed[names_path(path)] = None

    def _forget(self, path: str) -> None:
        self.scores.pop(path, None)
        self.edited.discard(path)
        self.unreadable.pop(path, None)

    def _content(self, path: str) -> bytes | None:
        return self.changed[path] if path in self.changed else self.files.get(path)

    def _exists(self, path: str) -> bool:
        return path in self.edited or self._content(path) is not None

    def _require(self, path: str) -> None:
        if not self._exists(path):
            raise DomainError(f"there is no file {path!r}: it was deleted or renamed, or never inserted")

    def _require_room(self, path: str) -> None:
        """Raise DomainError unless a file can be made at `path`."""
        if self._exists(path):
            raise DomainError(f"a file {path!r} is already there")
        places = (path, names_path(path))
        for place in places:
            for parent in _parents(place):
                if self._exists(parent):
                    raise DomainError(f"{parent!r} is a file, so {place!r} cannot be in it")
            if self._is_directory(place):
                raise DomainError(f"{place!r} is a directory, so it cannot be a file")
        self.directories.update(parent for place in places for parent in _parents(place))

    def _is_directory(self, path: str) -> bool:
        """Tell whether any file is below `path`; looks only where a file is, or once was."""
        if not self.directories:
            self.directories.update(parent for file in self.files for parent in _parents(file))
        files = {*self.files, *self.changed, *self.edited} if path in self.directories else ()
        return any(file.startswith(f"{path}/") and self._exists(file) for file in files)


def _parents(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:depth]) for depth in range(1, len(parts))]


def _kind(op: Any) -> str:
    """Tell the kind of an op on a file. Raises DomainError when it has none."""
    kind = op.get("op") if isinstance(op, Mapping) else op
    if not isinstance(op, Mapping) or not isinstance(kind, str) or kind not in FILE_OP_KINDS:
        raise DomainError(
            f"an op on a file is an object whose `op` is one of {', '.join(FILE_OP_KINDS)}, not {shown(kind)}"
        )
    return kind


def _check_patch(op: Mapping[str, Any]) -> None:
    child_ops, source = op.get("child_ops"), op.get("from_address")
    if not isinstance(child_ops, list | tuple):
        raise DomainError(f"`child_ops` is a list, not {shown(child_ops)}")
    if child_ops and op.get("child_domain") != NOTE_DOMAIN:
        raise DomainError(f"`child_domain` is {NOTE_DOMAIN!r}, not {shown(op.get('child_domain'))}")
    if source is not None:
        check_path(source)
    if not child_ops and source in {None, op.get("address")}:
        raise DomainError("the patch has no child ops and renames nothing: give one or the other")


def _content_id(op: Mapping[str, Any]) -> str:
    name = "content_id" if op["op"] == "insert" else "new_content_id"
    content_id = op.get(name)
    if not isinstance(content_id, str) or not _SHA256.fullmatch(content_id):
        raise DomainError(f"`{name}` is a sha256 in 64 hex digits, lower case, not {shown(content_id)}")
    return content_id


def _content(op: Mapping[str, Any], content_id: str, fetch: Fetch | None) -> bytes:
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


def _address(op: Any) -> str:
    """Tell what an op names, for the list of ignored ones; "" when it names nothing."""
    address = op.get("address") if isinstance(op, Mapping) else None
    return address if isinstance(address, str) else ""
