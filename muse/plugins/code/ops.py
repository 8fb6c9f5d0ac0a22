"""Code ops: what makes one valid, and how one is made. Pure. See `docs/code_domain.md`."""

import binascii
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Literal, NamedTuple

import orjson

from muse.core.content_id import CONTENT_ID_PATTERN, object_id
from muse.errors import DomainError, NotFoundError
from muse.plugins.code.encodings import ENCODINGS, check_text, decode, detect
from muse.plugins.code.file_ids import FRESH_DIGITS, Stamp
from muse.plugins.code.update import (
    MAX_CLIENT,
    Update,
    Vector,
    read_update,
    read_vector,
    utf16_length,
)
from muse.plugins.op_fields import Fetch, check_patch, check_path, digest_of, shown

TEXT_DOMAIN = "code_text"
"""The child domain of a `patch` of text edits."""

Kind = Literal["edit", "create", "remove", "move", "rewrite", "patch"]

INLINE_BYTES = 1 << 19
"""So much of a whole file is in its op; a larger one is in the store."""

_FILE_ID = re.compile(rf"[0-9a-f]{{{FRESH_DIGITS}}}|{CONTENT_ID_PATTERN}")
_MAX_POSITION = 2**31
_OP_BYTES = 1_000_000  # the longest line has 1 MiB, with causes, path and names
_PIECE_LENGTH = 1 << 15  # as many characters never take as much, whatever they are
_SHORT = 16
_SUMMARY_LENGTH = 40


class Cause(NamedTuple):
    """What an op waits for: a file; or of its text what a client wrote before a clock.

    With `goes`, the character of the client at that clock has to go.
    """

    file_id: str
    client: int | None = None
    clock: int = 0
    goes: bool = False


class AbsentCauseError(DomainError):
    """Something that this op builds on has not arrived: `cause`, or an object."""

    def __init__(self, message: str, cause: Cause | None = None) -> None:
        super().__init__(message)
        self.cause = cause


class AbsentObjectError(AbsentCauseError):
    """The object `content_id`, which this op names, has not arrived."""

    def __init__(self, content_id: str) -> None:
        super().__init__(f"no object {content_id} is in the store: put it there, or the content in the op")
        self.content_id = content_id


_BEHIND = "+"


def own_stamp(stamp: Stamp) -> Stamp:
    """Return the stamp of the op itself, where it counts behind another."""
    _, *behind = stamp[2].split(_BEHIND, 3)
    return (int(behind[0]), behind[2], behind[1]) if len(behind) == 3 else stamp


def first_stamp(stamp: Stamp) -> Stamp:
    """Return the stamp behind which an op counts; its own, where it counts there."""
    return stamp[0], stamp[1], stamp[2].partition(_BEHIND)[0]


class CodeOp(NamedTuple):
    """A code op, read and checked. An op without `file_id` is raw: it means the version that its author saw.

    "edit": `length` characters at `position` go and `text` comes. "create" and "rewrite": the whole file is
    `text`, or `content`, or the object `content_id`. `base` is the object that a file in the tree was.

    An op that takes others back names them in `undoes`. `restores` has the ids of the deleted characters that
    its text brings back, `instead_of` is the stamp of the op in whose place it counts, and `lifts` how often
    a binary file of this content was brought back.
    """

    kind: Kind
    path: str
    file_id: str = ""
    base: str = ""
    position: int = 0
    length: int = 0
    text: str | None = None
    update: Update | None = None
    content: bytes | None = None
    content_id: str = ""
    encoding: str = ""
    seen: Vector | None = None
    to_path: str = ""
    children: tuple["CodeOp", ...] = ()
    from_path: str = ""
    undoes: tuple[str, ...] = ()
    restores: tuple[tuple[int, int, int], ...] = ()
    instead_of: Stamp | None = None
    lifts: int = 0

    def stamp(self, own: Stamp) -> Stamp:
        """Return the place in the total order at which the op counts: its own, or just behind another's."""
        if self.instead_of is None or self.instead_of >= own:
            return own
        lamport, actor_id, op_id = self.instead_of
        return lamport, actor_id, f"{op_id}{_BEHIND}{own[0]:020}{_BEHIND}{own[2]}{_BEHIND}{own[1]}"

    def whole(self, fetch: Fetch) -> bytes:
        """Return the file that the op brings. Raises as `fetched` does."""
        if self.content is not None:
            return self.content
        if self.text is not None:
            return self.text.encode(self.encoding or "utf-8")
        return fetched(self.content_id, fetch)

    def encoding_of(self, content: bytes) -> str | None:
        """Return the encoding of the file that the op brings; None for a binary file."""
        if self.encoding:
            decode(content, self.encoding)
            return self.encoding
        return detect(content)


