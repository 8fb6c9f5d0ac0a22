"""Takes back ops of a session with compensating ops, appended like any other."""

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from muse.core.content_id import sha256_hex
from muse.core.entry import DEFAULT_LIMITS, OpEntry
from muse.disk import layout
from muse.domain import UNDO_INTENT, EntryUndoingPlugin, NotUndone, Undoing, UndoingPlugin
from muse.errors import InvalidEntryError, NotFoundError
from muse.history.repository import TreeFiles
from muse.plugins.registry import find_plugin
from muse.session.live import LiveSession
from muse.views.as_of import apply_entries, named_op, read_session

_ATTEMPTS = 20


@dataclass(frozen=True, slots=True)
class LeftOp:
    """The part of an op that was not undone, and why. `because` is the op that hinders it, if one does.

    `is_undone`: that op took it back already.
    """

    op: OpEntry
    address: str
    reason: str
    because: OpEntry | None = None
    is_undone: bool = False


@dataclass(slots=True)
class UndoOutcome:
    """The compensating entries that were appended, the ids of the ops they undo, and what is left."""

    entries: list[OpEntry] = field(default_factory=list)
    undone: list[str] = field(default_factory=list)
    left: list[LeftOp] = field(default_factory=list)
    intent_id: str = ""

    def give_up(self, entry: OpEntry, wanted: Mapping[str, OpEntry]) -> None:
        """Count as left what `entry` was to undo."""
        reason = f"others changed it at each of {_ATTEMPTS} attempts: try again when it is quieter"
        self.undone = [op_id for op_id in self.undone if op_id not in entry["parent_op_ids"]]
        self.left += [LeftOp(wanted[op_id], _address(entry), reason) for op_id in entry["parent_op_ids"]]


def by_actor(actor_id: str) -> Callable[[OpEntry], bool]:
    return lambda entry: entry["actor_id"] == actor_id


def by_intent(intent_id: str) -> Callable[[OpEntry], bool]:
    return lambda entry: entry["intent_id"] == intent_id


def by_op(op_ids: Sequence[str]) -> Callable[[OpEntry], bool]:
    wanted = frozenset(op_ids)
    return lambda entry: entry["op_id"] in wanted


@dataclass(frozen=True, slots=True)
class _View:
    """A session at one moment. `ignored`: op id and address of what has no effect on the files `now`."""

    base: TreeFiles
    entries: Sequence[OpEntry]
    now: dict[str, bytes]
    ignored: set[tuple[str, str]]

    def is_undone_by(self, op: OpEntry, address: str, later: OpEntry) -> bool:
        """Tell whether a later op names `op` as undone, and had its effect at `address`."""
        effects = {(later["op_id"], address), (later["op_id"], _address(later))}
        is_undo = later["intent_id"].startswith(UNDO_INTENT) and op["op_id"] in later["parent_op_ids"]
        return is_undo and not effects & self.ignored


def undo(session: LiveSession, is_wanted: Callable[[OpEntry], bool], actor_id: str) -> UndoOutcome:
    """Append ops of `actor_id` that take back all wanted ones, and leave later work of others as it is.

    What is wanted is chosen once, from the ops that are in the log now. Others go on writing, in this
    session and others: each op that is appended says what it expects to find, so it has no effect on what
    another changed before it, whenever that arrives; the same value written once more is no change. What
    was overtaken before the return is looked at again, and told as left; what comes later with an earlier
    stamp, the commit tells as ignored. Commits of this session wait meanwhile.

    The ops name those they undo as their parents, 256 at most, and bear one intent, by which the undoing
    can be undone in turn. Raises `NotFoundError` if no op is wanted; what cannot be undone is listed.
    """
    session.heal()
    repository, session_id = session.repository, session.log.session_id()
    wanted = {entry["op_id"]: entry for entry in session.log.entries(order="total") if is_wanted(entry)}
    if not wanted:
        raise NotFoundError(f"no op of session {session_id!r} is meant: see 'muse session tail'")
    outcome = UndoOutcome(intent_id=_intent_of(wanted))
    with repository.storage.locked(layout.session_commit_lock_file(repository.root, session_id)):
        view = _look(session, wanted)
        for _ in range(_ATTEMPTS):
            appended = _take_back(session, view, wanted, actor_id, outcome)
            view = _look(session, wanted)
            overtaken = {entry["op_id"] for entry in appended} & {op_id for op_id, _ in view.ignored}
            if not overtaken:
                return outcome
    for entry in appended:
        if entry["op_id"] in overtaken:
            outcome.give_up(entry, wanted)
    return outcome


