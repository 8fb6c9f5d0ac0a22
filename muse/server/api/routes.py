"""The endpoints of the server: every route, with what the OpenAPI document says of it."""

from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from muse.disk.layout import SESSION_ID_LENGTH
from muse.replication.wire import CALLS
from muse.server.api import coordination, history, live
from muse.server.api import sessions as session_api
from muse.server.api import sync as sync_api
from muse.server.api.calls import Call, Endpoint, JsonResponse
from muse.server.api.coordination import Forecast, Intend, Release, Renew, Reserve
from muse.server.api.ops import Append, Op
from muse.server.api.sessions import Decision, NewCommit, NewSession
from muse.session.proposals import PAGE_PROPOSALS

Schema = Mapping[str, Any]

JSON, LINES, BYTES, EVENTS, TEXT = (
    "application/json",
    "application/x-ndjson",
    "application/octet-stream",
    "text/event-stream",
    "text/plain",
)

_ONE_SESSION = "/v1/sessions/{session_id}"
_CURSOR_FORM = {"pattern": "^[0-9]{1,18}(-[0-9a-f]{8})?$", "description": "A cursor of this session."}
_CURSOR = {"type": "string", **_CURSOR_FORM}
_NULLABLE_CURSOR = {"type": ["string", "null"], **_CURSOR_FORM}
_WORD = {"type": "string"}
_OBJECT = {"type": "object"}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _struct(kind: type) -> dict[str, Schema]:
    return {JSON: _ref(kind.__name__)}


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}


def _list(items: Any) -> dict[str, Any]:
    return {"type": "array", "items": items}


def _json(schema: Any) -> tuple[str, Any]:
    return JSON, schema


_ENTRY_WITH_CURSOR = {"description": "One entry a line, each with the `cursor` behind it."}
_NULLABLE_INTEGER = {"type": ["integer", "null"]}

RECEIPT = _object(
    op_id=_WORD,
    status={"enum": ["stored", "known", "refused", "proposed"]},
    lamport_ts=_NULLABLE_INTEGER,
    position=_NULLABLE_INTEGER,
    next_position=_NULLABLE_INTEGER,
    kind=_WORD,
    reason=_WORD,
    overlaps=_list(_OBJECT),
    reservations=_list(_OBJECT),
)
ERROR = _object(
    error={
        **_object(status={"type": "integer"}, kind=_WORD, message=_WORD),
        "properties": {
            "status": {"type": "integer"},
            "kind": _WORD,
            "message": _WORD,
            "field": _WORD,
            "line": {"type": "integer"},
            "retry_after": {"type": "number"},
        },
    }
)
BODIES = (NewSession, NewCommit, Decision, Append, Op, Reserve, Renew, Release, Intend, Forecast)
"""What bodies are checked against, and described by."""


async def health(call: Call) -> Response:
    """Say that the process answers."""
    call.query()
    return JsonResponse({"status": "ok"})


async def ready(call: Call) -> Response:
    """Say whether new work is taken on; while the server stops, the answer is 503."""
    call.query()
    return JsonResponse({"status": "ready"})


async def metrics(call: Call) -> Response:
    """Return the metrics in the text format of Prometheus."""
    call.query()
    return Response(call.service.metrics.exposition(), media_type=TEXT)


