"""FileNames: the addresses that a file has had, so that an op that names a file by its id is known by them.

The author of an op writes beside `file_id` what address it likes. So a file counts as touched at the address
that it was made at, at each that it was moved to, and at the one that it has in the last commit.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from muse.core.address import ADDRESS_LENGTH, addresses_of
from muse.core.content_id import NUL, sha256_hex
from muse.core.op_log import OpLog

_FRESH_ID_LENGTH = 32  # other ids are those of files that were in the tree before
ReadTree = Callable[[], tuple[str, Callable[[], Mapping[str, str]]]]
"""Returns the id of the last commit, and what returns its tree, path -> object id."""


class FileNames:
    """The addresses of the files of one log. For several threads."""

    def __init__(self, log: OpLog, read_tree: ReadTree) -> None:
        self._log = log
        self._read_tree = read_tree
        self._lock = threading.Lock()
        self._named: dict[str, set[str]] = {}
        self._read_to = 0
        self._tree: tuple[str, dict[str, str]] = "", {}

    def addresses_of(self, op: Mapping[str, Any]) -> tuple[str, ...]:
        """Return every address that an op names, and those of the files that it names by their ids."""
        named = addresses_of(op)
        file_ids = set(_file_ids(op))
        if not file_ids:
            return named
        with self._lock:
            self._catch_up()
            found = (address for file_id in file_ids for address in self._named.get(file_id, ()))
            committed = (
                tree[file_id] for tree in [self._committed()] for file_id in file_ids if file_id in tree
            )
            return tuple(sorted({*named, *found, *committed}))

    def _catch_up(self) -> None:
        """Take in what anyone appended since."""
        end = self._log.cut().offset
        for entry in self._log.scan(self._read_to, end):
            for one in _with_inner(entry["domain_op"]):
                file_id, address = one.get("file_id"), self._new_name(one)
                if isinstance(file_id, str) and isinstance(address, str) and len(address) <= ADDRESS_LENGTH:
                    self._named.setdefault(file_id, set()).add(address)
        self._read_to = end

    def _new_name(self, op: Mapping[str, Any]) -> object:
        """Return the address that an op gives its file; None if it gives none, or only says it."""
        if op.get("op") == "move":
            return op.get("to_address")
        file_id = op.get("file_id")
        makes = op.get("op") == "insert" and op.get("position") is None and file_id not in self._named
        return op.get("address") if makes and len(str(file_id)) == _FRESH_ID_LENGTH else None

    def _committed(self) -> Mapping[str, str]:
        """Return the paths of the last commit by the ids that a file has that is in the tree before."""
        commit_id, tree = self._read_tree()
        if commit_id != self._tree[0]:
            files = tree()
            ids = {sha256_hex(f"{path}{NUL}{object_id}".encode()): path for path, object_id in files.items()}
            self._tree = commit_id, ids
        return self._tree[1]


def _file_ids(op: Mapping[str, Any]) -> Iterator[str]:
    return (one["file_id"] for one in _with_inner(op) if isinstance(one.get("file_id"), str))


def _with_inner(op: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    """Return an op and all its inner ops."""
    found = [op]
    for one in found:  # grows while it is walked
        children = one.get("child_ops")
        if isinstance(children, list):
            found += [child for child in children if isinstance(child, dict)]
    return found
