"""Takes back ops of a session with compensating ops, appended like any other."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from muse.core.content_id import sha256_hex
from muse.core.entry import DEFAULT_LIMITS, OpEntry
from muse.domain import NotUndone, Undoing, UndoingPlugin
from muse.errors import ConflictError, InvalidEntryError, NotFoundError
from muse.looking_back import apply_entries, read_session
from muse.plugins.registry import find_plugin
from muse.session import LiveSession, TreeFiles

_ATTEMPTS = 20


@dataclass(frozen=True, slots=True)
class LeftOp:
    """What was not undone of an op, and why. `because` is the op that stands in the way, if one does."""

    op: OpEntry
    address: str
    reason: str
    because: OpEntry | None = None


@dataclass(slots=True)
class UndoOutcome:
    """The compensating entries that were appended, the ids of the ops they undo, and what is left."""

    entries: list[OpEntry] = field(default_factory=list)
    undone: list[str] = field(default_factory=list)
    left: list[LeftOp] = field(default_factory=list)
    intent_id: str = ""


def by_actor(actor_id: str) -> Callable[[OpEntry], bool]:
    return lambda entry: entry["actor_id"] == actor_id


def by_intent(intent_id: str) -> Callable[[OpEntry], bool]:
    return lambda entry: entry["intent_id"] == intent_id


def by_op(op_ids: Sequence[str]) -> Callable[[OpEntry], bool]:
    wanted = frozenset(op_ids)
    return lambda entry: entry["op_id"] in wanted


def undo(session: LiveSession, is_wanted: Callable[[OpEntry], bool], actor_id: str) -> UndoOutcome:
    """Append ops of `actor_id` that take back all wanted ones, and leave later work of others as it is.

    They name the ops they undo as their parents, 256 at most, and bear one intent, by which the undoing
    can be undone in turn. Raises `NotFoundError` if no op is wanted; what cannot be undone is listed.
    """
    repository, log = session.repository, session.log
    for _ in range(_ATTEMPTS):
        cut = log.cut()
        read = read_session(repository, log.session_id())
        wanted = [entry for entry in read.entries if is_wanted(entry)]
        if not wanted:
            raise NotFoundError(f"no op of session {log.session_id()!r} is meant: see 'muse session tail'")
        base = TreeFiles(repository, repository.read_tree(read.base))
        head = TreeFiles(repository, repository.read_tree(repository.dag.head(session.branch)))
        now, _ = apply_entries(repository, head, read.pending)
        plans = []
        for domain in sorted({entry["domain"] for entry in wanted}):
            own = [entry for entry in read.entries if entry["domain"] == domain]
            places = [place for place, entry in enumerate(own) if is_wanted(entry)]
            plans.append((domain, own, _plan(session, domain, own, places, base=base, now=now)))
        if log.cut() == cut:
            break  # nobody wrote meanwhile: what was found holds
    else:
        raise ConflictError(
            f"session {log.session_id()!r} is too busy to undo in: others wrote at each of {_ATTEMPTS} "
            "attempts; try again when it is quieter"
        )
    outcome = UndoOutcome(intent_id=_intent_of(wanted))
    for domain, own, plan in plans:
        _carry_out(session, actor_id, domain, entries=own, plan=plan, outcome=outcome)
    return outcome


def check_named(session: LiveSession, op_ids: Sequence[str]) -> None:
    """Raise `NotFoundError` unless the session has every one of these ops."""
    known = {entry["op_id"] for entry in session.log.entries()}
    for op_id in op_ids:
        if op_id not in known:
            raise NotFoundError(f"session {session.log.session_id()!r} has no op {op_id!r}")


def _plan(
    session: LiveSession,
    domain: str,
    entries: Sequence[OpEntry],
    places: Sequence[int],
    *,
    base: TreeFiles,
    now: dict[str, bytes],
) -> Undoing:
    plugin: object = find_plugin(domain)
    if not isinstance(plugin, UndoingPlugin):
        reason = f"the domain {domain!r} cannot take ops back"
        addresses = [str(entries[place]["domain_op"].get("address", "")) for place in places]
        left = [NotUndone(*found, reason) for found in zip(places, addresses, strict=True)]
        return Undoing([], left)
    ops = [entry["domain_op"] for entry in entries]
    return plugin.undo(base, ops, session.repository.objects.get, places, now)


def _intent_of(wanted: Sequence[OpEntry]) -> str:
    """Name the undoing after what it undoes."""
    return f"undo-{sha256_hex(' '.join(entry['op_id'] for entry in wanted).encode())[:16]}"


def _carry_out(
    session: LiveSession,
    actor_id: str,
    domain: str,
    *,
    entries: Sequence[OpEntry],
    plan: Undoing,
    outcome: UndoOutcome,
) -> None:
    left = list(plan.left)
    undone: set[int] = set()
    for compensation in plan.compensations:
        parents = [entries[place]["op_id"] for place in compensation.undoes][-DEFAULT_LIMITS.parents :]
        try:
            entry = session.edit(
                actor_id, domain, compensation.op, parent_op_ids=parents, intent_id=outcome.intent_id
            )
        except InvalidEntryError as error:
            address = compensation.op["address"]
            left += [NotUndone(place, address, f"the log refuses: {error}") for place in compensation.undoes]
            continue
        outcome.entries.append(entry)
        undone |= set(compensation.undoes)
    outcome.undone += [entries[place]["op_id"] for place in sorted(undone)]
    outcome.left += [_left_op(entries, found) for found in left]


def _left_op(entries: Sequence[OpEntry], found: NotUndone) -> LeftOp:
    because = None if found.because is None else entries[found.because]
    op = entries[found.index]
    reason = found.reason
    if because is not None and op["op_id"] in because["parent_op_ids"]:
        reason = "it is undone already"
    return LeftOp(op, found.address, reason, because)
