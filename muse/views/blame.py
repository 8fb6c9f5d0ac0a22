"""Tells from history which actor made each part of a file, and which one changed it last.

Each part is followed back, newest commit first, to the op that made it: through renames, edits and removals,
as its domain says where the part was before each commit.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any, NamedTuple

from muse.apply.domain_order import names_of_others
from muse.apply.domains import fetch_at, read_state, read_states
from muse.apply.merge_heads import file_delta
from muse.core.entry import OpEntry
from muse.core.timestamp import moment_of
from muse.domain import HIDDEN, BlamingPlugin, EntryBlamingPlugin, Origin, WaitingPlugin
from muse.errors import CorruptionError, DomainError, NotFoundError
from muse.history.repository import Repository, TreeFiles
from muse.plugins.op_fields import Fetch
from muse.plugins.registry import find_plugin, plugin_names
from muse.views.as_of import LoggedSession, apply_entries, blaming_plugins, read_session
from muse.views.brought import BroughtEntry, LineCommit, brought_by, line_of
from muse.views.restored import Alignment, Listing, Sought, taken_back_by


@dataclass(frozen=True, slots=True)
class Maker:
    """An actor and what it did. `op_id` is "" where only the commit is known: one without a log behind it.

    `when` is the time of the op, or of its commit where that is earlier: a history may come from elsewhere.
    """

    actor_id: str
    commit_id: str
    op_id: str = ""
    intent_id: str = ""
    session_id: str = ""
    when: str = ""


@dataclass(frozen=True, slots=True)
class BlamedPart:
    """A note or a line, its maker, and the actor that changed it last."""

    address: str
    summary: str
    made: Maker
    changed: Maker


@dataclass(frozen=True, slots=True)
class Blame:
    """The parts of a file, in their order. `faults`: which logs are not what the commits seal, for people."""

    parts: list[BlamedPart]
    faults: list[str]


class _Work:
    """The entries of one domain that came together, in the order of their effect, and the maker of each.

    Behind them come the makers of the entries that waited: see `WaitingPlugin`. `blamed` lists the parts
    of a file once some of the entries are applied. `others` came at the same time in other domains.
    """

    def __init__(
        self,
        entries: Sequence[OpEntry],
        makers: Sequence[Maker],
        blamed: Callable[[Sequence[OpEntry], str], list[Origin]],
        others: Sequence[BroughtEntry] = (),
    ) -> None:
        self.entries = entries
        self.makers = makers
        self.others = others
        self.places = {entry["op_id"]: place for place, entry in enumerate(entries)}
        self._blamed = blamed
        self._listings: dict[tuple[str, int], list[Origin]] = {}

    def listing(self, path: str, count: int) -> list[Origin]:
        """List the parts of a file after the first `count` entries."""
        if (path, count) not in self._listings:
            self._listings[path, count] = self._blamed(self.entries[:count], path)
        return self._listings[path, count]

    def listing_at(self, place: int, count: int) -> list[Origin]:
        """List the parts of the file that the entry at a place is about, after `count` entries."""
        path = self.entries[place]["domain_op"].get("address")
        return self.listing(path, count) if isinstance(path, str) else []

    def undoing(self, origin: Origin) -> int | None:
        """Return the place of the undoing to which a part owes that it is as it is, or is there."""
        for place in (origin.changed, origin.made):
            if place is not None and 0 <= place < len(self.entries) and taken_back_by(self.entries[place]):
                return place
        return None


class _BlamedPlace(NamedTuple):
    """Where a part is at some commit."""

    path: str
    address: str


_NOBODY = Maker("", "")
_LOOKS = 64
"""Before so many of the ops that one undoing took back, a part that it brought back is looked for."""


def blame_newest(repository: Repository, path: str, session_id: str) -> Blame:
    """Do as `blame_file` does for the newest state of a session: the head of HEAD's branch and pending ops.

    What is in no commit yet has a maker without a commit. Raises `NotFoundError` if there is no such file.
    """
    read = read_session(repository, session_id)
    files, _ = apply_entries(repository, read.head, read.pending)
    if path not in files:
        raise NotFoundError(f"session {session_id!r} has no file {path!r}: see 'muse status'")
    return _blame(repository, path, files, read.head, read)


def blame_file(repository: Repository, path: str, commit_id: str) -> Blame:
    """Return the maker and the last changer of each part of the file at `path`, as `commit_id` has it.

    Goes along the first parents. What either side of a merge of ops brought is the work of its author; what
    another tool merged is the work of the one that merged it. Only actors that a commit seals are named:
    a part from a commit without a log, or whose log is not here, or was cut or changed, is the work of the
    author of the commit; the last of these is a fault. A commit that leaves the bytes of a file as they
    were, and does not name it, changed nothing in it. What an undoing brought back as it was is the work of
    those whose it was before. Raises `NotFoundError` if the commit has no such file,
    `DomainError` if no domain knows its parts.
    """
    files = TreeFiles(repository, repository.read_tree(commit_id))
    if path not in files:
        raise NotFoundError(f"commit {commit_id[:12]} has no file {path!r}: see 'muse show {commit_id[:12]}'")
    return _blame(repository, path, files, commit_id)


def _blame(
    repository: Repository,
    path: str,
    files: Mapping[str, bytes],
    commit_id: str | None,
    newest: LoggedSession | None = None,
) -> Blame:
    plugin = _plugin_for(repository, files, path)
    shown = plugin.blame(files, (), repository.objects.get, path)
    search = _Search(repository, plugin, [_BlamedPlace(path, part.address) for part in shown])
    if newest is not None:
        search.look_into_pending(newest, commit_id)
    for commit in line_of(repository, commit_id):
        if search.is_done:
            break
        search.look_into(commit)
    dated = cache(partial(_no_later_than_commit, repository))
    parts = [
        BlamedPart(part.address, part.summary, dated(search.made[number]), dated(search.changed[number]))
        for number, part in enumerate(shown)
    ]
    return Blame(parts, search.faults[::-1])


def _no_later_than_commit(repository: Repository, maker: Maker) -> Maker:
    committed_at = repository.dag.read_commit(maker.commit_id)["committed_at"] if maker.commit_id else ""
    try:
        is_later = moment_of(maker.when) > moment_of(committed_at)
    except ValueError:  # what cannot be read as a time is shown as it is
        return maker
    return replace(maker, when=committed_at) if is_later else maker


def _plugin_for(repository: Repository, files: Mapping[str, bytes], path: str) -> BlamingPlugin:
    for plugin in blaming_plugins():
        if plugin.blame(files, (), repository.objects.get, path):
            return plugin
    raise DomainError(
        f"no domain here knows notes or lines in {path!r}, or it has none: there is nobody to name", path=path
    )


class _Search:
    """The parts of a file, followed back: `left` are those whose makers are not found, and where they are."""

    def __init__(self, repository: Repository, plugin: BlamingPlugin, places: Sequence[_BlamedPlace]) -> None:
        self.left = dict(enumerate(places))
        self.made = dict.fromkeys(self.left, _NOBODY)
        self.changed = dict.fromkeys(self.left, _NOBODY)
        self.faults: list[str] = []
        self._alignment = Alignment()
        self._sought: dict[int, Sought] = {}
        self._changed_since: dict[int, Maker] = {}  # who changed, later, what an undoing brought back
        self._repository = repository
        self._plugin = plugin
        self._domain = _domain_of(plugin)

    @property
    def is_done(self) -> bool:
        return not (self.left or self._sought)

    def look_into_pending(self, newest: LoggedSession, head: str | None) -> None:
        """Find the parts that ops made or changed which no commit has yet."""
        entries = [entry for entry in newest.pending if entry["domain"] == self._domain]
        makers = [_maker_of(entry, "", newest.session_id) for entry in entries]
        makers += self._waiting_makers(head, "")
        fetch = self._repository.objects.get
        freed, _ = names_of_others(self._domain, newest.pending)
        blamed = partial(self._blamed, head, fetch, freed=freed)
        others = [
            BroughtEntry(entry, "", newest.session_id)
            for entry in newest.pending
            if entry["domain"] != self._domain
        ]
        self._find(_Work(entries, makers, blamed, others), {place.path for place in self.left.values()})

    def look_into(self, commit: LineCommit) -> None:
        """Find the parts that a commit made or changed; the others are then where its parent has them."""
        paths = {place.path for place in self.left.values()}
        touched = self._touched(commit, paths)
        if not (touched or self._sought):
            return
        try:
            work = self._work(commit)
        except CorruptionError as error:
            work = None
            self.faults.append(str(error))
        if work is not None:
            self._find(work, touched)
            return
        author = Maker(commit.record["author"], commit.commit_id, when=commit.record["committed_at"])
        others = self._brought_in_others(commit)
        for path in touched:
            maker = _maker_in(others, path) or author
            self._find(_Work([], [maker], lambda _entries, path: self._compared(commit, path)), {path})

    def _find(self, work: _Work, touched: Collection[str]) -> None:
        sought = list(self._sought.items())
        for number, place in list(self.left.items()):
            if place.path in touched:
                listing = work.listing(place.path, len(work.entries))
                here = self._alignment.place_in(listing, place.address)
                maker = _maker_in(work.others, place.path) if here is None else None
                if maker is not None:  # an op of another domain brought the whole file
                    self.made[number] = maker
                    self.changed[number] = maker if self.changed[number] is _NOBODY else self.changed[number]
                    del self.left[number]
                else:
                    self._settle(number, work, listing, here)
        for number, part in sought:
            self._seek(number, work, part)

    def _settle(self, number: int, work: _Work, listing: Listing, place: int | None) -> None:
        """Take what is told of a part; of one that an undoing brought back, look for what it was before."""
        origin = None if place is None else listing[place]
        undoing = None if origin is None else work.undoing(origin)
        if origin is not None and origin.changed != undoing:
            self._note_change(number, work.makers, origin)
        changed = self.changed[number]
        self._go_back(number, origin, work.makers)
        if undoing is None or place is None or number in self._sought:
            return
        after = work.listing_at(undoing, undoing + 1)
        traced = self._alignment.traced(listing, place, after)
        if traced is not None:
            undone = tuple(taken_back_by(work.entries[undoing]))
            self._changed_since[number] = changed
            self._seek(number, work, Sought(undone, after, traced))

    def _seek(self, number: int, work: _Work, part: Sought) -> None:
        """Look for a part as it was before an undone op; it is known then who made and changed it."""
        here = sorted((work.places[op_id] for op_id in part.undone if op_id in work.places), reverse=True)
        for place in here[:_LOOKS]:
            before = work.listing_at(place, place)
            found = self._alignment.same(part.after, part.place, before)
            if found is not None:
                self._sought.pop(number, None)
                self.made[number], self.changed[number] = _NOBODY, self._changed_since[number]
                self.left[number] = _BlamedPlace("", "")
                self._settle(number, work, before, found)
                return
        undone = tuple(op_id for op_id in part.undone if op_id not in work.places)
        if undone:
            self._sought[number] = replace(part, undone=undone)
        else:
            self._sought.pop(number, None)

    def _note_change(self, number: int, makers: Sequence[Maker], origin: Origin) -> None:
        if origin.changed is not None and self.changed[number] is _NOBODY:
            self.changed[number] = makers[origin.changed]

    def _go_back(self, number: int, origin: Origin | None, makers: Sequence[Maker]) -> None:
        if origin is not None:
            self._note_change(number, makers, origin)
        if origin is not None and origin.made is not None:
            self.made[number] = makers[origin.made]
        if origin is None or origin.made is not None or not origin.came_from:
            del self.left[number]
        else:
            self.left[number] = _BlamedPlace(origin.came_from, origin.was or origin.address)

    def _touched(self, commit: LineCommit, paths: Collection[str]) -> set[str]:
        """Return the files that a commit changed, or names: another may be there before."""
        both = (commit.parent_id, commit.commit_id)
        before, after = (self._repository.read_tree(each) for each in both)
        hidden: list[Mapping[str, str]] = [{}, {}]
        if any(path.startswith(HIDDEN) for path in paths):
            hidden = [read_states(self._repository, each).get(self._domain, {}) for each in both]
        ops: Sequence[Any] = (commit.record["structured_delta"] or {"ops": []})["ops"]
        named = [op.get(key) for op in ops for key in ("address", "from_address", "to_address")]
        touched = set()
        for path in paths:
            name = path.removeprefix(HIDDEN)
            trees = hidden if path.startswith(HIDDEN) else (before, after)
            if name in named or trees[0].get(name) != trees[1].get(name):
                touched.add(path)
        return touched

    def _blamed(
        self,
        parent_id: str | None,
        fetch: Fetch,
        entries: Sequence[OpEntry],
        path: str,
        freed: Collection[str] = (),
    ) -> list[Origin]:
        """Ask the plugin which of entries that came after a commit each part of a file stems from.

        `freed`: the files of the commit that entries of other domains took away before.
        """
        tree = self._repository.read_tree(parent_id)
        files = TreeFiles(self._repository, {name: tree[name] for name in tree if name not in freed})
        if isinstance(self._plugin, EntryBlamingPlugin):
            state = read_state(self._repository, parent_id, self._domain)
            return self._plugin.blame_entries(files, entries, fetch, state, path)
        return self._plugin.blame(files, [entry["domain_op"] for entry in entries], fetch, path)

    def _compared(self, commit: LineCommit, path: str) -> list[Origin]:
        """Tell what a commit without a log made and changed, as if by one op of the whole file."""
        before, after = (self._repository.read_tree(each) for each in (commit.parent_id, commit.commit_id))
        fetch = self._repository.objects.get
        parts = self._plugin.blame(TreeFiles(self._repository, after), (), fetch, path)
        source = _renamed_from(before, after, path)
        if source is not None:
            return [Origin(part.address, part.summary, None, None, came_from=source) for part in parts]
        own = [{name: tree[path] for name in (path,) if name in tree} for tree in (before, after)]
        ops = file_delta(*own)["ops"]
        found = self._plugin.blame(TreeFiles(self._repository, before), ops, fetch, path)
        if _names(found) == _names(parts):
            return found
        old = dict(_names(self._plugin.blame(TreeFiles(self._repository, before), (), fetch, path)))
        return [_by_address(part, old, path) for part in parts]

    def _work(self, commit: LineCommit) -> _Work | None:
        """Return what ops of the plugin's domain a commit brought; None where it was not made from them."""
        brought = brought_by(self._repository, commit, self._domain)
        if brought is None:
            return None
        entries = [entry for entry, *_ in brought]
        makers = [_maker_of(*each) for each in brought]
        makers += self._waiting_makers(commit.parent_id, commit.commit_id)
        fetch = fetch_at(self._repository, commit.commit_id, self._domain)
        others = self._brought_in_others(commit)
        return _Work(entries, makers, partial(self._blamed, commit.parent_id, fetch), others)

    def _brought_in_others(self, commit: LineCommit) -> list[BroughtEntry]:
        """Return what a commit brought in other domains, as far as their logs can be read."""
        own = {commit.sealed.domain} if commit.sealed is not None else set[str]()
        found: list[BroughtEntry] = []
        for domain in (set(plugin_names()) if commit.is_merge else own) - {self._domain}:
            try:
                found += brought_by(self._repository, commit, domain) or ()
            except CorruptionError as error:
                self.faults.append(str(error))
        return found

    def _waiting_makers(self, parent_id: str | None, commit_id: str) -> list[Maker]:
        if not isinstance(self._plugin, WaitingPlugin):
            return []
        waiting: Any = self._plugin.waiting(read_state(self._repository, parent_id, self._domain))
        return [_maker_of(entry, commit_id, "") for entry in waiting]


