"""Chooses commits by what they changed, when, and by whose ops they were made."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from muse.core.entry import OpEntry
from muse.core.file.live_or_archived import session_exists
from muse.core.timestamp import moment_of
from muse.errors import NotFoundError
from muse.history.commit_record import CommitRecord
from muse.history.covered_ops import op_ids_of
from muse.history.repository import Repository
from muse.history.seal import read_seal
from muse.history.tree import tree_changes
from muse.upkeep.archive import session_entries
from muse.views.file_diff import is_within


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is wanted of a commit; what is empty or None is not asked for.

    `paths`: it changed one of these files, or one in these directories, since its first parent.
    `actor_id` and `intent_id`: it covers an op of both. `since`: it was made then or later.
    """

    paths: Sequence[str] = ()
    actor_id: str | None = None
    intent_id: str | None = None
    session_id: str | None = None
    since: datetime | None = None


class CommitFilter:
    """Tells of one commit after the other whether it is wanted. Each session's log is read once."""

    def __init__(self, repository: Repository, wanted: Wanted) -> None:
        self._repository = repository
        self._wanted = wanted
        self._ops: dict[str, frozenset[str] | None] = {}  # session -> ids of wanted ops; None: it has no log

    def __call__(self, record: CommitRecord) -> bool:
        """Return whether a commit is wanted. Where a session's log is not here, its author is its actor."""
        checks: tuple[Callable[[CommitRecord], bool], ...] = (
            self._is_young,
            self._is_of_session,
            self._changes_a_path,
            self._has_a_wanted_op,
        )
        return all(check(record) for check in checks)

    def _is_young(self, record: CommitRecord) -> bool:
        with suppress(ValueError):  # other tools may write a time that nobody can read
            return self._wanted.since is None or moment_of(record["committed_at"]) >= self._wanted.since
        return True

    def _is_of_session(self, record: CommitRecord) -> bool:
        if self._wanted.session_id is None:
            return True
        seal = read_seal(record["message"])
        return seal is not None and seal.session_id == self._wanted.session_id

    def _changes_a_path(self, record: CommitRecord) -> bool:
        if not self._wanted.paths:
            return True
        before, after = (
            self._repository.read_tree(each) for each in (record["parent_commit_id"], record["commit_id"])
        )
        return any(is_within(path, self._wanted.paths) for path in tree_changes(before, after))

    def _has_a_wanted_op(self, record: CommitRecord) -> bool:
        actor_id, intent_id = self._wanted.actor_id, self._wanted.intent_id
        if actor_id is None and intent_id is None:
            return True
        seal = read_seal(record["message"])
        ids = None if seal is None else self._wanted_ids(seal.session_id)
        if seal is None or ids is None:
            return intent_id is None and record["author"] == actor_id
        return not ids.isdisjoint(op_ids_of(self._repository.objects, seal))

    def _wanted_ids(self, session_id: str) -> frozenset[str] | None:
        if session_id not in self._ops:
            root, storage = self._repository.root, self._repository.storage
            self._ops[session_id] = None
            if session_exists(root, session_id, storage=storage):
                located = session_entries(root, session_id, salvage=True, storage=storage)
                self._ops[session_id] = frozenset(
                    entry["op_id"] for _, entry in located if self._is_wanted(entry)
                )
        return self._ops[session_id]

    def _is_wanted(self, entry: OpEntry) -> bool:
        actor_id, intent_id = self._wanted.actor_id, self._wanted.intent_id
        return actor_id in {None, entry["actor_id"]} and intent_id in {None, entry["intent_id"]}


def check_paths(repository: Repository, history: Iterable[CommitRecord], paths: Iterable[str]) -> None:
    """Raise `NotFoundError` for a file or directory that no commit of a history has had."""
    missing = list(paths)
    for record in history:
        if not missing:
            return
        tree = repository.read_tree(record["commit_id"])
        missing = [place for place in missing if not any(is_within(path, [place]) for path in tree)]
    for place in missing:
        raise NotFoundError(f"no commit here has had a file or directory {place!r}: see 'muse log -p'")
