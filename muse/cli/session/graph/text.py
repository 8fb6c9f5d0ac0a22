"""A graph of ops in characters: a column for each actor, and one for each edge that must go around others."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from muse.cli.shared.output import count_of, printable
from muse.core.entry import OpEntry
from muse.views.graph import Mark, OpGraph, Run

SHORT_ID = 8
LANES = 24  # actors beyond that share the last one
_DETOURS = 8  # edges that go round others at one time; those beyond are told in words
_MARK = -1  # the colour of marks
_UP, _DOWN, _LEFT, _RIGHT = 1, 2, 4, 8
_LINES = " │││─┘┐┤─└┌├─┴┬┼"  # by the sum of the directions a line goes to

Piece = tuple[str, int | None]
"""Text, and the lane whose colour it has."""


def lanes_of(graph: OpGraph) -> dict[str, int]:
    """Return the lane of each actor."""
    return {actor: min(place, LANES - 1) for place, actor in enumerate(graph.actors)}


def describe(run: Run) -> str:
    """Describe a run: how many ops, their stamps, which op is the last, and its address."""
    first, last = run.entries[0], run.last
    stamps = str(last["lamport_ts"])
    if len(run.entries) > 1:
        stamps = f"{first['lamport_ts']}-{last['lamport_ts']}  {count_of(len(run.entries), 'op')}"
    addresses = list(dict.fromkeys(str(entry["domain_op"].get("address", "")) for entry in run.entries))
    where = addresses[0] if len(addresses) == 1 else f"{addresses[0]} and {len(addresses) - 1} more"
    return f"{stamps}  {last['op_id'][:SHORT_ID]}  {where if len(run.entries) > 1 else _what(last)}"


def _what(entry: OpEntry) -> str:
    op = entry["domain_op"]
    names = ("child_summary", "content_summary", "new_summary")
    summary = next((str(op[name]) for name in names if op.get(name)), "")  # type: ignore[literal-required]
    return f"{op.get('op', '')} {op.get('address', '')}" + f" ({summary})" * bool(summary)


def describe_mark(mark: Mark) -> str:
    """Return the line that tells of a commit, or of a checkpoint without one."""
    commit = mark.commit
    if commit is None:
        return "checkpoint"
    return f"commit {commit.commit_id[:12]}  {commit.subject}  {commit.committed_at.removesuffix('+00:00')}"


def where_to_find(run: Run, graph_marks: Sequence[Mark]) -> str:
    """Say in which commit a run is, if it could not be drawn above its mark; else ""."""
    expected = graph_marks[run.mark].commit if run.mark < len(graph_marks) else None
    return f"  [in commit {run.commit.commit_id[:12]}]" if run.commit and run.commit != expected else ""


@dataclass(slots=True)
class _Row:
    """A line under construction: where each column leads, what crosses the gap after it, the colours."""

    cells: list[int]
    colours: list[int | None]
    gaps: list[int | None] = field(default_factory=list)
    node: tuple[int, str] | None = None

    def __post_init__(self) -> None:
        self.gaps = [None] * len(self.cells)

    def join(self, one: int, other: int, colour: int) -> None:
        """Draw a line between two columns, behind the columns between them."""
        low, high = sorted((one, other))
        self.cells[low] |= _RIGHT
        self.cells[high] |= _LEFT
        for column in range(low, high):
            self.gaps[column] = colour
            if column > low and not self.cells[column]:
                self.cells[column], self.colours[column] = _LEFT | _RIGHT, colour

    def pieces(self) -> Iterator[Piece]:
        for column, cell in enumerate(self.cells):
            is_node = self.node is not None and self.node[0] == column
            yield (self.node[1] if self.node and is_node else _LINES[cell]), self.colours[column]
            yield (" " if self.gaps[column] is None else "─"), self.gaps[column]


class TextGraph:
    """Draws a graph, line by line, from the top."""

    def __init__(self, graph: OpGraph) -> None:
        self._graph = graph
        self._lane_of = lanes_of(graph)
        self._runs = graph.runs
        self._marks = [row for row in graph.rows if isinstance(row, Mark)]
        self._lanes = [self._lane_of[run.actor_id] for run in self._runs]
        self._lane_count = max(self._lanes, default=-1) + 1
        self._next = _next_in_lane(self._lanes)
        # The last run that needs an edge from each.
        self._needed_until = {cause: place for place, run in enumerate(self._runs) for cause in run.causes}
        self._newest: dict[int, int] = {}  # lane -> the run that its line comes from, while there is a line
        self._detours: list[int | None] = [None] * _DETOURS

    def lines(self) -> Iterator[list[Piece]]:
        """Yield each line as pieces of text with their colours."""
        drawn: list[tuple[_Row, list[Piece]]] = []
        place = 0
        for row in self._graph.rows:
            if isinstance(row, Mark):
                drawn.append(self._mark_row(row))
            else:
                drawn += self._run_rows(place, row)
                place += 1
        width = max((_used(row) for row, _ in drawn), default=0)
        for line, label in drawn:
            yield [*list(line.pieces())[: 2 * width], *label]

    def _row(self) -> _Row:
        lines = [self._newest.get(lane) for lane in range(self._lane_count)] + self._detours
        cells = [0 if run is None else _UP | _DOWN for run in lines]
        detours = [None if run is None else self._lanes[run] for run in self._detours]
        return _Row(cells, [*range(self._lane_count), *detours])

    def _run_rows(self, place: int, run: Run) -> Iterator[tuple[_Row, list[Piece]]]:
        lane, row = self._lanes[place], self._row()
        columns = {cause: self._column_of(cause, lane) for cause in run.causes}
        drawn = {cause: column for cause, column in columns.items() if column is not None}
        self._join(row, place, drawn)
        detour = self._free_detour(place)
        if drawn and detour is not None:
            row.cells[lane] |= _DOWN
            yield row, []
            row = self._row()
        row.node = (lane, "◆" if run.merges else "●")
        if detour is not None:
            self._detours[detour] = place
            row.cells[self._lane_count + detour] = _DOWN
            row.colours[self._lane_count + detour] = lane
            row.join(lane, self._lane_count + detour, lane)
        self._newest[lane] = place
        if place not in self._next and place not in self._needed_until:
            del self._newest[lane]
        untold = [self._runs[cause] for cause, column in columns.items() if column is None]
        yield row, self._label(run, untold)

    def _column_of(self, cause: int, lane: int) -> int | None:
        """Return the column in which the line of an earlier run is; None if it has no line."""
        if self._lanes[cause] != lane and self._newest.get(self._lanes[cause]) == cause:
            return self._lanes[cause]
        return self._lane_count + self._detours.index(cause) if cause in self._detours else None

    def _join(self, row: _Row, place: int, columns: Mapping[int, int]) -> None:
        """Draw the edges that lead into a run, and end the lines that nothing else needs."""
        lane = self._lanes[place]
        for cause, column in columns.items():
            row.join(column, lane, self._lanes[cause])
            if self._needed_until[cause] > place:
                continue
            if column >= self._lane_count:
                self._detours[column - self._lane_count] = None
            elif cause in self._next:
                continue
            else:
                del self._newest[column]
            row.cells[column] &= ~_DOWN
        for column in columns.values():
            if min(columns.values()) < column < lane:
                row.cells[column] |= _LEFT
            elif lane < column < max(columns.values()):
                row.cells[column] |= _RIGHT

    def _free_detour(self, place: int) -> int | None:
        """Return a column for the edges of a run that are needed beyond the next run in its lane."""
        if self._needed_until.get(place, 0) <= self._next.get(place, len(self._runs)):
            return None
        return self._detours.index(None) if None in self._detours else None

    def _mark_row(self, mark: Mark) -> tuple[_Row, list[Piece]]:
        row = self._row()
        for column in range(self._lane_count):
            row.cells[column] |= _LEFT | _RIGHT
            row.gaps[column] = _MARK
        return row, [(f" {printable(describe_mark(mark))}", _MARK)]

    def _label(self, run: Run, untold: Sequence[Run]) -> list[Piece]:
        after = "".join(f"  after {cause.last['op_id'][:SHORT_ID]} by {cause.actor_id}" for cause in untold)
        if run.unseen_causes:
            after += f"  after {count_of(run.unseen_causes, 'op')} not shown"
        text = f"  {describe(run)}{after}{where_to_find(run, self._marks)}"
        return [(" " + printable(run.actor_id), self._lane_of[run.actor_id]), (printable(text), None)]


def _next_in_lane(lanes: Sequence[int]) -> dict[int, int]:
    """Return, for each run but the last ones, the next in its lane."""
    found: dict[int, int] = {}
    later: dict[int, int] = {}
    for place in reversed(range(len(lanes))):
        if lanes[place] in later:
            found[place] = later[lanes[place]]
        later[lanes[place]] = place
    return found


def _used(row: _Row) -> int:
    """Return how many columns of a row have something in them."""
    return max(
        (column + 1 for column, cell in enumerate(row.cells) if cell or (row.node and row.node[0] == column)),
        default=0,
    )
