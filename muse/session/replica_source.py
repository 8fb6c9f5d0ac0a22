"""Where a replica of text files reads from and records to: a log and a repository here, or a server."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from muse.apply.domain_order import names_of_others
from muse.apply.domains import read_state
from muse.apply.merge_heads import is_merge_of_ops
from muse.core.content_id import object_id
from muse.core.entry import OpEntry
from muse.core.op_log import OpLog
from muse.history.commit_record import CommitRecord, parents
from muse.history.garbage_lock import uncollected
from muse.history.repository import Repository, TreeFiles
from muse.history.tree import with_changes
from muse.session.causes import committed_heads, seal_of

_EMPTY = object_id(b"")  # in place of what a file of another domain holds

Place = Any
"""How far a log was read, as its source writes it down."""


@dataclass(frozen=True, slots=True)
class Present:
    """A branch and a log at one moment.

    `committed`: the ops from which all of the domain's follow that are behind `head`. `pending`: the domain's
    ops that are not. `known`: those of the ops that were asked for which the log holds before `place`.
    """

    head: str | None
    files: Mapping[str, bytes]
    state: Mapping[str, bytes]
    fetch: Callable[[str], bytes]
    committed: list[str]
    pending: list[OpEntry]
    known: Collection[str]
    place: Place


class ReplicaSource(Protocol):
    """One session's log, and one branch, as far as a replica of a domain's files needs them."""

    def look(self, asked: Collection[str]) -> Present:
        """Return what is there now; `asked` are ids of ops."""
        ...

    def since(self, place: Place) -> tuple[list[OpEntry], Place]:
        """Return the domain's ops that came in after a place, and how far the log is read now."""
        ...

    def head(self) -> str | None:
        """Return the commit at which the branch is."""
        ...

    def is_made_of_ops(self, before: str | None, after: str | None) -> bool:
        """Return whether the branch moved from one commit to another by the session's ops of the domain."""
        ...

    def record(self, ops: Sequence[Mapping[str, Any]], parents: Sequence[str]) -> list[OpEntry]:
        """Bring ops into the log, each the cause of the next; all of them are in it, or it raises."""
        ...

    def keeping(self, data: bytes) -> AbstractContextManager[None]:
        """Store a content that an op in the block is to name; no collector comes in between."""
        ...


@runtime_checkable
class HasReplicaSource(Protocol):
    """A session that is not here, but that a replica can work on."""

    def replica_source(self, actor_id: str | None, domain: str, branch: str | None) -> ReplicaSource:
        """Return the source for an actor, by default the session's own."""
        ...


class LocalSource:
    """A log and a repository on this machine. See `ReplicaSource`."""

    def __init__(self, repository: Repository, log: OpLog, actor_id: str, domain: str, branch: str) -> None:
        self._repository = repository
        self._log = log
        self._actor_id = actor_id
        self._domain = domain
        self._branch = branch
        # A head of the branch, and the ops that all behind it follow from.
        self._committed: tuple[str | None, list[str]] = (None, [])

    def look(self, asked: Collection[str]) -> Present:
        repository, log, head = self._repository, self._log, None
        while True:
            head, cut = self.head(), log.cut()
            left = log.replay_since_checkpoint(until=cut)
            if self.head() == head:
                break
        if head != self._committed[0]:
            self._committed = (head, committed_heads(repository, log.session_id(), self._domain, head))
        freed, taken = names_of_others(self._domain, left)
        tree = with_changes(repository.read_tree(head), dict.fromkeys(freed) | dict.fromkeys(taken, _EMPTY))
        known = {op_id for op_id, (start, *_) in log.find(asked).items() if start < cut.offset}
        return Present(
            head,
            TreeFiles(repository, tree),
            read_state(repository, head, self._domain),
            repository.objects.get,
            self._committed[1],
            [entry for entry in left if entry["domain"] == self._domain],
            known,
            cut.offset,
        )

    def since(self, place: Place) -> tuple[list[OpEntry], Place]:
        cut = self._log.cut()
        found = list(self._log.entries(since=place, until=cut, domain=self._domain))
        return found, max(place, cut.offset)

    def head(self) -> str | None:
        return self._repository.dag.head(self._branch)

    def is_made_of_ops(self, before: str | None, after: str | None) -> bool:
        if after is None or before == after:
            return before == after
        history = self._repository.dag.history(after, stop={before})
        return are_made_of_ops(history, self._log.session_id(), self._domain, before)

    def record(self, ops: Sequence[Mapping[str, Any]], parents: Sequence[str]) -> list[OpEntry]:
        if len(ops) == 1:
            return [self._log.record(self._actor_id, self._domain, ops[0], parent_op_ids=parents)]
        return self._log.record_many(self._actor_id, self._domain, ops, parent_op_ids=parents)

    @contextmanager
    def keeping(self, data: bytes) -> Iterator[None]:
        with uncollected(self._repository.root, self._repository.storage):
            self._repository.objects.put(data)
            yield


def are_made_of_ops(
    history: Iterable[CommitRecord], session_id: str, domain: str, before: str | None
) -> bool:
    """Return whether commits go on from `before` and are all made of a session's ops of one domain."""
    met = before is None
    for record in history:
        if seal_of(record, session_id, domain) is None and not is_merge_of_ops(record):
            return False
        met = met or before in parents(record)
    return met
