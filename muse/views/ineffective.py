"""The ops of a session that had no effect, or have none as things are now."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from muse.apply.domains import apply_entries, fetch_at, read_state, stated_rules, without_effect
from muse.core.content_id import object_id
from muse.core.entry import OpEntry, total_order
from muse.domain import IgnoredOp
from muse.history.repository import Repository, TreeFiles
from muse.history.tree import with_contents
from muse.views.as_of import CommittedOps, LoggedSession, read_session


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
    """List them in the total order. Each commit is made again in memory, and one of what is pending."""
    session = read_session(repository, session_id, salvage=salvage)
    found: list[IneffectiveOp] = []
    done = 0
    for commit in session.commits:
        found += _of_commit(repository, commit)
        done += len(commit.entries)
        progress(done)
    found += _of_pending(repository, session)
    return sorted(found, key=lambda one: total_order(one.entry))


def _of_commit(repository: Repository, commit: CommittedOps) -> list[IneffectiveOp]:
    rules = stated_rules(repository.dag.read_commit(commit.commit_id)["message"])
    files = TreeFiles(repository, repository.read_tree(commit.before))
    found: list[IneffectiveOp] = []
    for domain, own in _by_domain(commit.entries).items():
        fetch, state = (
            fetch_at(repository, commit.commit_id, domain),
            read_state(repository, commit.before, domain),
        )
        outcome = apply_entries(domain, own, files, fetch, state, rules=rules)
        ignored = without_effect(domain, own, outcome, any_domain=repository.any_domain)
        found += _as_ops(own, ignored, commit.commit_id)
    return found


def _of_pending(repository: Repository, session: LoggedSession) -> list[IneffectiveOp]:
    tree, unstored = repository.read_tree(session.head), dict[str, bytes]()

    def note(content: bytes) -> str:
        unstored[object_id(content)] = content
        return object_id(content)

    found: list[IneffectiveOp] = []
    for domain, own in sorted(_by_domain(session.pending).items()):
        files = TreeFiles(repository, tree, unstored)
        state = read_state(repository, session.head, domain)
        outcome = apply_entries(domain, own, files, repository.objects.get, state)
        found += _as_ops(own, without_effect(domain, own, outcome, any_domain=repository.any_domain), "")
        tree = with_contents(tree, outcome.files, note)
    return found


def _by_domain(entries: Sequence[OpEntry]) -> dict[str, list[OpEntry]]:
    by_domain: dict[str, list[OpEntry]] = {}
    for entry in entries:
        by_domain.setdefault(entry["domain"], []).append(entry)
    return by_domain


def _as_ops(entries: Sequence[OpEntry], ignored: Sequence[IgnoredOp], commit_id: str) -> list[IneffectiveOp]:
    return [IneffectiveOp(entries[one.index], one.address, one.reason, commit_id) for one in ignored]
