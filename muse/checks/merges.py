"""Tells whether a merge is what the two commits that it merges make, and nothing else. Reads only.

No actor vouches for such a merge, and none needs to: all that it holds follows from commits that are checked
on their own, and from the ops that they seal.
"""

from contextlib import closing

from muse.apply.merge_heads import is_merge_of_ops, merge_record, merged_tree, merged_work, stated_base
from muse.errors import MuseError
from muse.history.commit_record import CommitRecord, parents
from muse.history.covered_ops import SealedCommits, covered_by, open_session
from muse.history.repository import Repository
from muse.history.seal import read_merge_seal
from muse.history.signing import SIGNED_FIELDS

_SIGNER = {"signer_key_id"}
_NEW_IN_SEALED_MERGES = {"commit_id", "message"}


def follows_from_parents(repository: Repository, record: CommitRecord) -> bool:
    """Return whether a commit is a merge, and making it again gives the same.

    A merge whose plugin is not installed here, or whose ops are not here as they are sealed, is not.
    """
    if not is_merge_of_ops(record):
        return False
    try:
        return _is_made_again(repository, record)
    except MuseError:
        return False


def _is_made_again(repository: Repository, record: CommitRecord) -> bool:
    first, second = parents(record)
    base = repository.dag.common_dominator(first, second)
    work = merged_work(repository, first, second, base)
    _check_ops(repository, list(work.behind))
    merged = merged_tree(repository, work, made=record)
    made = merge_record(repository, record["branch"], work, merged)
    seal = read_merge_seal(record["message"])
    left_open = _SIGNER if seal and seal.record_digest else _SIGNER | _NEW_IN_SEALED_MERGES
    return (
        first < second
        and stated_base(record) == base
        and all(made[name] == record[name] for name in SIGNED_FIELDS if name not in left_open)  # type: ignore[literal-required]
    )


def _check_ops(repository: Repository, commit_ids: list[str]) -> None:
    """Raise `CorruptionError` unless the logs hold the ops of these commits as they are sealed."""
    commits = SealedCommits()
    for commit_id in commit_ids:
        commits.add(repository.dag.read_commit(commit_id))
    for session_id in commits.session_ids():
        with closing(open_session(repository.root, session_id, repository.storage)) as ops:
            for commit in commits.of_session(session_id):
                covered_by(commit, ops, repository.objects)