def named_ops(session: LiveSession, names: Sequence[str]) -> list[str]:
    """Return the op ids of which these are the beginnings; see `named_op`."""
    known = list(session.log.entries())
    return [named_op(known, name) for name in names]


def _look(session: LiveSession, wanted: Container[str]) -> _View:
    repository = session.repository
    read = read_session(repository, session.log.session_id())
    before, entries = read.from_first(lambda entry: entry["op_id"] in wanted)
    base = TreeFiles(repository, repository.read_tree(before))
    return _View(base, entries, *apply_entries(repository, read.tips.get(session.branch), read.pending))


def _take_back(
    session: LiveSession,
    view: _View,
    wanted: Mapping[str, OpEntry],
    actor_id: str,
    outcome: UndoOutcome,
) -> list[OpEntry]:
    """Append what is still missing; note in `outcome` what is undone and what is left, as `view` shows it."""
    ours = {entry["op_id"] for entry in outcome.entries}
    appended: list[OpEntry] = []
    undone: set[str] = set()
    outcome.left = []
    for domain in sorted({entry["domain"] for entry in wanted.values()}):
        entries = [entry for entry in view.entries if entry["domain"] == domain]
        places = [place for place, entry in enumerate(entries) if entry["op_id"] in wanted]
        plan = _plan(session, domain, entries, places, view)
        left = list(plan.left)
        for compensation in plan.compensations:
            op, undoes = compensation.op, [entries[place]["op_id"] for place in compensation.undoes]
            parents = undoes[-DEFAULT_LIMITS.parents :]
            try:
                entry = session.edit(actor_id, domain, op, parent_op_ids=parents, intent_id=outcome.intent_id)
            except InvalidEntryError as error:
                reason = f"the log refuses: {error}"
                left += [NotUndone(place, op["address"], reason) for place in compensation.undoes]
                continue
            appended.append(entry)
            undone.update(undoes)
        for found in left:
            op_left = _left_op(entries, found, view)
            if op_left.is_undone and op_left.because is not None and op_left.because["op_id"] in ours:
                undone.add(op_left.op["op_id"])
            else:
                outcome.left.append(op_left)
    outcome.undone = [op_id for op_id in wanted if op_id in undone]
    outcome.entries += appended
    return appended


def _plan(
    session: LiveSession, domain: str, entries: Sequence[OpEntry], places: Sequence[int], view: _View
) -> Undoing:
    plugin: object = find_plugin(domain)
    if not isinstance(plugin, UndoingPlugin):
        reason = f"the domain {domain!r} cannot take ops back"
        return Undoing([], [NotUndone(place, _address(entries[place]), reason) for place in places])
    fetch = session.repository.objects.get
    if isinstance(plugin, EntryUndoingPlugin):
        return plugin.undo_entries(view.base, entries, fetch, places, view.now)
    ops = [entry["domain_op"] for entry in entries]
    return plugin.undo(view.base, ops, fetch, places, view.now)


def _intent_of(wanted: Iterable[str]) -> str:
    """Name the undoing after what it undoes."""
    return f"{UNDO_INTENT}{sha256_hex(' '.join(wanted).encode())[:16]}"


def _address(entry: OpEntry) -> str:
    return str(entry["domain_op"].get("address", ""))


def _left_op(entries: Sequence[OpEntry], found: NotUndone, view: _View) -> LeftOp:
    op, because = entries[found.index], None if found.because is None else entries[found.because]
    if because is not None and view.is_undone_by(op, found.address, because):
        return LeftOp(op, found.address, "it is undone already", because, is_undone=True)
    return LeftOp(op, found.address, found.reason, because)
