"""One file holds one JSON object, written for people to read, and read without trust.

Every fault of the file is a `CorruptionError` that names it. What is written comes back equal, or is
refused before a byte is on the disk.
"""

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, TypeVar

import orjson

from muse.core.content_id import is_content_id, sha256_hex
from muse.disk.storage import Storage
from muse.errors import CorruptionError, UsageError

_T = TypeVar("_T")
_MISSING: Any = object()
LONGEST_FILE = 1 << 29
"""So many bytes a file of JSON may have: its objects take several times as much memory."""

# orjson would turn dates and dataclasses into text of its own choice: nothing is coerced here.
_OPTIONS = (
    orjson.OPT_INDENT_2
    | orjson.OPT_APPEND_NEWLINE
    | orjson.OPT_PASSTHROUGH_DATACLASS
    | orjson.OPT_PASSTHROUGH_DATETIME
    | orjson.OPT_PASSTHROUGH_SUBCLASS
)
_LAYOUT = re.compile(rb'\{(?:\n(?P<indent> *))?"[^"\\]*":(?P<space> ?)')
"""The first key of an object, as a writer sets it."""


def encode_json(document: Mapping[str, Any], what: str) -> bytes:
    """Return `document` as UTF-8 JSON, two spaces deep, ending in a newline, keys in their order.

    Raises `UsageError` naming `what` if reading the bytes would not give an equal document: NaN,
    a tuple, a date, an integer beyond 64 bits, a lone surrogate, nesting past what is readable.
    """
    try:
        data = orjson.dumps(document, option=_OPTIONS)
        same = orjson.loads(data) == document
    except (orjson.JSONEncodeError, orjson.JSONDecodeError, RecursionError) as error:
        raise UsageError(f"{what} cannot be written as JSON: {error}") from error
    if not same:
        raise UsageError(f"{what} would not come back from JSON unchanged: use plain finite JSON values")
    return data


DIGEST_KEY = "digest"
"""The last key of a file that nothing else vouches for: the SHA-256 of the file without it."""

_END = b"\n}\n"
_DIGITS = slice(-len(b'"') - len(_END) - 64, -len(b'"') - len(_END))


def encode_with_digest(document: Mapping[str, Any], what: str, *, is_plain: bool = False) -> bytes:
    """Return `document` as `encode_json` does, with its digest as the last key.

    With `is_plain`, its maker knows that it is made of texts, 64-bit integers, lists and dicts alone: a large
    one is not read again to see that.
    """
    data = orjson.dumps(document, option=_OPTIONS) if is_plain else encode_json(document, what)
    if not document or DIGEST_KEY in document:
        return encode_json({**document, DIGEST_KEY: sha256_hex(data)}, what)
    return data[: -len(_END)] + _last_line(sha256_hex(data))


def _last_line(digest: str) -> bytes:
    """Return what follows the last value of a file with a digest."""
    return f',\n  "{DIGEST_KEY}": "{digest}"\n}}\n'.encode()


def read_vouched(path: str, storage: Storage) -> bytes | None:
    """Return the bytes of a file that ends with the digest of all before it; None for any other.

    They are JSON, with the digest as the last key. Raises `NotFoundError` without such a file.
    """
    data = storage.read_bytes(path, at_most=LONGEST_FILE)
    return data if _is_vouched_for(data, data[_DIGITS].decode("latin-1")) else None


def read_with_digest(path: str, storage: Storage) -> dict[str, Any]:
    """Return the JSON object in a file that `encode_with_digest` wrote, without its digest.

    Raises what `read_json_object` does, and `CorruptionError` where a byte was changed. A file of an earlier
    version, or of another tool, has no digest and is taken as it is.
    """
    data = storage.read_bytes(path, at_most=LONGEST_FILE)
    document = _object_in(data, path)
    key, value = next(reversed(document.items()), ("", None))
    rest = {name: value for name, value in document.items() if name != key}
    if _is_vouched_for(data, value):
        return rest
    # A changed byte may be in the name of the key, too.
    if key != DIGEST_KEY and not (is_content_id(value) and value == _digest_in_file(rest, path)):
        return document
    expected = b""
    with suppress(UsageError):  # Muse does not write what it cannot write again
        expected = encode_with_digest(rest, path)
    if data != expected:
        raise CorruptionError(
            f"{path} is not what was written, by its digest: restore it from another copy, or make it again",
            path=path,
        )
    return rest


