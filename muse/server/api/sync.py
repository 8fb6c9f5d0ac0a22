"""Synchronisation over HTTP: this repository as a peer of distant replicas. See `muse.replication.wire`."""

from functools import partial

from starlette.responses import Response

from muse.disk import layout
from muse.errors import CorruptionError
from muse.replication.local_peer import LocalPeer
from muse.replication.peer import OBJECT_BYTES
from muse.replication.received import entries_in
from muse.replication.reconcile import ProtocolError
from muse.replication.wire import CALLS, WRITING_CALLS, answer, unpack
from muse.server.api.bodies import read_body
from muse.server.api.calls import Call
from muse.server.edge.access import SCOPES, Principal, Scope
from muse.server.faults import RequestError
from muse.session.decisions import STAMPS_AHEAD

_BODY_BYTES = {"put": OBJECT_BYTES, "cover": OBJECT_BYTES, "offer": 1 << 25}
"""How large the larger messages may be: an object, a commit and its ops, a batch of ops."""

_SCOPES: dict[str, Scope] = {"put": "commit", "cover": "admin", "offer": "append", "advance": "append"}
"""What a message needs but to read. No limit of a merge holds for the ops that a commit covers."""

_QUESTION_BYTES = 4 << 20


async def message(call: Call) -> Response:
    """Answer one message between replicas."""
    call.query()
    name = call.request.path_params["call"]
    if name not in CALLS:
        raise RequestError(404, f"there is no message {name[:40]!r}: there are {', '.join(CALLS)}")
    principal, service = call.principal, call.service
    principal.check_scope(_SCOPES.get(name, "read"))
    limit = _BODY_BYTES.get(name, _QUESTION_BYTES)
    body = await read_body(call, limit=limit, is_paid=name == "offer", is_free=_may_bring_all(principal))
    if name == "advance" and _moves(body):
        principal.check_scope("commit")
    is_paid = name == "offer" and not _may_bring_all(principal)
    if is_paid:
        service.quotas.charge_batch(principal.actor or "", body.count(b"\n"), len(body))
        if await call.in_thread(partial(_makes_session, call, body)):
            service.quotas.charge_session(principal.actor or "")
    replica = (call.header(b"muse-replica") or "")[:64]

    def respond() -> tuple[bytes, int]:
        """Return the answer, and how many bytes were named, or are of orphans and were written again."""
        named = 0
        try:
            with service.peers.use(principal.token_id, replica, is_new=name == "identity") as peer:
                if name == "offer":
                    named = _check_entries(call, peer, body)
                if name not in WRITING_CALLS:
                    return answer(peer, name, body), 0
                before = _orphans(call, body) if name == "offer" else None
                with peer.receiving():
                    answered = answer(peer, name, body)
                after = _orphans(call, body) if name == "offer" else None
                return answered, named + (after[1] if after and after != before else 0)
        except ProtocolError as error:
            raise RequestError(422, str(error)) from error
        except CorruptionError as error:
            if name in WRITING_CALLS:  # what was sent is not what it says to be
                raise RequestError(422, str(error)) from error
            raise

    with service.tracing.span("sync", call=name):
        answered, further = await call.in_thread(respond)
    if is_paid and further:
        service.quotas.pay(principal.actor or "", further)
    return call.answer_bytes(answered, "application/octet-stream")


def _may_bring_all(principal: Principal) -> bool:
    return principal.scope == SCOPES[-1]


def _moves(body: bytes) -> bool:
    """Return whether a branch is to be moved, and not only brought to what is on it already."""
    try:
        asked, _ = unpack(body)
    except ProtocolError:
        return True  # it is refused for that, to those who may move one
    return asked.get("expected") != asked.get("new")


def _session_in(body: bytes) -> str:
    """Return the session that a message is about; "" if it names none that can be."""
    session_id = unpack(body[: body.find(b"\n") + 1])[0].get("session_id")  # the first line says it
    return session_id if isinstance(session_id, str) and layout.is_session_id(session_id) else ""


def _makes_session(call: Call, body: bytes) -> bool:
    """Return whether the ops of an offer are of a session that is not there."""
    try:
        session_id = _session_in(body)
    except ProtocolError:
        return False  # it is refused for that
    return bool(session_id) and not call.service.sessions.has(session_id)


def _orphans(call: Call, body: bytes) -> tuple[int, int] | None:
    """Return which file has the session's orphans, and its size; None without one."""
    session_id, repository = _session_in(body), call.service.repository
    if not session_id:
        return None
    found = repository.storage.look(layout.orphans_file(repository.root, session_id))
    return found and (found.st_ino, found.st_size)


def _check_entries(call: Call, peer: LocalPeer, body: bytes) -> int:
    """Refuse ops of other actors, and stamps far ahead, unless the token may bring the ops of all.

    Return how many bytes of stored contents they name.
    """
    if _may_bring_all(call.principal):
        return 0
    document, lines = unpack(body)
    entries = entries_in(lines)
    for entry in entries:
        call.principal.check_actor(entry["actor_id"])
    session_id = document.get("session_id")
    clock = 0
    if entries and isinstance(session_id, str) and call.service.sessions.has(session_id):
        clock = peer.clock(session_id)
    latest = clock + len(entries) + STAMPS_AHEAD
    if any(entry["lamport_ts"] > latest for entry in entries):
        raise RequestError(
            422,
            f"a stamp is far ahead of this session: at most {latest} is taken now; a token of scope 'admin' "
            "may bring it",
            field="lamport_ts",
        )
    return call.service.contents.price(entry["domain_op"] for entry in entries)
