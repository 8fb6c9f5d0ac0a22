"""How two trees differ, as a unified diff."""

from collections.abc import Iterator, Mapping
from difflib import unified_diff
from io import StringIO

_NONE = "/dev/null"
_NO_NEWLINE = "\\ No newline at end of file"


def tree_diff(before: Mapping[str, bytes], after: Mapping[str, bytes]) -> Iterator[tuple[str, list[str]]]:
    """Yield each path at which two trees differ, with the lines of its diff; of a binary file, one line."""
    for path in sorted({*before, *after}):
        old, new = before.get(path), after.get(path)
        if old != new:
            names = (_NONE if old is None else f"a/{path}", _NONE if new is None else f"b/{path}")
            yield path, list(_file_diff(names, old or b"", new or b""))


def _file_diff(names: tuple[str, str], old: bytes, new: bytes) -> Iterator[str]:
    before, after = _lines(old), _lines(new)
    if before is None or after is None:
        yield f"binary {names[0]} ({len(old)} bytes) and {names[1]} ({len(new)} bytes) differ"
        return
    found = list(unified_diff(before, after, *names))
    for line in found or [f"--- {names[0]}\n", f"+++ {names[1]}\n"]:
        yield line.removesuffix("\n")
        if not line.endswith("\n"):
            yield _NO_NEWLINE


def _lines(content: bytes) -> list[str] | None:
    """Return the lines of a text, with their ends; None for what is not UTF-8."""
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else StringIO(text, newline="\n").readlines()