ENDPOINTS = (
    Endpoint(
        "POST",
        f"{_ONE_SESSION}/ops",
        "append",
        session_api.append,
        "Append ops. All pass the actor's quota or none does; a receipt says what became of each.",
        query={"ack": {"enum": ["written", "durable"]}},
        headers={
            "muse-seen-frontier": {"type": "string", "description": "JSON: actor to the highest stamp read."}
        },
        body={JSON: {"oneOf": [_list(_ref("Op")), _ref("Append")]}, LINES: {"type": "string"}},
        answers={200: _json(_object(receipts=_list(_ref("Receipt")), cursor=_NULLABLE_CURSOR))},
        errors=(404, 413, 415, 429, 507),
    ),
    Endpoint(
        "GET",
        f"{_ONE_SESSION}/ops",
        "read",
        session_api.read,
        "Read ops as JSON Lines, streamed; in the order of the log each line has its cursor.",
        query={
            "since": _CURSOR,
            "until": _CURSOR,
            "domain": _WORD,
            "actor": _WORD,
            "address": {"type": "string", "description": "All addresses that start so."},
            "order": {"enum": ["log", "total", "causal"]},
            "limit": {"type": "integer", "minimum": 1, "maximum": 1_000_000_000},
        },
        answers={200: (LINES, _ENTRY_WITH_CURSOR)},
        errors=(404, 410, 413, 429),
    ),
    Endpoint(
        "GET",
        f"{_ONE_SESSION}/events",
        "read",
        live.events,
        "Follow as Server-Sent Events; `Last-Event-ID` resumes.",
        query={"since": _CURSOR},
        answers={200: (EVENTS, {"type": "string"})},
        errors=(404, 410, 429),
    ),
    Endpoint(
        "GET",
        "/v1/sessions",
        "read",
        session_api.list_all,
        "List the sessions that the token is for.",
        answers={200: _json(_object(sessions=_list(_WORD)))},
    ),
    Endpoint(
        "POST",
        "/v1/sessions",
        "append",
        session_api.create,
        "Make a session. One that is there stays as it is, its policy too.",
        body=_struct(NewSession),
        answers={
            201: _json(_object(session_id=_WORD, created={"type": "boolean"})),
            200: _json(_object(session_id=_WORD, created={"type": "boolean"})),
        },
        errors=(413, 507),
    ),
    Endpoint(
        "GET",
        _ONE_SESSION,
        "read",
        session_api.show,
        "Show a session: of which repository it is, how much is in it, its policy, and who is here.",
        answers={
            200: _json(
                _object(
                    session_id=_WORD,
                    repo_id={"type": "string", "format": "uuid", "description": "That of .muse/repo.json."},
                    entries={"type": "integer"},
                    lamport_ts={"type": "integer"},
                    cursor=_CURSOR,
                    archived={"type": "boolean"},
                    policy=_OBJECT,
                    present=_list(_OBJECT),
                )
            )
        },
        errors=(404,),
    ),
    Endpoint(
        "GET",
        f"{_ONE_SESSION}/checkpoint",
        "read",
        session_api.checkpoint,
        "Show what of the session is in history; null if nothing.",
        answers={200: _json(_object(checkpoint={"type": ["object", "null"]}))},
        errors=(404,),
    ),
    Endpoint(
        "GET",
        f"{_ONE_SESSION}/delta",
        "read",
        session_api.delta,
        "Collapse the pending ops of a domain into a delta. Marks nothing as covered.",
        query={"domain": {"type": "string", "minLength": 1, "required": True}},
        answers={200: _json(_object(domain=_WORD, ops=_list(_OBJECT), summary=_WORD))},
        errors=(404, 413),
    ),
    Endpoint(
        "POST",
        f"{_ONE_SESSION}/commit",
        "commit",
        session_api.commit,
        "Carry the pending ops into history.",
        body=_struct(NewCommit),
        answers={200: _json(_object(commit_ids=_list(_WORD), op_count={"type": "integer"}, summary=_WORD))},
        errors=(404, 409, 413, 507),
    ),
    Endpoint(
        "GET",
        f"{_ONE_SESSION}/proposals",
        "read",
        session_api.proposals,
        "List the ops that are set aside until somebody decides; `next` is the `after` of the next page.",
        query={
            "settled": {"enum": ["false", "true"]},
            "after": _WORD,
            "limit": {"type": "integer", "minimum": 1, "maximum": PAGE_PROPOSALS},
        },
        answers={200: _json(_object(proposals=_list(_OBJECT), next={"type": ["string", "null"]}))},
        errors=(404,),
    ),
    Endpoint(
        "POST",
        f"{_ONE_SESSION}/proposals/{{proposal_id}}/accept",
        "append",
        session_api.accept,
        "Append a proposed op.",
        body=_struct(Decision),
        may_be_empty=True,
        answers={200: _json(_object(receipt=_ref("Receipt")))},
        errors=(404, 409, 413, 507),
    ),
    Endpoint(
        "POST",
        f"{_ONE_SESSION}/proposals/{{proposal_id}}/reject",
        "append",
        session_api.reject,
        "Set a proposed op aside for good.",
        body=_struct(Decision),
        may_be_empty=True,
        answers={200: _json(_object(proposal=_OBJECT))},
        errors=(404, 409, 413, 507),
    ),
    Endpoint(
        "GET",
        "/v1/log",
        "read",
        history.log,
        "List commits, newest first.",
        query={
            "branch": {"type": "string", "minLength": 1},
            "limit": {"type": "integer", "minimum": 1, "maximum": 1000},
        },
        answers={200: _json(_object(commits=_list(_OBJECT)))},
        errors=(404,),
        is_of_all=True,
    ),
    Endpoint(
        "GET",
        "/v1/commits/{commit_id}",
        "read",
        history.show,
        "Show a commit, with its files: path to object id.",
        answers={200: _json(_object(commit_id=_WORD, message=_WORD, files=_OBJECT))},
        errors=(404,),
        is_of_all=True,
    ),
    Endpoint(
        "GET",
        "/v1/commits/{commit_id}/files/{path:path}",
        "read",
        history.file,
        "Return a file as it was at a commit.",
        answers={200: (BYTES, {})},
        errors=(404,),
        is_of_all=True,
    ),
    Endpoint(
        "GET",
        "/v1/coordination/reservations",
        "read",
        coordination.reservations,
        "List the reservations that are in force.",
        query={"branch": _WORD},
        answers={200: _json(_object(reservations=_list(_OBJECT)))},
    ),
    Endpoint(
        "POST",
        "/v1/coordination/reservations",
        "append",
        coordination.reserve,
        "Reserve addresses, all or none.",
        body=_struct(Reserve),
        answers={201: _json(_object(reservation=_OBJECT))},
        errors=(404, 409, 413, 429, 507),
    ),
    Endpoint(
        "POST",
        "/v1/coordination/reservations/{reservation_id}/release",
        "append",
        coordination.release,
        "Give a reservation back.",
        body=_struct(Release),
        may_be_empty=True,
        answers={200: _json(_object(released={"type": "boolean"}))},
        errors=(404, 409, 413, 429, 507),
    ),
    Endpoint(
        "POST",
        "/v1/coordination/reservations/{reservation_id}/renew",
        "append",
        coordination.renew,
        "Hold on to a reservation.",
        body=_struct(Renew),
        may_be_empty=True,
        answers={200: _json(_object(reservation=_OBJECT))},
        errors=(404, 409, 413, 429, 507),
    ),
    Endpoint(
        "GET",
        "/v1/coordination/intents",
        "read",
        coordination.intents,
        "List the intents that are in force.",
        query={"branch": _WORD},
        answers={200: _json(_object(intents=_list(_OBJECT)))},
        is_of_all=True,
    ),
    Endpoint(
        "POST",
        "/v1/coordination/intents",
        "append",
        coordination.intend,
        "Say what will be done.",
        body=_struct(Intend),
        answers={201: _json(_object(intent=_OBJECT))},
        errors=(404, 409, 413, 429, 507),
        is_of_all=True,
    ),
    Endpoint(
        "POST",
        "/v1/coordination/forecast",
        "read",
        coordination.forecast,
        "Say which plans would collide.",
        body=_struct(Forecast),
        may_be_empty=True,
        answers={200: _json(_object(collisions=_list(_OBJECT)))},
        errors=(404, 413),
        is_of_all=True,
    ),
    Endpoint(
        "POST",
        "/v1/sync/{call}",
        "read",
        sync_api.message,
        f"Answer a message of a distant replica. There are: {', '.join(CALLS)}.",
        body={BYTES: {"type": "string"}},
        answers={200: (BYTES, {})},
        errors=(404, 409, 413, 429, 507),
        is_of_all=True,
    ),
    Endpoint(
        "GET",
        "/v1/health",
        None,
        health,
        "Say that the process answers.",
        answers={200: _json(_object(status=_WORD))},
    ),
    Endpoint(
        "GET",
        "/v1/ready",
        None,
        ready,
        "Say whether new work is taken on.",
        answers={200: _json(_object(status=_WORD))},
    ),
    Endpoint(
        "GET",
        "/metrics",
        "read",
        metrics,
        "The metrics, as Prometheus reads them.",
        answers={200: (TEXT, {"type": "string"})},
    ),
)

PARAMETERS: dict[str, Schema] = {
    "session_id": {"type": "string", "minLength": 1, "maxLength": SESSION_ID_LENGTH},
    "proposal_id": {"type": "string", "minLength": 1},
    "commit_id": {"type": "string", "minLength": 1},
    "reservation_id": {"type": "string", "minLength": 1},
    "path": {"type": "string", "minLength": 1},
    "call": {"enum": list(CALLS)},
}
"""The parts of paths that vary."""
