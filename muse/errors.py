"""The errors of this package: few kinds, each carrying its facts.

Every error derives from `MuseError`, so one `except` catches all. A message says what happened,
where, and what to do. The command line turns `UsageError` into exit status 2 and every other
kind into 1.
"""

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

_P = ParamSpec("_P")
_T = TypeVar("_T")


class MuseError(Exception):
    """Base of every error raised on purpose by this package.

    `kind` is the kind of stored thing at fault, such as "object" or "commit"; "" where that is not said.
    """

    kind: str = ""


def raises_about(kind: str) -> Callable[[Callable[_P, _T]], Callable[_P, _T]]:
    """Return a decorator: the errors that a function raises say this `kind`, unless they say another."""

    def decorate(function: Callable[_P, _T]) -> Callable[_P, _T]:
        @wraps(function)
        def call(*args: _P.args, **kwargs: _P.kwargs) -> _T:
            try:
                return function(*args, **kwargs)
            except MuseError as error:
                error.kind = error.kind or kind
                raise

        return call

    return decorate


class UsageError(MuseError, ValueError):
    """What was asked for cannot be: a bad name, an unknown thing, a value out of its limits."""


class NotFoundError(UsageError):
    """A repository, session, commit, branch or object that was named does not exist."""


class InvalidEntryError(UsageError):
    """An entry or op that may not enter the log; nothing was written.

    `field` is the entry field at fault ("" when the whole is), `line_number` the 1-based line of
    the input it came from, when it came from lines.
    """

    def __init__(self, message: str, *, field: str = "", line_number: int | None = None) -> None:
        super().__init__(message)
        self.field = field
        self.line_number = line_number


class DomainError(UsageError):
    """Input a domain plugin cannot work with, a malformed file for example. `path` names it."""

    def __init__(self, message: str, *, path: str = "") -> None:
        super().__init__(message)
        self.path = path


class PluginError(MuseError):
    """A domain plugin failed at its work; what it was asked to do was not done."""


class ConflictError(MuseError):
    """Two things claim one identity or one place: the same op id with two bodies, a branch that moved."""

    def __init__(self, message: str, *, op_id: str = "") -> None:
        super().__init__(message)
        self.op_id = op_id


class CorruptionError(MuseError):
    """Stored bytes are not what was written. `path` and, in a log, the byte `offset` say where."""

    def __init__(self, message: str, *, path: str = "", offset: int | None = None) -> None:
        super().__init__(message)
        self.path = path
        self.offset = offset


class StorageError(MuseError):
    """The operating system refused a read or write. `errno` is its code, `path` the file."""

    def __init__(self, message: str, *, path: str = "", errno: int | None = None) -> None:
        super().__init__(message)
        self.path = path
        self.errno = errno


class ShortWriteError(StorageError):
    """Only a part of a write went in: the system does not say why, most often the disk is full."""


class DurabilityError(StorageError):
    """A sync failed: the ops `op_ids` may not survive a power loss, and the log takes no more."""

    def __init__(self, message: str, *, path: str, errno: int | None, op_ids: list[str]) -> None:
        super().__init__(message, path=path, errno=errno)
        self.op_ids = op_ids
