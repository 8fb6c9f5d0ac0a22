"""The tree of a commit, path -> object id, with some of its files changed. Pure."""

from collections.abc import Callable, Collection, Mapping
from typing import TypeVar

from muse.core.content_id import object_id

File = TypeVar("File", str, bytes)
"""A file of a tree: its object id, or its bytes."""


def tree_changes(before: Mapping[str, str], after: Mapping[str, str]) -> dict[str, str | None]:
    """Return what `after` has at each path, in order, where the two trees differ; None: no file."""
    different = (path for path in before.keys() | after.keys() if before.get(path) != after.get(path))
    return {path: after.get(path) for path in sorted(different)}


def with_changes(tree: Mapping[str, File], changed: Mapping[str, File | None]) -> dict[str, File]:
    """Return `tree` with the changed files in their places; None: the file is gone."""
    return {path: file for path, file in {**tree, **changed}.items() if file is not None}


def with_contents(
    tree: Mapping[str, str],
    changed: Mapping[str, bytes | None],
    store: Callable[[bytes], str] = object_id,
) -> dict[str, str]:
    """Return `tree` with files of new contents in their places; `store` gives the object id of a content."""
    ids = {path: None if content is None else store(content) for path, content in changed.items()}
    return with_changes(tree, ids)


def file_above_others(paths: Collection[str]) -> str | None:
    """Return a path that is a file and, of other files, a directory; None for what a tree can hold."""
    for path in paths:
        above = path.rpartition("/")[0]
        while above:
            if above in paths:
                return above
            above = above.rpartition("/")[0]
    return None
