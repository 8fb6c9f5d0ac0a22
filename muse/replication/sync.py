"""Brings the ops of two replicas together: both hold the union of both once it is done.

The logs are compared by what they hold, never by when they last met, so that whatever cut a
synchronisation short, the next one does what was left. An entry is handed over after the objects it
names, and after its causes.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from muse.core.intake import Refusal
from muse.core.op_log import MergeResult
from muse.errors import ConflictError, CorruptionError, NotFoundError, UsageError
from muse.replication.history_copy import copy_objects
from muse.replication.local_peer import LocalPeer
from muse.replication.peer import BATCH_OPS, Peer
from muse.replication.reconcile import Initiator, ProtocolError, item_op_id

_REASONS_KEPT = 100


@dataclass(frozen=True, slots=True)
class SessionSync:
    """The outcome for one session. `sent` and `received` are new on the other side, and here.

    `known` were there already, brought by another way meanwhile. `orphans` wait for their causes.
    `conflicts` are op ids with different bodies on both sides: neither was changed. `refused` may not
    enter; `reasons` says why, of the first hundred. `faults` say what kept ops from being moved at all.
    """

    session_id: str
    sent: int = 0
    received: int = 0
    known: int = 0
    orphans: int = 0
    conflicts: int = 0
    refused: int = 0
    reasons: tuple[Refusal, ...] = ()
    faults: tuple[str, ...] = ()

    @property
    def is_sound(self) -> bool:
        """Whether both sides hold the same ops, as far as they can."""
        return not (self.conflicts or self.refused or self.faults)


def check_same_repository(own: LocalPeer, peer: Peer) -> None:
    """Raise `UsageError` unless both are replicas of one repository."""
    ours, theirs = own.repository.repo_id, peer.identity().repo_id
    if ours != theirs:
        raise UsageError(
            f"the repositories are unrelated ({own.repository.root} is {ours}, the other {theirs}): only "
            "replicas of one repository can be brought together; 'muse clone' makes one"
        )


def sync_sessions(
    own: LocalPeer,
    peer: Peer,
    session_ids: Collection[str] = (),
    *,
    send: bool = True,
    receive: bool = True,
) -> Iterator[SessionSync]:
    """Bring sessions together, by default all of both sides; yield the outcome of each once it is done.

    What hinders one session is in its outcome, and the others go on. `NotFoundError`,
    nothing done, for a session that neither side has. One that only one side has is made on the other.
    An op that its domain can never apply comes along: a log that holds it has it everywhere, without effect.
    """
    check_same_repository(own, peer)
    ours, theirs = own.sessions(), peer.sessions()
    known = {*ours, *theirs}
    if missing := sorted(set(session_ids) - known):
        raise NotFoundError(f"neither side has a session {missing[0]!r}: see 'muse session list'")
    for session_id in sorted(session_ids or known):
        if ours.get(session_id) and ours[session_id] == theirs.get(session_id):
            yield SessionSync(session_id)
        else:
            yield sync_session(own, peer, session_id, send=send, receive=receive)


def sync_session(
    own: LocalPeer,
    peer: Peer,
    session_id: str,
    *,
    send: bool = True,
    receive: bool = True,
) -> SessionSync:
    """Bring one session together. A fault of one direction does not keep the other from being done."""
    outcome = SessionSync(session_id)
    try:
        have, need = compare(own, peer, session_id)
    except (UsageError, CorruptionError) as error:
        return replace(outcome, faults=(str(error),))
    conflicts = {item_op_id(item) for item in have} & {item_op_id(item) for item in need}
    faults: list[str] = []
    received, sent = _Tally(), _Tally()
    if receive:
        faults += [f"receiving: {fault}" for fault in _carry(peer, own, session_id, _op_ids(need), received)]
    if send:
        op_ids = [op_id for op_id in _op_ids(have) if op_id not in conflicts]
        faults += [f"sending: {fault}" for fault in _carry(own, peer, session_id, op_ids, sent)]
    return SessionSync(
        session_id,
        sent=sent.added,
        received=received.added,
        known=received.known + sent.known,
        orphans=received.orphans + sent.orphans,
        conflicts=received.conflicts + sent.conflicts,
        refused=received.refused + sent.refused,
        reasons=(*received.reasons, *sent.reasons)[:_REASONS_KEPT],
        faults=tuple(faults),
    )


def compare(own: LocalPeer, peer: Peer, session_id: str) -> tuple[set[bytes], set[bytes]]:
    """Return the items of a session that only `own` has, and those that only `peer` has."""
    initiator = Initiator(own.items(session_id))
    message: bytes | None = initiator.start()
    while message is not None:
        message = initiator.receive(peer.reconcile(session_id, message))
    return initiator.have, initiator.need


def _op_ids(items: Iterable[bytes]) -> list[str]:
    """Return the op ids by rising stamps: causes before what they caused."""
    return list(map(item_op_id, sorted(items)))


@dataclass(slots=True)
class _Tally:
    added: int = 0
    known: int = 0
    orphans: int = 0
    conflicts: int = 0
    refused: int = 0
    reasons: list[Refusal] = field(default_factory=list)

    def add(self, result: MergeResult) -> None:
        self.added += result.added
        self.known += result.known
        self.orphans += result.orphans
        self.conflicts += result.conflicts
        self.refused += result.refused
        self.reasons += result.reasons[: _REASONS_KEPT - len(self.reasons)]


def _carry(source: Peer, target: Peer, session_id: str, op_ids: Sequence[str], tally: _Tally) -> list[str]:
    """Hand entries from `source` to `target`, batch by batch; return what was in the way."""
    done = 0
    try:
        while done < len(op_ids):
            batch = source.entries(session_id, op_ids[done : done + BATCH_OPS])
            if not 0 < batch.done <= BATCH_OPS:
                raise ProtocolError("the peer has ops that it does not hand over: ask its owner; try again")
            with target.receiving():
                copy_objects(source, target, batch.object_ids)
                tally.add(target.offer(session_id, batch.lines))
            done += batch.done
    except (UsageError, ConflictError, CorruptionError) as error:
        return [str(error)]
    return []
