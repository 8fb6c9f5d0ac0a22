"""Sessions over HTTP: made, shown, appended to, read, committed; and their proposals."""

from collections.abc import AsyncIterator, Generator, Iterator
from contextlib import closing
from functools import partial
from itertools import islice
from typing import Annotated, Any

import msgspec
import orjson
from starlette.responses import Response, StreamingResponse

from muse.causality import causal_order
from muse.core.delta import collapse
from muse.core.entry import matches, total_order
from muse.core.file.live_or_archived import is_archived
from muse.core.file.log_reader import collector_paused
from muse.core.op_log import OpLog
from muse.server.api.appends import ACKS, submit_ops
from muse.server.api.bodies import PARSED_AT_ONCE, media_type, parse_json, read_body, read_json, read_object
from muse.server.api.calls import Call, JsonResponse, Service, check_cursor, count_of, one_of
from muse.server.api.ops import Lamport, SentOps, checked, read_document, read_lines
from muse.server.faults import RequestError
from muse.server.feed import as_json
from muse.server.in_threads import InThreads
from muse.session.commit import HandEditedError
from muse.session.live import LiveSession
from muse.session.policy import Policy, ReservationRule, StaleReadRule, read_policy
from muse.session.proposals import PAGE_PROPOSALS

_CHUNK_BYTES = 1 << 18
_READ_AT_MOST = 1_000_000_000
_Key = tuple[int, str, str]


class PolicyRecord(msgspec.Struct, forbid_unknown_fields=True):
    """The rules of a session."""

    reservations: ReservationRule = "advisory"
    stale_reads: StaleReadRule = "report"
    schema_version: int = 1


class NewSession(msgspec.Struct, forbid_unknown_fields=True):
    """A session to be made."""

    session_id: str
    policy: PolicyRecord | None = None


class NewCommit(msgspec.Struct, forbid_unknown_fields=True):
    """The facts of a commit to be made."""

    message: Annotated[str, msgspec.Meta(min_length=1, max_length=65_536)]
    author: str | None = None
    branch: str | None = None
    full: bool = False


class Decision(msgspec.Struct, forbid_unknown_fields=True):
    """A decision on a proposal: its actor and the reason."""

    actor_id: str | None = None
    reason: str = ""


# -- sessions -------------------------------------------------------------------------------------


async def list_all(call: Call) -> Response:
    """Answer with the sessions that the token may use."""
    call.query()
    found = await call.in_thread(call.service.sessions.all)
    return JsonResponse({"sessions": [name for name in found if call.principal.may_use(name)]})


async def create(call: Call) -> Response:
    """Make a session, with a policy if one is given."""
    call.query()
    wanted = checked(await read_object(call), NewSession)
    call.principal.check_session(wanted.session_id)
    rules = wanted.policy
    policy = Policy(rules.reservations, rules.stale_reads) if rules is not None else None
    sessions = call.service.sessions
    if not sessions.has(wanted.session_id):
        call.service.quotas.charge_session(call.principal.actor or "")
    is_new = await call.in_thread(lambda: sessions.create(wanted.session_id, policy))
    return JsonResponse(
        {"session_id": wanted.session_id, "created": is_new}, status_code=201 if is_new else 200
    )


async def show(call: Call) -> Response:
    """Answer with the facts of a session, and the actors that are present."""
    call.query()
    session = call.session()
    facts = await call.in_thread(lambda: _facts(call, session.log))
    return JsonResponse({**facts, "present": session.present()})


def _facts(call: Call, log: OpLog) -> dict[str, Any]:
    cut = log.cut()
    repository, session_id = call.service.repository, log.session_id()
    return {
        "session_id": session_id,
        "repo_id": repository.repo_id,
        "entries": cut.op_count,
        "lamport_ts": cut.lamport_ts,
        "cursor": log.cursors.at(cut.offset),
        "archived": is_archived(repository.root, session_id, storage=repository.storage),
        "policy": read_policy(repository.root, session_id, repository.storage).to_json(),
    }


async def checkpoint(call: Call) -> Response:
    """Answer with the checkpoint of a session, or null."""
    call.query()
    log = call.session().log
    return JsonResponse({"checkpoint": await call.in_thread(log.read_checkpoint)})


