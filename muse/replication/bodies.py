"""The ops of a log get the bodies again that commits seal, from a replica that has them.

Where an op has one body here and another there, the Merkle root in the message of the commit that covers it
says which of the two is the right one.
"""

from collections.abc import Iterator, Sequence

from muse.checks.sealed_ops import SealedOpsCheck
from muse.core.entry import OpEntry
from muse.core.file.live_or_archived import is_archived
from muse.core.line import entry_json, frame
from muse.core.op_log import OpLog
from muse.disk import layout
from muse.errors import MuseError
from muse.history.covered_ops import SealedCommit, op_ids_of
from muse.history.seal import root_of
from muse.replication.local_peer import LocalPeer
from muse.replication.mend import Mended
from muse.replication.peer import BATCH_OPS, Peer
from muse.replication.received import entries_in


def restore_bodies(own: LocalPeer, peer: Peer, session_id: str, check: SealedOpsCheck) -> list[Mended]:
    """Take the sealed bodies of ops from `peer` where a live log has others; those go to a side file.

    `check` has read the commits. The checkpoint counts as lost then, as the lines get other places. A crash
    leaves a log that lacks some ops, and a synchronisation brings them.
    """
    root, storage = own.repository.root, own.storage
    if session_id not in check.commits.session_ids() or is_archived(root, session_id, storage=storage):
        return []
    wrong: list[SealedCommit] = []
    check.check_session(
        session_id,
        lambda commit, covered: wrong.append(commit) if covered is None else None,
        checkpoint=False,
    )
    bodies = {entry["op_id"]: entry for commit in wrong for entry in _sealed_entries(own, peer, commit)}
    if not bodies or not storage.exists(layout.ops_file(root, session_id)):
        return []
    with OpLog(root, session_id, storage=storage) as log:
        done = log.repair(only_replaced=True, other_bodies=bodies)
        replaced = {damage.op_id for damage in done.damages} & bodies.keys()
        if replaced and storage.exists(layout.checkpoint_file(root, session_id)):
            log.checkpoints.distrust()
    lines = [frame(entry_json(bodies[op_id])) for op_id in sorted(replaced)]
    for start in range(0, len(lines), BATCH_OPS):
        own.offer(session_id, b"".join(lines[start : start + BATCH_OPS]))
    return [Mended("session", session_id, done.side_file)] if done.side_file else []


def _sealed_entries(own: LocalPeer, peer: Peer, commit: SealedCommit) -> list[OpEntry]:
    """Return the entries that a commit seals, from `peer`; none if it does not have just those."""
    try:
        op_ids = op_ids_of(own.repository.objects, commit.seal)
        entries = list(_entries_of(peer, commit.seal.session_id, op_ids))
    except MuseError:
        return []  # told by the verification at the end
    return entries if root_of(entries) == commit.seal.root else []


def _entries_of(peer: Peer, session_id: str, op_ids: Sequence[str]) -> Iterator[OpEntry]:
    done = 0
    while done < len(op_ids):
        batch = peer.entries(session_id, op_ids[done : done + BATCH_OPS])
        if not 0 < batch.done <= BATCH_OPS:
            return
        yield from entries_in(batch.lines)
        done += batch.done
