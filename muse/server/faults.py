"""Errors as clients see them: a status, a kind, a message and the facts."""

import errno
import os.path
from typing import Any

from muse.disk import layout
from muse.errors import (
    ConflictError,
    CorruptionError,
    InvalidEntryError,
    MuseError,
    NotFoundError,
    PluginError,
    ShortWriteError,
    StorageError,
    UsageError,
)

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_EXPLAINED = frozenset({"policy.json", "proposals.jsonl", "tokens.json"})  # their faults say how to mend them
_KINDS = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    405: "MethodNotAllowed",
    406: "NotAcceptable",
    408: "Timeout",
    409: "Conflict",
    410: "Gone",
    413: "TooLarge",
    415: "UnsupportedMediaType",
    422: "Invalid",
    429: "TooMany",
    431: "HeadersTooLarge",
    500: "Internal",
    503: "Unavailable",
    507: "DiskFull",
}


class RequestError(MuseError):
    """A request that is refused. `field` and `line`, from 1, say which part is at fault."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        field: str = "",
        line: int | None = None,
        retry_after: float | None = None,
        kind: str = "",
        reason: str = "",
    ) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind or _KINDS[status]
        self.field = field
        self.line = line
        self.retry_after = retry_after
        self.reason = reason or self.kind

    def as_record(self) -> dict[str, Any]:
        """Return what the client is told."""
        facts = {"field": self.field, "line": self.line, "retry_after": self.retry_after}
        told = {name: value for name, value in facts.items() if value not in {"", None}}
        return {"error": {"status": self.status, "kind": self.kind, "message": str(self), **told}}


def request_error(error: BaseException, root: str = "") -> RequestError:
    """Return the error that the client is told. Files below `root` are named as they are seen from there."""
    told = _translated(error)
    if len(root) > 1 and root.startswith("/") and root in str(told):
        told.args = (str(told).replace(f"{root}/", "").replace(root, "the repository"),)
    return told


def _translated(error: BaseException) -> RequestError:
    match error:
        case RequestError():
            return error
        case InvalidEntryError():
            return RequestError(422, str(error), field=error.field, line=error.line_number)
        case NotFoundError():
            return RequestError(404, str(error))
        case UsageError():
            return RequestError(422, str(error))
        case ConflictError():
            return RequestError(409, str(error))
        case StorageError() if isinstance(error, ShortWriteError) or error.errno in _FULL:
            return RequestError(507, "the disk is full: nothing of this is acknowledged; send it again later")
        case StorageError():
            return RequestError(503, "the disk refused: nothing of this is acknowledged", retry_after=1)
        case CorruptionError():
            return RequestError(500, f"stored data is damaged: {_closer(error)}", kind="Damaged")
        case PluginError():
            return RequestError(500, str(error))
        case _:
            return RequestError(500, "a fault of the server itself: its log says more")


def _closer(damage: CorruptionError) -> str:
    """Say what is damaged, or which command finds it, without a path of this machine."""
    directory, name = os.path.split(damage.path)
    if f"{layout.coordination_directory('')}/" in damage.path:
        return "'muse coord list' on the server's machine names the record"
    if name in _EXPLAINED:
        return str(damage).replace(damage.path, f"{os.path.basename(directory)}/{name}")
    return "'muse verify' on the server's machine says where"
