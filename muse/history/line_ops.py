"""Finds those of some ops that the history of a commit holds by way of other sessions.

A session's coverage knows its own commits only. An op that two sessions got, by a synchronisation for one, is
in history once the first of them is committed.
"""

from collections.abc import Collection
from dataclasses import dataclass

from muse.core.file.objects import ObjectStore
from muse.core.op_list import ids_among
from muse.history.commit_record import parents
from muse.history.dag import CommitDag
from muse.history.seal import read_seal
from muse.history.walk import reachable

_REMEMBERED_AT_MOST = 1 << 16


@dataclass(frozen=True, slots=True)
class _CommitOnLine:
    """What a commit covers, and what it follows; "" for no session and no list."""

    parent_ids: tuple[str, ...]
    session_id: str
    op_list: str


_LINKS: dict[str, _CommitOnLine] = {}
"""By commit id, which is a hash of all of it: the same in every repository of this process."""


def held_by_others(
    dag: CommitDag, objects: ObjectStore, head: str | None, session_id: str, op_ids: Collection[str]
) -> dict[str, str]:
    """Return those of the ops that another session than `session_id` has in the history of `head`.

    Gives op id -> that session. Each commit is read once in the life of the process, and the lists of the
    other sessions at each call: 16 bytes an op.
    """
    found: dict[str, str] = {}
    lists: dict[str, str] = {}
    for commit_id in reachable([head] if head else [], lambda name: _link(dag, name).parent_ids):
        link = _link(dag, commit_id)
        if link.op_list and link.session_id != session_id:
            lists[link.op_list] = link.session_id
    for op_list, holder in lists.items():
        found |= dict.fromkeys(ids_among(objects.get(op_list), op_ids, op_list), holder)
    return found


def _link(dag: CommitDag, commit_id: str) -> _CommitOnLine:
    link = _LINKS.get(commit_id)
    if link is None:
        record = dag.read_commit(commit_id)
        seal = read_seal(record["message"])
        covers = (seal.session_id, seal.op_list) if seal else ("", "")
        link = _CommitOnLine(tuple(parents(record)), *covers)
        if len(_LINKS) >= _REMEMBERED_AT_MOST:
            _LINKS.clear()
        _LINKS[commit_id] = link
    return link
