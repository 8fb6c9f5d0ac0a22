"""What changed between two trees, as ops that a person can read. Pure."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from muse.core.content_id import object_id
from muse.domain import OP_KINDS, DomainOp
from muse.plugins.code.bounded_matcher import BoundedMatcher
from muse.plugins.code.encodings import decode, detect
from muse.plugins.code.ops import TEXT_DOMAIN, text_edit
from muse.plugins.op_fields import parents_of

INLINE_BYTES = 4096
_COMPARED_LINES = 4_000_000  # pairs of lines that may be compared to find what moved within a text

Lines = list[str]


def net_ops(files: Mapping[str, bytes], changed: Mapping[str, bytes | None]) -> list[DomainOp]:
    """Return ops that, applied to `files` in their order, give `changed` (None: the file is gone).

    A file that went and appeared elsewhere with the same content has moved. A changed text is a patch, line
    by line; a large or binary content is named by its id, and is in the store once the tree is.
    """
    gone = {path: files[path] for path, content in changed.items() if content is None and path in files}
    come = {path: content for path, content in changed.items() if content is not None and path not in files}
    moves = dict(_moves(files, gone, come))
    ops: list[Any] = [_delete(path, content) for path, content in sorted(gone.items()) if path not in moves]
    ops += [_move(path, to_path, gone[path]) for path, to_path in sorted(moves.items())]
    for path, content in sorted(changed.items()):
        if content is not None and path in files and files[path] != content:
            ops.append(_change(path, files[path], content))
    came = set(moves.values())
    ops += [_insert(path, content) for path, content in sorted(come.items()) if path not in came]
    return ops


def _moves(
    files: Mapping[str, bytes], gone: Mapping[str, bytes], come: Mapping[str, bytes]
) -> Iterator[tuple[str, str]]:
    """Pair files that went with files that came, where nothing is in the way of the new path."""
    directories = {parent for path in files for parent in parents_of(path)}
    places: dict[bytes, list[str]] = {}
    for path, content in sorted(come.items(), reverse=True):
        if path not in directories and not any(parent in files for parent in parents_of(path)):
            places.setdefault(content, []).append(path)
    for path, content in sorted(gone.items()):
        if places.get(content):
            yield path, places[content].pop()


def _insert(path: str, content: bytes) -> dict[str, Any]:
    op = {
        "op": "insert",
        "address": path,
        "position": None,
        "content_id": object_id(content),
        "content_summary": f"a new file of {len(content)} bytes",
    }
    if len(content) <= INLINE_BYTES and detect(content) == "utf-8":
        op["text"] = content.decode()
    return op


def _delete(path: str, content: bytes) -> dict[str, Any]:
    return {
        "op": "delete",
        "address": path,
        "position": None,
        "content_id": object_id(content),
        "content_summary": f"{path} goes",
    }


def _move(path: str, to_path: str, content: bytes) -> dict[str, Any]:
    return {
        "op": "move",
        "address": path,
        "from_position": 0,
        "to_position": 0,
        "content_id": object_id(content),
        "to_address": to_path,
    }


def _change(path: str, before: bytes, after: bytes) -> dict[str, Any]:
    encoding = detect(before)
    if encoding is None or detect(after) != encoding:
        return {
            "op": "replace",
            "address": path,
            "position": None,
            "old_content_id": object_id(before),
            "new_content_id": object_id(after),
            "old_summary": f"{len(before)} bytes",
            "new_summary": f"{len(after)} bytes",
        }
    children = list(_edits(path, decode(before, encoding), decode(after, encoding)))
    kinds = Counter(child["op"] for child in children)
    return {
        "op": "patch",
        "address": path,
        "child_ops": children,
        "child_domain": TEXT_DOMAIN,
        "child_summary": ", ".join(f"{kinds[kind]} {kind}" for kind in OP_KINDS if kind in kinds),
    }


def _edits(path: str, before: str, after: str) -> Iterator[dict[str, Any]]:
    """Yield the changes of whole lines; each position counts in the text after the changes before it."""
    old, new = before.splitlines(keepends=True), after.splitlines(keepends=True)
    position = 0
    for removed, text in _hunks(old, new):
        if removed == text:
            position += sum(map(len, text))
        else:
            yield text_edit(path, position, "".join(removed), "".join(text))
            position += sum(map(len, text))


def _hunks(old: Lines, new: Lines) -> Iterator[tuple[Lines, Lines]]:
    start, end = 0, 0
    shortest = min(len(old), len(new))
    while start < shortest and old[start] == new[start]:
        start += 1
    while end < shortest - start and old[-1 - end] == new[-1 - end]:
        end += 1
    yield old[:start], new[:start]
    old, new = old[start : len(old) - end], new[start : len(new) - end]
    if len(old) * len(new) > _COMPARED_LINES:
        yield old, new
        return
    for _, old_start, old_end, new_start, new_end in BoundedMatcher(old, new).get_opcodes():
        yield old[old_start:old_end], new[new_start:new_end]
