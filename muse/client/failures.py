"""The refusals of a server as errors, of the same kinds as without a server."""

from collections.abc import Mapping
from typing import Any

import orjson

from muse.errors import (
    ConflictError,
    CorruptionError,
    InvalidEntryError,
    MuseError,
    NotFoundError,
    StorageError,
    UsageError,
)


class ServerError(MuseError):
    """A server did not do what it was asked to do. The other errors here derive from this one.

    `status` is that of HTTP, 0 if no answer came; `kind` is the server's name for the fault, `retry_after`
    the seconds it asks to wait, `op_ids` the ops that were not acknowledged.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int = 0,
        kind: str = "",
        retry_after: float | None = None,
        op_ids: tuple[str, ...] = (),
    ) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.retry_after = retry_after
        self.op_ids = op_ids


class UnreachableError(ServerError):
    """No answer came. If it `was_sent`, it may have been done: ask again, with the same op ids."""

    was_sent = True


class UnauthorizedError(ServerError):
    """The token is missing, wrong, expired or revoked: 401."""


class ForbiddenError(ServerError):
    """The token does not allow this, or speaks as another actor: 403."""


class MissingError(ServerError, NotFoundError):
    """There is no such session, commit, file or proposal: 404."""


class RefusedConflictError(ServerError, ConflictError):
    """The same op id with another body, or a branch that moved: 409. `op_id` names the op, if it is one."""

    op_id = ""


class OtherLogCursorError(ServerError, UsageError):
    """The cursor is of another log than the server has now, as after a backup was put back: 410.

    Read again from "0", and pass over the op ids that are known.
    """


class TooLargeError(ServerError, UsageError):
    """More bytes than the server takes at once: 413."""


class InvalidRequestError(ServerError, InvalidEntryError):
    """The server found `field` at fault, in the line `line_number` of what was sent: 422."""

    field = ""
    line_number: int | None = None


class BusyError(ServerError):
    """The actor is over its quota, or the server is stopping, for too long for the client: 429 or 503."""


class DiskFullError(ServerError, StorageError):
    """The server's disk is full: 507. The ops are not acknowledged; append them again once there is space."""

    path = ""
    errno = None


class OtherRepositoryError(ServerError, ConflictError):
    """The server has another repository than the local log: nothing was sent or taken in."""

    op_id = ""


class DamagedError(ServerError, CorruptionError):
    """What the server has stored is damaged: 500, of the kind "Damaged". Only its operator mends that."""

    path = ""
    offset = None


_BY_STATUS: Mapping[int, type[ServerError]] = {
    401: UnauthorizedError,
    403: ForbiddenError,
    404: MissingError,
    409: RefusedConflictError,
    410: OtherLogCursorError,
    413: TooLargeError,
    422: InvalidRequestError,
    429: BusyError,
    503: BusyError,
    507: DiskFullError,
}
_TRANSIENT = frozenset({0, 429, 500, 502, 503, 504})


def failure(status: int, body: Mapping[str, Any], what: str) -> ServerError:
    """Return the error for an answer with `status` and the object `{"error": ...}`."""
    said = body.get("error")
    facts: Mapping[str, Any] = said if isinstance(said, Mapping) else {}
    message = f"{what}: {facts.get('message') or f'the server answered with status {status}'}"
    kind = str(facts.get("kind", ""))
    error = (DamagedError if kind == "Damaged" else _BY_STATUS.get(status, ServerError))(message)
    error.status = status
    error.kind = kind
    retry_after = facts.get("retry_after")
    error.retry_after = float(retry_after) if isinstance(retry_after, int | float) else None
    if isinstance(error, InvalidRequestError):
        error.field = str(facts.get("field") or "")
        line = facts.get("line")
        error.line_number = line if isinstance(line, int) else None
    if isinstance(error, RefusedConflictError):
        error.op_id = str(facts.get("op_id") or "")
    return error


def failure_in(status: int, body: bytes, what: str) -> ServerError:
    """Return the error for an answer whose body is not read yet."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        document = None
    return failure(status, document if isinstance(document, dict) else {}, what)


def is_untouched(error: ServerError) -> bool:
    """Return whether the server certainly did nothing of what was asked."""
    if isinstance(error, UnreachableError):
        return not error.was_sent
    return 400 <= error.status < 500 or error.status == 503


def is_transient(error: ServerError) -> bool:
    """Return whether the same request may succeed a little later."""
    return error.status in _TRANSIENT and not isinstance(error, DamagedError | OtherRepositoryError)
