"""Makes the ops of what was done to texts, and to all files that are no MIDI files."""

import secrets
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import msgspec

from muse.apply.domains import read_state
from muse.core.content_id import object_id
from muse.errors import CorruptionError, DomainError, NotFoundError
from muse.history.repository import TreeFiles
from muse.plugins.code.document import Patch, TextDocument
from muse.plugins.code.encodings import decode, detect
from muse.plugins.code.file_ids import DOMAIN as CODE
from muse.plugins.code.file_ops import (
    check_patch_of_text,
    creation_op,
    hunk_op,
    removal_op,
    renaming_op,
    replacement_op,
)
from muse.plugins.code.hunks import additions_between, patches_between
from muse.plugins.code.live_tree import LiveFile, LiveTree
from muse.plugins.code.ops import encoded, pieces_of
from muse.plugins.code.update import client_of, read_update, write_insert
from muse.workdir.base import BaseFile, BaseStore
from muse.workdir.newest import Newest
from muse.workdir.step import INLINE_BYTES, LeftOutError, NoTextError, Step, no_text_reason


@dataclass(frozen=True, slots=True)
class _Copy:
    """A file as it was in the base: `state` is the document of a text, of which `encoding` is known.

    `lifts` is how often one that is no text was brought back with its content.
    """

    file_id: str
    blob: str
    content: bytes = b""
    encoding: str | None = None
    state: bytes = b""
    heads: tuple[str, ...] = ()
    lifts: int = 0

    def document(self) -> TextDocument:
        """Return the document, to be edited as a client that is new."""
        return _document(self.file_id, self.state)


