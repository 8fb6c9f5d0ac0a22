"""The ops of a session as a graph: a lane for each actor, edges to causes, commits across the lanes."""

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import nlargest

from muse.causality import causal_order
from muse.core.entry import OpEntry, total_order
from muse.core.op_list import decode_op_list
from muse.core.op_log import OpLog
from muse.history.repository import Repository
from muse.history.session_history import session_history
from muse.upkeep.archive import session_entries


@dataclass(frozen=True, slots=True)
class GraphCommit:
    """A commit made from the session. `number`: its place among those, each behind its own history."""

    number: int
    commit_id: str
    subject: str
    committed_at: str


@dataclass(slots=True)
class Run:
    """Ops of one actor, each the next of the one before: nothing leads into or out of their middle.

    `causes` are the places, in the graph's runs, of those of other actors that the first op names as
    parents; `merges`: it names several ops. `unseen_causes`: how many parents are not in the graph.
    `commit` is the one that brought the ops; `covered`: that or a checkpoint did. `mark`: the number
    of the mark above which the run belongs.
    """

    actor_id: str
    entries: list[OpEntry]
    commit: GraphCommit | None = None
    covered: bool = False
    causes: list[int] = field(default_factory=list)
    merges: bool = False
    unseen_causes: int = 0
    mark: int = 0

    @property
    def last(self) -> OpEntry:
        """The last entry."""
        return self.entries[-1]


@dataclass(frozen=True, slots=True)
class Mark:
    """A commit, or (None) a checkpoint without one: what is listed above it is in it, or says where it is."""

    commit: GraphCommit | None


@dataclass(frozen=True, slots=True)
class OpGraph:
    """Runs and marks, causes before effects. `actors` by their first run; `left_out`: ops before these."""

    session_id: str
    rows: Sequence[Run | Mark]
    actors: Sequence[str]
    left_out: int

    @property
    def runs(self) -> list[Run]:
        """The runs in their order, which `causes` count by."""
        return [row for row in self.rows if isinstance(row, Run)]


def read_graph(
    repository: Repository, session_id: str, *, last: int, since: int = 1, every_op: bool = False
) -> OpGraph:
    """Read the `last` ops of a session, in the total order, with a Lamport stamp of at least `since`.

    Memory is that of these ops, however long the log is. With `every_op`, each is a run of its own.
    Raises `CausalCycleError` where ops name one another as parents in a circle.
    """
    total = 0

    def stamped() -> Iterable[OpEntry]:
        nonlocal total
        for _, entry in session_entries(repository.root, session_id, storage=repository.storage):
            total += 1
            if entry["lamport_ts"] >= since:
                yield entry

    entries = sorted(nlargest(last, stamped(), key=total_order), key=total_order)
    commits = _commits_of(repository, session_id, {entry["op_id"] for entry in entries})
    uncommitted = {entry["op_id"] for entry in entries if entry["op_id"] not in commits}
    checkpointed = _checkpointed(repository, session_id, uncommitted)
    return make_graph(
        session_id, entries, commits, checkpointed, left_out=total - len(entries), every_op=every_op
    )


def _checkpointed(repository: Repository, session_id: str, op_ids: set[str]) -> set[str]:
    """Return those of the ops that the session's checkpoint covers; reads only what it does not cover."""
    with OpLog(repository.root, session_id, storage=repository.storage) as log:
        if not op_ids or log.read_checkpoint() is None:
            return set()
        return op_ids - {entry["op_id"] for entry in log.replay_since_checkpoint()}


def _commits_of(repository: Repository, session_id: str, wanted: Container[str]) -> dict[str, GraphCommit]:
    """Return, by the ids of the `wanted` ops, the first commits that brought them, on any branch."""
    dag = repository.dag
    found: dict[str, GraphCommit] = {}
    for number, made in enumerate(session_history(dag, session_id, dag.branches(), ()).commits):
        record = dag.read_commit(made.commit_id)
        subject = record["message"].partition("\n")[0]
        commit = GraphCommit(number, made.commit_id, subject, record["committed_at"])
        for op_id in decode_op_list(repository.objects.get(made.op_list), made.op_list):
            if op_id in wanted:
                found.setdefault(op_id, commit)
    return found