def _is_vouched_for(data: bytes, digest: object) -> bool:
    """Return whether a file ends as one with this digest, and the digest is that of all before it."""
    if not is_content_id(digest):
        return False
    last = _last_line(digest)
    return data.endswith(last) and sha256_hex(data[: -len(last)] + _END) == digest


def _digest_of(document: Mapping[str, Any], what: str) -> str:
    return sha256_hex(encode_json(document, what))


def _digest_in_file(document: Mapping[str, Any], path: str) -> str:
    """Return the digest that the file of a document should have; "" for what Muse does not write."""
    with suppress(UsageError):
        return _digest_of(document, path)
    return ""


def is_as_written(data: bytes) -> bool:
    """Tell whether the JSON `data` has just the bytes that a writer gives it, in the layout it begins with.

    Muse writes one layout, other tools that of Python's json. A changed byte may leave the value as it is: a
    space that became a tab, a digit of an escape that became a capital.
    """
    document = orjson.loads(data)
    ours = b""
    with suppress(orjson.JSONEncodeError):  # it is nested deeper than Muse writes, so another tool did
        ours = orjson.dumps(document, option=_OPTIONS)
    return data == ours or data == _as_python_writes(document, data)  # the second takes far longer to make


def _as_python_writes(document: object, data: bytes) -> bytes:
    """Write `document` again in the layout of `data`: indentation, separators, escapes, last newline."""
    layout = _LAYOUT.match(data)
    if layout is None:
        return b""
    try:
        text = json.dumps(
            document,
            indent=None if layout["indent"] is None else len(layout["indent"]),
            separators=None if layout["space"] else (",", ":"),
            ensure_ascii=data.isascii(),
        )
    except RecursionError:
        return b""
    return text.encode() + (b"\n" if data.endswith(b"\n") else b"")


def read_json_object(path: str, storage: Storage) -> dict[str, Any]:
    """Return the JSON object in the file `path`.

    Raises `NotFoundError` without such a file, `CorruptionError` if it holds anything else.
    """
    return _object_in(storage.read_bytes(path, at_most=LONGEST_FILE), path)


def _object_in(data: bytes, path: str) -> dict[str, Any]:
    try:
        document = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise CorruptionError(f"{path} is not JSON: {error}", path=path) from error
    if not isinstance(document, dict):
        raise CorruptionError(f"{path} has {_name(document)} where a JSON object is expected", path=path)
    return document


def field(document: Mapping[str, Any], key: str, kind: type[_T], path: str, default: _T = _MISSING) -> _T:
    """Return the value of `key`, which must be exactly of JSON type `kind`.

    A missing or null value is `default`; without one, and for any other type, `CorruptionError`.
    """
    value = document.get(key)
    if value is None and default is not _MISSING:
        return default
    if type(value) is not kind:
        found = _name(value) if key in document else "nothing"
        raise CorruptionError(f"{path} has {found} as {key!r} where {kind.__name__} is expected", path=path)
    return value


def field_items(document: Mapping[str, Any], key: str, kind: type[_T], path: str) -> list[_T]:
    """Return the list `key`, each item exactly of JSON type `kind`; empty if missing or null."""
    items = field(document, key, list, path, [])
    for item in items:
        if type(item) is not kind:
            raise CorruptionError(
                f"{path} has {_name(item)} in {key!r} where {kind.__name__} is expected", path=path
            )
    return items


def _name(value: object) -> str:
    return "null" if value is None else type(value).__name__
