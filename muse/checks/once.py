"""Finds commits of one line of history that cover the same op. Memory: the few ids that may be repeated."""

from collections import defaultdict
from collections.abc import Iterator, Sequence

from muse.core.file.objects import ObjectStore
from muse.errors import MuseError
from muse.history.covered_ops import SealedCommit, SealedCommits, op_ids_of

_BITS = 1 << 24


def covered_twice(
    objects: ObjectStore, commits: SealedCommits, among: Sequence[SealedCommit]
) -> list[tuple[SealedCommit, SealedCommit]]:
    """Return each pair of commits in one line that cover the same op, the ancestor first.

    A commit whose list cannot be read is left out: that is told where its ops are compared with the log.
    """
    suspects = _suspects(objects, among)
    holders: dict[str, list[str]] = defaultdict(list)
    for commit in among if suspects else ():
        for op_id in suspects.intersection(_op_ids(objects, commit)):
            holders[op_id].append(commit.commit_id)
    partners: dict[str, set[str]] = defaultdict(set)
    for commit_ids in holders.values():
        for commit_id in commit_ids if len(commit_ids) > 1 else ():
            partners[commit_id].update(commit_ids)
    by_id = {commit.commit_id: commit for commit in among}
    return [
        (by_id[ancestor_id], by_id[commit_id])
        for commit_id, others in sorted(partners.items())
        for ancestor_id in sorted(commits.behind(commit_id, others))
    ]


def _suspects(objects: ObjectStore, among: Sequence[SealedCommit]) -> set[str]:
    """Return all ids that are in two lists, and the few that share a bit of a table with another id."""
    seen, suspects = bytearray(_BITS // 8), set[str]()
    for commit in among:
        for op_id in _op_ids(objects, commit):
            place, bit = divmod(int(op_id[:8], 16) % _BITS, 8)
            if seen[place] >> bit & 1:
                suspects.add(op_id)
            seen[place] |= 1 << bit
    return suspects


def _op_ids(objects: ObjectStore, commit: SealedCommit) -> Iterator[str]:
    try:
        yield from op_ids_of(objects, commit.seal)
    except MuseError:
        return
