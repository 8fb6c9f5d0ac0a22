"""The ops that an editor of live files makes: on a whole file, and on the text in it. Pure."""

from typing import Any

from muse.core.content_id import object_id
from muse.errors import DomainError
from muse.plugins.code.document import Patch, TextDocument, check_place
from muse.plugins.code.encodings import check_text
from muse.plugins.code.ops import encoded, text_edit
from muse.plugins.code.update import Vector, write_vector


def creation_op(path: str, content: bytes, file_id: str) -> dict[str, Any]:
    """Make the op of a new file; its content comes with it as `text` or `base64`, or is in the store."""
    return {
        "op": "insert",
        "address": path,
        "position": None,
        "content_id": object_id(content),
        "content_summary": f"a new file of {len(content)} bytes",
        "file_id": file_id,
    }


def removal_op(
    path: str, file_id: str, content: bytes, vector: Vector | None, base: str, *, lifts: int = 0
) -> dict[str, Any]:
    """Make the op by which a file goes whose remover saw `content`, of a text up to the state `vector`.

    `lifts` is how often a file that is no text was brought back with this content.
    """
    op: dict[str, Any] = {
        "op": "delete",
        "address": path,
        "position": None,
        "content_id": object_id(content),
        "content_summary": f"{path} goes",
        "file_id": file_id,
    }
    if vector is not None:
        op["seen"] = encoded(write_vector(vector))
    elif lifts:
        op["lifts"] = lifts
    return op | _naming(base)


def renaming_op(path: str, to: str, file_id: str, content: bytes, base: str) -> dict[str, Any]:
    """Make the op by which a file gets another path."""
    op = {
        "op": "move",
        "address": path,
        "from_position": 0,
        "to_position": 0,
        "content_id": object_id(content),
        "file_id": file_id,
        "to_address": to,
    }
    return op | _naming(base)


def replacement_op(path: str, file_id: str, old: bytes, new: bytes, base: str) -> dict[str, Any]:
    """Make the op by which a file that is no text gets another content, which is added to it."""
    op = {
        "op": "replace",
        "address": path,
        "position": None,
        "old_content_id": object_id(old),
        "new_content_id": object_id(new),
        "old_summary": f"{len(old)} bytes",
        "new_summary": f"{len(new)} bytes",
        "file_id": file_id,
    }
    return op | _naming(base)


def _naming(base: str) -> dict[str, str]:
    """Name the object that a file in the tree was, where the log does not know that yet."""
    return {"base": base} if base else {}


def check_patch_of_text(path: str, document: TextDocument, encoding: str | None, patch: Patch) -> None:
    """Raise `DomainError` for an edit that a text cannot take; a place where it only adds is not checked."""
    position, length, text = patch
    if text:
        check_text(text, encoding or "utf-8")
    if length:
        check_place(position, length, len(document.text))
    elif not text:
        raise DomainError(f"the edit of {path!r} changes nothing: give text, or a length to delete")


def edit_op(path: str, document: TextDocument, patch: Patch) -> dict[str, Any]:
    """Apply one patch to a text; return the op that says so."""
    position, length, text = patch
    update, removed = b"", ""
    if not length:
        update = document.type_on(position, text) or document.insert_lines(position, text)
    if not update:
        removed = document.text[position : position + length]
        update = document.edit([patch])
    return text_edit(path, position, removed, text) | {"update": encoded(update)}


def hunk_op(path: str, document: TextDocument, patch: Patch) -> dict[str, Any]:
    """Apply one of the patches that were found between two texts; return the op that says so."""
    position, length, text = patch
    removed = document.text[position : position + length]
    return text_edit(path, position, removed, text) | {"update": encoded(document.edit_in_lines(patch))}
