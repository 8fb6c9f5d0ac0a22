"""The typed edits that domains make, the delta they collapse into, and what a domain plugin offers.

At run time all of these are plain dicts. Extra keys are allowed in every op and are kept; the log
stores an op unchanged and never looks inside.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NotRequired, Protocol, TypedDict, runtime_checkable


class InsertOp(TypedDict):
    """Content that is new at `address`. `position` is `None` where its container is unordered."""

    op: Literal["insert"]
    address: str
    position: int | None
    content_id: str
    content_summary: str


class DeleteOp(TypedDict):
    """Content that goes away from `address`. `content_id` is what the author saw there."""

    op: Literal["delete"]
    address: str
    position: int | None
    content_id: str
    content_summary: str


class MoveOp(TypedDict):
    """The same content at another place in its container."""

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
    for people. Where entries were applied, `op_id` is that of the entry; plugins leave it empty.
    """

    index: int
    address: str
    reason: str
    op_id: str = ""


@dataclass(frozen=True, slots=True)
class Application:
    """The outcome of applying ops: the changed files (None: deleted) and the ops without effect.

    `state` is what a `MergingPlugin` changed of what it keeps beside the files.
    """

    files: dict[str, bytes | None]
    ignored: list[IgnoredOp] = field(default_factory=list)
    state: dict[str, bytes | None] = field(default_factory=dict)


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
        reason: it is in an append-only log, and must not keep the others from being committed.
        """
        ...


@runtime_checkable
class RuledPlugin(Protocol):
    """A domain that has changed how its ops become files. Pure, as `DomainPlugin` is.

    `rule` is the number of the rule that it follows, above 1. A commit names it, and is made again by it; one
    that names none was made by rule 1.
    """

    rule: int

    def by_rule(self, rule: int) -> DomainPlugin:
        """Return a plugin that follows an earlier rule. Raises `DomainError` for an unknown one."""
        ...


@runtime_checkable
class MergingPlugin(Protocol):
    """A domain whose concurrent edits merge, whenever they arrive. Pure, as `DomainPlugin` is.

    The ops of the log are given to `merge`; `apply` is for the net ops of a stored delta.
    """

    def merge(
        self,
        files: Mapping[str, bytes],
        entries: Sequence[Mapping[str, Any]],
        fetch: Callable[[str], bytes],
        state: Mapping[str, bytes],
    ) -> Application:
        """Take in whole log entries (`op_id`, `parent_op_ids`, `domain_op`...), in the total order.

        `state` is what the plugin keeps beside `files`: name -> bytes, as `Application.state` left it
        with the parent commit (empty at first). It is stored with every commit, and is a function of
        the ops and the files alone.
        """
        ...


@dataclass(frozen=True, slots=True)
class Overlap:
    """Two edits of one thing, by two actors, neither of whom had seen the other's.

    `kept` and `overwritten` are their places in the entries looked at: the outcome shows the first
    and not the second, or, where `both_stand`, both. `address` says of what, `reason` how, for people.
    """

    address: str
    reason: str
    kept: int
    overwritten: int
    both_stand: bool = False


@runtime_checkable
class OverlapFindingPlugin(Protocol):
    """A domain that can say which edits came in each other's way. Pure, as `DomainPlugin` is."""

    def overlaps(
        self,
        files: Mapping[str, bytes],
        entries: Sequence[Mapping[str, Any]],
        fetch: Callable[[str], bytes],
        state: Mapping[str, bytes],
    ) -> list[Overlap]:
        """List the overlapping edits among `entries`, whole log entries in the total order, on `files`."""
        ...


@runtime_checkable
class CheckingPlugin(Protocol):
    """A domain that can refuse an op at the door, before it is logged. Pure, as `DomainPlugin` is."""

    def check_op(self, op: Mapping[str, Any]) -> None:
        """Raise `DomainError`, saying what is wrong, for an op that could never take effect."""
        ...


@runtime_checkable
class FileKnowingPlugin(Protocol):
    """A domain that knows its files by their names. Pure, as `DomainPlugin` is."""

    def knows_file(self, path: str) -> bool:
        """Return whether a file of this name is of the domain."""
        ...


@runtime_checkable
class ForeseeingPlugin(Protocol):
    """A domain that can tell, of each op as it is logged, whether it takes effect. Pure."""

    def foresee(
        self, files: Mapping[str, bytes], fetch: Callable[[str], bytes], state: Mapping[str, bytes]
    ) -> Callable[[Mapping[str, Any]], str]:
        """Return what takes in the entries that come next, one by one.

        It returns the reason why an entry has no effect as things are now, "" if it has or that cannot be
        told. The reasons are those of `apply` or `merge`, which decide in the end, in the total order.
        """
        ...


@runtime_checkable
class SquashingPlugin(Protocol):
    """A domain that can say in fewer ops what many ops do. Pure, as `DomainPlugin` is."""

    def squash(
        self,
        files: Mapping[str, bytes],
        ops: Sequence[Mapping[str, Any]],
        fetch: Callable[[str], bytes],
    ) -> list[DomainOp]:
        """Return the net of `ops` on `files`: applied in their place, it gives the same bytes."""
        ...


@runtime_checkable
class NettingPlugin(Protocol):
    """A domain that can say what changed between two trees, whatever the ops were. Pure."""

    def net(self, files: Mapping[str, bytes], changed: Mapping[str, bytes | None]) -> list[DomainOp]:
        """Return ops that turn `files` into what `changed` says (None: deleted), for people to read."""
        ...