def make_graph(
    session_id: str,
    entries: Sequence[OpEntry],
    commits: Mapping[str, GraphCommit],
    checkpointed: Iterable[str] = (),
    *,
    left_out: int = 0,
    every_op: bool = False,
) -> OpGraph:
    """Make the graph of `entries`, in the total order. `commits` by op id; `checkpointed`: op ids."""
    runs, run_of = _runs(causal_order(entries), commits, frozenset(checkpointed), every_op=every_op)
    _connect(runs, run_of)
    order = sorted(range(len(runs)), key=lambda place: runs[place].mark)  # stable: causes stay before effects
    moved = {place: new for new, place in enumerate(order)}
    runs = [runs[place] for place in order]
    for run in runs:
        run.causes = sorted(moved[cause] for cause in run.causes)
    return OpGraph(session_id, _with_marks(runs), list(dict.fromkeys(run.actor_id for run in runs)), left_out)


def _runs(
    entries: Sequence[OpEntry],
    commits: Mapping[str, GraphCommit],
    checkpointed: frozenset[str],
    *,
    every_op: bool,
) -> tuple[list[Run], dict[str, int]]:
    """Join the ops of each actor into runs, ordered by their last ops; return where each op is, too."""
    by_id = {entry["op_id"]: entry for entry in entries}
    is_cause = {
        name
        for entry in entries
        for name in entry["parent_op_ids"]
        if name in by_id and by_id[name]["actor_id"] != entry["actor_id"]
    }
    open_runs: dict[str, Run] = {}
    runs: dict[int, Run] = {}
    for entry in entries:
        actor, commit = entry["actor_id"], commits.get(entry["op_id"])
        covered = commit is not None or entry["op_id"] in checkpointed
        run = open_runs.get(actor)
        if (
            every_op
            or run is None
            or (run.commit, run.covered) != (commit, covered)
            or run.last["op_id"] in is_cause
            or any(_is_other(by_id.get(name), actor) for name in entry["parent_op_ids"])
        ):
            run = open_runs[actor] = Run(actor, [], commit, covered)
        run.entries.append(entry)
        runs.pop(id(run), None)
        runs[id(run)] = run  # to the end: a run is where its last op is
    ordered = list(runs.values())
    return ordered, {entry["op_id"]: place for place, run in enumerate(ordered) for entry in run.entries}


def _is_other(parent: OpEntry | None, actor_id: str) -> bool:
    return parent is None or parent["actor_id"] != actor_id


def _connect(runs: Sequence[Run], run_of: Mapping[str, int]) -> None:
    """Find the causes of each run, and the mark it belongs above: no effect is listed above its cause."""
    numbers = sorted({run.commit.number for run in runs if run.commit})
    marks = {number: place for place, number in enumerate(numbers)}
    previous: dict[str, Run] = {}
    for run in runs:
        parents = run.entries[0]["parent_op_ids"]
        known = {run_of[name] for name in parents if name in run_of}
        run.causes = [place for place in known if runs[place].actor_id != run.actor_id]
        run.merges = len(parents) > 1
        run.unseen_causes = sum(name not in run_of for name in parents)
        own = marks[run.commit.number] if run.commit else len(marks) + (not run.covered)
        before = [runs[place].mark for place in run.causes]
        if run.actor_id in previous:
            before.append(previous[run.actor_id].mark)
        run.mark = max([own, *before])
        previous[run.actor_id] = run


def _with_marks(runs: Sequence[Run]) -> list[Run | Mark]:
    """Put each mark below the last run that belongs above it."""
    commits = sorted({run.commit for run in runs if run.commit}, key=lambda commit: commit.number)
    marks: list[Mark] = [Mark(commit) for commit in commits]
    if any(run.covered and run.commit is None for run in runs):
        marks.append(Mark(None))
    rows: list[Run | Mark] = []
    drawn = 0
    for run in runs:
        rows += marks[drawn : run.mark]
        drawn = max(drawn, min(run.mark, len(marks)))
        rows.append(run)
    return [*rows, *marks[drawn:]]