def _maker_in(brought: Sequence[BroughtEntry], path: str) -> Maker | None:
    """Return the maker of the last entry that names a file."""
    named = (
        each
        for each in reversed(brought)
        if path in {each.entry["domain_op"].get(key) for key in ("address", "to_address")}
    )
    return next((_maker_of(*each) for each in named), None)


def _names(parts: Sequence[Origin]) -> list[tuple[str, str]]:
    return [(part.address, part.summary) for part in parts]


def _by_address(part: Origin, old: Mapping[str, str], path: str) -> Origin:
    """Tell what one op did to a part, by the `old` parts of the file, address -> summary."""
    made = None if part.address in old else 0
    changed = None if old.get(part.address) == part.summary else 0
    return Origin(part.address, part.summary, made, changed, "" if made == 0 else path)


def _renamed_from(before: Mapping[str, str], after: Mapping[str, str], path: str) -> str | None:
    """Return the file that a commit without a log put at `path`: of the same content, and gone since."""
    if path in before:
        return None
    gone = (name for name, blob in before.items() if blob == after.get(path) and name not in after)
    return min(gone, default=None)


def _domain_of(plugin: object) -> str:
    return next(name for name in plugin_names() if find_plugin(name) is plugin)


def _maker_of(entry: OpEntry, commit_id: str, session_id: str) -> Maker:
    return Maker(
        entry["actor_id"], commit_id, entry["op_id"], entry["intent_id"], session_id, entry["created_at"]
    )