HIDDEN = "\0"
"""Before the name of a file that only the state of its domain has: no path starts so."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Which ops a part of a file, a note or a line, stems from.

    `made` and `changed` are the places, in the ops looked at, of the one that made the part and of
    the one that changed it last (making it counts). `made` is `None` for a part that was there before
    all of them, in the file `came_from`; `changed` too when none of them changed it. `was` is the
    address that it had there, where that is another. A file that is in no tree, as it was removed, but
    that a domain keeps in its state, is called `HIDDEN` and its name in that state.
    """

    address: str
    summary: str
    made: int | None
    changed: int | None
    came_from: str = ""
    was: str = ""


@runtime_checkable
class BlamingPlugin(Protocol):
    """A domain that can say which op a part of a file stems from. Pure, as `DomainPlugin` is."""

    def blame(
        self,
        files: Mapping[str, bytes],
        ops: Sequence[Mapping[str, Any]],
        fetch: Callable[[str], bytes],
        path: str,
    ) -> list[Origin]:
        """List the parts of the file `path` as it is once `ops` are applied to `files`, in their order.

        Empty where there is no such file, or it has no parts that the domain knows. What a whole-file
        op brought stems from that op.
        """
        ...


@runtime_checkable
class EntryBlamingPlugin(Protocol):
    """A `BlamingPlugin` whose ops mean nothing alone: it needs whole entries, and its state. Pure."""

    def blame_entries(
        self,
        files: Mapping[str, bytes],
        entries: Sequence[Mapping[str, Any]],
        fetch: Callable[[str], bytes],
        state: Mapping[str, bytes],
        path: str,
    ) -> list[Origin]:
        """Do as `blame` does, for log entries in the total order; `state` is as in `MergingPlugin.merge`."""
        ...


@runtime_checkable
class WaitingPlugin(Protocol):
    """An `EntryBlamingPlugin` that keeps entries in its state until what they build on has arrived. Pure.

    They take effect before the entries of the commit: of `n` of them, the places in an `Origin` are -n to -1.
    """

    def waiting(self, state: Mapping[str, bytes]) -> Sequence[Mapping[str, Any]]:
        """Return the entries that the state keeps. `absent` in one names the object that it waits for."""
        ...


@dataclass(frozen=True, slots=True)
class Compensation:
    """An op that takes back others; `undoes` are their places in the ops looked at."""

    op: DomainOp
    undoes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class NotUndone:
    """What was not taken back: of the op at `index`, at `address`, for a `reason` that people can read.

    `because` is the place of the later op that is in the way, if one does. `is_undone`: it took the op back
    already.
    """

    index: int
    address: str
    reason: str
    because: int | None = None
    is_undone: bool = False


@dataclass(frozen=True, slots=True)
class Undoing:
    """The outcome of undoing: ops to append, and what is left as it is.

    `kept` is work of others that rests on what is undone, and stays: `index` is the op that is undone,
    `because` that of the other.
    """

    compensations: list[Compensation]
    left: list[NotUndone]
    kept: list[NotUndone] = field(default_factory=list)


@runtime_checkable
class UndoingPlugin(Protocol):
    """A domain that can take ops back. Pure, as `DomainPlugin` is."""

    def undo(
        self,
        files: Mapping[str, bytes],
        ops: Sequence[Mapping[str, Any]],
        fetch: Callable[[str], bytes],
        undone: Collection[int],
        now: Mapping[str, bytes],
    ) -> Undoing:
        """Find ops that take back those at the places `undone`, and leave all others' work untouched.

        `ops`, applied to `files`, are all that is known of the edits. `now` is the tree that the
        compensating ops will meet: where it differs from the outcome of `ops`, nothing is taken back. Others
        may write before they are applied: what they then find otherwise than it was, they leave alone.
        """
        ...


UNDO_INTENT = "undo-"
"""How the intent of each entry starts that takes others back: those that it names as its parents."""


@runtime_checkable
class EntryUndoingPlugin(Protocol):
    """An `UndoingPlugin` that takes whole entries, and learns from them what was taken back already. Pure."""

    def undo_entries(
        self,
        files: Mapping[str, bytes],
        entries: Sequence[Mapping[str, Any]],
        fetch: Callable[[str], bytes],
        undone: Collection[int],
        now: Mapping[str, bytes],
    ) -> Undoing:
        """Do as `undo` does, for the ops of log entries; see `UNDO_INTENT`."""
        ...


@dataclass(frozen=True, slots=True)
class DomainWork:
    """Entries of a domain in the total order, and the tree and the state that they came into."""

    files: Mapping[str, bytes]
    state: Mapping[str, bytes]
    entries: Sequence[Mapping[str, Any]]


@runtime_checkable
class WorkUndoingPlugin(Protocol):
    """A domain that can take ops back, but whose ops mean nothing without what they came into. Pure."""

    def undo_works(
        self, works: Sequence[DomainWork], fetch: Callable[[str], bytes], undone: Collection[str]
    ) -> Undoing:
        """Do as `UndoingPlugin.undo` does, for the entries with the ids `undone`.

        `works` are what came into the branch, commit by commit, and what is pending: the last one leads to
        the present. Places count through the entries of all. An op that takes others back names them in its
        field `undoes`: with it, they are among the entries too.
        """
        ...
