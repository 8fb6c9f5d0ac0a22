"""FileNames: the addresses that a file has had, so that an op that names a file by its id is known by them.

The author of an op writes beside `file_id` what address it likes. So a file counts as touched at the address
that it was made at, at those that it was moved to, and at those that it has in the last commit. An op on a
file that nobody knows may touch anything.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeGuard

from muse.core.address import ADDRESS_LENGTH, addresses_of, with_inner
from muse.core.entry import OpEntry
from muse.core.op_log import OpLog
from muse.plugins.code.file_ids import DOMAIN, FRESH_DIGITS, id_of_made, ids_of, is_id_of, read_index

MOST_MOVES = 64
"""To how many addresses a file is remembered to have been moved: those of the moves that count most."""

MOST_NAMES = 256
"""A file that has more addresses may be anywhere."""

_ANYTHING = ""

Tree = tuple[Mapping[str, str], Mapping[str, bytes]]
"""The files of a commit, path -> object id, and what the domain keeps beside them, name -> bytes."""

ReadTree = Callable[[], tuple[str, Callable[[], Tree]]]
"""Returns the id of the last commit, and what returns its tree."""


class FileNames:
    """The addresses of the files of one log. For several threads."""

    def __init__(self, log: OpLog, read_tree: ReadTree) -> None:
        self._log = log
        self._read_tree = read_tree
        self._lock = threading.RLock()
        self._made: dict[str, str] = {}  # file id -> the address that the file was made at
        self._moved_to: dict[str, dict[str, int]] = {}  # file id -> address -> the stamp of the move
        self._moved_from: dict[
            str, dict[str, int]
        ] = {}  # as that, of the file at an address, whichever it was
        self._read_to = 0
        self._commit_id = ""
        self._committed: dict[str, set[str]] = {}

    def catch_up(self, *, commits_too: bool = True) -> None:
        """Take in what anyone appended since and, if that is wanted, committed."""
        with self._lock:
            if commits_too:
                self._take_in_commit()
            end = self._log.cut().offset
            for entry in self._log.scan(self._read_to, end):
                self.expect(entry, entry["lamport_ts"])
            self._read_to = end

    def _take_in_commit(self) -> None:
        commit_id, tree = self._read_tree()
        if commit_id != self._commit_id:
            self._committed = _names_in(*tree())
            self._commit_id = commit_id

    def expect(self, entry: OpEntry, stamp: int) -> None:
        """Take in an op that is in the log, or about to enter it."""
        with self._lock:
            for one in with_inner(entry["domain_op"]):
                self._take(one, stamp)
            op = entry["domain_op"]
            if entry["domain"] == DOMAIN and _makes_file(op) and not op.get("file_id"):
                self._make(id_of_made(entry["op_id"]), op.get("address"))

    def addresses_of(self, entry: OpEntry) -> tuple[str, ...]:
        """Return every address that an op names, and those of the files that it names by their ids.

        They are as at the last `catch_up`.
        """
        named = addresses_of(entry["domain_op"])
        found = set(named)
        with self._lock:
            for file_id, one in _by_id(entry["domain_op"]):
                found.update(self._names_of(file_id, one, is_code=entry["domain"] == DOMAIN))
        return named if len(found) == len(named) else tuple(sorted(found))

    # -- taking in ------------------------------------------------------------------------------

    def _take(self, op: Mapping[str, Any], stamp: int) -> None:
        file_id, address, kind = op.get("file_id"), op.get("address"), op.get("op")
        if not isinstance(file_id, str) or not file_id:
            source, to = (
                (address, op.get("to_address")) if kind == "move" else (op.get("from_address"), address)
            )
            if _is_address(source) and _is_address(to) and source != to:
                _note_move(self._moved_from.setdefault(source, {}), to, stamp)
            return
        makes = _makes_file(op) and len(file_id) == FRESH_DIGITS
        if makes or (file_id not in self._made and _proves_its_address(op)):
            self._make(file_id, address)
        if kind == "move" and _is_address(to := op.get("to_address")):
            _note_move(self._moved_to.setdefault(file_id, {}), to, stamp)

    def _make(self, file_id: str, address: object) -> None:
        if isinstance(address, str) and _is_address(address):
            self._made.setdefault(file_id, address)

    # -- looking up -----------------------------------------------------------------------------

    def _names_of(self, file_id: str, op: Mapping[str, Any], *, is_code: bool) -> Iterable[str]:
        made = self._made.get(file_id)
        found = {*self._committed.get(file_id, ()), *([] if made is None else [made])}
        if not found and _proves_its_address(op):
            found.add(op["address"])
        if is_code and not found and not _makes_file(op):
            return (_ANYTHING,)
        found.update(self._moved_to.get(file_id, ()))
        pending = list(found)
        for address in pending:  # grows while it is walked
            fresh = self._moved_from.get(address, {}).keys() - found
            found |= fresh
            pending += fresh
            if len(found) > MOST_NAMES:
                return (_ANYTHING,)
        return found


def names_file(op: Mapping[str, Any]) -> bool:
    """Return whether an op, or one of its inner ops, names a file by its id."""
    return any(True for _ in _by_id(op))


def _by_id(op: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield an op and its inner ops that name a file by its id, with that."""
    for one in with_inner(op):
        file_id = one.get("file_id")
        if isinstance(file_id, str) and file_id:
            yield file_id, one


def _names_in(files: Mapping[str, str], state: Mapping[str, bytes]) -> dict[str, set[str]]:
    """Return the addresses of each file of a commit by its id; one that nobody edited yet has an id too."""
    placements = read_index(state)
    found = {
        file_id: {placement.path, placement.shown or placement.path}
        for file_id, placement in placements.items()
    }
    for path, object_id in files.items():
        file_id = next(one for one in ids_of(path, object_id) if one not in placements)
        found[file_id] = {path}
    return found


def _note_move(moves: dict[str, int], to: str, stamp: int) -> None:
    """Keep the address of a move; the one with the highest stamp counts in the end."""
    moves[to] = max(stamp, moves.get(to, 0))
    if len(moves) > MOST_MOVES:
        del moves[min(moves, key=moves.__getitem__)]


def _makes_file(op: Mapping[str, Any]) -> bool:
    return op.get("op") == "insert" and op.get("position") is None


def _proves_its_address(op: Mapping[str, Any]) -> bool:
    """Return whether the id of a file of the tree, which is made of its address, shows that it was there."""
    file_id, address, base = op.get("file_id"), op.get("address"), op.get("base")
    if not (isinstance(file_id, str) and _is_address(address) and isinstance(base, str)):
        return False
    return is_id_of(file_id, address, base)


def _is_address(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and len(value) <= ADDRESS_LENGTH
