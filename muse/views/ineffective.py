"""The ops of a session that had no effect, or have none as things are now."""

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass

from muse.apply.domain_order import by_domain, in_domain_order
from muse.apply.domains import States, apply_entries, fetch_at, read_state, stated_rules, without_effect
from muse.apply.known_effects import Known, KnownEffects
from muse.core.content_id import object_id
from muse.core.entry import OpEntry, total_order
from muse.core.op_list import decode_op_list
from muse.domain import IgnoredOp
from muse.history.covered_ops import open_session
from muse.history.repository import Repository, TreeFiles
from muse.history.seal import read_seal, root_of
from muse.history.session_history import SessionCommit
from muse.history.tree import with_contents
from muse.views.committed import CommittedSession, committed_session, read_log


@dataclass(frozen=True, slots=True)
class IneffectiveOp:
    """An op, or its part at `address`, that changed nothing; `commit_id` is "" for one that is pending."""

    entry: OpEntry
    address: str
    reason: str
    commit_id: str


def ineffective_ops(
    repository: Repository,
    session_id: str,
    *,
    salvage: bool = False,
    progress: Callable[[int], None] = lambda _done: None,
) -> list[IneffectiveOp]:
    """List them in the total order.

    What had no effect in a commit is read where it is known. Elsewhere the commit is made again in memory,
    and what was found is kept. What is pending is made a commit of in memory.
    """
    session = committed_session(repository, session_id)
    with closing(_Effects(repository, session, salvage=salvage)) as effects:
        done, found = 0, list[IneffectiveOp]()
        for commit in session.commits:
            own, count = effects.of_commit(commit)
            found += own
            done += count
            progress(done)
    found += _of_pending(repository, session)
    return sorted(found, key=lambda one: total_order(one.entry))


class _Effects:
    """Finds what had no effect in the commits of a session; `close` keeps what was not known."""

    def __init__(self, repository: Repository, session: CommittedSession, *, salvage: bool) -> None:
        self._repository = repository
        self._session = session
        self._known = KnownEffects(repository.root, session.session_id, repository.storage)
        self._known.read()
        self._new: list[Known] = []
        of_commits = (self._known.of(commit.commit_id) or () for commit in session.commits)
        read_log(repository, session, {one.op_id for own in of_commits for one in own}, salvage=salvage)
        self._ops = open_session(repository.root, session.session_id, repository.storage)
        self._start = 0  # where in the log the ops of the commit that was made again last start

    def of_commit(self, commit: SessionCommit) -> tuple[list[IneffectiveOp], int]:
        """Return what had no effect in a commit, and how many ops it brought."""
        op_ids = decode_op_list(self._repository.objects.get(commit.op_list), commit.op_list)
        not_here = self._session.missing | self._session.shared.get(commit.commit_id, set())
        is_whole = not not_here or not_here.isdisjoint(op_ids)
        known = self._known.of(commit.commit_id) if is_whole else None
        if known is not None:
            wanted = self._session.wanted
            return [_of(wanted[one.op_id], one, commit.commit_id) for one in known], len(op_ids)
        covered = self._ops.covered(set(op_ids) - not_here, start=min(self._start, self._ops.end()))
        if covered.runs:
            self._start = covered.runs[0][0]
        by_id = {entry["op_id"]: entry for entry in covered.entries}
        entries = [by_id[op_id] for op_id in op_ids if op_id in by_id]
        return self._made_again(commit, entries, is_whole=is_whole), len(entries)

    def _made_again(
        self, commit: SessionCommit, entries: Sequence[OpEntry], *, is_whole: bool
    ) -> list[IneffectiveOp]:
        """Make a commit of entries again in memory."""
        repository, before = self._repository, commit.parent_id
        message = repository.dag.read_commit(commit.commit_id)["message"]
        rules, seal = stated_rules(message), read_seal(message)
        files = TreeFiles(repository, repository.read_tree(before))
        found: list[IneffectiveOp] = []
        parts = by_domain(entries)
        for domain, own in parts.items():
            fetch, state = (
                fetch_at(repository, commit.commit_id, domain),
                read_state(repository, before, domain),
            )
            outcome = apply_entries(domain, own, files, fetch, state, rules=rules)
            ignored = without_effect(domain, own, outcome, any_domain=repository.any_domain)
            found += [_of(own[one.index], one, commit.commit_id) for one in ignored]
            if is_whole and len(parts) == 1 and seal is not None and root_of(own) == seal.root:
                self._new.append((commit.commit_id, domain, ignored))
        return found

    def close(self) -> None:
        """Close the log, and keep what was found."""
        self._ops.close()
        self._known.keep(self._new)


def _of_pending(repository: Repository, session: CommittedSession) -> list[IneffectiveOp]:
    tree, unstored = repository.read_tree(session.head), dict[str, bytes]()

    def note(content: bytes) -> str:
        unstored[object_id(content)] = content
        return object_id(content)

    found: list[IneffectiveOp] = []
    states = States(repository, session.head)
    for domain, own in in_domain_order(session.pending):
        files = TreeFiles(repository, tree, unstored)
        outcome = apply_entries(domain, own, files, repository.objects.get, states.of(domain))
        states.take(domain, outcome.state)
        ignored = without_effect(domain, own, outcome, any_domain=repository.any_domain)
        found += [_of(own[one.index], one, "") for one in ignored]
        tree = with_contents(tree, outcome.files, note)
    return found


def _of(entry: OpEntry, ignored: IgnoredOp, commit_id: str) -> IneffectiveOp:
    return IneffectiveOp(entry, ignored.address, ignored.reason, commit_id)
