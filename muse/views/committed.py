"""Which ops of a session are in which commit, and which are pending, without all of them in memory."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from muse.core.entry import OpEntry, total_order
from muse.core.file.log_reader import LogReader, raise_two_bodies
from muse.core.op_list import decode_op_list, ids_among
from muse.history.list_match import ListMatch
from muse.history.repository import Repository
from muse.history.session_history import SessionCommit, session_history
from muse.upkeep.archive import session_reader


@dataclass(slots=True)
class CommittedSession:
    """The commits of a session, oldest first, and what a reading of its log found.

    `tips` are the branches, read before the log, that this is said of; `head` is that of HEAD's branch.
    `pending`: the ops that no branch holds yet, in the total order. `wanted`: the entries of the ids that
    were asked for. `missing`: ids that commits list and the log lacks. `shared`: ids that an earlier commit
    lists too, on another line of history, by the commit that is not counted as bringing them.
    """

    session_id: str
    commits: Sequence[SessionCommit]
    tips: Mapping[str, str | None]
    head: str | None
    is_one_line: bool
    pending: list[OpEntry] = field(default_factory=list)
    wanted: dict[str, OpEntry] = field(default_factory=dict)
    missing: set[str] = field(default_factory=set)
    shared: dict[str, set[str]] = field(default_factory=dict)

    @property
    def base(self) -> str | None:
        """The commit that its ops were first applied to, None for the empty tree."""
        return self.commits[0].parent_id if self.commits else self.head


def committed_session(repository: Repository, session_id: str) -> CommittedSession:
    """Find the commits of a session; `read_log` finds the rest."""
    dag = repository.dag
    current = dag.current_branch()
    tips = {current: dag.head(current), **dag.branches()}
    history = session_history(dag, session_id, tips, ())
    return CommittedSession(session_id, history.commits, tips, tips[current], is_one_line=history.is_one_line)


def read_log(
    repository: Repository, session: CommittedSession, wanted: Collection[str], *, salvage: bool = False
) -> None:
    """Read the log of a session once, for what is pending in it, and the entries of the `wanted` ids.

    Of the rest no entry is made. Raises as `session_entries` does. Memory: the ids of a commit or two where
    the log has the ops in the order of the commits, as it mostly has.
    """
    with session_reader(repository.root, session.session_id, repository.storage) as (reader, end):
        match = ListMatch(_lists(repository, session), wanted)
        found: dict[str, tuple[int, OpEntry]] = {}
        for offset, entry in reader.chosen(end, match.choose, salvage=salvage):
            _, known = found.setdefault(entry["op_id"], (offset, entry))
            if known != entry and not salvage:
                raise_two_bodies(reader.path, entry, offset)
        match.finish()
        session.missing = match.awaited
        listed: set[str] = set()
        for commit in session.commits if match.unknown else ():
            listed |= ids_among(repository.objects.get(commit.op_list), match.unknown, commit.op_list)
        _check_repeats(reader, (found[op_id] for op_id in match.unknown & listed), salvage=salvage)
        session.pending = sorted((found[op_id][1] for op_id in match.unknown - listed), key=total_order)
        session.wanted = {op_id: entry for op_id, (_, entry) in found.items() if op_id in match.wanted}


def _check_repeats(reader: LogReader, located: Iterator[tuple[int, OpEntry]], *, salvage: bool) -> None:
    """Raise `ConflictError` if the body of a line that repeats a covered op is another one."""
    for offset, entry in located:
        reader.repeats(entry, offset, salvage=salvage)


def _lists(repository: Repository, session: CommittedSession) -> Iterator[set[str]]:
    """Yield the ids that each commit lists; note those that an earlier one brought."""
    earlier: set[str] | None = None if session.is_one_line else set()
    for commit in session.commits:
        op_ids = set(decode_op_list(repository.objects.get(commit.op_list), commit.op_list))
        if earlier is not None:
            if shared := op_ids & earlier:
                session.shared[commit.commit_id] = shared
                op_ids -= shared
            earlier |= op_ids
        yield op_ids
