"""A finding: one fault of a repository, and what kind of stored thing it is about."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal, TypeVar, cast

from muse.errors import MuseError

_T = TypeVar("_T")

Kind = Literal[
    "repo",
    "object",
    "commit",
    "snapshot",
    "ref",
    "head",
    "archive",
    "session",
    "delta",
    "signature",
    "coordination",
    "tokens",
    "workdir",
]
Needed = tuple[Literal["object", "snapshot", "commit"], str]
"""The kind and the id of what is lost or damaged: a sound copy of it, from elsewhere, ends the fault."""

Progress = Callable[[str, int], None]
"""Called with what is counted, such as "object", and how many of it are done so far."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault: the file, its kind, and a line for people. `needs`: what would mend it, if it has an id."""

    path: str
    kind: Kind
    message: str
    needs: Needed | None = field(default=None, compare=False)


class Findings(list[Finding]):
    """All faults that were found, each once, in the order in which they were found."""

    def add(self, path: str, kind: Kind, message: object, needs: Needed | None = None) -> None:
        """Add a fault of the file `path`, unless it is known."""
        finding = Finding(_printable(path), kind, _printable(str(message)), needs)
        if finding not in self:
            self.append(finding)

    def add_error(self, error: MuseError, path: str, kind: Kind, message: object = None) -> None:
        """Add what `error` tells, or `message`; the kind and the path of the error itself count first."""
        path = getattr(error, "path", "") or path
        self.add(path, cast("Kind", error.kind or kind), error if message is None else message)

    @contextmanager
    def noting(self, path: str, kind: Kind) -> Iterator[None]:
        """Add what the block raises, which ends there; see `add_error`."""
        try:
            yield
        except MuseError as error:
            self.add_error(error, path, kind)

    def each_of(self, items: Callable[[], Iterable[_T]], path: str, kind: Kind) -> Iterator[_T]:
        """Yield what `items` gives, as far as it can be read; what hinders that is added."""
        with self.noting(path, kind):
            yield from items()


def _printable(text: str) -> str:
    """Escape the bytes of a file name that are not UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode()
