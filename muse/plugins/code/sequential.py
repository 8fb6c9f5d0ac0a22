"""Applies the code ops of a stored delta one after the other, by their positions. Pure, without a CRDT."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from muse.domain import Application, IgnoredOp
from muse.errors import DomainError
from muse.plugins.code.document import check_place
from muse.plugins.code.encodings import check_text, decode, detect
from muse.plugins.code.ops import CodeOp, read_op
from muse.plugins.op_fields import Fetch, address_of, parents_of


def apply_code(files: Mapping[str, bytes], ops: Sequence[Mapping[str, Any]], fetch: Fetch) -> Application:
    """Apply `ops` in order; see `DomainPlugin.apply`. An op's `update` is not looked at."""
    tree = _Tree(files, fetch)
    for index, op in enumerate(ops):
        try:
            tree.apply(index, read_op(op))
        except DomainError as error:
            tree.ignored.append(IgnoredOp(index, address_of(op), str(error)))
    return Application(tree.changes(), tree.ignored)


class _Tree:
    """`files` with changes: a text in `texts` is newer than the bytes."""

    def __init__(self, files: Mapping[str, bytes], fetch: Fetch) -> None:
        self._files = files
        self._fetch = fetch
        self._changed: dict[str, bytes | None] = {}
        self._texts: dict[str, tuple[str, str]] = {}  # path -> text, encoding
        self._directories: Counter[str] | None = None  # how many files are below each
        self.ignored: list[IgnoredOp] = []

    def changes(self) -> dict[str, bytes | None]:
        for path in list(self._texts):
            self._flush(path)
        changed = self._changed.items()
        return {path: content for path, content in changed if content != self._files.get(path)}

    def apply(self, index: int, op: CodeOp) -> None:
        if op.kind == "edit":
            self._edit(op)
        elif op.kind == "create":
            self._require_room(op.path)
            content = op.whole(self._fetch)
            op.encoding_of(content)
            self._put(op.path, content)
        elif op.kind == "remove":
            self._take(op.path)
        elif op.kind == "move":
            self._move(op.path, op.to_path)
        elif op.kind == "rewrite":
            present = self._content(op.path)
            encoding = None if op.text is None else detect(present)
            content = op.whole(self._fetch) if op.text is None else op.text.encode(encoding or "utf-8")
            self._texts.pop(op.path, None)
            self._changed[op.path] = content
        else:
            self._patch(index, op)

    def _patch(self, index: int, op: CodeOp) -> None:
        if op.from_path:
            self._move(op.from_path, op.path)
        for edit in op.children:
            try:
                self._edit(edit)
            except DomainError as error:
                self.ignored.append(IgnoredOp(index, op.path, str(error)))

    def _edit(self, op: CodeOp) -> None:
        if op.path not in self._texts:
            content = self._content(op.path)
            encoding = detect(content)
            if encoding is None:
                raise DomainError(f"{op.path!r} is not a text: it can be replaced as a whole")
            self._texts[op.path] = (decode(content, encoding), encoding)
        text, encoding = self._texts[op.path]
        added = op.text or ""
        check_place(op.position, op.length, len(text))
        check_text(added, encoding)
        self._texts[op.path] = (text[: op.position] + added + text[op.position + op.length :], encoding)

    def _move(self, path: str, to_path: str) -> None:
        content = self._take(path)
        try:
            self._require_room(to_path)
        except DomainError:
            self._put(path, content)
            raise
        self._put(to_path, content)

    def _flush(self, path: str) -> None:
        if path in self._texts:
            text, encoding = self._texts.pop(path)
            self._changed[path] = text.encode(encoding)

    def _find(self, path: str) -> bytes | None:
        self._flush(path)
        return self._changed[path] if path in self._changed else self._files.get(path)

    def _content(self, path: str) -> bytes:
        content = self._find(path)
        if content is None:
            raise DomainError(f"there is no file {path!r}: it was removed or moved, or never made")
        return content

    def _put(self, path: str, content: bytes) -> None:
        self._known_directories().update(parents_of(path))
        self._changed[path] = content

    def _take(self, path: str) -> bytes:
        content = self._content(path)
        self._known_directories().subtract(parents_of(path))
        self._changed[path] = None
        return content

    def _known_directories(self) -> Counter[str]:
        if self._directories is None:
            self._directories = Counter(parent for path in self._files for parent in parents_of(path))
        return self._directories

    def _require_room(self, path: str) -> None:
        if self._find(path) is not None:
            raise DomainError(f"a file {path!r} is already there")
        if self._known_directories()[path]:
            raise DomainError(f"{path!r} is a directory, so it cannot be a file")
        for parent in parents_of(path):
            if self._find(parent) is not None:
                raise DomainError(f"{parent!r} is a file, so {path!r} cannot be in it")
