"""A session as it was: its files with all ops up to a point of the total order."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from muse.apply import domains as plugin_state
from muse.apply.domain_order import in_domain_order
from muse.core.entry import OpEntry, total_order
from muse.core.file.log_reader import collector_paused
from muse.core.op_list import decode_op_list
from muse.core.timestamp import moment_of
from muse.domain import BlamingPlugin
from muse.errors import NotFoundError, UsageError
from muse.history.repository import Repository, TreeFiles
from muse.history.revision import PREFIX_LENGTH, candidates_text
from muse.history.session_history import session_history
from muse.history.tree import with_changes
from muse.plugins.registry import find_plugin, plugin_names
from muse.upkeep.archive import session_entries

_OP_NAME = re.compile(rf"[0-9a-f][0-9a-f-]{{{PREFIX_LENGTH - 1},35}}\Z")


@dataclass(frozen=True, slots=True)
class CommittedOps:
    """What one commit brought of a session: `before` is the commit it was made on, None if on nothing."""

    commit_id: str
    before: str | None
    entries: Sequence[OpEntry]


@dataclass(frozen=True, slots=True)
class LoggedSession:
    """All entries of a session in the total order, and the commits that brought them.

    `commits`: which of them each commit brought, oldest first. `pending`: those that no branch holds
    yet. `tips`: the branches that this is said of, read before the log; `head`: that of HEAD's branch.
    """

    session_id: str
    entries: Sequence[OpEntry]
    commits: Sequence[CommittedOps]
    pending: Sequence[OpEntry]
    tips: Mapping[str, str | None]
    head: str | None

    @property
    def base(self) -> str | None:
        """The commit that its ops were first applied to, None for the empty tree."""
        return self.commits[0].before if self.commits else self.head

    def from_first(self, is_wanted: Callable[[OpEntry], bool]) -> tuple[str | None, list[OpEntry]]:
        """Return the commit on which the first wanted op took effect, and all entries from there on.

        They come as history applied them: commit by commit, then those that are pending.
        """
        for place, commit in enumerate(self.commits):
            if any(map(is_wanted, commit.entries)):
                later = [entry for own in self.commits[place:] for entry in own.entries]
                return commit.before, [*later, *self.pending]
        return self.head, list(self.pending)


@dataclass(frozen=True, slots=True)
class SessionState:
    """The whole tree at a point: the files of `base` with `op_count` ops; `ignored` of them had no effect.

    `parts`: for each file that the ops touched or a domain knows, how many notes or lines it has.
    """

    base: str | None
    op_count: int
    ignored: int
    last: OpEntry | None
    files: Mapping[str, bytes]
    parts: Mapping[str, int]


def read_session(repository: Repository, session_id: str, *, salvage: bool = False) -> LoggedSession:
    """Read a session, live or archived, and what history says of it."""
    storage, dag = repository.storage, repository.dag
    current = dag.current_branch()
    tips = {current: dag.head(current), **dag.branches()}
    history = session_history(dag, session_id, tips, ())
    located = session_entries(repository.root, session_id, salvage=salvage, storage=storage)
    with collector_paused():
        entries = sorted((entry for _, entry in located), key=total_order)
    left = {entry["op_id"]: entry for entry in entries}
    commits = []
    for commit in history.commits:
        op_ids = decode_op_list(repository.objects.get(commit.op_list), commit.op_list)
        own = [left.pop(op_id) for op_id in op_ids if op_id in left]
        commits.append(CommittedOps(commit.commit_id, commit.parent_id, own))
    return LoggedSession(session_id, entries, commits, list(left.values()), tips, tips[current])


def check_op_name(name: str) -> None:
    """Raise `UsageError` unless `name` can be an op id, or the first digits of one."""
    if not _OP_NAME.match(name):
        raise UsageError(
            f"{name!r} is not an op id: a lower-case UUID4 is expected, or its first {PREFIX_LENGTH} digits; "
            "'muse session tail SESSION --json' and 'muse blame FILE --ops' show them"
        )


def named_op(entries: Iterable[OpEntry], name: str, session_id: str = "") -> str:
    """Return the op id `name`, or the only one that begins with it.

    Raises `UsageError` for what can be no op id, and `NotFoundError` if there is not one: the ids that could
    be meant are listed. `session_id` says whose entries they are, for the message.
    """
    check_op_name(name)
    found = {entry["op_id"] for entry in entries if entry["op_id"].startswith(name)}
    if name in found:
        return name
    if len(found) != 1:
        where = f"session {session_id!r}" if session_id else "the session"
        held = f"{len(found)} ops that start with" if found else "no op"
        choice = f"{candidates_text(sorted(found))}; give more digits"
        help_text = choice if found else f"'muse session tail {session_id or 'SESSION'} --json' shows its ops"
        raise NotFoundError(f"{where} has {held} {name!r}: {help_text}")
    return found.pop()


def up_to_op(name: str, session_id: str = "") -> Callable[[Sequence[OpEntry]], list[OpEntry]]:
    """Choose the entries up to the op of that name, itself included; see `named_op`."""

    def choose(entries: Sequence[OpEntry]) -> list[OpEntry]:
        op_id = named_op(entries, name, session_id)
        place = next(place for place, entry in enumerate(entries) if entry["op_id"] == op_id)
        return list(entries[: place + 1])

    return choose


def up_to_lamport(lamport_ts: int) -> Callable[[Sequence[OpEntry]], list[OpEntry]]:
    """Choose the entries up to that stamp, those with the stamp included; 0 is before the first."""
    if lamport_ts < 0:
        raise UsageError(f"{lamport_ts} is no stamp: they count from 1, and 0 is before the first op")
    return lambda entries: [entry for entry in entries if entry["lamport_ts"] <= lamport_ts]


def up_to_time(text: str) -> Callable[[Sequence[OpEntry]], list[OpEntry]]:
    """Choose the entries that were made by then, each by its author's clock; no offset means UTC.

    Clocks differ: of two actors, one may be shown further than the other. An entry whose time cannot
    be read goes with the one before it. Raises `UsageError` for text that is no ISO 8601 time.
    """
    limit = _moment(text)
    if limit is None:
        raise UsageError(f"{text!r} is no time: give it as 2026-01-31T12:00:00 or with an offset, +02:00")

    def choose(entries: Sequence[OpEntry]) -> list[OpEntry]:
        chosen, is_in = [], True
        for entry in entries:
            moment = _moment(entry["created_at"])
            is_in = is_in if moment is None else moment <= limit
            if is_in:
                chosen.append(entry)
        return chosen

    return choose


def _moment(text: str) -> datetime | None:
    try:
        return moment_of(text)
    except ValueError:
        return None


def state_at(
    repository: Repository, session: LoggedSession, choose: Callable[[Sequence[OpEntry]], list[OpEntry]]
) -> SessionState:
    """Return the files with the chosen entries applied, as history has them as far as it does.

    What was committed whole is as its commit left it, the rest applied on that in the total order.
    """
    chosen = choose(session.entries)
    wanted = {entry["op_id"] for entry in chosen}
    base = session.head
    for commit in session.commits:
        if any(entry["op_id"] not in wanted for entry in commit.entries):
            base = commit.before
            break
    behind = {record["commit_id"] for record in repository.dag.history(base)} if base else set()
    done = {
        entry["op_id"] for commit in session.commits if commit.commit_id in behind for entry in commit.entries
    }
    left = [entry for entry in chosen if entry["op_id"] not in done]
    files, ignored = apply_entries(repository, base, left)
    parts = {path: count for path in files if (count := _part_count(repository, files, path))}
    last = chosen[-1] if chosen else None
    return SessionState(base, len(chosen), len({op_id for op_id, _ in ignored}), last, files, parts)


def apply_entries(
    repository: Repository, commit_id: str | None, entries: Sequence[OpEntry]
) -> tuple[dict[str, bytes], set[tuple[str, str]]]:
    """Apply entries to a commit's files as one commit of each domain would.

    Returns the tree, and what had no effect: its op id, and the address at which it had none.
    """
    tree: dict[str, bytes] = dict(TreeFiles(repository, repository.read_tree(commit_id)))
    ignored = set()
    states = plugin_state.States(repository, commit_id)
    for domain, own in in_domain_order(entries):
        outcome = plugin_state.apply_entries(domain, own, tree, repository.objects.get, states.of(domain))
        states.take(domain, outcome.state)
        ignored |= {(own[found.index]["op_id"], found.address) for found in outcome.ignored}
        tree = with_changes(tree, outcome.files)
    return tree, ignored


def blaming_plugins() -> list[BlamingPlugin]:
    """Return the plugins that know the parts of files, in the order of their names."""
    found: list[object] = [find_plugin(name) for name in plugin_names()]
    return [plugin for plugin in found if isinstance(plugin, BlamingPlugin)]


def _part_count(repository: Repository, files: Mapping[str, bytes], path: str) -> int:
    counts = (len(plugin.blame(files, (), repository.objects.get, path)) for plugin in blaming_plugins())
    return next((count for count in counts if count), 0)
