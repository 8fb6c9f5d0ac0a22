"""What appends have in common, over HTTP and WebSocket: rights, quotas, and the way into the log."""

import asyncio
from functools import partial

from muse.server.api.calls import Service
from muse.server.api.ops import SentOps
from muse.server.appending import Written
from muse.server.edge.access import Principal
from muse.server.faults import RequestError
from muse.server.sessions import OpenSession
from muse.session.guarded_log import Request

ACKS = ("written", "durable")
"""How sure an acknowledgement is: it survives the death of the server, or a power cut."""


def submit_ops(
    service: Service,
    session: OpenSession,
    principal: Principal,
    sent: SentOps,
    *,
    is_durable: bool,
    size: int,
    actor: str | None = None,
) -> "asyncio.Future[Written]":
    """Append what a client sent, in the order of the calls; the receipts come once they are true.

    The quota takes all the ops or none. `actor`: the author if neither the token nor the ops name one.
    """
    if sent.actor_id is not None:
        principal.check_actor(sent.actor_id)
    author = sent.actor_id or principal.actor or actor
    if not sent.ops:
        service.quotas.charge(author or "", 1, size)
        nothing: asyncio.Future[Written] = asyncio.get_running_loop().create_future()
        nothing.set_result(Written([]))
        return nothing
    if not author:
        raise RequestError(422, "actor_id is missing: name the author", field="actor_id")
    named = service.contents.price(op["domain_op"] for op in sent.ops)
    service.quotas.charge(author, len(sent.ops), size, named=named)
    request = Request(author, sent.ops, sent.run_id, sent.seen_frontier)
    pay = partial(service.quotas.pay, author)
    return session.appends.submit(request, is_durable=is_durable, size=size, pay=pay)