async def delta(call: Call) -> Response:
    """Answer with what is pending of a domain, collapsed."""
    (domain,) = call.query("domain")
    if not domain:
        raise RequestError(422, "domain is missing: name one", field="domain")
    session_id, repository = call.session().session_id, call.service.repository
    at_most = call.service.settings.sorted_bytes

    def make() -> Any:
        with OpLog(repository.root, session_id, storage=repository.storage) as log:
            until, checkpoint = log.cut(), log.read_checkpoint()
            covered = checkpoint["cut"]["offset"] if checkpoint is not None and "cut" in checkpoint else 0
            if until.offset - covered > at_most:
                raise RequestError(
                    413,
                    f"{until.offset - covered} bytes of log are pending: at most {at_most} are "
                    "collapsed here; commit, or read the ops",
                )
            with collector_paused():
                return collapse(call.service.while_serving(log.checkpoints.iterate_pending(until)), domain)

    return await call.answer_json(make)


async def commit(call: Call) -> Response:
    """Carry the pending ops of a session into its branch."""
    call.query()
    session = call.session()
    wanted = checked(await read_object(call), NewCommit)
    if wanted.author is not None:
        call.principal.check_actor(wanted.author)
    author = wanted.author or call.principal.actor or ""
    repository = call.service.repository

    def make() -> dict[str, Any]:
        with LiveSession(
            repository.root,
            session.session_id,
            branch=wanted.branch,
            author=author,
            storage=repository.storage,
        ) as live:
            try:
                return live.commit(wanted.message, full=wanted.full).as_record()
            except HandEditedError as error:
                return error.outcome.as_record()

    with call.service.tracing.span("commit"):
        return JsonResponse(await call.in_thread(make))


# -- ops ------------------------------------------------------------------------------------------


async def append(call: Call) -> Response:
    """Append a batch of ops; answer with a receipt for each, in their order."""
    (ack,) = call.query("ack")
    level = one_of("ack", ack, *ACKS)
    call.service.sessions.check(call.session_id())
    settings = call.service.settings
    body = await read_body(call, is_paid=True)
    parse = partial(_sent, call, body, settings.request_ops)
    with call.service.quotas.paying_for_refusal(call.principal.actor or "", len(body)):
        sent = parse() if len(body) <= PARSED_AT_ONCE else await call.in_thread(parse)
        done = submit_ops(
            call.service, call.session(), call.principal, sent, is_durable=level == "durable", size=len(body)
        )
    with call.service.tracing.span("append", ops=len(sent.ops), ack=level):
        written = await done
    return JsonResponse(written.as_record())


def _sent(call: Call, body: bytes, at_most: int) -> SentOps:
    sent_type = media_type(call)
    if sent_type == "application/x-ndjson":
        sent = read_lines(body, at_most)
    elif sent_type == "application/json":
        sent = read_document(body, at_most)
    else:
        raise RequestError(415, "send application/x-ndjson or application/json")
    seen = call.header(b"muse-seen-frontier")
    if seen is None:
        return sent
    try:
        frontier = checked(parse_json(seen), dict[str, Lamport])
    except RequestError as error:
        raise RequestError(422, f"the header muse-seen-frontier: {error}", field="seen_frontier") from None
    return SentOps(sent.ops, sent.actor_id, frontier, sent.run_id)


async def read(call: Call) -> Response:
    """Answer with ops of a session, as JSON Lines, in bounded memory."""
    since, until, domain, actor, address, order, limit = call.query(
        "since", "until", "domain", "actor", "address", "order", "limit"
    )
    order = one_of("order", order, "log", "total", "causal")
    count = count_of("limit", limit, _READ_AT_MOST)
    session = call.session()
    service = call.service

    def begin() -> Generator[bytes]:
        start = check_cursor(session.log, since, "since") if since is not None else 0
        stop = session.log.cut().offset
        if until is not None:
            stop = check_cursor(session.log, until, "until")
        wanted = {"domain": domain, "actor": actor, "address": address}
        if order == "log":
            return _first(count, _in_log_order(service, session.log, start, stop, wanted))
        if order == "total":
            return _first(count, _in_total_order(service, session.log, start, stop, wanted))
        if stop - start > service.settings.sorted_bytes:
            raise RequestError(
                413,
                f"order {order!r} of {stop - start} bytes of log: at most "
                f"{service.settings.sorted_bytes} are sorted so here; read in another order",
                field="order",
            )
        found = service.while_serving(session.log.entries(since=start, until=stop))
        ordered = service.while_serving(causal_order(sorted(found, key=total_order)))
        return _first(count, (orjson.dumps(entry) for entry in ordered if matches(entry, **wanted)))

    if order != "log":
        call.held.enter_context(service.sorts.one(call.principal.token_id))
    lines = call.held.enter_context(InThreads(service.threads_of(call.principal), begin))
    await lines.open()
    return StreamingResponse(_stream(call, lines), media_type="application/x-ndjson")