def is_path(path: str) -> bool:
    """Tell whether a code file may be at `path`."""
    try:
        check_path(path)
    except DomainError:
        return False
    return True


def fetched(content_id: str, fetch: Fetch) -> bytes:
    """Return a stored object. Raises `AbsentObjectError` without it, `DomainError` for the wrong bytes."""
    try:
        content = fetch(content_id)
    except (NotFoundError, KeyError) as error:
        raise AbsentObjectError(content_id) from error
    if object_id(content) != content_id:
        raise DomainError(f"the object stored as {content_id} has another sha256: store it again")
    return content


def read_op(op: Any) -> CodeOp:
    """Read an op. Raises `DomainError`, saying what is wrong, and nothing else."""
    kind = op.get("op") if isinstance(op, Mapping) else None
    reader = _READERS.get(kind) if isinstance(kind, str) else None
    if reader is None:
        raise DomainError(
            f"a code op is an object whose `op` is one of {', '.join(_READERS)}, not {shown(kind)}"
        )
    _check_path(op.get("address"))
    found = reader(op)
    return _with_undone(op, found) if "undoes" in op or "lifts" in op else found


def _check_path(path: Any) -> None:
    if path.__class__ is str:
        _check_path_once(path)
    else:
        check_path(path)


@lru_cache(maxsize=1024)
def _check_path_once(path: str) -> None:
    check_path(path)  # of many edits in a row, most are in one file


def _read_insert(op: Mapping[str, Any]) -> CodeOp:
    if op.get("position") is not None:
        return _read_edit(op, 0, _text(op, "text"))
    encoding = _encoding(op)
    text, content = _optional_text(op, encoding), _content(op)
    if text is not None and content is not None:
        raise DomainError("a file's content is `text` or `base64`, not both")
    if content is not None and encoding:
        decode(content, encoding)
    carried = text is not None or content is not None
    file_id = _file_id(op)
    if len(file_id) > FRESH_DIGITS:
        raise DomainError("the `file_id` of a new file has 32 digits: 64 are those of a file of the tree")
    return CodeOp(
        "create",
        op["address"],
        file_id,
        text=text,
        content=content,
        content_id="" if carried else digest_of(op, "content_id"),
        encoding=encoding,
    )


def _read_delete(op: Mapping[str, Any]) -> CodeOp:
    if op.get("position") is not None:
        return _read_edit(op, _count(op, "length"), "")
    seen = read_vector(_decoded(op, "seen")) if "seen" in op else None
    return CodeOp(
        "remove",
        op["address"],
        _file_id(op),
        _base(op),
        content_id=digest_of(op, "content_id") if op.get("content_id") else "",
        seen=seen,
    )


def _read_replace(op: Mapping[str, Any]) -> CodeOp:
    if op.get("position") is not None:
        return _read_edit(op, _count(op, "length"), _text(op, "text"))
    text, content = _optional_text(op, "utf-8"), _content(op)
    if text is not None and content is not None:
        raise DomainError("a file's content is `text` or `base64`, not both")
    carried = text is not None or content is not None or ("update" in op and not op.get("new_content_id"))
    return CodeOp(
        "rewrite",
        op["address"],
        _file_id(op),
        _base(op),
        text=text,
        content=content,
        update=_update(op),
        content_id="" if carried else digest_of(op, "new_content_id"),
    )


