"""The edits of a session that overlap, and their outcome."""

from dataclasses import dataclass

from muse.apply.domains import read_state
from muse.core.entry import OpEntry, total_order
from muse.domain import Overlap, OverlapFindingPlugin
from muse.history.repository import Repository, TreeFiles
from muse.plugins.registry import find_plugin
from muse.views.as_of import read_session


@dataclass(frozen=True, slots=True)
class SessionOverlap:
    """Two edits of one thing whose authors had not seen each other's: see `muse.domain.Overlap`.

    `kept_in` and `overwritten_in` are the commits that hold the ops, "" for one that is pending.
    """

    domain: str
    address: str
    reason: str
    kept: OpEntry
    overwritten: OpEntry
    kept_in: str
    overwritten_in: str
    both_stand: bool


def session_overlaps(repository: Repository, session_id: str) -> list[SessionOverlap]:
    """List the overlaps among all ops of a session, committed and pending, in the total order.

    The same on every replica that holds the same ops on the same base. Domains that do not look for
    overlaps have none.
    """
    session = read_session(repository, session_id)
    files = TreeFiles(repository, repository.read_tree(session.base))
    found: list[tuple[str, Overlap, OpEntry, OpEntry]] = []
    for domain in sorted({entry["domain"] for entry in session.entries}):
        plugin: object = find_plugin(domain)
        if isinstance(plugin, OverlapFindingPlugin):
            own = [entry for entry in session.entries if entry["domain"] == domain]
            state = read_state(repository, session.base, domain)
            found += [
                (domain, overlap, own[overlap.kept], own[overlap.overwritten])
                for overlap in plugin.overlaps(files, own, repository.objects.get, state)
            ]
    commits = {entry["op_id"]: commit.commit_id for commit in session.commits for entry in commit.entries}
    overlaps = [
        SessionOverlap(
            domain,
            overlap.address,
            overlap.reason,
            kept,
            lost,
            commits.get(kept["op_id"], ""),
            commits.get(lost["op_id"], ""),
            overlap.both_stand,
        )
        for domain, overlap, kept, lost in found
    ]
    return sorted(overlaps, key=lambda overlap: max(map(total_order, (overlap.kept, overlap.overwritten))))
