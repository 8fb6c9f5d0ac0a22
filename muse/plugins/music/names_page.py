"""Reads a page of names as it is stored; what it says is told in `identified_score`. Pure."""

from collections.abc import Mapping
from typing import Any

import orjson

PAGE_FORMAT = 2
FIELDS = ("pitch", "velocity", "start_tick", "duration_ticks", "channel", "release", "ends_first")


def page_content(page: bytes | None) -> Mapping[str, Any]:
    """Read a page of names; empty when it is missing or does not have a shape that Muse writes or wrote."""
    try:
        content = orjson.loads(page) if page is not None else None
    except orjson.JSONDecodeError:
        return {}
    if not isinstance(content, dict) or not isinstance(content.get("object_id"), str):
        return {}
    is_page = {1: _is_first_page, PAGE_FORMAT: _is_page}.get(_count_of(content.get("format")))
    return content if is_page is not None and is_page(content) else {}


def _is_first_page(content: Mapping[str, Any]) -> bool:
    """Tell whether a page is of the first format: it has the notes of the file that it describes."""
    rows, ends = content.get("notes"), content.get("ends")
    return (
        isinstance(rows, list)
        and all(is_row(row, 9) for row in rows)
        and isinstance(ends, list)
        and all(map(is_count, ends))
    )


def _is_page(content: Mapping[str, Any]) -> bool:
    read, names, edited = (content.get(key, 0) for key in ("read", "names", "edited"))
    return (
        isinstance(read, str | None)
        and (names is None or (isinstance(names, list) and all(is_row(row, 4) for row in names)))
        and isinstance(edited, dict)
        and all(map(_is_edited, edited.values()))
    )


def _is_edited(values: Any) -> bool:
    if values is None:
        return True
    if not isinstance(values, list) or len(values) != 1 + len(FIELDS):
        return False
    return is_count(values[0]) and isinstance(values[-1], bool)


def is_row(row: Any, length: int) -> bool:
    """Tell whether a value is a row of a page of names: a name, and counts up to `length` fields."""
    return (
        isinstance(row, list)
        and len(row) == length
        and isinstance(row[0], str)
        and row[0] != ""
        and all(map(is_count, row[1:]))
    )


def is_count(value: Any) -> bool:
    """Tell whether a value is a whole number from 0 on, and not True or False."""
    return type(value) is int and value >= 0


def _count_of(value: Any) -> int:
    return value if is_count(value) else 0