def _read_move(op: Mapping[str, Any]) -> CodeOp:
    check_path(op.get("to_address"))
    return CodeOp("move", op["address"], _file_id(op), _base(op), to_path=op["to_address"])


def _read_patch(op: Mapping[str, Any]) -> CodeOp:
    check_patch(op, TEXT_DOMAIN)
    children, source = op["child_ops"], op.get("from_address")
    edits = tuple(
        read_op({**child, "address": op["address"]} if isinstance(child, Mapping) else child)
        for child in children
    )
    if any(edit.kind != "edit" or edit.file_id for edit in edits):
        raise DomainError("the child ops of a patch insert, delete or replace text at a position")
    return CodeOp(
        "patch", op["address"], children=edits, from_path="" if source == op["address"] else source or ""
    )


_READERS: dict[str, Callable[[Mapping[str, Any]], CodeOp]] = {
    "insert": _read_insert,
    "delete": _read_delete,
    "replace": _read_replace,
    "move": _read_move,
    "patch": _read_patch,
}


def _read_edit(op: Mapping[str, Any], length: int, text: str) -> CodeOp:
    position, file_id, update = _count(op, "position"), _file_id(op), _update(op)
    if (update is None) != (not file_id):
        raise DomainError("a text edit has both `file_id` and `update`, or neither")
    return CodeOp(
        "edit", op["address"], file_id, _base(op), position=position, length=length, text=text, update=update
    )


def _count(op: Mapping[str, Any], name: str) -> int:
    value = op.get(name)
    if type(value) is not int or not 0 <= value <= _MAX_POSITION:
        raise DomainError(f"`{name}` counts code points from 0, it cannot be {shown(value)}")
    return value


def _text(op: Mapping[str, Any], name: str) -> str:
    text = op.get(name)
    if not isinstance(text, str):
        raise DomainError(f"`{name}` is text, not {shown(text)}")
    check_text(text, "utf-8")
    return text


def _optional_text(op: Mapping[str, Any], encoding: str) -> str | None:
    if op.get("text") is None:
        return None
    text = _text(op, "text")
    check_text(text, encoding or "utf-8")
    return text


def _encoding(op: Mapping[str, Any]) -> str:
    encoding = op.get("encoding") or ""  # JSON writers say null where there is none
    if not isinstance(encoding, str) or (encoding and encoding not in ENCODINGS):
        raise DomainError(f"`encoding` is one of {', '.join(ENCODINGS)}, not {shown(encoding)}")
    return encoding


def _file_id(op: Mapping[str, Any]) -> str:
    file_id = op.get("file_id") or ""
    if not isinstance(file_id, str) or (file_id and not _FILE_ID.fullmatch(file_id)):
        raise DomainError(f"`file_id` is 32 or 64 hex digits, lower case, not {shown(file_id)}")
    return file_id


def _base(op: Mapping[str, Any]) -> str:
    return digest_of(op, "base") if op.get("base") else ""


def _content(op: Mapping[str, Any]) -> bytes | None:
    return _decoded(op, "base64") if "base64" in op else None


def _update(op: Mapping[str, Any]) -> Update | None:
    return read_update(_decoded(op, "update")) if "update" in op else None


def _decoded(op: Mapping[str, Any], name: str) -> bytes:
    try:
        return binascii.a2b_base64(op[name], strict_mode=True)
    except (TypeError, ValueError) as error:
        raise DomainError(f"`{name}` is not base64") from error


def _with_undone(op: Mapping[str, Any], found: CodeOp) -> CodeOp:
    """Add what an op says of those that it takes back."""
    undoes, restores, lifts = op.get("undoes", ()), op.get("restores", ()), op.get("lifts", 0)
    if not found.file_id:
        raise DomainError("an op that takes others back has a `file_id`")
    if not isinstance(undoes, list | tuple) or not all(isinstance(op_id, str) for op_id in undoes):
        raise DomainError("`undoes` is a list of op ids")
    if type(lifts) is not int or not 0 <= lifts <= _MAX_POSITION:
        raise DomainError(f"`lifts` is a count, not {shown(lifts)}")
    return found._replace(
        undoes=tuple(undoes), restores=_ranges(restores, found), instead_of=_stamp(op), lifts=lifts
    )