class CodeSteps:
    """Makes steps for files of the code domain, from their base and the newest state of a session."""

    def __init__(self, newest: Newest, store: BaseStore) -> None:
        self._newest = newest
        self._store = store
        self._seed = secrets.token_hex(16)
        self._tree_at = lru_cache(maxsize=4)(self._read_tree)

    def create(self, path: str, content: bytes) -> Step:
        """Make a new file."""
        file_id = uuid.uuid4().hex
        op, stored = _carrying(creation_op(path, content, file_id), content)
        row = BaseFile(object_id(content), file_id=file_id)
        if (encoding := detect(content)) is not None:
            row = self._row(row.digest, file_id, encoding, new_document(file_id, decode(content, encoding)))
        return Step(path, CODE, [op], {path: row}, self._newest.heads(CODE), stored)

    def change(self, path: str, row: BaseFile, content: bytes) -> Step:
        """Say what was done to a file since its base: to a text by its characters, else as a whole."""
        if (document := self._remembered(path, row)) is not None:
            heads = row.heads or self._newest.heads(CODE)
            known = _Copy(row.file_id, row.blob, encoding=row.encoding, heads=heads)
            return self._edit(path, known, document, content)
        copy = self._copy(path, row)
        is_changed = self._newest.digests.get(path) != row.digest
        if is_changed and (self._is_binary(row) if copy is None else copy.encoding is None):
            raise LeftOutError(
                f"others changed or moved {path} since you had it, and a file of this kind cannot be merged: "
                "move yours to another name, then theirs is brought"
            )
        if copy is None:
            return self.add_to(path, content)
        if copy.encoding is None and detect(content) is not None:
            return self.put_whole(path, row, content)  # a text from now on, in which many may write
        if copy.encoding is None:
            return self._replace(path, copy, content)
        return self._edit(path, copy, copy.document(), content)

    def _edit(self, path: str, copy: _Copy, document: TextDocument, content: bytes) -> Step:
        """Edit a document of the base until it has a content."""
        encoding = copy.encoding or ""
        patches = patches_between(document.text, _text_of(path, content, encoding))
        ops = _patched(path, document, copy, patches)
        after = self._row(object_id(content), copy.file_id, encoding, document)
        self._newest.documents.keep(after.part, document)
        return Step(path, CODE, ops, {path: after}, copy.heads)

    def put_whole(self, path: str, row: BaseFile, content: bytes) -> Step:
        """Put what is no text in the place of one, or the other way round, as another file.

        Raises `LeftOutError` if others wrote in it.
        """
        if self._newest.digests.get(path) != row.digest:
            raise LeftOutError(
                f"others changed {path} since you had it, and yours is of another kind: move yours to "
                "another name, then theirs is brought"
            )
        removal, creation = self.remove(path, row), self.create(path, content)
        ops = [*removal.ops, *creation.ops]
        return Step(path, CODE, ops, creation.after, removal.heads, creation.stored)

    def is_begun(self, path: str, row: BaseFile, content: bytes) -> bool:
        """Return whether what the session has is the start of a file that its only author goes on to write.

        A program makes a file, and then fills it: until then it is empty, or has no byte yet that is no text.
        """
        if self._newest.digests.get(path) != row.digest:
            return False
        begun = self._present(path)
        if not begun.content:
            return True
        is_start = begun.encoding is not None and content.startswith(begun.content)
        return is_start and self._newest.is_only_by_actor(path, begun.file_id)

    def add_to(self, path: str, content: bytes) -> Step:
        """Say what a file has that the session has not, where nothing is known of their base.

        Nothing is taken away: what is missing here may be what others wrote.
        """
        if path not in self._newest.digests:
            return self.create(path, content)
        copy = self._present(path)
        if copy.encoding is None:
            raise LeftOutError(
                f"the session has another file {path}, and what was here before is not known: move yours to "
                "another name"
            )
        document = copy.document()
        text = _text_of(path, content, copy.encoding)
        ops = _patched(path, document, copy, additions_between(document.text, text))
        # The document is not of this content: should it be a base once more, nothing is known of it again.
        after = BaseFile(object_id(content), file_id=copy.file_id, part=self._store.keep(document.state()))
        return Step(path, CODE, ops, {path: after}, copy.heads)

    def remove(self, path: str, row: BaseFile) -> Step:
        """Remove a file. A text stays if others wrote in it since."""
        copy = self._copy(path, row)
        if copy is None or (copy.encoding is None and self._newest.digests.get(path) != row.digest):
            return Step(path, CODE, [], {path: None})
        vector = None if copy.encoding is None else copy.document().vector
        op = removal_op(path, copy.file_id, copy.content, vector, copy.blob, lifts=copy.lifts)
        return Step(path, CODE, [op], {path: None}, copy.heads)

    def rename(self, path: str, to: str, row: BaseFile) -> Step:
        """Give a file another path. What others do to it meanwhile follows it."""
        copy = self._copy(path, row)
        if copy is None:
            raise LeftOutError(
                f"nothing is known of {path}, so {to} cannot be the same file: record it as new"
            )
        op = renaming_op(path, to, copy.file_id, copy.content, copy.blob)
        part = self._store.keep(copy.state) if copy.state else ""
        encoding = copy.encoding or ""
        after = BaseFile(row.digest, file_id=copy.file_id, blob=copy.blob, part=part, encoding=encoding)
        return Step(to, CODE, [op], {path: None, to: after}, copy.heads)

    def merged(self, path: str, row: BaseFile, content: bytes) -> bytes:
        """Return what the session has at `path`, with what was done here since the base, not recorded.

        Raises `LeftOutError` for what is no text on all sides.
        """
        copy = self._copy(path, row)
        file, _ = self._newest.replica.live_file(path)
        if copy is None or copy.encoding is None or file.document is None or file.file_id != copy.file_id:
            raise LeftOutError(
                f"others changed {path} since you had it, and so did you, and it is no text "
                "that could be merged: move yours to another name, then it is brought"
            )
        document = copy.document()
        merging = file.document.fork(client_of(self._seed))
        text = _text_of(path, content, copy.encoding)
        for patch in patches_between(document.text, text):
            if update := document.edit_in_lines(patch):
                merging.apply(read_update(update))
        return merging.text.encode(copy.encoding)

    def row_of(self, path: str) -> BaseFile:
        """Return what is to be remembered of a file that is as the session has it now."""
        digest = self._newest.digests[path]
        if self._newest.is_committed(path):
            return BaseFile(digest, commit=self._newest.head or "")
        copy = self._present(path)
        row = BaseFile(digest, file_id=copy.file_id, blob=copy.blob, heads=copy.heads)
        if copy.encoding is None:
            return row
        return msgspec.structs.replace(row, part=self._store.keep(copy.state), encoding=copy.encoding)

    def content_of(self, path: str, row: BaseFile) -> bytes | None:
        """Return the content that a file had in its base; None if that is lost."""
        try:
            copy = self._copy(path, row)
        except DomainError:
            return None
        return None if copy is None else copy.content

    def present_path(self, path: str, row: BaseFile) -> str | None:
        """Return where a file of the base is in the session now; None if it was removed, or is not known."""
        try:
            copy = self._copy(path, row)
        except DomainError:
            return None
        return None if copy is None else self._newest.replica.path_of(copy.file_id)

    # -- the base --------------------------------------------------------------------------------

    def _copy(self, path: str, row: BaseFile) -> _Copy | None:
        """Return a file as it was in the base; None if that is lost."""
        if self._newest.digests.get(path) == row.digest:
            if self._newest.is_known and row.commit and (copy := self._committed(path, row)) is not None:
                return replace(copy, heads=self._newest.heads(CODE))
            present = self._present(path)
            if object_id(present.content) == row.digest:  # or else others have just worked in it
                # What it follows from is less than all that is here.
                return replace(present, heads=row.heads) if row.heads else present
        if row.file_id:
            copy = self._kept(row)
            return copy if copy is not None and object_id(copy.content) == row.digest else None
        copy = self._committed(path, row)
        return copy and replace(copy, heads=self._newest.heads_at(CODE, row.commit))

    def _remembered(self, path: str, row: BaseFile) -> TextDocument | None:
        """Return the document of a text that the session has as the base does; None if more is to be read."""
        if not row.encoding or self._newest.digests.get(path) != row.digest:
            return None
        if (document := self._newest.documents.take(row.part)) is not None:
            return document
        state = self._store.part(row.part)
        document = None if state is None else _document(row.file_id, state)
        is_so = document is not None and object_id(document.text.encode(row.encoding)) == row.digest
        return document if is_so else None

    def _present(self, path: str) -> _Copy:
        file, blob = self._newest.replica.live_file(path)
        return _copy_of(file, blob, self._newest.heads(CODE))

    def _kept(self, row: BaseFile) -> _Copy | None:
        file = self._newest.replica.file_of(row.file_id)
        if file is None:
            return None
        if file.encoding is None:
            content = self._store.part(row.digest)
            return None if content is None else _Copy(row.file_id, row.blob, content, heads=row.heads)
        state = self._store.part(row.part)
        if state is None:
            return None
        content = TextDocument(0, state).text.encode(file.encoding)
        return _Copy(row.file_id, row.blob, content, file.encoding, state, row.heads)

    def _committed(self, path: str, row: BaseFile) -> _Copy | None:
        try:
            file, blob = self._tree_at(row.commit).open(path)
        except (DomainError, NotFoundError, CorruptionError):
            return None
        copy = _copy_of(file, blob or file.base, ())
        return copy if object_id(copy.content) == row.digest else None

    def _read_tree(self, commit_id: str) -> LiveTree:
        repository = self._newest.repository
        files = TreeFiles(repository, repository.read_tree(commit_id or None))
        state = read_state(repository, commit_id or None, CODE)
        return LiveTree(files, state, repository.objects.get, self._seed)

    def _row(self, digest: str, file_id: str, encoding: str, document: TextDocument) -> BaseFile:
        """Keep the document of a text, and return what is to be remembered of it."""
        part = self._store.keep(document.state())
        return BaseFile(digest, file_id=file_id, part=part, encoding=encoding)

    def _is_binary(self, row: BaseFile) -> bool:
        file = self._newest.replica.file_of(row.file_id) if row.file_id else None
        return file is not None and file.encoding is None

    def _replace(self, path: str, copy: _Copy, content: bytes) -> Step:
        op, stored = _carrying(replacement_op(path, copy.file_id, copy.content, content, copy.blob), content)
        after = BaseFile(object_id(content), file_id=copy.file_id)
        return Step(path, CODE, [op], {path: after}, copy.heads, stored)


