"""Takes back ops of a session with compensating ops, appended like any other."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from muse.apply.domains import read_state
from muse.causality import heads_of
from muse.core.content_id import sha256_hex
from muse.core.entry import DEFAULT_LIMITS, OpEntry, check_new_name, total_order
from muse.core.new_entries import make_op_entry
from muse.disk import layout
from muse.domain import (
    UNDO_INTENT,
    Compensation,
    DomainWork,
    EntryUndoingPlugin,
    NotUndone,
    Undoing,
    UndoingPlugin,
    WorkUndoingPlugin,
)
from muse.errors import InvalidEntryError, NotFoundError
from muse.history.repository import Repository, TreeFiles
from muse.history.revision import candidates_text
from muse.plugins.op_fields import undone_by
from muse.plugins.registry import find_plugin
from muse.session.live import LiveSession
from muse.views.as_of import LoggedSession, apply_entries, named_op, read_session
from muse.views.brought import brought_by, line_of
from muse.views.restored import taken_back_by

_ATTEMPTS = 20
_PARENTS = DEFAULT_LIMITS.parents
_HEADS = 56  # so many of the parents say what an undoing has seen, so that nobody is said to overlook it


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
    """The compensating entries that were appended, the ids of the ops they undo, and what is left.

    `kept` is work of others that rests on what is undone, and stays. `before` and `after` are the trees from
    and to which an undoing would lead that was only asked for.
    """

    entries: list[OpEntry] = field(default_factory=list)
    undone: list[str] = field(default_factory=list)
    left: list[LeftOp] = field(default_factory=list)
    intent_id: str = ""
    kept: list[LeftOp] = field(default_factory=list)
    before: Mapping[str, bytes] = field(default_factory=dict)
    after: Mapping[str, bytes] = field(default_factory=dict)

    @property
    def is_in_vain(self) -> bool:
        """Whether nothing was undone, though something was asked for that is not undone already."""
        return not self.undone and not all(left.is_undone for left in self.left)

    def give_up(self, entry: OpEntry, wanted: Mapping[str, OpEntry]) -> None:
        """Count as left what `entry` was to undo."""
        reason = f"others changed it at each of {_ATTEMPTS} attempts: try again when it is quieter"
        self.undone = [op_id for op_id in self.undone if op_id not in entry["parent_op_ids"]]
        self.left += [
            LeftOp(wanted[op_id], _address(entry), reason)
            for op_id in entry["parent_op_ids"]
            if op_id in wanted
        ]


def by_actor(actor_id: str) -> Callable[[OpEntry], bool]:
    """Return what tells whether an op is of this actor."""
    return lambda entry: entry["actor_id"] == actor_id


def by_intent(intent_id: str) -> Callable[[OpEntry], bool]:
    """Return what tells whether an op bears this intent."""
    return lambda entry: entry["intent_id"] == intent_id


def by_op(op_ids: Sequence[str]) -> Callable[[OpEntry], bool]:
    """Return what tells whether an op is one of these; the ids are whole, see `named_ops`."""
    wanted = frozenset(op_ids)
    return lambda entry: entry["op_id"] in wanted


@dataclass(frozen=True, slots=True)
class _View:
    """A session at one moment. `ignored`: op id and address of what has no effect on the files `now`."""

    read: LoggedSession
    base: TreeFiles
    entries: Sequence[OpEntry]
    now: dict[str, bytes]
    ignored: set[tuple[str, str]]

    def is_undone_by(self, op: OpEntry, address: str, later: OpEntry) -> bool:
        """Tell whether a later op names `op` as undone, and had its effect at `address`."""
        effects = {(later["op_id"], address), (later["op_id"], _address(later))}
        is_undo = later["intent_id"].startswith(UNDO_INTENT) and op["op_id"] in later["parent_op_ids"]
        return is_undo and not effects & self.ignored


@dataclass(frozen=True, slots=True)
class _DomainPlan:
    """What is to be done in one domain, by the places of `entries`, those that matter to its plugin.

    `is_of_works`: a `WorkUndoingPlugin` made it. Its ops are appended together, on the heads that it has
    seen, and it tells itself what is undone already.
    """

    domain: str
    entries: Sequence[OpEntry]
    undoing: Undoing
    is_of_works: bool = False


def undo(
    session: LiveSession, is_wanted: Callable[[OpEntry], bool], actor_id: str, *, dry_run: bool = False
) -> UndoOutcome:
    """Append ops of `actor_id` that take back all wanted ones, and leave later work of others as it is.

    What is wanted is chosen once, from the ops that are in the log now. Others go on writing, in this
    session and others: each op that is appended says what it expects to find, or names characters by their
    ids, so it has no effect on what another changed before it, whenever that arrives; the same value written
    once more is no change. What was overtaken before the return is looked at again, and told as left; what
    comes later with an earlier stamp, the commit tells as ignored. Commits of this session wait meanwhile.

    The ops name those they undo as their parents, 256 at most, and bear one intent, by which the undoing
    can be undone in turn. With `dry_run` nothing is appended: the outcome says what would be, with the files
    before and after. Raises `NotFoundError` if no op is wanted; what cannot be undone is listed.
    """
    check_new_name("actor_id", actor_id)
    session.heal()
    repository, session_id = session.repository, session.log.session_id()
    chosen, undoings = _first_look(session.log.entries(), is_wanted)
    wanted = {entry["op_id"]: entry for entry in chosen}
    if not wanted:
        actors = candidates_text(sorted({entry["actor_id"] for entry in session.log.entries()}))
        raise NotFoundError(
            f"no op of session {session_id!r} is meant: its ops are by {actors or 'nobody'}; "
            f"'muse session tail {session_id} --json' shows their actors, intents and ids"
        )
    undoing = _Undo(session, wanted, actor_id, UndoOutcome(intent_id=_intent_of(wanted, actor_id, undoings)))
    if dry_run:
        undoing.is_dry = True
        return undoing.foresee()
    with repository.storage.locked(layout.session_commit_lock_file(repository.root, session_id)):
        return undoing.run()


def named_ops(session: LiveSession, names: Sequence[str]) -> list[str]:
    """Return the op ids of which these are the beginnings; see `named_op`."""
    known = list(session.log.entries()) if names else []
    return [named_op(known, name, session.log.session_id()) for name in names]


class _Undo:
    """One undoing: `wanted` are the ops to take back, by id."""

    def __init__(
        self, session: LiveSession, wanted: Mapping[str, OpEntry], actor_id: str, outcome: UndoOutcome
    ) -> None:
        self._session = session
        self._wanted = wanted
        self._actor_id = actor_id
        self._outcome = outcome
        self.is_dry = False

    def run(self) -> UndoOutcome:
        """Append until no op that was appended was overtaken by others."""
        outcome, view = self._outcome, self._look()
        for _ in range(_ATTEMPTS):
            appended = self._take_back(view)
            del view  # a whole session, of which one is enough in memory
            view = self._look()
            overtaken = {entry["op_id"] for entry in appended} & {op_id for op_id, _ in view.ignored}
            if not overtaken:
                return outcome
        for entry in appended:
            if entry["op_id"] in overtaken:
                outcome.give_up(entry, self._wanted)
        return outcome

    def foresee(self) -> UndoOutcome:
        """Say what would be appended, and what it would do to the files."""
        view = self._look()
        made = self._take_back(view)
        head = view.read.tips.get(self._session.branch)
        after, _ = apply_entries(self._session.repository, head, [*view.read.pending, *made])
        self._outcome.before, self._outcome.after = view.now, after
        return self._outcome

    def _look(self) -> _View:
        repository = self._session.repository
        read = read_session(repository, self._session.log.session_id())
        before, entries = read.from_first(lambda entry: entry["op_id"] in self._wanted)
        base = TreeFiles(repository, repository.read_tree(before))
        now = apply_entries(repository, read.tips.get(self._session.branch), read.pending)
        return _View(read, base, entries, *now)

    def _take_back(self, view: _View) -> list[OpEntry]:
        """Append what is still missing; note what is undone and what is left, as `view` shows it."""
        outcome = self._outcome
        ours = {entry["op_id"] for entry in outcome.entries}
        appended: list[OpEntry] = []
        undone: set[str] = set()
        outcome.left = []
        for domain in sorted({entry["domain"] for entry in self._wanted.values()}):
            plan = self._plan(domain, view)
            entries, undoing = plan.entries, plan.undoing
            made, left = self._append(plan, view)
            appended += made
            refused = {found.index for found in left}
            undone.update(
                entries[place]["op_id"]
                for done in undoing.compensations
                for place in done.undoes
                if place not in refused
            )
            for found in (*undoing.left, *left):
                op_left = _told(entries, found) if plan.is_of_works else _left_op(entries, found, view)
                if op_left.is_undone and op_left.because is not None and op_left.because["op_id"] in ours:
                    undone.add(op_left.op["op_id"])
                else:
                    outcome.left.append(op_left)
            outcome.kept += [_told(entries, found) for found in undoing.kept]
            outcome.left += self._not_on_the_branch(domain, entries)
        outcome.undone = [op_id for op_id in self._wanted if op_id in undone]
        outcome.entries += appended
        return appended

    def _not_on_the_branch(self, domain: str, entries: Sequence[OpEntry]) -> list[LeftOp]:
        known = {entry["op_id"] for entry in entries}
        reason = f"it is not in the history of branch {self._session.branch!r}"
        return [
            LeftOp(entry, _address(entry), reason)
            for op_id, entry in self._wanted.items()
            if entry["domain"] == domain and op_id not in known
        ]

    def _plan(self, domain: str, view: _View) -> _DomainPlan:
        """Return what is to be done in a domain, as its plugin says."""
        plugin: object = find_plugin(domain)
        fetch = self._session.repository.objects.get
        if isinstance(plugin, WorkUndoingPlugin):
            works = self._works(domain, view)
            own: Any = [entry for work in works for entry in work.entries]
            return _DomainPlan(domain, own, plugin.undo_works(works, fetch, self._wanted), is_of_works=True)
        entries = [entry for entry in view.entries if entry["domain"] == domain]
        places = [place for place, entry in enumerate(entries) if entry["op_id"] in self._wanted]
        if isinstance(plugin, EntryUndoingPlugin):
            undoing = plugin.undo_entries(view.base, entries, fetch, places, view.now)
        elif isinstance(plugin, UndoingPlugin):
            ops = [entry["domain_op"] for entry in entries]
            undoing = plugin.undo(view.base, ops, fetch, places, view.now)
        else:
            reason = f"the domain {domain!r} cannot take ops back"
            undoing = Undoing([], [NotUndone(place, _address(entries[place]), reason) for place in places])
        return _DomainPlan(domain, entries, undoing)

    def _works(self, domain: str, view: _View) -> list[DomainWork]:
        """Gather what came into the branch since the first wanted op, and since what was taken back since."""
        repository, head = self._session.repository, view.read.tips.get(self._session.branch)
        sought, met = set(self._wanted), set[str]()
        pending = [entry for entry in view.read.pending if entry["domain"] == domain]
        works = [_work(repository, head, domain, pending)]
        commits = line_of(repository, head)
        while True:
            for entry in reversed(works[-1].entries):
                met.add(entry["op_id"])
                sought.update(undone_by(entry["domain_op"]))
            if sought <= met:
                break
            commit = next(commits, None)
            if commit is None:
                break
            brought = brought_by(repository, commit, domain)
            if brought is not None:
                entries = [entry for entry, *_ in brought]
                works.append(_work(repository, commit.parent_id, domain, entries))
        return works[::-1]

    def _append(self, plan: _DomainPlan, view: _View) -> tuple[list[OpEntry], list[NotUndone]]:
        """Append the compensating ops; return them, and what the log refuses to take back."""
        domain, made = plan.domain, plan.undoing.compensations
        appended: list[OpEntry] = []
        left: list[NotUndone] = []
        if plan.is_of_works:
            groups = [made] if made else []
            heads = heads_of(entry for entry in view.read.entries if entry["domain"] == domain)[-_HEADS:]
        else:
            groups, heads = [[one] for one in made], []
        for group in groups:
            undoes = [plan.entries[place]["op_id"] for place in group[0].undoes][-_PARENTS + len(heads) :]
            try:
                appended += self._record(domain, group, list(dict.fromkeys([*undoes, *heads])), view)
            except InvalidEntryError as error:
                reason = f"the log refuses: {error}"
                refused = {place: one.op["address"] for one in group for place in one.undoes}
                left += [NotUndone(place, address, reason) for place, address in refused.items()]
        return appended, left

    def _record(
        self, domain: str, group: Sequence[Compensation], parents: list[str], view: _View
    ) -> list[OpEntry]:
        """Append ops with one write, each the cause of the next; in a dry run, only make their entries."""
        ops, intent_id = [one.op for one in group], self._outcome.intent_id
        if self.is_dry:
            last = max(entry["lamport_ts"] for entry in view.read.entries)
            return [
                make_op_entry(self._actor_id, domain, op, stamp, parent_op_ids=parents, intent_id=intent_id)
                for stamp, op in enumerate(ops, last + 1)
            ]
        if len(ops) == 1:
            edit = self._session.edit
            return [edit(self._actor_id, domain, ops[0], parent_op_ids=parents, intent_id=intent_id)]
        record = self._session.log.record_many
        return record(self._actor_id, domain, ops, parent_op_ids=parents, intent_id=intent_id)


def _work(
    repository: Repository, commit_id: str | None, domain: str, entries: Sequence[OpEntry]
) -> DomainWork:
    files = TreeFiles(repository, repository.read_tree(commit_id))
    return DomainWork(files, read_state(repository, commit_id, domain), entries)


def _first_look(
    entries: Iterable[OpEntry], is_wanted: Callable[[OpEntry], bool]
) -> tuple[list[OpEntry], list[OpEntry]]:
    """Return the wanted entries, in the total order, and those that take others back."""
    chosen: list[OpEntry] = []
    undoings: list[OpEntry] = []
    for entry in entries:
        if is_wanted(entry):
            chosen.append(entry)
        if taken_back_by(entry):
            undoings.append(entry)
    return sorted(chosen, key=total_order), undoings


def _intent_of(wanted: Mapping[str, OpEntry], actor_id: str, entries: Iterable[OpEntry]) -> str:
    """Name the undoing after what it undoes, its actor, and the undoings before it.

    Those that took back something of the same do not count: so one that was stopped goes on under its intent.
    """
    earlier = [
        entry["op_id"]
        for entry in entries
        if (undone := taken_back_by(entry)) and not any(op_id in wanted for op_id in undone)
    ]
    seed = repr((actor_id, list(wanted), sorted(earlier)))
    return f"{UNDO_INTENT}{sha256_hex(seed.encode())[:16]}"


def _address(entry: OpEntry) -> str:
    return str(entry["domain_op"].get("address", ""))


def _left_op(entries: Sequence[OpEntry], found: NotUndone, view: _View) -> LeftOp:
    op, because = entries[found.index], None if found.because is None else entries[found.because]
    if because is not None and view.is_undone_by(op, found.address, because):
        return LeftOp(op, found.address, "it is undone already", because, is_undone=True)
    return LeftOp(op, found.address, found.reason, because)


def _told(entries: Sequence[OpEntry], found: NotUndone) -> LeftOp:
    """Return what a domain that knows the entries tells itself."""
    because = None if found.because is None else entries[found.because]
    return LeftOp(entries[found.index], found.address, found.reason, because, found.is_undone)