def _ranges(restores: Any, op: CodeOp) -> tuple[tuple[int, int, int], ...]:
    """Read ranges of ids, client, clock and length, of which each is that of a character in the op's text."""
    is_list = isinstance(restores, list | tuple)
    if not is_list or not all(map(_is_range, restores)):
        raise DomainError("`restores` is a list of [client, clock, length]")
    if restores and sum(length for *_, length in restores) != utf16_length(op.text or ""):
        raise DomainError("`restores` names as many characters as the `text` has")
    return tuple((client, clock, length) for client, clock, length in restores)


def _is_range(value: Any) -> bool:
    is_list = isinstance(value, list | tuple) and len(value) == 3
    return is_list and all(type(part) is int and 0 <= part <= MAX_CLIENT for part in value)


def _stamp(op: Mapping[str, Any]) -> Stamp | None:
    value = op.get("instead_of")
    if value is None:
        return None
    if not isinstance(value, list | tuple) or [type(part) for part in value] != [int, str, str]:
        raise DomainError("`instead_of` is the stamp, the actor and the id of an op")
    lamport, actor_id, op_id = value
    if not 0 <= lamport <= MAX_CLIENT or _BEHIND in op_id:
        raise DomainError("`instead_of` is not the place of an op")
    return lamport, actor_id, op_id


# -- made ----------------------------------------------------------------------------------------


@lru_cache(maxsize=4096)
def _short_id(text: str) -> str:
    return object_id(text.encode())


def _id_of(text: str) -> str:
    return _short_id(text) if len(text) <= _SHORT else object_id(text.encode())


def _summary(text: str) -> str:
    return text if len(text) <= _SUMMARY_LENGTH else f"{len(text)} characters"


def pieces_of(patch: tuple[int, int, str]) -> list[tuple[int, int, str]]:
    """Split a patch (position, length, text) into such that an op can carry each; most are one piece."""
    position, length, text = patch
    if _bytes_at_most(length, text) <= _OP_BYTES:
        return [patch]
    starts, added = range(0, length, _PIECE_LENGTH), range(0, len(text), _PIECE_LENGTH)
    deletions = [(position, min(_PIECE_LENGTH, length - start), "") for start in starts]
    return [*deletions, *((position + start, 0, text[start : start + _PIECE_LENGTH]) for start in added)]


def _bytes_at_most(length: int, text: str) -> int:
    """Bound the bytes of an edit in an op: the text twice, and a place for each character that goes."""
    if length + len(text) <= _PIECE_LENGTH:
        return 0
    return 20 * length + len(orjson.dumps(text)) + 4 * len(text.encode()) // 3


def text_edit(path: str, position: int, removed: str, text: str) -> dict[str, Any]:
    """Make the op that puts `text` in the place of `removed`, for people and tools without a CRDT."""
    if not removed:
        return {
            "op": "insert",
            "address": path,
            "position": position,
            "content_id": _id_of(text),
            "content_summary": _summary(text),
            "text": text,
        }
    if not text:
        return {
            "op": "delete",
            "address": path,
            "position": position,
            "content_id": _id_of(removed),
            "content_summary": _summary(removed),
            "length": len(removed),
        }
    return {
        "op": "replace",
        "address": path,
        "position": position,
        "old_content_id": _id_of(removed),
        "new_content_id": _id_of(text),
        "old_summary": _summary(removed),
        "new_summary": _summary(text),
        "length": len(removed),
        "text": text,
    }


def encoded(data: bytes) -> str:
    """Return bytes as base64, as ops have them."""
    return binascii.b2a_base64(data, newline=False).decode()
