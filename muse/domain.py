"""The typed edits that domains make, the delta they collapse into, and what a domain plugin offers.

At run time all of these are plain dicts. Extra keys are allowed in every op and are kept; the log
stores an op unchanged and never looks inside.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NotRequired, Protocol, TypedDict, runtime_checkable


class InsertOp(TypedDict):
    """Something new at `address`. `position` is None where its container is unordered."""

    op: Literal["insert"]
    address: str
    position: int | None
    content_id: str
    content_summary: str


class DeleteOp(TypedDict):
    """What was at `address` goes. `content_id` is what the author saw there."""

    op: Literal["delete"]
    address: str
    position: int | None
    content_id: str
    content_summary: str


class MoveOp(TypedDict):
    """The same content, elsewhere in its container."""

    op: Literal["move"]
    address: str
    from_position: int
    to_position: int
    content_id: str


class ReplaceOp(TypedDict):
    """Other content in the same place."""

    op: Literal["replace"]
    address: str
    position: int | None
    old_content_id: str
    new_content_id: str
    old_summary: str
    new_summary: str


class FieldMutation(TypedDict):
    """One field's old and new value, as the domain writes them."""

    old: Any
    new: Any


class MutateOp(TypedDict):
    """Some fields of one entity, which stays the same entity."""

    op: Literal["mutate"]
    address: str
    entity_id: str
    old_content_id: str
    new_content_id: str
    fields: dict[str, FieldMutation]
    old_summary: str
    new_summary: str
    position: int | None


class PatchOp(TypedDict):
    """Changes inside the container at `address`, a file for example."""

    op: Literal["patch"]
    address: str
    child_ops: list["DomainOp"]
    child_domain: str
    child_summary: str
    from_address: NotRequired[str]


DomainOp = InsertOp | DeleteOp | MoveOp | ReplaceOp | MutateOp | PatchOp

OP_KINDS = ("insert", "delete", "move", "replace", "mutate", "patch")


class StructuredDelta(TypedDict):
    """What a commit changed in one domain: its ops in the total order, and a line for people."""

    domain: str
    ops: list[DomainOp]
    summary: str
    sem_ver_bump: NotRequired[str]
    breaking_changes: NotRequired[list[str]]


@dataclass(frozen=True, slots=True)
class IgnoredOp:
    """An op that could not take effect, an edit of a note already deleted for example.

    `index` is its place in the ops handed to the plugin, `address` what it named, `reason` a line
    for people.
    """

    index: int
    address: str
    reason: str


@dataclass(frozen=True, slots=True)
class Application:
    """What applying ops came to: the changed files (None: deleted) and the ops without effect."""

    files: dict[str, bytes | None]
    ignored: list[IgnoredOp] = field(default_factory=list)


@runtime_checkable
class DomainPlugin(Protocol):
    """A domain's knowledge of its files. Pure: the same input gives the same bytes, everywhere.

    A plugin is found through the entry point group `muse.domains`; the entry point's name is the
    domain's name, its value a class with no required argument.
    """

    def apply(
        self,
        files: Mapping[str, bytes],
        ops: Sequence[Mapping[str, Any]],
        fetch: Callable[[str], bytes],
    ) -> Application:
        """Apply `ops` in order to the tree `files` (path -> content), which is not changed.

        `fetch(content_id)` gives the bytes of a stored object that an op names. Only changed
        files are in the result. An op that cannot take effect is listed in `ignored`, with the
        reason: it stands in an append-only log, and must not keep the others from being committed.
        """
        ...
