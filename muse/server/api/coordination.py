"""Reservations and intents over HTTP; see `muse.coordination.reservations`."""

from typing import Annotated, Any

import msgspec
from starlette.responses import Response

from muse.coordination.reservations import Coordination
from muse.server.api.bodies import read_json
from muse.server.api.calls import Call, JsonResponse
from muse.server.api.ops import checked

_Addresses = Annotated[list[str], msgspec.Meta(min_length=1, max_length=1_000)]
_Seconds = Annotated[float, msgspec.Meta(gt=0, le=7 * 86_400)]


class Reserve(msgspec.Struct, forbid_unknown_fields=True):
    """Addresses to reserve."""

    addresses: _Addresses
    actor_id: str | None = None
    branch: str | None = None
    run_id: str = ""
    ttl_seconds: _Seconds = 300.0
    operation: str = ""
    reservation_id: str = ""


class Renew(msgspec.Struct, forbid_unknown_fields=True):
    """How long a reservation goes on."""

    actor_id: str | None = None
    ttl_seconds: _Seconds = 300.0


class Release(msgspec.Struct, forbid_unknown_fields=True):
    """The actor that gives a reservation back."""

    actor_id: str | None = None
    force: bool = False


class Intend(msgspec.Struct, forbid_unknown_fields=True):
    """What an actor is going to do."""

    addresses: _Addresses
    actor_id: str | None = None
    branch: str | None = None
    run_id: str = ""
    operation: str = ""
    detail: str = ""
    reservation_id: str = ""
    intent_id: str = ""


class Forecast(msgspec.Struct, forbid_unknown_fields=True):
    """Plans to be compared: those of `party` on `addresses`, or all."""

    addresses: list[str] = []
    party: str = ""
    branch: str | None = None


async def reservations(call: Call) -> Response:
    """Answer with the reservations that are valid, of one branch or all."""
    (branch,) = call.query("branch")
    sessions = call.principal.session

    def find() -> dict[str, Any]:
        found = _coordination(call).reservations(branch=branch, sessions=sessions)
        return {"reservations": [one.to_json() for one in found]}

    return await call.answer_json(find)


async def reserve(call: Call) -> Response:
    """Reserve addresses for an actor; 409 names the actors in the way."""
    wanted = await _body(call, Reserve)
    actor = _writer(call, wanted.actor_id)
    reservation = await call.in_thread(
        lambda: _coordination(call).reserve(
            actor,
            wanted.addresses,
            branch=_branch(call, wanted.branch),
            run_id=wanted.run_id,
            ttl_seconds=wanted.ttl_seconds,
            operation=wanted.operation,
            reservation_id=wanted.reservation_id,
            sessions=call.principal.session,
        )
    )
    return JsonResponse({"reservation": reservation.to_json()}, status_code=201)


async def release(call: Call) -> Response:
    """End a reservation before its time; answer whether it was in force until then."""
    wanted = await _body(call, Release)
    actor, reservation_id = _writer(call, wanted.actor_id), call.request.path_params["reservation_id"]
    if wanted.force:
        call.principal.check_scope("admin")
    stood = await call.in_thread(
        lambda: _coordination(call).release(
            reservation_id, actor, force=wanted.force, sessions=call.principal.session
        )
    )
    return JsonResponse({"released": stood})


async def renew(call: Call) -> Response:
    """Let a reservation last longer."""
    wanted = await _body(call, Renew)
    actor, reservation_id = _writer(call, wanted.actor_id), call.request.path_params["reservation_id"]
    reservation = await call.in_thread(
        lambda: _coordination(call).renew(
            reservation_id, actor, ttl_seconds=wanted.ttl_seconds, sessions=call.principal.session
        )
    )
    return JsonResponse({"reservation": reservation.to_json()})


async def intents(call: Call) -> Response:
    """Answer with what actors said that they will do, of one branch or all."""
    (branch,) = call.query("branch")
    found = _coordination(call).intents
    return await call.answer_json(lambda: {"intents": [intent.to_json() for intent in found(branch=branch)]})


async def intend(call: Call) -> Response:
    """Write down what an actor will do."""
    wanted = await _body(call, Intend)
    actor = _writer(call, wanted.actor_id)
    intent = await call.in_thread(
        lambda: _coordination(call).intend(
            actor,
            wanted.addresses,
            branch=_branch(call, wanted.branch),
            run_id=wanted.run_id,
            operation=wanted.operation,
            detail=wanted.detail,
            reservation_id=wanted.reservation_id,
            intent_id=wanted.intent_id,
        )
    )
    return JsonResponse({"intent": intent.to_json()}, status_code=201)


async def forecast(call: Call) -> Response:
    """Answer with what would collide, of some addresses or all."""
    wanted = await _body(call, Forecast)

    def find() -> dict[str, Any]:
        found = _coordination(call).forecast(wanted.addresses, party=wanted.party, branch=wanted.branch)
        return {"collisions": [collision.to_json() for collision in found]}

    return await call.answer_json(find)


def _coordination(call: Call) -> Coordination:
    return call.service.repository.coordination


def _writer(call: Call, named: str | None) -> str:
    """Return the actor of the request, which may write a record now."""
    actor = call.actor(named)
    call.service.quotas.charge_reservation(actor)
    return actor


def _branch(call: Call, branch: str | None) -> str:
    return call.service.repository.dag.current_branch() if branch is None else branch


async def _body(call: Call, kind: type[Any]) -> Any:
    call.query()
    return checked(await read_json(call), kind)