def _first(count: int | None, lines: Generator[bytes]) -> Generator[bytes]:
    with closing(lines):
        yield from islice(lines, count)


def _in_log_order(
    service: Service, log: OpLog, start: int, stop: int, wanted: dict[str, str | None]
) -> Generator[bytes]:
    with log.follow(since=start) as follower:
        coming = iter(lambda: follower.next_within(0) if follower.cursor < stop else None, None)
        for entry in service.while_serving(coming):
            if follower.cursor <= stop and matches(entry, **wanted):
                yield as_json(entry, follower.cursor_text)


def _in_total_order(
    service: Service, log: OpLog, start: int, stop: int, wanted: dict[str, str | None]
) -> Generator[bytes]:
    """Yield lines in the total order, in bounded memory: a longer log is read several times.

    Each pass keeps the lowest lines after those that were yielded already.
    """
    at_most = service.settings.sorted_bytes
    out: _Key = (0, "", "")
    is_more = True
    while is_more:
        kept: list[tuple[_Key, bytes]] = []
        bound: _Key | None = None
        size = 0
        for entry in service.while_serving(log.entries(since=start, until=stop)):
            key = total_order(entry)
            if key > out and (bound is None or key < bound) and matches(entry, **wanted):
                # A copy: what orjson gives takes up kilobytes for as long as it is kept.
                kept.append((key, bytes(memoryview(orjson.dumps(entry)))))
                size += len(kept[-1][1])
            if size > at_most and len(kept) > 1:
                kept.sort()
                del kept[len(kept) // 2 :]
                bound, size = kept[-1][0], sum(len(line) for _, line in kept)
        kept.sort()
        yield from (line for _, line in kept)
        is_more = bound is not None
        out = kept[-1][0] if is_more else out


def _chunk(lines: Iterator[bytes]) -> bytes:
    """Return the next lines; nothing at the end."""
    taken: list[bytes] = []
    size = 0
    while size < _CHUNK_BYTES and (line := next(lines, None)) is not None:
        taken += (line, b"\n")
        size += len(line) + 1
    return b"".join(taken)


async def _stream(call: Call, lines: InThreads[Generator[bytes]]) -> AsyncIterator[bytes]:
    """Send lines as they are read. An error on the way becomes the last line, and the answer is cut short."""
    try:
        while chunk := await lines.use(_chunk):
            call.service.tokens.check_valid(call.principal)
            yield chunk
    except Exception as error:
        yield orjson.dumps(call.service.as_told(error).as_record()) + b"\n"
        raise


# -- proposals ------------------------------------------------------------------------------------


async def proposals(call: Call) -> Response:
    """Answer with a page of proposals."""
    settled, after, limit = call.query("settled", "after", "limit")
    with_settled = one_of("settled", settled, "false", "true") == "true"
    at_most = count_of("limit", limit, PAGE_PROPOSALS) or PAGE_PROPOSALS
    guarded = call.session().guarded

    def page() -> dict[str, Any]:
        found, following = guarded.proposals_after(after or "", settled=with_settled, at_most=at_most)
        return {"proposals": [proposal.to_json() for proposal in found], "next": following}

    return await call.answer_json(page)


async def accept(call: Call) -> Response:
    """Let a proposal into the log; answer with its receipt."""
    decision, actor = await _decision(call)
    session, proposal_id = call.session(), call.request.path_params["proposal_id"]
    del decision
    receipt = await call.in_thread(lambda: session.guarded.accept(proposal_id, actor_id=actor))
    return JsonResponse({"receipt": receipt})


async def reject(call: Call) -> Response:
    """Refuse a proposal; answer with it as it is then."""
    decision, actor = await _decision(call)
    session, proposal_id = call.session(), call.request.path_params["proposal_id"]
    proposal = await call.in_thread(
        lambda: session.guarded.reject(proposal_id, actor_id=actor, reason=decision.reason)
    )
    return JsonResponse({"proposal": proposal.to_json()})


async def _decision(call: Call) -> tuple[Decision, str]:
    call.query()
    decision = checked(await read_json(call), Decision)
    return decision, call.actor(decision.actor_id)