def _copy_of(file: LiveFile, blob: str, heads: tuple[str, ...]) -> _Copy:
    state, lifts = (b"", file.lifts) if file.document is None else (file.document.state(), 0)
    return _Copy(file.file_id, blob, file.whole(), file.encoding, state, heads, lifts)


def _document(file_id: str, state: bytes) -> TextDocument:
    """Return a document, to be edited as a client that is new."""
    return TextDocument(client_of(secrets.token_hex(16), file_id), state)


def new_document(file_id: str, text: str) -> TextDocument:
    """Return the document of a file that came with `text`: the same on every replica."""
    document = TextDocument(client_of("new", file_id))
    if text:
        document.apply(read_update(write_insert(client_of(file_id), 0, None, None, text)))
    return document


def _text_of(path: str, content: bytes, encoding: str) -> str:
    try:
        return decode(content, encoding)
    except DomainError as error:
        raise NoTextError(no_text_reason(path, f" in {encoding}")) from error


def _patched(
    path: str, document: TextDocument, copy: _Copy, patches: Sequence[Patch]
) -> list[dict[str, Any]]:
    """Apply patches to the copy of a file; return the ops that say so."""
    ops: list[dict[str, Any]] = []
    for patch in patches:
        check_patch_of_text(path, document, copy.encoding, patch)
        ops += [hunk_op(path, document, piece) | {"file_id": copy.file_id} for piece in pieces_of(patch)]
    if ops and copy.blob:
        ops[0]["base"] = copy.blob
    return ops


def _carrying(op: Mapping[str, Any], content: bytes) -> tuple[dict[str, Any], list[bytes]]:
    """Put a content into its op; a large one is to be stored."""
    if len(content) > INLINE_BYTES:
        return dict(op), [content]
    encoding = detect(content)
    if encoding == "utf-8" and op["op"] == "insert":
        return {**op, "text": content.decode()}, []
    return {**op, "base64": encoded(content)}, []
